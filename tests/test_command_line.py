"""The command line: what it prints and writes, and that what a person can mend is one line without a traceback."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from synthetic import noisy_images, tiny_reptile, train_on

from fewshot_kit.__main__ import main
from fewshot_kit.data.datasets import load_dataset
from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.demo import checkpoint_commands
from fewshot_kit.evaluate import evaluate
from fewshot_kit.training import checkpoint_folder
from fewshot_kit.training import train as train_module
from fewshot_kit.training.checkpoints import load_checkpoint, save_checkpoint

SOURCE = {"dataset": "omniglot", "rotations": None}
TRAINING = {"source": SOURCE, "seed": 0, "minutes": 0.1, "threads": 1, "best_step": 4, "val_way": 3, "val_shot": 1, "command": "python"}
QUICK = ["--dataset", "digits", "--n-way", "3", "--n-query", "2", "--episodes", "8", "--seed", "5", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A checkpoint called tiny, in a folder that stands in for pretrained/."""
    root = tmp_path / "pretrained"
    for module in (checkpoint_folder, checkpoint_commands):
        monkeypatch.setattr(module, "PRETRAINED", root)
    training = TRAINING | {"trained_with": {"torch": "2"}}
    return save_checkpoint(root / "tiny", tiny_reptile(), training=training, results=[], card="")


def error_of(capsys, arguments: list[str]) -> str:
    """Run a command that is to fail, and return its one line."""
    assert main(arguments) == 1
    printed = capsys.readouterr()
    last = printed.err.strip().splitlines()[-1]
    assert last.startswith("error: ") and printed.err.count("error: ") == 1
    assert "Traceback" not in printed.err and printed.out == ""
    return last


def test_evaluate_prints_what_evaluate_measures(folder, capsys, tmp_path):
    assert main(["evaluate", "tiny", *QUICK, "--json", str(tmp_path / "new" / "result.json")]) == 0
    learner = load_checkpoint(folder).learner
    digits = load_dataset("digits", preprocessing=learner.preprocessing)
    expected = evaluate(learner, EpisodeSampler(digits, 3, 1, 2), n_episodes=8, seed=5)
    assert capsys.readouterr().out == f"{expected}\n"
    written = json.loads((tmp_path / "new" / "result.json").read_text(encoding="utf-8"))
    assert written == {**expected.to_dict(), "checkpoint": "tiny", "seconds": written["seconds"]}
    assert written["settings"] == {"inner_lr": 0.1, "inner_steps": 3, "views": 1}


def test_json_on_standard_output_is_that_of_the_file(folder, capsys, tmp_path):
    arguments = ["evaluate", str(folder), *QUICK, "--set", "inner_lr=0.3", "inner_steps=2"]
    assert main([*arguments, "--json", str(tmp_path / "result.json")]) == 0
    capsys.readouterr()
    assert main([*arguments, "--json", "-"]) == 0
    printed = json.loads(capsys.readouterr().out)
    written = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert printed | {"seconds": 0} == written | {"seconds": 0}
    assert (printed["settings"], printed["checkpoint"]) == ({"inner_lr": 0.3, "inner_steps": 2, "views": 1}, "tiny")


def test_a_recorded_result_is_in_the_config_the_card_and_the_list(folder, capsys):
    arguments = ["evaluate", "tiny", *QUICK, "--record"]
    assert main(arguments) == 0
    result = json.loads((folder / "config.json").read_text(encoding="utf-8"))["results"][0]
    assert result["command"] in (folder / "README.md").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main([*shlex.split(result["command"])[3:], "--json", "-"]) == 0  # the recorded command gives the recorded numbers
    again = json.loads(capsys.readouterr().out)
    assert all(again[name] == result[name] for name in again.keys() - {"seconds"})
    assert main(["list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    percent = f"{100 * result['accuracy']['mean']:.1f} ± {100 * result['accuracy']['half_width']:.1f} %"
    assert (
        listed[0] == "tiny"
        and listed[1].startswith(f"  {percent}, cross entropy")
        and "3-way 1-shot" in listed[1]
        and "digits test" in listed[1]
    )


def test_a_measurement_that_diverges_is_an_error_and_is_written_nowhere(folder, capsys, tmp_path):
    save_checkpoint(folder.parent / "bare", tiny_reptile("none"), training=TRAINING, results=[], card="")
    arguments = ["evaluate", "bare", *QUICK, "--record", "--json", str(tmp_path / "result.json"), "--set", "inner_lr=1e6", "inner_steps=20"]
    assert "not finite in 8 of 8 episodes: lower inner_lr (learning rate), which is 1e+06" in error_of(capsys, arguments)
    assert not (tmp_path / "result.json").exists() and load_checkpoint(folder.parent / "bare").config["results"] == []


def test_list_names_every_checkpoint_even_without_results(folder, capsys):
    save_checkpoint(folder.parent / "another", tiny_reptile(), training=TRAINING, results=[], card="")
    assert main(["list"]) == 0
    assert capsys.readouterr().out == "another\ntiny\n"


def test_training_validating_exporting_and_measuring_go_hand_in_hand(folder, capsys, tmp_path, monkeypatch):
    train_on(monkeypatch, lambda name, split, preprocessing, samples_per_class=None: noisy_images(size=preprocessing.size))
    monkeypatch.setattr(train_module, "finish", partial(train_module.finish, n_episodes=5))
    run = tmp_path / "runs" / "one"
    steps = ["--outer-steps", "4", "--evaluate-every", "2", "--evaluation-episodes", "3", "--val-way", "3", "--val-query", "2"]
    flags = ["--width", "8", "--size", "18", "--train-way", "3", "--train-inner-steps", "2", *steps, "--out", str(run)]
    assert main(["train", "reptile", *flags]) == 0
    printed = capsys.readouterr().out
    assert (
        "validation at step 2:" in printed
        and "validation at step 4:" in printed
        and "training loss" in printed
        and "validation, best weights:" in printed
    )
    assert "add --resume" in error_of(capsys, ["train", "reptile", *flags])
    assert main(["train", "reptile", *flags, "--resume"]) == 0
    export = ["export", str(run), "--name", "trained", "--out", str(folder.parent)]
    assert main(export) == 0
    capsys.readouterr()
    assert "add --replace to write over it" in error_of(capsys, export)
    assert main([*export, "--replace"]) == 0
    capsys.readouterr()
    runs_as_checkpoints = [*export[:2], "--name", "one", "--out", str(run.parent), "--replace"]
    assert "no checkpoint of this kit" in error_of(capsys, runs_as_checkpoints) and (run / "best.safetensors").is_file()
    in_a_checkpoint = [*flags[:-1], str(folder)]
    assert "holds a checkpoint, which a run would damage" in error_of(capsys, ["train", "reptile", *in_a_checkpoint])
    capsys.readouterr()
    assert main(["evaluate", str(folder.parent / "trained"), *QUICK, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["checkpoint"] == "trained"


@pytest.mark.parametrize("given_out", [True, False], ids=["--out", "its usual folder"])
def test_a_run_goes_on_without_the_checkpoint_that_it_started_from(given_out, folder, capsys, tmp_path, monkeypatch):
    train_on(monkeypatch, lambda name, split, preprocessing, samples_per_class=None: noisy_images(size=preprocessing.size))
    monkeypatch.setattr(train_module, "finish", partial(train_module.finish, n_episodes=5))
    monkeypatch.chdir(tmp_path)
    steps = ["--outer-steps", "4", "--evaluate-every", "2", "--evaluation-episodes", "3", "--val-way", "3", "--val-query", "2"]
    flags = ["--start-from", str(folder), "--train-way", "3", "--train-query", "1", *steps, *(["--out=a run"] if given_out else [])]
    assert main(["train", "protonet", *flags]) == 0
    shutil.rmtree(folder)
    assert main(["train", "protonet", *flags, "--resume"]) == 0
    assert Path("a run" if given_out else "runs/protonet-omniglot").is_dir()
    capsys.readouterr()
    assert "no checkpoint" in error_of(capsys, ["train", "protonet", *flags, "--seed", "1"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["evaluate", "nowhere", *QUICK], "no checkpoint 'nowhere': neither a folder with a config.json nor one of tiny"),
        (["evaluate", "tiny", "--dataset", "digitz"], "did you mean 'digits'?"),
        (["evaluate", "tiny", "--dataset", "digits", "--split", "train"], "has no split 'train'"),
        (["evaluate", "tiny", "--dataset", "digits", "--n-way", "11"], "11 ways are needed, but 'digits' has 10 classes"),
        (["evaluate", "tiny", "--dataset", "digits", "--n-query", "0"], "n_query must be at least 1"),
        (["evaluate", "tiny", *QUICK, "--set", "inner_lr=nan"], "inner_lr must be a finite number (at most 1e+30), not nan"),
        (["evaluate", "tiny", *QUICK, "--set", "inner_lr=0"], "finite number above 0, not 0"),
        (["evaluate", "tiny", *QUICK, "--set", "inner_lr=1" + 400 * "0"], "inner_lr must be a finite number"),
        (["evaluate", "tiny", *QUICK, "--set", "inner_steps=1000000000"], "inner_steps (the epochs) must be at most 10000"),
        (["evaluate", "tiny", *QUICK, "--set", "inner_steps=-1"], "0 or more, not -1"),
        (["evaluate", "tiny", *QUICK, "--device", "warp"], "device must be auto, cpu or cuda, not 'warp'"),
        (["evaluate", "tiny", *QUICK, "--set", "sigma=1"], "Reptile has no setting 'sigma'; it has inner_lr, inner_steps"),
        (["evaluate", "tiny", *QUICK, "--set", "inner_lr"], "a setting is written name=value, as inner_lr=0.01; 'inner_lr' is not"),
        (["export", "nowhere", "--name", "x", "--settings", "5way:inner_lr=1"], "written as 5way-1shot:inner_lr=0.01,inner_steps=10"),
        (["train", "reptile", "--dataset", "omniglot_vinyals", "--rotations", "True"], "are rotated already"),
        (["export", "nowhere", "--name", "x"], "holds no best.safetensors"),
        (["export", "nowhere", "--name", "."], "no dot first, not '.'"),
        (["export", "nowhere", "--name", ""], "no dot first, not ''"),
        (["export", "nowhere", "--name", "../tiny", "--replace"], "no dot first, not '../tiny'"),
        (["export", "nowhere", "--name", "reptile-omniglot"], "holds a checkpoint already; add --replace"),
    ],
)
def test_what_a_person_can_mend_is_one_line(folder, capsys, arguments, complaint):
    assert complaint in error_of(capsys, arguments)


@pytest.mark.parametrize(
    "words", [["export", "nowhere", "--name"], ["evaluate"], ["evaluate", "tiny", "--dataset"], ["evaluate", "tiny", "--set"]]
)
def test_a_word_as_long_as_a_book_is_not_repeated_whole(folder, capsys, words):
    assert len(error_of(capsys, [*words, "x" * 100_000])) < 1_600


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("command", [["evaluate", "tiny", *QUICK], ["train", "reptile", "--out", "never"]])
def test_a_missing_gpu_is_one_line(folder, capsys, command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert "torch sees no CUDA GPU here; use device='cpu'" in error_of(capsys, [*command, "--device", "cuda"])
    assert not (tmp_path / "never").exists()


def test_a_damaged_checkpoint_is_one_line(folder, capsys):
    (folder / "model.safetensors").write_bytes(b"")
    assert "does not match the sha256" in error_of(capsys, ["evaluate", "tiny", *QUICK])
    (folder / "config.json").write_text("{", encoding="utf-8")
    assert main(["list"]) == 0  # the others are listed all the same
    assert "cannot be read" in (listed := capsys.readouterr().out) and "config.json is not valid JSON" in listed


@pytest.mark.parametrize("flags", ["--inner-lr nan", "--meta-lr inf", "--norm layer", "--outer-steps 0", "--magic 1"])
def test_settings_that_cannot_be_end_in_a_usage_error(flags, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["train", "reptile", "--out", str(tmp_path / "run"), *flags.split()])
    printed = capsys.readouterr()
    assert ended.value.code == 2 and "Traceback" not in printed.err and not (tmp_path / "run").exists()
    assert flags.split()[1] in printed.err and printed.out == ""


@pytest.mark.parametrize(
    ("arguments", "status"), [([], 2), (["--help"], 0), (["-h"], 0), (["train"], 2), (["train", "magic"], 2), (["x"], 2)]
)
def test_without_a_command_there_is_help(arguments, status, capsys):
    assert main(arguments) == status
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("train", "evaluate", "export", "list", "reptile", "--help"))


def test_the_module_is_a_program(folder):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    program = [sys.executable, "-m", "fewshot_kit", "evaluate"]
    done = subprocess.run([*program, str(folder), *QUICK, "--json", "-"], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and json.loads(done.stdout)["n_episodes"] == 8
    failed = subprocess.run([*program, str(folder / "no"), *QUICK], env=environment, capture_output=True, text=True, timeout=120)
    assert failed.returncode == 1 and failed.stdout == ""
    first, last = failed.stderr.splitlines()
    assert first.startswith("loading PyTorch") and last.startswith("error: no checkpoint")


RUN = ["--width", "8", "--size", "18", "--train-way", "3", "--train-inner-steps", "2", "--val-way", "3", "--val-query", "2"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_interrupted_ends_in_130_and_says_how_it_goes_on(capsys, tmp_path, monkeypatch, number):
    train_on(monkeypatch, lambda name, split, preprocessing, samples_per_class=None: noisy_images(size=preprocessing.size))
    monkeypatch.setattr(train_module, "finish", partial(train_module.finish, n_episodes=5))
    step, handler = train_module.Run.outer_step, signal.getsignal(number)

    def interrupted_step(run):
        signal.raise_signal(number)
        return step(run)

    flags = ["train", "reptile", *RUN, "--outer-steps", "2", "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr(train_module.Run, "outer_step", interrupted_step)
        assert main(flags) == 130
    assert "stopped at step 1; the same command with --resume goes on" in capsys.readouterr().out
    assert signal.getsignal(number) is handler
    assert main([*flags, "--resume"]) == 0 and "validation, best weights" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="its pipes break otherwise")
@pytest.mark.parametrize("arguments", ["list", "--help", "evaluate --help", "train reptile --help"])
def test_a_reader_that_goes_away_is_no_error(arguments):
    """As of `list | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    program = [sys.executable, "-m", "fewshot_kit", *arguments.split()]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=120, env=environment)
    os.close(writing)
    assert done.stderr == "" and done.returncode == 141


def test_a_set_without_a_val_split_is_told_before_a_folder_is_made(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("fewshot_kit.data.datasets.dataset_splits", lambda name: ("train", "test"))
    assert "'omniglot' has no val split" in error_of(capsys, ["train", "reptile", "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_a_terminal_that_knows_only_ascii_loses_nothing(folder, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONIOENCODING": "ascii"}
    program = [sys.executable, "-m", "fewshot_kit"]
    measure = [*program, "evaluate", str(folder), *QUICK, "--json", str(tmp_path / "result.json"), "--record"]
    done = subprocess.run(measure, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "\\xb1" in done.stdout and "Traceback" not in done.stderr
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["n_episodes"] == 8
    steps = ["--outer-steps", "1", "--evaluation-episodes", "2", "--width", "8", "--train-inner-steps", "2", "--train-way", "3"]
    flags = [*steps, "--dataset", "characters_by_alphabet", "--device", "cpu", "--out", str(tmp_path / "run")]
    done = subprocess.run([*program, "train", "reptile", *flags], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "validation at step 1:" in done.stdout and (tmp_path / "run" / "result.json").is_file()


def test_a_measurement_that_cannot_be_recorded_is_told_all_the_same(folder, capsys, monkeypatch):
    (folder.parent / ".tiny.lock").mkdir()  # what cannot be locked
    assert main(["evaluate", "tiny", *QUICK, "--record", "--json", "-"]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["n_episodes"] == 8 and "error: " in printed.err and "Traceback" not in printed.err


WATCH = """
import sys
def say(event, arguments):
    if event == "import" and arguments[0] == "torch":
        print("torch is being imported", file=sys.stderr, flush=True)
sys.addaudithook(say)
sys.argv = ["fewshot_kit", *sys.argv[1:]]
import runpy
runpy.run_module("fewshot_kit", run_name="__main__")
"""


def words_before_torch(*arguments: str) -> tuple[str, bool]:
    """Run a command, and return what it had said when torch was imported, and whether it ever was."""
    done = subprocess.run([sys.executable, "-c", WATCH, *arguments], capture_output=True, text=True, timeout=120)
    before, *after = done.stderr.split("torch is being imported\n")
    return before + ("" if after else done.stdout), bool(after)


@pytest.mark.parametrize("arguments", ["--help", "list", "evaluate --help", "export --help", "train --help", "train maml --help"])
def test_help_and_list_do_without_torch(arguments):
    said, imported = words_before_torch(*arguments.split())
    assert said and not imported


@pytest.mark.parametrize(
    "arguments",
    ["evaluate nowhere", "train reptile --dataset nowhere", "export nowhere --name x"],
)
def test_the_first_word_comes_before_torch(arguments, tmp_path):
    said, imported = words_before_torch(*arguments.split())
    assert imported and said.startswith("loading PyTorch")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("evaluate reptile-omniglot --episodes 1000000000", "episodes must be at most"),
        ("evaluate reptile-omniglot --episodes 2000000", "episodes must be at most 1000000, not 2000000"),
        ("evaluate reptile-omniglot --episodes 0", "episodes must be at least 1"),
        ("evaluate reptile-omniglot --seed 18446744073709551616", "seed must be a whole number from 0 to 2**63 - 1, not 184"),
        ("evaluate reptile-omniglot --seed -1", "seed must be a whole number from 0"),
        ("evaluate reptile-omniglot --n-query 0", "n_query must be at least 1, not 0"),
        ("evaluate reptile-omniglot --n-way 1", "n_way must be at least 2, not 1"),
        ("evaluate reptile-omniglot --set inner_lr=nan", "inner_lr must be a finite number"),
        ("evaluate reptile-omniglot --set inner_lr=-inf", "inner_lr must be a finite number"),
        ("evaluate reptile-omniglot --device mps", "device must be auto, cpu or cuda, not 'mps'"),
        ("export runs/x --name x --settings 5way-1shot:inner_lr=nan", "inner_lr must be a finite number"),
        ("train reptile --device meta", "device must be auto, cpu or cuda, not 'meta'"),
        ("train reptile --device warp", "device must be auto, cpu or cuda, not 'warp'"),
        ("train reptile --val-query 0", "val_query must be at least 1"),
        ("train reptile --seed 18446744073709551616", "seed must be a whole number from 0"),
        ("train reptile --augment-strength nan", "augment_strength must be a finite number"),
        ("train reptile --mean nan --std 1", "mean must be a finite number"),
        ("train reptile --head-lr-scale inf", "head_lr_scale must be a finite number"),
        ("train maml --train-inner-lr nan", "train_inner_lr"),
        ("train repmet --alpha nan", "alpha must be a finite number"),
        ("train repmet --sigma 1e200", "sigma must be a finite number"),
        ("train repmet --sigma 1e9", "sigma must be a number from 1e-6 to 1e6"),
        ("train magnet --alpha inf", "alpha must be a finite number"),
        ("train protonet --meta-batch-size 1000000000", "meta_batch_size must be at most"),
        ("train protonet --meta-lr nan", "meta_lr must be a finite number"),
    ],
)
def test_a_flag_that_cannot_be_is_refused_by_its_name_before_torch(arguments, named, capsys, tmp_path, monkeypatch):
    """Nothing is said of loading PyTorch, which is what the command says before it imports it."""
    monkeypatch.chdir(tmp_path)
    try:
        status = main(arguments.split())
    except SystemExit as ended:
        status = ended.code
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert status in (1, 2) and named in said and "PyTorch" not in said and not list(tmp_path.glob("runs"))
