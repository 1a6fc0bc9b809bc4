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
from PIL import Image
from synthetic import CONFIG, noisy_images, same_state

from fewshot_kit.learners.fine_tune import Cancelled
from fewshot_kit.training import train as train_module
from fewshot_kit.training.runs import TrainingSession, read_run
from fewshot_kit.training.train import BEST, LAST, Run, TrainConfig, open_run, train
from fewshot_kit.widgets import TrainPanel
from fewshot_kit.widgets import train_panel as module

TIMEOUT = 60
TRAIN = TrainConfig(dataset="noisy", n_way=3, n_query=2, outer_steps=9, meta_lr=0.01, evaluate_every=3, evaluation_episodes=3)
BUTTONS = ("start", "stop", "resume")
UNSTARTED, TRAINING, STOPPED, FINISHED = ["start"], ["stop"], ["resume"], []


def noisy_split(name: str, split: str, *, preprocessing, samples_per_class: int | None = None):
    """Stand in for load_dataset."""
    return replace(noisy_images(size=preprocessing.size), split=split)


@pytest.fixture(autouse=True)
def _synthetic_data(monkeypatch):
    monkeypatch.setattr(train_module, "load_dataset", noisy_split)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "load_dataset", noisy_split)
        run = open_run(tmp_path_factory.mktemp("runs") / "run", "reptile", CONFIG, TRAIN)
        assert train(run)
        return run.folder


def make_panel(folder: Path, **changes) -> TrainPanel:
    return TrainPanel(TrainingSession(folder, "reptile", CONFIG, replace(TRAIN, **changes)))


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
    """Run a button's handlers; `click()` would swallow their exceptions."""
    button = getattr(panel, f"{name}_button")
    assert not button.disabled, f"{name} cannot be pressed"
    for handler in button._click_handlers.callbacks:
        handler(button)


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
    assert f"validation at step 9: {100 * last['mean']:.1f} ±" in panel.validation.value


@pytest.mark.parametrize("stop_after", [3, 8])
def test_stopped_and_resumed_it_ends_in_the_very_same_weights(panel, uninterrupted, monkeypatch, stop_after):
    press(panel, "start")
    stop_in_the_middle(panel, Gate(monkeypatch, stop_after - 1))
    assert panel.session.run.step == panel.bar.value == stop_after and enabled(panel) == STOPPED
    assert f"stopped at step {stop_after}" in panel.status.value and f"step {stop_after} of 9" in panel.progress.value
    with pytest.raises(Cancelled, match="press Resume"):
        panel.wait()
    press(panel, "resume")
    panel.wait(TIMEOUT)
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
    assert open_run(panel.session.folder, "reptile", CONFIG, TRAIN, resume=True).step == panel.session.run.step


def test_a_cell_that_awaits_leaves_the_buttons_working(panel, uninterrupted, monkeypatch):
    gate = Gate(monkeypatch, 4)

    async def cell_and_person():
        cell = asyncio.ensure_future(panel.finished())
        while not gate.reached.is_set():
            await asyncio.sleep(0.01)
        assert not cell.done()
        press(panel, "stop")
        gate.opened.set()
        with pytest.raises(Cancelled, match="press Resume"):
            await cell

    panel.start()
    asyncio.run(cell_and_person())
    panel.worker.wait(TIMEOUT)
    press(panel, "resume")
    asyncio.run(panel.finished())
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
    panel._shown = module.time.perf_counter()
    panel.progress.observe(lambda change: sent.append(change["new"]), "value")
    panel.start()
    panel.wait(TIMEOUT)
    assert len(sent) == 1 and "step 9 of 9" in sent[0]


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
        assert "Error" in panel.status.value and "lower meta_lr" in panel.status.value and enabled(panel) == STOPPED
    assert all(value.isfinite().all() for value in safetensors.torch.load_file(panel.session.folder / LAST).values())
    press(panel, "resume")
    panel.wait(TIMEOUT)
    assert "Error" not in panel.status.value
    assert_same_weights(panel.session.folder, uninterrupted)


def test_a_folder_that_holds_a_run_is_an_error_to_start_in(panel):
    open_run(panel.session.folder, "reptile", CONFIG, replace(TRAIN, seed=1)).save()
    panel.start()
    with pytest.raises(FileExistsError, match="holds a run already"):
        panel.wait(TIMEOUT)
    assert "Error" in panel.status.value and enabled(panel) == STOPPED
    panel.start(resume=True)
    with pytest.raises(ValueError, match="begun with another seed"):
        panel.wait(TIMEOUT)


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

    monkeypatch.setattr(train_module, "load_dataset", missing)
    panel.start()
    with pytest.raises(ConnectionError):
        panel.wait(TIMEOUT)
    assert "no network to fetch &lt;omniglot&gt;" in panel.status.value and panel.stop_button.disabled


def test_nothing_in_the_panel_captures_output_or_trusts_html(tmp_path):
    panel = make_panel(tmp_path / "<b>run</b>", dataset="<b>noisy</b>")
    seen = []
    for name in ("status", "progress", "validation"):
        getattr(panel, name).observe(lambda change: seen.append(change["new"]), "value")
    panel.start()
    panel.wait(TIMEOUT)
    assert any("&lt;b&gt;noisy" in text for text in seen) and not any("<b>noisy" in text or "<b>run" in text for text in seen)
    assert not [child for box in panel.children for child in getattr(box, "children", [box]) if isinstance(child, widgets.Output)]
