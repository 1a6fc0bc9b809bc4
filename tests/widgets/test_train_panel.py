"""The panel of a training without a browser: what it shows in every state, and that it changes nothing of what is learned."""

import asyncio
import io
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ipywidgets as widgets
import pytest
import safetensors.torch
from panels import press as press_button
from panels import tree
from PIL import Image
from synthetic import CONFIG, noisy_images, same_state, train_on

from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.demo import training as session_module
from fewshot_kit.demo.training import SettingError, TrainingSession
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.runs import read_run
from fewshot_kit.training.train import BEST, LAST, Run, open_run, train
from fewshot_kit.widgets import TrainPanel
from fewshot_kit.widgets import train_panel as module

TIMEOUT = 60
TRAIN = TrainConfig(
    source=TaskSource("noisy"), val_way=3, val_query=2, outer_steps=9, meta_lr=0.01, evaluate_every=3, evaluation_episodes=3
)
BUTTONS = ("start", "stop", "resume", "new")
UNSTARTED, TRAINING, STOPPED, FINISHED = ["start"], ["stop"], ["resume", "new"], ["new"]


def noisy_split(name: str, split: str, *, preprocessing, samples_per_class: int | None = None):
    """Stand in for load_dataset."""
    return replace(noisy_images(size=preprocessing.size), split=split)


@pytest.fixture(autouse=True)
def _synthetic_data(monkeypatch):
    train_on(monkeypatch, noisy_split)
    monkeypatch.setattr(session_module, "load_dataset", noisy_split)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        train_on(patch, noisy_split)
        run = open_run(tmp_path_factory.mktemp("runs") / "run", CONFIG, TRAIN)
        assert train(run)
        return run.folder


def make_panel(folder: Path, **changes) -> TrainPanel:
    return TrainPanel(TrainingSession(folder, CONFIG, replace(TRAIN, **changes)))


@pytest.fixture
def panel(tmp_path) -> Iterator[TrainPanel]:
    panel = make_panel(tmp_path / "run")
    yield panel
    panel.stop()
    panel.worker.wait(TIMEOUT)


class Gate:
    """Hold a panel's training before the step that follows `step`, until it is opened."""

    def __init__(self, monkeypatch, step: int):
        self.reached, self.opened, self.outer_step = threading.Event(), threading.Event(), Run.outer_step
        self.step = step
        monkeypatch.setattr(Run, "outer_step", lambda run, *arguments: self.take(run, *arguments))

    def take(self, run: Run, *arguments) -> float:
        if run.step == self.step and not self.opened.is_set():
            self.reached.set()
            assert self.opened.wait(TIMEOUT)
        return self.outer_step(run, *arguments)


def enabled(panel: TrainPanel) -> list[str]:
    return [name for name in BUTTONS if not getattr(panel, f"{name}_button").disabled]


def press(panel: TrainPanel, name: str) -> None:
    button = getattr(panel, f"{name}_button")
    assert not button.disabled, f"{name} cannot be pressed"
    press_button(button)


def stop_in_the_middle(panel: TrainPanel, gate: Gate) -> None:
    assert gate.reached.wait(TIMEOUT)
    press(panel, "stop")
    gate.opened.set()
    panel.worker.wait(TIMEOUT)


def size(panel: TrainPanel) -> tuple[int, int]:
    return Image.open(io.BytesIO(panel.curves_image.value)).size


def assert_same_weights(folder: Path, other: Path) -> None:
    for name in (LAST, BEST):
        assert same_state(safetensors.torch.load_file(folder / name), safetensors.torch.load_file(other / name)), name


def test_a_new_panel_waits_for_start(panel):
    assert enabled(panel) == UNSTARTED and "not started" in panel.status.value and "no validation yet" in panel.validation.value
    assert panel.bar.value == 0 and "step 0 of 9" in panel.progress.value and panel.session.is_new


def test_start_trains_to_the_very_weights_of_a_run_without_a_panel(panel, uninterrupted):
    press(panel, "start")
    assert enabled(panel) == TRAINING
    panel.wait(TIMEOUT)
    assert_same_weights(panel.session.folder, uninterrupted)
    assert panel.bar.value == panel.bar.max == 9 and "step 9 of 9" in panel.progress.value
    assert enabled(panel) == FINISHED and "finished" in panel.status.value
    last = read_run(uninterrupted).rows[-1]["val_accuracy"]
    assert f"validation at step 9: <b>{100 * last['mean']:.1f} ±" in panel.validation.value
    assert "before the last inner step; not comparable" in panel.validation.value  # what Reptile's training loss is


@pytest.mark.parametrize("stop_after", [3, 8])
def test_stopped_and_resumed_it_ends_in_the_very_same_weights(panel, uninterrupted, monkeypatch, stop_after):
    press(panel, "start")
    stop_in_the_middle(panel, Gate(monkeypatch, stop_after - 1))
    assert panel.session.run.step == panel.bar.value == stop_after and enabled(panel) == STOPPED
    assert f"stopped at step {stop_after}" in panel.status.value and f"step {stop_after} of 9" in panel.progress.value
    assert panel.wait() is False and "Resume goes on" in panel.status.value
    press(panel, "resume")
    assert panel.wait(TIMEOUT) is True
    assert_same_weights(panel.session.folder, uninterrupted)
    assert [row["step"] for row in panel.session.record().rows] == [3, 6, 9] and enabled(panel) == FINISHED


def test_another_panel_takes_up_what_one_has_stopped(panel, uninterrupted, monkeypatch):
    press(panel, "start")
    stop_in_the_middle(panel, Gate(monkeypatch, 4))
    other = make_panel(panel.session.folder)
    assert enabled(other) == STOPPED and other.bar.value == 3 and "validation at step 3" in other.validation.value
    press(other, "resume")
    other.wait(TIMEOUT)
    assert_same_weights(panel.session.folder, uninterrupted)
    third = make_panel(panel.session.folder)
    third.start(resume=True)
    third.wait(TIMEOUT)
    assert enabled(third) == FINISHED and "finished" in third.status.value and third.bar.value == 9


def test_stopping_before_it_begins_and_starting_again_at_once(panel, uninterrupted, monkeypatch):
    gate = Gate(monkeypatch, 2)
    panel.start()
    panel.stop()
    panel.start(resume=True)
    stop_in_the_middle(panel, gate)
    assert enabled(panel) == STOPPED
    panel.start(resume=True)
    panel.wait(TIMEOUT)
    assert_same_weights(panel.session.folder, uninterrupted)


def test_two_trainings_at_once_are_refused(panel, monkeypatch):
    gate = Gate(monkeypatch, 1)
    panel.start()
    with pytest.raises(RuntimeError, match="under way; stop it first"):
        panel.start(resume=True)
    stop_in_the_middle(panel, gate)
    assert panel.session.run.step == 2


def test_interrupting_the_wait_stops_and_saves(panel, monkeypatch):
    gate, wait = Gate(monkeypatch, 4), panel.worker.wait

    def interrupted(timeout=None):
        monkeypatch.setattr(panel.worker, "wait", wait)
        assert gate.reached.wait(TIMEOUT)
        gate.opened.set()
        raise KeyboardInterrupt

    panel.start()
    monkeypatch.setattr(panel.worker, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        panel.wait()
    assert enabled(panel) == STOPPED and panel.session.run.step >= 5
    assert open_run(panel.session.folder, CONFIG, TRAIN, resume=True).step == panel.session.run.step


def test_a_cell_that_awaits_leaves_the_buttons_working(panel, uninterrupted, monkeypatch):
    gate = Gate(monkeypatch, 4)

    async def cell_and_person():
        cell = asyncio.ensure_future(panel.finished())
        while not gate.reached.is_set():
            await asyncio.sleep(0.01)
        assert not cell.done()
        press(panel, "stop")
        gate.opened.set()
        assert await cell is False

    panel.start()
    asyncio.run(cell_and_person())
    panel.worker.wait(TIMEOUT)
    press(panel, "resume")
    assert asyncio.run(panel.finished()) is True
    assert_same_weights(panel.session.folder, uninterrupted)


def test_interrupting_a_cell_that_awaits_stops_and_saves(panel, monkeypatch):
    gate = Gate(monkeypatch, 4)

    async def interrupted_cell():
        cell = asyncio.ensure_future(panel.finished())
        await asyncio.to_thread(gate.reached.wait, TIMEOUT)
        cell.cancel()
        threading.Timer(0.1, gate.opened.set).start()
        await cell

    panel.start()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted_cell())
    assert enabled(panel) == STOPPED and panel.session.run.step == 5


def test_every_picture_has_one_size_and_every_validation_a_new_one(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FRAME_SECONDS", 0)
    panel, pictures, steps = make_panel(tmp_path / "run"), [], []
    panel.curves_image.observe(lambda change: pictures.append(change["new"]), "value")
    panel.progress.observe(lambda change: steps.append(int(re.search(r"step (\d+)", change["new"])[1])), "value")
    before = size(panel)
    panel.start()
    panel.wait(TIMEOUT)
    assert len(pictures) == len(set(pictures)) == 3 and {Image.open(io.BytesIO(picture)).size for picture in pictures} == {before}
    assert steps == list(range(1, 10))


def test_texts_are_not_sent_at_every_step(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FRAME_SECONDS", TIMEOUT)
    panel, sent = make_panel(tmp_path / "run"), []
    panel.progress.observe(lambda change: sent.append(change["new"]), "value")
    panel.start()
    panel.wait(TIMEOUT)
    assert 1 <= len(sent) <= 2 and "step 9 of 9" in sent[-1], "perhaps the first, and the last"


# --- errors ---


def test_a_diverged_run_is_told_and_its_state_kept(panel, uninterrupted, monkeypatch):
    class Diverges(Gate):
        def take(self, run, *arguments):
            if run.step == self.step:
                next(run.learner.parameters()).data.fill_(float("nan"))
            return super().take(run, *arguments)

    with monkeypatch.context() as patch:
        Diverges(patch, 4).opened.set()
        panel.start()
        with pytest.raises(FloatingPointError, match="training has diverged"):
            panel.wait(TIMEOUT)
        assert "Error" in panel.status.value and "lower outer learning rate" in panel.status.value and enabled(panel) == STOPPED
    assert all(value.isfinite().all() for value in safetensors.torch.load_file(panel.session.folder / LAST).values())
    press(panel, "resume")
    panel.wait(TIMEOUT)
    assert "Error" not in panel.status.value
    assert_same_weights(panel.session.folder, uninterrupted)


def test_a_folder_that_holds_a_run_is_an_error_to_start_in(panel):
    open_run(panel.session.folder, CONFIG, replace(TRAIN, seed=1)).save()
    panel.start()
    with pytest.raises(FileExistsError, match="holds a run already"):
        panel.wait(TIMEOUT)
    assert "Error" in panel.status.value and "press Resume" in panel.status.value and enabled(panel) == STOPPED
    panel.start(resume=True)
    with pytest.raises(ValueError, match="begun with another seed"):
        panel.wait(TIMEOUT)
    assert "press New run" in panel.status.value and "--out" not in panel.status.value


@pytest.mark.parametrize("drawing", ["curves_figure", "png"])
def test_an_error_in_a_callback_is_never_swallowed(panel, monkeypatch, drawing):
    def fail(*arguments):
        raise RuntimeError("boom <script>alert(1)</script>")

    with monkeypatch.context() as patch:
        patch.setattr(module.plots, drawing, fail)
        panel.start()
        with pytest.raises(RuntimeError, match="boom"):
            panel.wait(TIMEOUT)
    assert "boom &lt;script&gt;" in panel.status.value and enabled(panel) == STOPPED


def test_a_state_that_cannot_be_saved_after_stop_is_told(panel, monkeypatch):
    def full(run):
        raise OSError(28, "No space left on device")

    gate = Gate(monkeypatch, 1)
    monkeypatch.setattr(Run, "save", full)
    panel.start()
    stop_in_the_middle(panel, gate)
    assert "No space left" in panel.status.value
    with pytest.raises(OSError, match="No space left"):
        panel.wait()


def test_a_missing_data_set_is_told_before_anything_is_written(panel, monkeypatch):
    def missing(*arguments, **settings):
        raise ConnectionError("no network to fetch <omniglot>")

    monkeypatch.setattr(session_module, "load_dataset", missing)
    monkeypatch.setattr("fewshot_kit.data.datasets.load_dataset", missing)
    panel.start()
    with pytest.raises(ConnectionError):
        panel.wait(TIMEOUT)
    assert "no network to fetch &lt;omniglot&gt;" in panel.status.value and enabled(panel) == UNSTARTED
    assert not panel.session.folder.exists()


def test_nothing_in_the_panel_captures_output_or_trusts_html(tmp_path):
    panel = make_panel(tmp_path / "<b>run</b>", source=TaskSource("<b>noisy</b>"))
    texts = [widget for widget in tree(panel) if isinstance(widget, widgets.HTML)]
    seen = [text.value for text in texts]
    for text in texts:
        text.observe(lambda change: seen.append(change["new"]), "value")
    panel.start()
    panel.wait(TIMEOUT)
    assert any("&lt;b&gt;noisy" in text for text in seen) and any("&lt;b&gt;run" in text for text in seen)
    assert not any("<b>noisy" in text or "<b>run" in text for text in seen)
    assert not [widget for widget in tree(panel) if isinstance(widget, widgets.Output)]


# --- settings ---

CONTROLS = {"learner", "dataset", "outer_steps", "outer_lr", "classes", "pictures", "width"}


def put(panel: TrainPanel, **values) -> None:
    """Set controls as a person does."""
    for name, value in values.items():
        panel.settings.controls[name].value = value


def is_locked(panel: TrainPanel) -> bool:
    locked = {control.disabled for control in panel.settings.controls.values()}
    assert len(locked) == 1, "all of them or none"
    return locked.pop()


def test_the_controls_begin_with_the_given_settings_and_lead_to_the_same_run(panel, uninterrupted):
    shown = {name: control.value for name, control in panel.settings.controls.items()}
    assert shown.keys() == CONTROLS
    assert (shown["learner"], shown["dataset"], shown["outer_steps"]) == ("reptile", "noisy", 9)
    assert (shown["outer_lr"], shown["classes"], shown["pictures"], shown["width"]) == (0.01, 3, 1, 8)
    put(panel, outer_steps=12, classes=4)
    put(panel, outer_steps=9, classes=3)  # there and back again
    panel.start()
    assert panel.wait(TIMEOUT)
    assert_same_weights(panel.session.folder, uninterrupted)


def test_what_a_person_sets_is_what_is_trained(panel):
    put(panel, learner="protonet", outer_steps=4, outer_lr=0.02, classes=4, pictures=2, width=16)
    panel.start()
    assert panel.wait(TIMEOUT)
    settings = panel.session.record().settings
    assert settings["learner"] == "protonet" and settings["hyper_parameters"]["network"]["width"] == 16
    assert settings["hyper_parameters"]["train_way"] == CONFIG.train_way  # the tasks are those of the given learner
    assert (settings["training"]["outer_steps"], settings["training"]["meta_lr"]) == (4, 0.02)
    assert panel.session.record().validated_on == ("noisy", 4, 2)
    assert panel.bar.max == panel.bar.value == 4 and panel.session.folder.name == "protonet-noisy"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("outer_steps", 0, "at least 1 step"),
        ("outer_lr", -1.0, "above 0"),
        ("outer_lr", float("nan"), "above 0"),
        ("classes", 1, "at least 2 classes"),
        ("pictures", 0, "at least 1 picture"),
        ("width", 12, "multiple of 8"),
        ("width", 0, "multiple of 8"),
    ],
)
def test_a_bad_value_is_told_beside_its_control_and_cannot_be_started(panel, name, value, message):
    good = panel.settings.controls[name].value
    before = {other: note.value for other, note in panel.settings.notes.items() if other != name}
    put(panel, **{name: value})
    assert message in panel.settings.notes[name].value and "⚠" in panel.settings.notes[name].value
    assert enabled(panel) == [] and "⚠" in panel.status.value
    if name != "classes":
        assert {other: note.value for other, note in panel.settings.notes.items() if other != name} == before
    with pytest.raises(SettingError, match=message):
        panel.start()
    assert not panel.session.folder.exists()
    put(panel, **{name: good})
    assert enabled(panel) == UNSTARTED and "⚠" not in panel.settings.notes[name].value + panel.status.value


def test_what_the_data_cannot_serve_is_told_beside_its_control(panel):
    for name, value, message in (("classes", 11, "has 10 classes"), ("pictures", 7, "at most 6 are left")):
        put(panel, **{name: value})
        panel.start()
        with pytest.raises(SettingError, match=message):
            panel.wait(TIMEOUT)
        assert message in panel.settings.notes[name].value and message in panel.status.value
        assert enabled(panel) == UNSTARTED and not is_locked(panel) and not panel.session.folder.exists()
        put(panel, **{name: 3})
    panel.start()
    assert panel.wait(TIMEOUT)


def test_a_learner_that_refuses_its_network_is_told(tmp_path):
    config = replace(CONFIG, network=replace(CONFIG.network, norm="running"))
    panel = TrainPanel(TrainingSession(tmp_path / "run", config, TRAIN))
    put(panel, learner="maml")
    assert "choose norm" in panel.settings.notes["learner"].value and enabled(panel) == []


def test_settings_are_grey_from_the_start_until_a_new_run(panel, monkeypatch):
    assert not is_locked(panel)
    gate = Gate(monkeypatch, 4)
    panel.start()
    assert is_locked(panel)
    with pytest.raises(RuntimeError, match="under way"):
        panel.new_run()
    stop_in_the_middle(panel, gate)
    assert is_locked(panel) and is_locked(make_panel(panel.session.folder))
    with pytest.raises(RuntimeError, match="its settings stay"):
        panel.session.choose(replace(panel.session.choice, classes=4))
    press(panel, "new")
    assert not is_locked(panel) and enabled(panel) == UNSTARTED


def test_a_new_run_overwrites_nothing(panel, uninterrupted):
    (panel.session.folder.parent / "run-2").mkdir()
    (panel.session.folder.parent / "run-2" / "notes.txt").write_text("mine", encoding="utf-8")
    panel.start()
    panel.wait(TIMEOUT)
    first = panel.session.folder
    press(panel, "new")
    assert panel.session.folder.name == "run-3" and "run-3" in panel.place.value
    assert "step 0 of 9" in panel.progress.value and "no validation yet" in panel.validation.value and panel.bar.value == 0
    put(panel, outer_steps=3)
    panel.start()
    assert panel.wait(TIMEOUT)
    assert_same_weights(first, uninterrupted)
    assert len(read_run(panel.session.folder).rows) == 3  # as many validations as were given
    assert [path.name for path in (first.parent / "run-2").iterdir()] == ["notes.txt"]


def test_the_rate_has_a_slider_and_a_box_that_takes_any_number(panel):
    panel.settings.rate_slider.value = 0.1
    assert panel.settings.controls["outer_lr"].value == pytest.approx(0.1) == panel.session.choice.outer_lr
    put(panel, outer_lr=7.0)
    assert panel.settings.rate_slider.value == pytest.approx(1.0) and panel.session.choice.outer_lr == 7.0
    put(panel, outer_lr=0.00234)
    assert panel.settings.rate_slider.value == pytest.approx(0.00234) and panel.session.choice.outer_lr == 0.00234


def test_every_control_and_picture_says_what_it_is(panel):
    described = {control.description for control in panel.settings.controls.values()} | {panel.settings.rate_slider.description}
    assert {"learner", "data set", "outer steps", "outer learning rate", "classes", "pictures each", "width"} <= described
    assert "no run yet" in panel.curves_image.tooltip
    panel.start()
    panel.wait(TIMEOUT)
    assert re.search(r"best \d+\.\d % at step \d", panel.curves_image.tooltip)
    words = " ".join(text.value for text in tree(panel) if isinstance(text, widgets.HTML))
    assert not re.search(r"n_way|n_shot|val_way|meta_lr|outer_steps", words)


# --- the best weights so far ---


def test_the_best_weights_so_far_are_measured_while_a_run_is_stopped(panel, monkeypatch):
    assert panel.session.best_learner() is panel.session.measure_best(2) is None and panel.session.curves() == []
    panel.start()
    stop_in_the_middle(panel, Gate(monkeypatch, 4))
    before = safetensors.torch.load_file(panel.session.folder / LAST)
    result = panel.session.measure_best(5)
    assert (result.n_way, result.n_shot, result.n_query, result.n_episodes, result.split) == (3, 1, 2, 5, "val")
    assert not (panel.session.folder / "result.json").exists(), "the weights may still become better"
    assert same_state(safetensors.torch.load_file(panel.session.folder / BEST), panel.session.best_learner().released_state())
    assert panel.session.best_learner() is not panel.session.run.learner
    press(panel, "resume")
    panel.wait(TIMEOUT)
    assert not same_state(before, safetensors.torch.load_file(panel.session.folder / LAST))
    assert panel.session.measure_best(5).n_episodes == 5 and read_run(panel.session.folder).results[0]["n_episodes"] == 5
