"""The panel of a meta-training: start, watch, stop, go on."""

import asyncio
import html
import time
from collections.abc import Callable
from functools import partial

import ipywidgets as widgets

from fewshot_kit import plots
from fewshot_kit.learners.fine_tune import Cancelled
from fewshot_kit.training.runs import Progress, TrainingSession, describe_row
from fewshot_kit.widgets.controls import StatusLine
from fewshot_kit.widgets.worker import Worker

FRAME_SECONDS = 0.5  # at least, between two texts of a training under way
Check = Callable[[], None]


class TrainPanel(widgets.VBox):
    """Watch a meta-training. Stop ends it after the step in progress and saves it; Resume goes on to the very same weights."""

    def __init__(self, session: TrainingSession):
        self.session = session
        self.error: Exception | None = None  # what ended the last training
        self.worker = Worker(self._show_error)
        self._shown = 0.0  # when the progress was
        self.curves_image = widgets.Image(format="png")
        super().__init__([self._controls(), self._texts(), self.curves_image], layout=widgets.Layout(width="960px"))
        for name in ("progress", "status", "validation", "curves_image"):
            getattr(self, name).add_class(f"fewshot-{name.replace('_', '-')}")  # for styles, and to find it in the page
        self.progress.value = f"step 0 of {session.config.outer_steps}"
        self._show_rows()
        self._show_state()

    def _controls(self) -> widgets.HBox:
        self.start_button = widgets.Button(description="Start", button_style="success", icon="play")
        self.stop_button = widgets.Button(description="Stop", icon="stop")
        self.resume_button = widgets.Button(description="Resume", icon="forward")
        self.start_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.stop())
        self.resume_button.on_click(lambda _: self.start(resume=True))
        return widgets.HBox([self.start_button, self.stop_button, self.resume_button])

    def _texts(self) -> widgets.VBox:
        self.bar = widgets.IntProgress(max=self.session.config.outer_steps, layout=widgets.Layout(width="300px"))
        self.progress, self.status, self.validation = widgets.HTML(), StatusLine(), widgets.HTML()
        return widgets.VBox([widgets.HBox([self.bar, self.progress]), self.status, self.validation])

    # What a person does. Each returns at once; the work runs in the worker.

    def start(self, *, resume: bool = False) -> None:
        """Begin the run, or with `resume` go on with it. Raises RuntimeError while it is under way."""
        if not self.stop_button.disabled:
            raise RuntimeError("this training is under way; stop it first")
        self.error = None
        self._show_buttons(training=True)
        self.worker.submit(partial(self._train, resume))

    def stop(self) -> None:
        """Stop after the step in progress, and save."""
        self.stop_button.disabled = True
        self.status.say("stopping after this step …")
        self.worker.submit(lambda check: self._show_state())  # it cancels the training, and runs when that has saved its state

    async def finished(self) -> None:
        """Wait until the training is finished: `await panel.finished()` in a cell, during which the buttons work.

        Raises what ended the training, or `Cancelled` if it was stopped. Interrupting the kernel stops it as the button does.
        """
        try:
            await asyncio.to_thread(self.worker.wait)
        except asyncio.CancelledError:
            self.stop()
            self.worker.wait()
            raise
        self._check_finished()

    def wait(self, timeout: float | None = None) -> None:
        """Wait as `finished` does where there is no event loop; TimeoutError after `timeout` seconds."""
        try:
            self.worker.wait(timeout)
        except KeyboardInterrupt:
            self.stop()
            self.worker.wait()
            raise
        self._check_finished()

    def _check_finished(self) -> None:
        if self.error is not None:
            raise self.error
        if not self.session.is_finished:
            raise Cancelled("the training is not finished: press Resume, and when it is, run the cells from this one on")

    # What the worker does.

    def _train(self, resume: bool, check: Check) -> None:
        self._show_buttons(training=True)  # again: one that was just stopped has shown its own in between
        self.status.say(f"loading {html.escape(self.session.config.dataset)} …")
        try:
            on_step = partial(self._show_progress, check)
            if self.session.train(resume=resume, on_step=on_step, on_evaluation=lambda row: self._show_rows()):
                self._show_state()
        except Exception as error:  # here, not in the worker: that keeps silent of what was stopped, and a state may fail to be saved
            self._show_error(error)

    def _show_progress(self, check: Check, progress: Progress) -> None:
        now, is_last = time.perf_counter(), progress.step == progress.n_steps or self.stop_button.disabled
        if is_last or now - self._shown > FRAME_SECONDS:
            self._shown, self.bar.value, self.progress.value = now, progress.step, html.escape(str(progress))
            self.status.say("stopping …" if self.stop_button.disabled else "training")
        check()

    def _show_rows(self) -> None:
        record = self.session.record()
        if record is None or not record.rows:
            self.validation.value = "no validation yet"
        else:
            self.bar.value, self.validation.value = record.rows[-1]["step"], html.escape(describe_row(record.rows[-1]))
        curves = [(record.name, record.curves())] if record else []
        self.curves_image.value = plots.png(plots.curves_figure(curves, self.session.config.outer_steps))

    def _show_state(self) -> None:
        """Show where the run stands when nothing is done to it."""
        run = self.session.run
        if self.error is None:
            stopped = f"stopped{f' at step {run.step}' if run else ''}: Resume goes on to the same weights"
            self.status.say("finished" if self.session.is_finished else "not started" if self.session.is_new else stopped)
        self._show_buttons()

    def _show_buttons(self, *, training: bool = False) -> None:
        self.stop_button.disabled = not training
        self.start_button.disabled = training or not self.session.is_new
        self.resume_button.disabled = training or self.session.is_new or self.session.is_finished

    def _show_error(self, error: Exception) -> None:
        self.error = error
        self.status.show_error(error)
        self._show_buttons()
