"""Runs as they are read: what train and evaluate wrote is what is shown, and a damaged file is named."""

import json
import math
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from synthetic import CONFIG, noisy_images

from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.evaluate import evaluate
from fewshot_kit.learners import NearestPrototype
from fewshot_kit.learners.fine_tune import Cancelled
from fewshot_kit.training import train as train_module
from fewshot_kit.training.cards import export_run, record_result
from fewshot_kit.training.checkpoints import write_text
from fewshot_kit.training.runs import (
    Progress,
    RunRecord,
    TrainingSession,
    describe_row,
    find_runs,
    html_table,
    markdown_table,
    read_run,
    results_table,
    to_tensorboard,
)
from fewshot_kit.training.train import CONFIG as RUN_CONFIG
from fewshot_kit.training.train import LOG, RESULT, TrainConfig, finish, open_run, train

TRAIN = TrainConfig(dataset="noisy", n_way=3, n_query=2, outer_steps=6, meta_lr=0.01, evaluate_every=2, evaluation_episodes=3)
AWKWARD = ("<script>alert(1)</script>", "a|b\nc", "$x^2$ `*[link](http://x)*`", "& <b>bold</b>")


def noisy_split(name: str, split: str, *, preprocessing, samples_per_class: int | None = None):
    """Stand in for load_dataset."""
    images = replace(noisy_images(size=preprocessing.size), split=split)
    return images if samples_per_class is None else images.first(samples_per_class)


@pytest.fixture(autouse=True)
def _synthetic_data(monkeypatch):
    monkeypatch.setattr(train_module, "load_dataset", noisy_split)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Return the folder of a finished run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "load_dataset", noisy_split)
        run = open_run(tmp_path_factory.mktemp("runs") / "whole", "reptile", CONFIG, replace(TRAIN, samples_per_class=5))
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
    assert record.settings["training"]["samples_per_class"] == 5
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
    session = TrainingSession(tmp_path / "run", "reptile", CONFIG, replace(TRAIN, outer_steps=1, evaluation_episodes=1))
    assert session.train()
    curves = session.record().curves()
    assert np.isnan(curves["val_accuracy_half_width"]).all() and np.isfinite(curves["val_accuracy"]).all()


def test_a_run_that_has_just_begun_has_no_rows(tmp_path):
    open_run(tmp_path / "run", "reptile", CONFIG, TRAIN)
    record = read_run(tmp_path / "run")
    assert record.rows == record.results == () and record.curves()["step"].shape == (0,)


@pytest.mark.parametrize("end", ['{"step": 8, "train_lo', '{"step": 8, "train_lo\n', "\n"])
def test_a_last_line_cut_short_is_passed_over(run, whole, end):
    with open(run / LOG, "a", encoding="utf-8") as log:
        log.write(end)
    assert read_run(run).rows == read_run(whole).rows


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (LOG, '{"step": 1\n{"step": 2}\n', r"log.jsonl, line 1 is not valid JSON"),
        (LOG, '{"step": 1}\n', r"log.jsonl, line 1 is no validation: it needs step, train_loss"),
        (LOG, "[1]\n", r"line 1 is no validation"),
        (RUN_CONFIG, '{"learner": ', r"config.json is not valid JSON .* mend it or take it away"),
        (RUN_CONFIG, "[]", r"config.json holds no JSON object"),
        (RUN_CONFIG, '{"model_type": "bert"}', r"names no learner and training: it is no run of this kit"),
        (RESULT, "", r"result.json is not valid JSON"),
        ("results/a.json", '{"accuracy": 1}', r"a.json is no measurement of `evaluate --json`: it lacks loss, dataset"),
    ],
)
def test_a_damaged_file_is_named(run, name, content, message):
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        read_run(run)
    assert str(run / name) in str(caught.value)


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


# --- tables ---


def test_the_table_holds_every_measurement_with_its_protocol(run):
    validation = json.loads((run / RESULT).read_text(encoding="utf-8"))
    measured = [measure(seed=1), measure(seed=2, transductive=True)]
    for name, result in zip("ab", measured, strict=True):
        write_text(run / "results" / f"{name}.json", result.to_json() + "\n")
    table = results_table([read_run(run)])
    assert [row["accuracy"].mean for row in table] == [validation["accuracy"]["mean"], *(result.accuracy.mean for result in measured)]
    assert [row["loss"] for row in table[1:]] == [result.loss for result in measured]
    assert [row["mode"] for row in table] == ["inductive", "inductive", "transductive"]
    assert [row["split"] for row in table] == ["val", "test", "test"]
    assert {row["samples_per_class"] for row in table} == {5} and {row["run"] for row in table} == {"copy"}
    assert (table[0]["inner_lr"], table[0]["inner_steps"]) == (CONFIG.inner_lr, CONFIG.inner_steps)
    assert (table[1]["inner_lr"], table[1]["inner_steps"]) == (None, None)


class Cells(HTMLParser):
    """Collect the texts of an HTML table's cells, row by row, and every tag."""

    def __init__(self, text: str):
        super().__init__()
        self.rows, self.tags = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        self.rows[-1][-1] += data


def awkward_record(name: str) -> RunRecord:
    result = {**measure().to_dict(), "dataset": name}
    return RunRecord(name, Path(name), name, {"training": {}}, (), (result,))


@pytest.mark.parametrize("name", AWKWARD)
def test_no_name_breaks_a_table(name):
    table = results_table([awkward_record(name), awkward_record("plain")])
    shown = Cells(html_table(table))
    assert shown.tags == {"table", "thead", "tbody", "tr", "th", "td"}
    assert shown.rows[1][:2] == [name, name] and len({len(row) for row in shown.rows}) == 1

    lines = markdown_table(table).splitlines()
    assert len(lines) == 4 and len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "<" not in lines[2] and not re.search(r"(?<!\\)[$`\[*]", lines[2])


def test_both_tables_show_the_same(run):
    table = results_table([read_run(run)])
    (line,) = markdown_table(table).splitlines()[2:]
    assert [cell.strip() for cell in line.strip("|").split("|")] == Cells(html_table(table)).rows[1]
    accuracy = table[0]["accuracy"]
    assert f"{100 * accuracy.mean:.1f} ± {100 * accuracy.half_width:.1f} %" in line and "| noisy val | 3 | 1 |" in line
    assert markdown_table([]).count("\n") == 1


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


# --- a training that is watched ---


def test_a_session_reports_every_step_and_every_validation(tmp_path):
    session, steps, rows = TrainingSession(tmp_path / "run", "reptile", CONFIG, TRAIN), [], []
    assert session.is_new and session.record() is None
    assert session.train(on_step=steps.append, on_evaluation=rows.append)
    assert [progress.step for progress in steps] == [1, 2, 3, 4, 5, 6] and {progress.n_steps for progress in steps} == {6}
    assert tuple(rows) == session.record().rows and session.is_finished and not session.is_new
    assert math.isnan(steps[0].steps_per_second) and all(progress.steps_per_second > 0 for progress in steps[1:])


def test_the_smoothed_loss_is_between_the_losses_and_starts_with_the_first(tmp_path):
    session, steps = TrainingSession(tmp_path / "run", "reptile", CONFIG, replace(TRAIN, evaluate_every=1)), []
    session.train(on_step=steps.append)
    losses = [row["train_loss"] for row in session.record().rows]  # each of one step
    assert steps[0].loss == pytest.approx(losses[0])
    assert steps[1].loss == pytest.approx((0.9 * losses[0] + losses[1]) / 1.9)
    assert min(losses) < steps[-1].loss < max(losses)


def test_a_session_that_was_cancelled_is_not_finished(tmp_path):
    def stop(progress):
        if progress.step == 3:
            raise Cancelled

    session = TrainingSession(tmp_path / "run", "reptile", CONFIG, TRAIN)
    assert not session.train(on_step=stop) and not session.is_finished and session.run.step == 3
    steps = []
    assert session.train(resume=True, on_step=steps.append) and [progress.step for progress in steps] == [4, 5, 6]


def test_progress_reads_well():
    assert str(Progress(1, 60, 1.5, math.nan)) == "step 1 of 60 · training loss 1.500 (smoothed)"
    assert str(Progress(20, 60, 1.5, 4.0)) == "step 20 of 60 · 4 steps/s · 0:10 left · training loss 1.500 (smoothed)"
    assert " · 2:46:40 left" in str(Progress(0, 12000, 1.5, 1.2))
    assert "step 2: 50.0 ± 10.0 %, cross entropy 1.000 ± 0.100, the best so far" in describe_row(
        {
            "step": 2,
            "train_loss": 2.0,
            "val_accuracy": {"mean": 0.5, "half_width": 0.1},
            "val_loss": {"mean": 1.0, "half_width": 0.1},
            "best": True,
        }
    )
