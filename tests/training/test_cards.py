"""Model cards: every number in them is one that was measured, and the printed command repeats the training."""

import json
import os
import re
import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from synthetic import CONFIG, NETWORK, noisy_images, same_state, train_on

from fewshot_kit import __main__ as command_line
from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.evaluate import evaluate
from fewshot_kit.learners.configs import ReptileConfig
from fewshot_kit.learners.nearest_prototype import NearestPrototype
from fewshot_kit.results import Evaluation, Interval
from fewshot_kit.training.cards import render_card
from fewshot_kit.training.checkpoint_folder import CheckpointError
from fewshot_kit.training.checkpoints import load_checkpoint, sha256
from fewshot_kit.training.commands import training_command
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.export import export_run, record_result
from fewshot_kit.training.run_folder import LAST
from fewshot_kit.training.train import BEST, LOG, open_run, run_settings, train
from fewshot_kit.training.weights import read_tensors, write_tensors

TRAIN = TrainConfig(
    source=TaskSource("noisy", rotations=True), val_way=3, val_query=2, outer_steps=6, meta_lr=0.01, evaluate_every=2, evaluation_episodes=3
)


@pytest.fixture(autouse=True)
def noisy_can_be_trained_on(monkeypatch):
    monkeypatch.setattr("fewshot_kit.data.datasets.dataset_splits", lambda name: ("train", "val", "test"))


def trained(folder: Path, config: TrainConfig) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        train_on(patch, lambda name, split, preprocessing, samples_per_class=None: noisy_images())
        train(open_run(folder, CONFIG, config))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "run", TRAIN)


@pytest.fixture
def folder(run, tmp_path) -> Path:
    return export_run(run, "reptile-noisy", out=tmp_path)


def measure(seed: int = 0, n_episodes: int = 5) -> Evaluation:
    return evaluate(NearestPrototype(), EpisodeSampler(noisy_images(noise=0.4), 3, 1, 2), n_episodes=n_episodes, seed=seed)


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def card_of(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def test_an_exported_run_is_a_checkpoint_of_its_best_weights(run, folder):
    loaded = load_checkpoint(folder)
    assert same_state(loaded.learner.state_dict(), safetensors.torch.load_file(run / BEST))
    assert loaded.learner.config == CONFIG and loaded.card == card_of(folder)
    rows = [json.loads(line) for line in (run / LOG).read_text(encoding="utf-8").splitlines()]
    training = loaded.config["training"]
    assert training["best_step"] == max(rows, key=lambda row: (row["val_accuracy"]["mean"], -row["step"]))["step"]
    assert {name: training[name] for name in asdict(TRAIN)} == asdict(TRAIN)


def chosen(n_way: int, n_shot: int, **values: float) -> dict:
    return {"n_way": n_way, "n_shot": n_shot, "values": values}


def test_a_checkpoint_may_be_the_mean_of_the_best_and_the_last_weights(run, tmp_path):
    moved = shutil.copytree(run, tmp_path / "moved")
    tensors, metadata = read_tensors(run / LAST)
    tensors |= {name: value + 1 for name, value in tensors.items() if name.startswith("model.") and value.is_floating_point()}
    write_tensors(moved / LAST, tensors, metadata)
    averaged = load_checkpoint(export_run(moved, "mean", out=tmp_path, average=True)).learner.released_state()
    best, _ = read_tensors(run / BEST)
    assert averaged.keys() == best.keys()
    for name, value in averaged.items():
        torch.testing.assert_close(value, (best[name] + tensors[f"model.{name}"]) / 2)
    assert f"averaged with those of step {TRAIN.outer_steps}" in " ".join(card_of(tmp_path / "mean").split())
    (moved / LAST).write_bytes(b"no weights")
    with pytest.raises(ValueError, match="export without --average"):
        export_run(moved, "broken", out=tmp_path, average=True)
    assert not (tmp_path / "broken").exists()


def test_settings_found_for_a_way_and_shot_are_taken_there_and_the_nearest_elsewhere(run, tmp_path):
    rows = [
        chosen(3, 1, inner_lr=0.02, inner_steps=7),
        chosen(5, 1, inner_lr=0.01, inner_steps=8),
        chosen(5, 5, inner_lr=0.03, inner_steps=9),
    ]
    loaded = load_checkpoint(export_run(run, "chosen", out=tmp_path, settings=rows))
    for (n_way, n_shot), steps in {(3, 1): 7, (5, 1): 8, (5, 5): 9, (20, 1): 8, (2, 1): 7, (3, 5): 9, (5, 10): 9}.items():
        learner = loaded.learner_for(n_way, n_shot)
        assert learner.config.inner_steps == steps and learner.network is loaded.learner.network
        sources = {setting.name: setting.source[:30] for setting in learner.settings()}
        found = "found best on validation class"
        assert sources == {"inner_lr": found, "inner_steps": found, "views": "the default"}, "views were not looked for"
    card = card_of(tmp_path / "chosen")
    assert (
        "At 3-way 1-shot: 7 full-batch steps (epochs) of sgd at learning rate 0.02" in card
        and "- 5-way 5-shot: learning rate 0.03, epochs 9" in card
    )


def test_without_such_settings_those_of_the_run_are_taken(folder):
    loaded = load_checkpoint(folder)
    assert loaded.learner_for(5, 1) is loaded.learner


def test_settings_that_a_learner_does_not_have_are_refused_before_anything_is_written(run, tmp_path):
    with pytest.raises(ValueError, match="no setting 'sigma'"):
        export_run(run, "chosen", out=tmp_path, settings=[chosen(3, 1, sigma=1)])
    assert not list(tmp_path.iterdir())


def test_an_exported_run_brings_its_log_along(run, folder):
    assert (folder / LOG).read_text(encoding="utf-8") == (run / LOG).read_text(encoding="utf-8")
    export_run(run, folder.name, out=folder.parent, replace=True)  # again, in its place
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", LOG, "model.safetensors"]


def test_a_card_names_the_weights_that_a_training_went_on_from(run, folder):
    # The checkpoint is improved in its place, twice: what its name stood for before is still told.
    earlier = [config_of(folder)]
    for seed in (1, 2):
        longer = trained(folder.parent / f"run {seed}", replace(TRAIN, start_from=str(folder), seed=seed))
        export_run(longer, folder.name, out=folder.parent, replace=True)
        earlier.append(config_of(folder))
    start = earlier[2]["training"]["start"]
    assert start == {"name": folder.name, "sha256": earlier[1]["sha256"], "training": earlier[1]["training"]}
    assert start["training"]["start"] == {"name": folder.name, "sha256": earlier[0]["sha256"], "training": earlier[0]["training"]}
    commands = [line.strip() for line in card_of(folder).splitlines() if line.startswith("    python -m fewshot_kit train")]
    assert commands == [config["training"]["command"] for config in reversed(earlier)] and len(set(commands)) == 3
    assert re.findall(r"with the sha256 `(\w+)`", card_of(folder)) == [earlier[1]["sha256"], earlier[0]["sha256"]]


def test_a_start_of_unknown_training_is_named_alone(folder):
    config = config_of(folder)
    config["training"]["start"] = {"name": "mine", "sha256": "abc", "training": {}}
    assert "\n\nIt went on from the weights of `mine` with the sha256 `abc`.\n\n## " in render_card(folder.name, config)


def test_a_run_without_weights_is_not_exported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no best.safetensors: train a run there first"):
        export_run(tmp_path, "name", out=tmp_path)


def test_every_number_of_a_card_is_in_the_config(folder):
    for seed in (0, 1):
        record_result(folder, measure(seed), f"python -m fewshot_kit evaluate --seed {seed}")
    config, card = config_of(folder), card_of(folder)
    assert [row["seed"] for row in config["results"]] == [0, 1]
    rows = [line for line in card.splitlines() if line.startswith("| noisy")]
    for line, result, measured in zip(rows, config["results"], (measure(0), measure(1)), strict=True):
        assert Interval(**result["accuracy"]) == measured.accuracy and Interval(**result["loss"]) == measured.loss
        accuracy, accuracy_half, loss, loss_half = map(float, re.findall(r"[\d.]+(?= ±)|(?<=± )[\d.]+", line))
        assert accuracy == pytest.approx(100 * result["accuracy"]["mean"], abs=0.0501)
        assert accuracy_half == pytest.approx(100 * result["accuracy"]["half_width"], abs=0.0501)
        assert loss == pytest.approx(result["loss"]["mean"], abs=0.000501)
        assert loss_half == pytest.approx(result["loss"]["half_width"], abs=0.000501)
        assert f"| noisy | test | 3, 1, 2 | 5 | inductive, seed {result['seed']} |" in line
        assert f"\n    {result['command']}\n" in card
    assert config["sha256"] == sha256(folder / "model.safetensors") and f"`{config['sha256']}`" in card
    assert f"\n    {config['training']['command']}\n" in card and f"step {config['training']['best_step']}," in card
    assert card == render_card(folder.name, config)


def test_measuring_again_with_the_same_command_replaces(folder):
    for seed in (0, 1):
        record_result(folder, measure(seed), "python -m fewshot_kit evaluate")
    assert [row["seed"] for row in config_of(folder)["results"]] == [1]


class Killed(BaseException):
    """A process that ends here and now, as far as one process can play it."""


@pytest.mark.parametrize("die_at", range(3))  # the pending card, the config, the card in its place
def test_a_card_fits_its_config_wherever_recording_is_killed(folder, monkeypatch, die_at):
    record_result(folder, measure(0), "python -m fewshot_kit evaluate --seed 0")
    replace_file, done = os.replace, []

    def dies(source, target):
        done.append(target)
        if len(done) > die_at:
            raise Killed
        replace_file(source, target)

    unlink = Path.unlink
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", dies)
        patch.setattr(Path, "unlink", lambda path, **options: unlink(path, **options) if path.suffix == ".lock" else None)  # no tidying up
        record_result(folder, measure(1), "python -m fewshot_kit evaluate --seed 1")
    for _ in range(2):
        loaded = load_checkpoint(folder)
        assert [row["seed"] for row in loaded.config["results"]] == ([0] if die_at < 2 else [0, 1])
        assert loaded.card == card_of(folder) == render_card(folder.name, loaded.config)
    assert not (folder / ".README.md.new").exists()


def test_a_full_disk_while_recording_leaves_config_and_card(folder, monkeypatch):
    before = config_of(folder), card_of(folder), sorted(folder.iterdir())
    write, calls = os.fsync, []
    for last in (1, 2):
        calls.clear()

        def no_room(descriptor, last=last):
            calls.append(descriptor)
            if len(calls) == last:
                raise OSError(28, "No space left on device")
            write(descriptor)

        with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
            patch.setattr(os, "fsync", no_room)
            record_result(folder, measure(), "python -m fewshot_kit evaluate")
        assert (config_of(folder), card_of(folder), sorted(folder.iterdir())) == before


def test_a_result_of_other_weights_is_not_recorded(folder):
    before = config_of(folder)
    with pytest.raises(ValueError, match="other weights than those that were measured"):
        record_result(folder, measure(), "python -m fewshot_kit evaluate", sha256="of what was there before")
    assert config_of(folder) == before


def test_results_recorded_at_once_are_all_kept(folder):
    result = measure()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: record_result(folder, result, f"python -m fewshot_kit evaluate --seed {i}"), range(16)))
    assert sorted(row["command"] for row in config_of(folder)["results"]) == sorted(
        f"python -m fewshot_kit evaluate --seed {i}" for i in range(16)
    )
    assert card_of(folder) == render_card(folder.name, config_of(folder))
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_an_export_writes_over_no_run(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "runs" / "a")
    with pytest.raises(FileExistsError, match="no checkpoint of this kit"):
        export_run(copy, "a", out=copy.parent, replace=True)
    assert sorted(path.name for path in copy.iterdir()) == sorted(path.name for path in run.iterdir())


@pytest.mark.parametrize("name", [".", "", "..", "../thesis", "{elsewhere}/thesis", "a/b"])
def test_an_export_needs_a_plain_name(run, tmp_path, name):
    (tmp_path / "pre").mkdir()
    with pytest.raises(ValueError, match=r"a checkpoint's name has at most 100 letters"):
        export_run(run, name.format(elsewhere=tmp_path), out=tmp_path / "pre", replace=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["pre"]


def test_one_episode_is_recorded_without_an_interval(folder):
    record_result(folder, measure(n_episodes=1), "python -m fewshot_kit evaluate --episodes 1")
    assert config_of(folder)["results"][0]["accuracy"]["half_width"] is None
    assert load_checkpoint(folder).config["results"] and "NaN" not in (folder / "config.json").read_text(encoding="utf-8")


class Begun(ValueError):
    """Ends the train command where it would begin."""


def parsed_by_the_command_line(command: str, monkeypatch) -> dict:
    """Run a printed train command as far as it knows its settings."""
    begun = {}

    def note(out, hyper_parameters, training, *, resume):
        begun.update(json.loads(json.dumps(run_settings(hyper_parameters, training))))
        raise Begun

    monkeypatch.setattr("fewshot_kit.training.train.open_run", note)
    start = ["python", "-m", "fewshot_kit"]
    words = shlex.split(command)
    assert words[:3] == start and command_line.main(words[3:]) == 1
    return begun


@pytest.mark.parametrize(
    ("learner", "training"),
    [
        (ReptileConfig(), TrainConfig()),
        (CONFIG, TRAIN),
        (
            replace(CONFIG, network=replace(NETWORK, norm="running", stride=1, channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))),
            replace(TRAIN, source=TaskSource("noisy", rotations=False, augment=False)),
        ),
        (replace(CONFIG, update_rule="adam", inner_lr=1e-5), replace(TRAIN, meta_lr=1e-7, seed=12, source=TaskSource("my own set"))),
    ],
)
def test_the_printed_command_repeats_the_training(learner, training, monkeypatch, capsys):
    settings = json.loads(json.dumps(run_settings(learner, training)))
    assert parsed_by_the_command_line(training_command(settings), monkeypatch) == settings


def test_the_command_of_a_card_is_the_one_of_its_run(run, folder, monkeypatch, capsys):
    saved = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert saved.pop("versions").keys() == {"torch"} and saved.pop("start") is None
    assert parsed_by_the_command_line(config_of(folder)["training"]["command"], monkeypatch) == saved


def test_a_result_is_not_recorded_where_no_card_can_be_made(folder):
    config = config_of(folder)
    del config["training"]["minutes"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"config\.json says too little to make a card of it: the key 'minutes' is missing"):
        record_result(folder, measure(), "python -m fewshot_kit evaluate")
    assert config_of(folder) == config and sorted(path.name for path in folder.iterdir() if path.name[0] == ".") == []


@pytest.mark.parametrize("content", ["{", '{"results": []}', "[1]"])
def test_a_result_is_not_recorded_in_a_damaged_config(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        record_result(folder, measure(), "python -m fewshot_kit evaluate")
    assert (folder / "config.json").read_text() == content


@pytest.mark.parametrize("start", [{}, {"name": "x", "sha256": "0"}, {"name": "x", "sha256": "0", "training": {"command": "python"}}])
def test_an_export_of_a_run_that_started_from_nothing_known_is_named(run, tmp_path, start):
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    (copy / "config.json").write_text(json.dumps(config_of(run) | {"start": start}))
    with pytest.raises(ValueError, match=r"copy cannot be exported: .*says too little to make a card of it"):
        export_run(copy, "x", tmp_path / "out")
    assert not (tmp_path / "out").exists()
