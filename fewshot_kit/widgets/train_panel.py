"""The panel of a meta-training: choose its settings, start, watch, stop, go on, and begin another."""

import asyncio
import html
import time
from collections.abc import Callable
from functools import partial

import ipywidgets as widgets

from fewshot_kit import plots
from fewshot_kit.data.cancelling import Check
from fewshot_kit.demo.training import Progress, SettingError, TrainingSession
from fewshot_kit.results import Interval
from fewshot_kit.training.runs import RunRecord, describe_training_loss
from fewshot_kit.widgets.controls import Picture, StatusLine, styles, text
from fewshot_kit.widgets.training_settings import TrainingSettings
from fewshot_kit.widgets.worker import Worker

FRAME_SECONDS = 0.5  # at least, between two texts of a training under way
# What the training says to who calls it or types a command, as it is called in the panel.
WORDS = {
    "meta_lr": "outer learning rate",
    "add --resume to go on with it, or choose another folder with --out": "press Resume to go on with it, or New run for another folder",
    "resume with the same settings, or choose another folder": "press New run for another folder",
}


class TrainPanel(widgets.VBox):
    """Watch a meta-training. Stop ends it after the step in progress and saves it; Resume goes on to the very same weights."""

    def __init__(self, session: TrainingSession):
        self.session = session
        self.error: Exception | None = None  # what ended the last training
        self.worker = Worker(self._show_error)
        self._state = "idle"  # or "training", or "stopping": what the worker is about
        self._shown = 0.0  # when the progress was
        self.settings = TrainingSettings(session, self._settings_changed)
        self.curves_image = Picture()
        layout = widgets.Layout(width="100%", max_width="960px", overflow="hidden")
        super().__init__([styles(), self.settings, self._buttons(), self._texts(), self.curves_image], layout=layout)
        for name in ("settings", "progress", "status", "validation", "place", "curves_image"):
            getattr(self, name).add_class(f"fewshot-{name.replace('_', '-')}")  # for styles, and to find it in the page
        self._show_run()

    def _buttons(self) -> widgets.HBox:
        self.start_button = widgets.Button(description="Start", button_style="success", icon="play")
        self.stop_button = widgets.Button(description="Stop", icon="stop")
        self.resume_button = widgets.Button(description="Resume", icon="forward")
        self.new_button = widgets.Button(description="New run", icon="plus")
        self.start_button.on_click(lambda _: self._told(self.start))
        self.stop_button.on_click(lambda _: self._told(self.stop))
        self.resume_button.on_click(lambda _: self._told(partial(self.start, resume=True)))
        self.new_button.on_click(lambda _: self._told(self.new_run))
        buttons = [self.start_button, self.stop_button, self.resume_button, self.new_button]
        return widgets.HBox(buttons, layout=widgets.Layout(flex_flow="row wrap"))

    def _texts(self) -> widgets.VBox:
        self.bar = widgets.IntProgress(layout=widgets.Layout(width="auto", height="16px"))
        self.progress, self.place, self.validation = text(), text(), text(min_height="66px")  # three lines at 900 pixels
        self.status = StatusLine(layout=widgets.Layout(width="auto", min_height="48px"))
        self.status.add_class("fewshot-text")
        return widgets.VBox([self.bar, self.progress, self.status, self.validation, self.place])

    # What a person does. Each returns at once; the work runs in the worker.

    def start(self, *, resume: bool = False) -> None:
        """Begin the run with the settings on show, or with `resume` go on with it.

        Raises RuntimeError while it is under way, SettingError for a setting that cannot be.
        """
        if self._state == "training":
            raise RuntimeError("this training is under way; stop it first")
        if self.session.is_new:
            self.session.choose(self.settings.choice)
        self.error, self._state = None, "training"
        self._show_controls()
        self.worker.submit(partial(self._train, resume))

    def stop(self) -> None:
        """Stop after the step in progress, and save."""
        if self._state == "training":
            self._state = "stopping"
            self.status.say("stopping after this step …")
            self._show_controls()
        self.worker.submit(lambda check: self._show_state())  # it cancels the training, and runs when that has saved its state

    def new_run(self) -> None:
        """Take a fresh folder, and let the person choose the settings again. Raises RuntimeError while a training is under way."""
        if self._state != "idle":
            raise RuntimeError("this training is under way; stop it first")
        self.error = None
        self.session.new_run()
        self._show_run()

    async def finished(self) -> bool:
        """Wait until the training ends and say whether it came to its end: `await panel.finished()`, during which the buttons work.

        False after Stop: the panel says how to go on. Raises what ended the training. Interrupting the kernel stops it as the button does.
        """
        try:
            await asyncio.to_thread(self.worker.wait)
        except asyncio.CancelledError:
            self.stop()
            self.worker.wait()
            raise
        return self._has_finished()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait as `finished` does where there is no event loop; TimeoutError after `timeout` seconds."""
        try:
            self.worker.wait(timeout)
        except KeyboardInterrupt:
            self.stop()
            self.worker.wait()
            raise
        return self._has_finished()

    def _has_finished(self) -> bool:
        if self.error is not None:
            raise self.error
        return self.session.is_finished

    def _told(self, action: Callable[[], None]) -> None:
        """Do what a button is for; what goes wrong is told in the panel: the callback of a button has nobody else."""
        try:
            action()
        except Exception as error:
            self._show_error(error)

    def _settings_changed(self) -> None:
        choice = self.settings.choice
        problems = self.session.problems(choice)
        self.settings.mark(problems)
        self.error = None
        if not problems:
            self._told(partial(self.session.choose, choice))
        if self.error is None and not problems:
            self._show_run()
        self.start_button.disabled = bool(problems)
        if problems:
            self.status.say("not started: change the settings marked ⚠, then press Start")

    # What the worker does.

    def _train(self, resume: bool, check: Check) -> None:
        self._state = "training"  # again: one that was just stopped has shown its own in between
        self._show_controls()
        self.status.say(f"loading {html.escape(self.session.choice.dataset)} …")
        try:
            on_step = partial(self._show_progress, check)
            self.session.train(resume=resume, on_step=on_step, on_evaluation=lambda row: self._show_rows())
            if not self._is_stopping():
                self._show_state()
        except Exception as error:  # here, not in the worker: that keeps silent of what was stopped, and a state may fail to be saved
            self._show_error(error)

    def _is_stopping(self) -> bool:
        return self._state == "stopping"

    def _show_progress(self, check: Check, progress: Progress) -> None:
        now, is_last = time.perf_counter(), progress.step == progress.n_steps or self._is_stopping()
        if is_last or now - self._shown > FRAME_SECONDS:
            self._shown, self.bar.value, self.progress.value = now, progress.step, html.escape(str(progress))
            self.status.say("stopping …" if self._is_stopping() else "training")
        check()

    def _show_run(self) -> None:
        """Show the session's run, which is another than before."""
        self.settings.show(self.session.choice)
        n_steps, step = self.session.config.outer_steps, self.session.step
        self.bar.max, self.bar.value = n_steps, step
        self.progress.value = f"step {step} of {n_steps}"
        self.place.value = f"<small>folder: {html.escape(str(self.session.folder))}</small>"
        self._show_rows()
        self._show_state()

    def _show_rows(self) -> None:
        record = self.session.record()
        self.validation.value = _describe(record)
        figure = plots.curves_figure(self.session.curves(), self.session.config.outer_steps)
        self.curves_image.show_figure(figure)

    def _show_state(self) -> None:
        """Show where the run stands when nothing is done to it."""
        self._state = "idle"
        self._show_controls()  # before the words: who reads them may press at once
        if self.error is None:
            self.status.say(self._where_it_stands())

    def _where_it_stands(self) -> str:
        session = self.session
        if session.is_new:
            return "not started: choose the settings, then press Start"
        if session.is_finished:
            return "finished. New run begins another one, in a folder of its own"
        now = "The cells below take the best weights so far" if session.record().rows else "Nothing was validated yet"
        return f"stopped at step {session.step}: Resume goes on to the same weights as if it had never been stopped. {now}"

    def _show_controls(self) -> None:
        is_idle, is_new = self._state == "idle", self.session.is_new
        self.settings.lock(not (is_idle and is_new))
        self.stop_button.disabled = self._state != "training"
        self.start_button.disabled = not (is_idle and is_new)
        self.resume_button.disabled = not is_idle or is_new or self.session.is_finished
        self.new_button.disabled = not is_idle or is_new

    def _show_error(self, error: Exception) -> None:
        self.error, self._state = error, "idle"
        if isinstance(error, SettingError):
            self.settings.mark({error.name: str(error)})
        self._show_controls()
        self.status.show_error(_for_a_person(error))


def _for_a_person(error: Exception) -> Exception:
    """Return the error with the panel's words in its message."""
    message = str(error)
    for name, words in WORDS.items():
        message = message.replace(name, words)
    return RuntimeError(message) if message != str(error) else error


def _describe(record: RunRecord | None) -> str:
    """Write the last validation as HTML, and what the training loss beside it is."""
    if record is None or not record.rows:
        return "no validation yet"
    row = record.rows[-1]
    loss, is_best = Interval(**row["val_loss"]), ", <b>the best so far</b>" if row.get("best") else ""
    training = "" if row["train_loss"] is None else f"training loss {row['train_loss']:.3f}: {describe_training_loss(record.learner)}"
    return (
        f"validation at step {row['step']}: <b>{Interval(**row['val_accuracy']).percent()}</b>, cross entropy {loss}{is_best}"
        f"<br><small>{html.escape(training)}</small>"
    )
