"""The panel of a learner that fine-tunes: sample, tune, learn, evaluate."""

import html
import logging
import threading
import time
from collections.abc import Callable

import ipywidgets as widgets
import numpy as np
import torch

from fewshot_kit import plots
from fewshot_kit.datasets import dataset_names, is_available
from fewshot_kit.evaluate import Interval
from fewshot_kit.session import DemoSession, Epoch, Learning
from fewshot_kit.widgets.class_picker import MAX_CHOSEN, ClassPicker
from fewshot_kit.widgets.controls import int_slider, log_slider, numbered
from fewshot_kit.widgets.own_picture import OwnPicture
from fewshot_kit.widgets.worker import Worker

logger = logging.getLogger(__name__)

OWN_FOLDER = "own folder …"
EVALUATION_EPISODES = 200
FRAME_SECONDS = 0.12  # at least, between two pictures of a learning under way: drawing must not slow the learning down
Check = Callable[[], None]


class FewShotPanel(widgets.VBox):
    """Sample classes, move the sliders, watch the model learn. Every learning starts again from the pretrained weights."""

    def __init__(self, session: DemoSession, *, inner_lr: float | None = None, inner_steps: int | None = None):
        """Show the session; the sliders start from the given settings, or from those of its checkpoint."""
        self.session = session
        self.learning: Learning | None = None
        self.worker = Worker(self._show_error)
        self._picture: plots.LearningPicture | None = None
        self._syncing_thread: int | None = None  # it sets the controls to what the session has; any other is a person who moves them
        self._wanted: dict[str, Callable[[], object]] = {}  # what to do to the session before the next learning; the newest of each kind
        self._lock = threading.Lock()
        self.picker = ClassPicker(session, self.choose)
        self.own_picture = OwnPicture(self.classify)
        super().__init__(
            [self._data_box(), self._learning_box(inner_lr, inner_steps), self._evaluation_box()], layout=widgets.Layout(width="960px")
        )
        for name in ("support_image", "learning_image", "status", "result"):
            getattr(self, name).add_class(f"fewshot-{name.replace('_', '-')}")  # for styles, and to find it in the page
        self._show_episode()
        self._learn(lambda: None)

    def _data_box(self) -> widgets.VBox:
        session = self.session
        options = [(name if is_available(name) else f"{name} (download)", name) for name in dataset_names()]
        self.dataset = widgets.Dropdown(
            options=[*options, (OWN_FOLDER, OWN_FOLDER)], description="data set", layout=widgets.Layout(width="300px")
        )
        self.dataset.value = session.dataset.name if session.dataset.name in dataset_names() else OWN_FOLDER
        self.folder = widgets.Text(
            placeholder="folder or .zip with one sub-folder a class, then Enter", layout=widgets.Layout(width="420px")
        )
        self.folder.continuous_update = False
        self.folder.layout.visibility = "visible" if self.dataset.value == OWN_FOLDER else "hidden"
        self.n_way = int_slider(session.n_way, 2, max(MAX_CHOSEN, session.n_way), "classes (way)")
        self.n_shot = int_slider(session.n_shot, 1, max(10, session.n_shot), "pictures each (shot)")
        self.n_query = int_slider(session.n_query, 1, max(10, session.n_query), "queries a class")
        self.seed = widgets.IntText(value=session.seed, description="seed", layout=widgets.Layout(width="200px"))
        self.sample_button = widgets.Button(description="Sample classes", button_style="primary", icon="random")
        self.support_image = widgets.Image(format="png")
        self.dataset.observe(lambda change: self._on_dataset(change["new"]), "value")
        self.folder.observe(lambda change: self._on_folder(change["new"].strip()), "value")
        for control in (self.n_way, self.n_shot, self.n_query, self.seed):
            control.observe(lambda _: None if self._is_syncing() else self.sample(), "value")
        self.sample_button.on_click(lambda _: self.seed.set_trait("value", int(torch.randint(10**6, ()))))
        return widgets.VBox(
            [
                widgets.HBox([self.dataset, self.folder]),
                widgets.HBox([numbered(self.n_way, widgets.BoundedIntText), self.seed, self.sample_button]),
                widgets.HBox([numbered(self.n_shot, widgets.BoundedIntText), numbered(self.n_query, widgets.BoundedIntText)]),
                widgets.Accordion([self.picker], titles=("Choose the classes by hand",)),
                widgets.HTML("<b>Support</b>, all it learns from:"),
                self.support_image,
            ]
        )

    def _learning_box(self, inner_lr: float | None, inner_steps: int | None) -> widgets.VBox:
        settings = self.session.learner.with_inner_loop(inner_lr, inner_steps).inner_loop_settings()
        label, low, high = self.session.learner.inner_lr_slider
        self.learning_rate = log_slider(settings["inner_lr"], low, high, label)
        self.epochs = int_slider(settings["inner_steps"], 0, 50, "epochs")
        self.learn_button = widgets.Button(description="Learn", button_style="success", icon="play")
        self.stop_button = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.status = widgets.HTML()
        self.learning_image = widgets.Image(format="png")
        self.shown_epoch = int_slider(0, 0, 50, "look back at epoch")
        self.shown_epoch.continuous_update = True
        for control in (self.learning_rate, self.epochs):
            control.observe(lambda _: self.learn(), "value")
        self.learn_button.on_click(self._learn_pressed)
        self.stop_button.on_click(lambda _: self.stop())
        self.shown_epoch.observe(lambda change: self._look_back(change["new"]), "value")
        return widgets.VBox(
            [
                widgets.HBox([numbered(self.learning_rate, widgets.BoundedFloatText, step=0.001), self.learn_button]),
                widgets.HBox([numbered(self.epochs, widgets.BoundedIntText), self.stop_button]),
                self.status,
                self.learning_image,
                numbered(self.shown_epoch, widgets.BoundedIntText),
                widgets.Accordion([self.own_picture], titles=("Try a picture of your own",)),
            ]
        )

    def _evaluation_box(self) -> widgets.VBox:
        self.evaluate_button = widgets.Button(
            description=f"Evaluate on {EVALUATION_EPISODES} episodes", layout=widgets.Layout(width="230px")
        )
        self.progress = widgets.IntProgress(max=EVALUATION_EPISODES, layout=widgets.Layout(width="300px"))
        self.result = widgets.HTML("")
        self.evaluate_button.on_click(lambda _: self.evaluate())
        return widgets.VBox([widgets.HBox([self.evaluate_button, self.progress]), self.result])

    # What a person does. Each returns at once; the work runs in the worker.

    def _on_dataset(self, name: str) -> None:
        self.folder.layout.visibility = "visible" if name == OWN_FOLDER else "hidden"
        if name != OWN_FOLDER and not self._is_syncing():
            self.load(name)

    def _on_folder(self, path: str) -> None:
        if path:
            self.load(f"folder:{path}")

    def load(self, dataset: str) -> None:
        """Change the data set, sample from it and learn."""
        self._say(f"loading {html.escape(dataset)} …")
        self._start("data set", lambda: (self.session.load(dataset), self.picker.reset()))

    def sample(self) -> None:
        """Sample an episode by the settings on show, and learn it."""
        settings = {name: getattr(self, name).value for name in ("n_way", "n_shot", "n_query", "seed")}
        self._start("episode", lambda: self._sample(**settings))

    def choose(self, class_ids: list[int]) -> None:
        """Take these classes, and learn them."""
        self._start("episode", lambda: self.session.choose(class_ids))

    def _start(self, kind: str, prepare: Callable[[], object]) -> None:
        with self._lock:
            self._wanted.pop(kind, None)
            self._wanted[kind] = prepare
        self.learn()

    def _prepare(self) -> None:
        """Do to the session what is wanted and not done yet: a newer request cancels a learning, but loses no choice before it."""
        if not self._wanted:
            return
        try:
            while self._wanted:
                with self._lock:
                    prepare = self._wanted.pop(next(iter(self._wanted)))
                prepare()
        finally:  # after an error the session is what it was, and so the controls must be
            if not self._wanted:
                self._sync_controls()
        self._show_episode()

    def _sample(self, n_way: int, n_shot: int, n_query: int, seed: int) -> None:
        chosen = self.session.class_ids
        if chosen is not None and n_way == len(chosen) and seed == self.session.seed:  # classes taken by hand stay
            self.session.choose(chosen, n_shot=n_shot, n_query=n_query)
        else:
            self.session.sample(n_way=n_way, n_shot=n_shot, n_query=n_query, seed=seed)

    def _is_syncing(self) -> bool:
        return self._syncing_thread == threading.get_ident()

    def _sync_controls(self) -> None:
        session, self._syncing_thread = self.session, threading.get_ident()
        try:
            for name in ("n_way", "n_shot", "n_query", "seed"):
                getattr(self, name).value = getattr(session, name)
            self.dataset.value = session.dataset.name if session.dataset.name in dataset_names() else OWN_FOLDER
        finally:
            self._syncing_thread = None

    def learn(self) -> None:
        """Learn the episode on show from the pretrained weights, at the sliders' settings."""
        self.worker.submit(self._learn)

    def _learn_pressed(self, _button: widgets.Button) -> None:
        self._say("learning …")  # the same settings lead to the same picture: something is to be seen of the press
        self.learn()

    def stop(self) -> None:
        """Stop learning or evaluating; what was drawn last stays."""
        self.worker.stop()
        self.stop_button.disabled = True
        self._say("stopped")

    def evaluate(self) -> None:
        """Measure the settings on show on fresh episodes of this data set."""
        self.worker.submit(self._evaluate)

    def classify(self, picture: np.ndarray | Exception) -> None:
        """Classify a person's own picture by what was learned last."""
        learning = self.learning
        if isinstance(picture, Exception) or learning is None:
            self._show_error(picture if isinstance(picture, Exception) else ValueError("press Learn first: nothing is learned yet"))
            return
        try:
            image, probabilities = self.session.classify(learning, picture)
            names = learning.episode.support.class_names
            self.own_picture.show(plots.png(plots.answer_figure(image[0].numpy(), probabilities.numpy(), names)))
        except Exception as error:  # a widget's callback has nobody else to tell
            self._show_error(error)

    # What the worker does.

    def _learn(self, check: Check) -> None:
        self._prepare()
        check()
        self.learning = None  # if this one is stopped, there is none
        started = drawn = time.perf_counter()
        lr, steps = self.learning_rate.value, self.epochs.value
        self.stop_button.disabled = False

        def show(epoch: Epoch) -> None:
            nonlocal drawn
            check()
            if time.perf_counter() - drawn > FRAME_SECONDS and epoch.step < steps:
                self._draw(epoch, steps)
                drawn = time.perf_counter()

        self.learning = self.session.learn(lr, steps, on_epoch=show)
        self.stop_button.disabled = True
        self.shown_epoch.max = max(steps, 1)
        self._syncing_thread = threading.get_ident()
        self.shown_epoch.value = steps
        self._syncing_thread = None
        self._draw(self.learning.epochs[-1], steps)
        if self.own_picture.current is not None:
            self.classify(self.own_picture.current)
        seconds, right = time.perf_counter() - started, 100 * self.learning.accuracy
        settings = f"{self.learning_rate.description} {lr:.3g}, {steps} epochs"
        self._say(f"{self._setting()}: learned in {seconds:.2f} s ({settings}); {right:.0f} % of the queries right")

    def _draw(self, epoch: Epoch, n_steps: int) -> None:
        self.learning_image.value = self._picture.draw(epoch.support_losses, epoch.probabilities.numpy(), n_steps)

    def _look_back(self, step: int) -> None:
        """Show the last learning as it was after `step` epochs."""
        if self.learning is not None and step < len(self.learning.epochs) and not self._is_syncing():
            self._draw(self.learning.epochs[step], len(self.learning.epochs) - 1)

    def _show_episode(self) -> None:
        support, query = self.session.episode.support, self.session.episode.query
        self.support_image.value = plots.png(plots.support_figure(support.images.numpy(), support.labels.numpy(), support.class_names))
        self._picture = plots.LearningPicture(query.images.numpy(), query.labels.numpy(), query.n_way)
        self.learning = None

    def _evaluate(self, check: Check) -> None:
        if self._wanted:
            self._learn(check)
        check()
        self.stop_button.disabled = False
        self.progress.value = 0

        def show(done: int, accuracy: Interval) -> None:
            check()
            self.progress.value = done
            self.result.value = f"{accuracy.percent()} after {done} episodes"

        result = self.session.evaluate(EVALUATION_EPISODES, self.learning_rate.value, self.epochs.value, on_progress=show)
        baseline = self.session.evaluate_baseline(EVALUATION_EPISODES)
        self.stop_button.disabled = True
        self.result.value = (
            f"<b>{result.accuracy.percent()}</b>, cross entropy {result.loss} ({result.n_episodes} episodes, {self._setting()}, "
            f"{self.learning_rate.description} {result.inner_lr:.3g}, {result.inner_steps} epochs, inductive, seed {result.seed}). "
            f"Nearest pixels: {baseline.accuracy.percent()}. Chance: {100 / result.n_way:.1f} %."
        )

    def _setting(self) -> str:
        session = self.session
        return f"{html.escape(session.dataset.name)} {session.n_way}-way {session.n_shot}-shot"

    def _say(self, message: str) -> None:
        """Show a line of HTML: escape what a person or a file supplied."""
        self.status.value = f'<span style="color:#374151">{message}</span>'

    def _show_error(self, error: Exception) -> None:
        logger.debug("shown in the panel", exc_info=error)
        self.stop_button.disabled = True
        self.status.value = f'<span role="alert" style="color:{plots.WRONG}"><b>Error:</b> {html.escape(str(error) or repr(error))}</span>'
