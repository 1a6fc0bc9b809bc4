"""Runs as they are read: what train and evaluate wrote is what is read, and a damaged file is named without harm to the others."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import CONFIG, noisy_images, train_on

from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.data.files import write_text
from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.evaluate import evaluate
from fewshot_kit.learners.configs import CONFIGS
from fewshot_kit.learners.nearest_prototype import NearestPrototype
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.export import export_run, record_result
from fewshot_kit.training.runs import (
    TRAINING_LOSSES,
    describe_row,
    describe_training_loss,
    find_runs,
    read_run,
    read_runs,
    to_tensorboard,
)
from fewshot_kit.training.train import CONFIG as RUN_CONFIG
from fewshot_kit.training.train import LOG, finish, open_run, train

TRAIN = TrainConfig(
    source=TaskSource("noisy"), val_way=3, val_query=2, outer_steps=6, meta_lr=0.01, evaluate_every=2, evaluation_episodes=3
)


def noisy_split(name: str, split: str, *, preprocessing, samples_per_class: int | None = None):
    """Stand in for load_dataset."""
    images = replace(noisy_images(size=preprocessing.size), split=split)
    return images if samples_per_class is None else images.first(samples_per_class)


@pytest.fixture(autouse=True)
def _synthetic_data(monkeypatch):
    train_on(monkeypatch, noisy_split)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Return the folder of a finished run."""
    with pytest.MonkeyPatch.context() as patch:
        train_on(patch, noisy_split)
        run = open_run(tmp_path_factory.mktemp("runs") / "whole", CONFIG, replace(TRAIN, source=TaskSource("noisy", samples_per_class=5)))
        train(run)
        finish(run, n_episodes=4)
        return run.folder


@pytest.fixture
def run(whole, tmp_path) -> Path:
    """Return a copy of it that a test may change."""
    for file in whole.iterdir():
        if file.suffix != ".safetensors":
            write_text(tmp_path / "runs" / "copy" / file.name, file.read_text(encoding="utf-8"))
    return tmp_path / "runs" / "copy"


def measure(seed: int = 0, n_episodes: int = 5, transductive: bool = False):
    sampler = EpisodeSampler(noisy_images(noise=0.4), 3, 1, 2)
    return evaluate(NearestPrototype(), sampler, n_episodes=n_episodes, seed=seed, transductive=transductive)


def begin_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}", encoding="utf-8")


# --- reading ---


def test_a_run_is_read_as_it_was_written(whole):
    record = read_run(whole)
    written = [json.loads(line) for line in (whole / LOG).read_text(encoding="utf-8").splitlines()]
    assert (record.name, record.learner, list(record.rows)) == ("whole", "reptile", written)
    assert record.training["samples_per_class"] == 5
    curves = record.curves()
    assert curves["step"].tolist() == [2, 4, 6]
    for name in ("val_loss", "val_accuracy"):
        assert curves[name].tolist() == [row[name]["mean"] for row in written]
        assert curves[f"{name}_half_width"].tolist() == [row[name]["half_width"] for row in written]
    assert curves["train_loss"].tolist() == [row["train_loss"] for row in written]


def test_an_exported_run_brings_its_curve_and_its_results_along(whole, tmp_path, capsys):
    export_run(whole, "reptile-noisy-3way-1shot", out=tmp_path)
    record_result(tmp_path / "reptile-noisy-3way-1shot", measure(), "python -m fewshot_kit evaluate")
    record = read_run(tmp_path / "reptile-noisy-3way-1shot")
    assert record.rows == read_run(whole).rows and record.learner == "reptile"
    assert [result["dataset"] for result in record.results] == ["noisy"]


def test_a_run_of_one_episode_a_validation_has_no_interval(tmp_path):
    assert train(open_run(tmp_path / "run", CONFIG, replace(TRAIN, outer_steps=1, evaluation_episodes=1)))
    curves = read_run(tmp_path / "run").curves()
    assert np.isnan(curves["val_accuracy_half_width"]).all() and np.isfinite(curves["val_accuracy"]).all()


def test_a_run_that_has_just_begun_has_no_rows(tmp_path):
    open_run(tmp_path / "run", CONFIG, TRAIN)
    record = read_run(tmp_path / "run")
    assert record.rows == record.results == () and record.curves()["step"].shape == (0,)


@pytest.mark.parametrize("end", ['{"step": 8, "train_lo', '{"step": 8, "train_lo\n', "\n"])
def test_a_last_line_cut_short_is_passed_over(run, whole, end):
    with open(run / LOG, "a", encoding="utf-8") as log:
        log.write(end)
    assert read_run(run).rows == read_run(whole).rows


INTERVAL = {"mean": 0.5, "half_width": 0.1}


def row(**changes) -> str:
    """Return a line of a log, with something wrong in it."""
    return json.dumps({"step": 1, "train_loss": 1.0, "val_accuracy": INTERVAL, "val_loss": INTERVAL, **changes}) + "\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (LOG, '{"step": 1\n{"step": 2}\n', r"log.jsonl, line 1 is not valid JSON"),
        (LOG, '{"step": 1}\n', r"log.jsonl, line 1 is no validation: it needs step, train_loss"),
        (LOG, "[1]\n", r"line 1 is no validation"),
        (RUN_CONFIG, '{"learner": ', r"config.json is not valid JSON .* mend it or take it away"),
        (RUN_CONFIG, "[]", r"config.json holds no JSON object"),
        (RUN_CONFIG, '{"model_type": "bert"}', r"names no learner and training: it is no run of this kit"),
        (RUN_CONFIG, '{"learner": ["maml"], "training": {}}', r"names no learner and training"),
        (RUN_CONFIG, '{"learner": "maml", "training": 5}', r"names no learner and training"),
        (RUN_CONFIG, "[" * 100_000, r"config.json is not valid JSON"),
        (LOG, row(step="<b>1</b>"), r"line 1 is no validation"),
        (LOG, row(step=-1), r"line 1 is no validation"),
        (LOG, row(step=1e999), r"line 1 is no validation"),
        (LOG, row(val_accuracy=0.5), r"line 1 is no validation"),
        (LOG, row(val_accuracy={"mean": "0.5", "half_width": 0}), r"line 1 is no validation"),
        (LOG, row(val_loss={"mean": 10**400, "half_width": 0}), r"line 1 is no validation"),
        (LOG, row(train_loss=[]), r"line 1 is no validation"),
    ],
)
def test_a_damaged_file_is_named(run, name, content, message):
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        read_run(run)
    assert str(run / name) in str(caught.value)


@pytest.mark.parametrize(
    "changes", ['"val_accuracy": {"mean": 0.5, "half_width": -1}', '"train_loss": Infinity', '"seconds": -1', '"seconds": "x"', '"best": 3']
)
def test_what_cannot_be_drawn_or_exported_is_no_validation(run, changes):
    first, *others = (run / LOG).read_text(encoding="utf-8").splitlines()
    write_text(run / LOG, "\n".join([f"{first[:-1]}, {changes}}}", *others]))
    with pytest.raises(ValueError, match="line 1 is no validation"):
        read_run(run)


def test_a_log_beyond_all_sizes_is_refused(run, monkeypatch):
    monkeypatch.setattr("fewshot_kit.training.runs.MAX_BYTES", 10)
    with pytest.raises(ValueError, match=r"log\.jsonl has more than 10 bytes"):
        read_run(run)


GOOD = {
    **dict.fromkeys(("accuracy", "loss"), INTERVAL),
    **dict.fromkeys(("n_way", "n_shot", "n_episodes"), 5),
    **{"dataset": "noisy", "split": "test", "transductive": False, "settings": {}},
}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"is not valid JSON"),
        ("[]", r"holds no JSON object"),
        (json.dumps({"accuracy": 1}), r"is no measurement of `evaluate --json`: it lacks loss, dataset"),
        (json.dumps({**GOOD, "accuracy": 1}), r"accuracy cannot be read"),
        (json.dumps({**GOOD, "dataset": 7, "n_way": "<b>5</b>"}), r"dataset, n_way cannot be read"),
        (json.dumps({**GOOD, "settings": 3}), r"settings cannot be read"),
    ],
)
@pytest.mark.parametrize("name", ["result.json", "results/a.json"])
def test_a_damaged_measurement_is_named_and_the_rest_of_the_run_is_read(run, whole, name, content, message):
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text(content, encoding="utf-8")
    write_text(run / "results" / "good.json", json.dumps(GOOD))
    record = read_run(run)
    assert record.rows == read_run(whole).rows and GOOD in record.results
    (problem,) = record.problems
    assert str(run / name) in problem and re.search(message, problem)


@pytest.mark.parametrize("recorded", [5, ["x"], [{"accuracy": None}]])
def test_damaged_measurements_of_a_checkpoint_are_named(run, recorded):
    settings = json.loads((run / RUN_CONFIG).read_text(encoding="utf-8"))
    write_text(run / RUN_CONFIG, json.dumps({**settings, "results": recorded}))
    assert len(read_run(run).results) == 1 and "config.json is no measurement" in read_run(run).problems[0]


def test_one_bad_folder_does_not_hide_the_others(run, whole):
    for name, content in (("bad", "{"), ("binary", "\udcff"), ("worse", "[]")):
        begin_file(run.parent / name / LOG)
        (run.parent / name / RUN_CONFIG).write_text(content, encoding="utf-8", errors="surrogateescape")
    shutil.copytree(run, run.parent / "log")
    (run.parent / "log" / LOG).write_bytes(b"\xff\xfe")
    missing = run.parent / "missing"
    records, problems = read_runs([run.parent, missing, run])
    assert [record.folder for record in records] == [run], "and a folder that is named twice is read once"
    assert len(problems) == 5
    for name in ("bad", "binary", "worse", "log", "missing"):
        assert any(str(run.parent / name) in problem for problem in problems), name


def test_settings_are_found_where_older_and_newer_runs_keep_them(run):
    settings = json.loads((run / RUN_CONFIG).read_text(encoding="utf-8"))
    training = {"source": {"dataset": "noisy", "samples_per_class": 7}, "val_way": 4, "val_shot": 2}
    for kept, task, per_class in (({"dataset": "noisy", "n_way": 4, "n_shot": 2}, (4, 2), None), (training, (4, 2), 7)):
        write_text(run / RUN_CONFIG, json.dumps({**settings, "training": kept}))
        assert read_run(run).validated_on == ("noisy", *task) and read_run(run).training.get("samples_per_class") == per_class
    write_text(run / RUN_CONFIG, json.dumps({**settings, "training": {"source": 3, "n_way": [1]}}))
    assert read_run(run).validated_on == ("", None, None)


def test_the_best_validation_is_the_highest(run):
    rows = read_run(run).rows
    assert read_run(run).best()["val_accuracy"]["mean"] == max(row["val_accuracy"]["mean"] for row in rows)
    write_text(run / LOG, row(val_accuracy={"mean": None, "half_width": None}))
    assert read_run(run).best() is None


def test_a_folder_without_a_run_is_an_error(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FileNotFoundError, match=r"holds no run: there is no config.json; give the folder of a run"):
            read_run(folder)
    with pytest.raises(FileNotFoundError, match=r"missing is no folder"):
        find_runs(tmp_path / "missing")


def test_all_runs_below_a_folder_are_found(tmp_path):
    for name in ("b/log.jsonl", "a/deep/last.safetensors", "c/model.safetensors", ".old/log.jsonl", "no_config/log.jsonl"):
        begin_file(tmp_path / name)
        if "no_config" not in name:
            begin_file((tmp_path / name).with_name("config.json"))
    begin_file(tmp_path / "only_config" / "config.json")
    assert find_runs(tmp_path) == [tmp_path / "a/deep", tmp_path / "b", tmp_path / "c"]
    assert find_runs(tmp_path / "b") == [tmp_path / "b"]


# --- TensorBoard ---


def test_without_tensorboard_the_error_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # an import of it fails
    with pytest.raises(ImportError, match=r"pip install tensorboard"):
        to_tensorboard(read_run(run), tmp_path / "board")
    assert not (tmp_path / "board").exists()


@pytest.mark.filterwarnings("ignore")  # tensorboard's own
def test_tensorboard_is_given_the_curves(run, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record = read_run(run)
    events = EventAccumulator(str(to_tensorboard(record, tmp_path / "board")))
    events.Reload()
    written = [(event.step, event.value) for event in events.Scalars("accuracy/validation")]
    assert written == [(row["step"], pytest.approx(row["val_accuracy"]["mean"])) for row in record.rows]
    assert set(events.Tags()["scalars"]) == {"loss/training", "loss/validation", "accuracy/validation"}


# --- in words ---


def test_every_learner_says_what_its_training_loss_is():
    assert TRAINING_LOSSES.keys() == CONFIGS.keys()
    for name in (*CONFIGS, None, "of somebody else"):
        assert describe_training_loss(name).endswith("not comparable with the validation's")


def test_a_line_of_the_log_reads_well():
    line = {"step": 2, "train_loss": 2.0, "val_accuracy": {"mean": 0.5, "half_width": 0.1}, "val_loss": {"mean": 1.0, "half_width": 0.1}}
    said = describe_row({**line, "best": True}, "reptile")
    assert "step 2: 50.0 ± 10.0 %, cross entropy 1.000 ± 0.100, the best so far; training loss 2.000 (cross entropy on the pictures" in said
    assert "the best" not in describe_row(line) and "training loss unknown (of its own training tasks" in describe_row(
        {**line, "train_loss": None}
    )
