"""The panel of a metric learner: sample, move the prototypes by the shots, ask about a query, evaluate."""

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
from fewshot_kit.projection import EmbeddingMap, Pool, episode_pool, map_embedding
from fewshot_kit.session import DemoSession, Learning
from fewshot_kit.widgets.controls import int_slider, log_slider, numbered
from fewshot_kit.widgets.own_picture import OwnPicture
from fewshot_kit.widgets.worker import Worker

logger = logging.getLogger(__name__)

EVALUATION_EPISODES = 200
MOST_CLASSES = 20
METHODS = (("PCA", "pca"), ("t-SNE", "tsne"))
COUNTED = ("n_way", "n_shot", "n_query", "seed")
Check = Callable[[], None]


class EmbeddingPanel(widgets.VBox):
    """Sample classes and see where the network puts them. With more shots the prototypes move, and everything else stays in its place."""

    def __init__(
        self, session: DemoSession, *, inner_lr: float | None = None, inner_steps: int | None = None, centre_name: str = "prototype"
    ):
        """Show the session of a metric learner; sliders of fine-tuning are there if it has any, and start from the given settings."""
        self.session, self.centre_name = session, centre_name
        self.learning: Learning | None = None
        self.map: EmbeddingMap | None = None  # what is on show
        self.worker = Worker(self._show_error)
        self._maps: dict[str, EmbeddingMap] = {}  # the last one of each method
        self._shown_dataset = ""  # its name, as `DemoSession.load` takes it
        self._syncing_thread: int | None = None  # it sets the controls to what the session has; any other is a person who moves them
        self._drawing = threading.Lock()
        self.own_picture = OwnPicture(self.classify)
        super().__init__(
            [self._data_box(), self._learning_box(inner_lr, inner_steps), self._map_box(), self._evaluation_box()],
            layout=widgets.Layout(width="960px"),
        )
        for name in ("map_image", "status", "result"):
            getattr(self, name).add_class(f"fewshot-{name.replace('_', '-')}")  # for styles, and to find it in the page
        self._refresh(lambda: None)

    def _data_box(self) -> widgets.VBox:
        session = self.session
        names = [*dataset_names(), *([] if session.dataset.name in dataset_names() else [session.dataset.name])]
        options = [(name if name == session.dataset.name or is_available(name) else f"{name} (download)", name) for name in names]
        self.dataset = widgets.Dropdown(options=options, description="data set", layout=widgets.Layout(width="300px"))
        self.dataset.value = self._shown_dataset = session.dataset.name
        self.n_way = int_slider(session.n_way, 2, max(MOST_CLASSES, session.n_way), "classes (way)")
        self.n_shot = int_slider(session.n_shot, 1, max(10, session.n_shot), "pictures each (shot)")
        self.n_query = int_slider(session.n_query, 1, max(10, session.n_query), "queries a class")
        self.seed = widgets.IntText(value=session.seed, description="seed", layout=widgets.Layout(width="200px"))
        self.sample_button = widgets.Button(description="Sample classes", button_style="primary", icon="random")
        way, shot, query = (numbered(slider, widgets.BoundedIntText) for slider in (self.n_way, self.n_shot, self.n_query))
        for control in (self.dataset, self.n_way, self.n_shot, self.n_query, self.seed):  # after the links: a quick error resets them
            control.observe(lambda _: None if self._is_syncing() else self.refresh(), "value")
        self.sample_button.on_click(lambda _: self.seed.set_trait("value", int(torch.randint(10**6, ()))))
        return widgets.VBox([widgets.HBox([self.dataset, self.seed, self.sample_button]), widgets.HBox([way, query]), shot])

    def _learning_box(self, inner_lr: float | None, inner_steps: int | None) -> widgets.HBox:
        learner = self.session.learner.with_inner_loop(inner_lr, inner_steps)
        settings, (label, low, high) = learner.inner_loop_settings(), learner.inner_lr_slider
        if settings["inner_steps"] is None:
            self.learning_rate = self.epochs = None
            return widgets.HBox()
        self.learning_rate = log_slider(settings["inner_lr"], low, high, label)
        self.epochs = int_slider(settings["inner_steps"], 0, 50, "epochs")
        for control in (self.learning_rate, self.epochs):
            control.observe(lambda _: self.refresh(), "value")
        boxes = (numbered(self.learning_rate, widgets.BoundedFloatText, step=0.001), numbered(self.epochs, widgets.BoundedIntText))
        return widgets.HBox(boxes)

    def _map_box(self) -> widgets.VBox:
        self.method = widgets.ToggleButtons(options=METHODS, style={"button_width": "80px"}, layout=widgets.Layout(width="306px"))
        label = widgets.Label("picture by", layout=widgets.Layout(width="130px", justify_content="flex-end"))  # its own would wrap
        self.query = int_slider(0, 0, max(self.session.n_way * self.session.n_query - 1, 0), "query asked about")
        self.status = widgets.HTML()
        self.map_image = widgets.Image(format="png", layout=widgets.Layout(width="920px", height="560px"))
        self.method.observe(lambda _: self.refresh(), "value")
        self.query.observe(lambda _: None if self._is_syncing() else self._ask(), "value")
        return widgets.VBox(
            [
                widgets.HBox([label, self.method, numbered(self.query, widgets.BoundedIntText)]),
                self.status,
                self.map_image,
                widgets.Accordion([self.own_picture], titles=("Try a picture of your own",)),
            ]
        )

    def _evaluation_box(self) -> widgets.VBox:
        self.evaluate_button = widgets.Button(
            description=f"Evaluate on {EVALUATION_EPISODES} episodes", layout=widgets.Layout(width="230px")
        )
        self.progress = widgets.IntProgress(max=EVALUATION_EPISODES, layout=widgets.Layout(width="300px"))
        self.stop_button = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.result = widgets.HTML("")
        self.evaluate_button.on_click(lambda _: self.evaluate())
        self.stop_button.on_click(lambda _: self.stop())
        return widgets.VBox([widgets.HBox([self.evaluate_button, self.progress, self.stop_button]), self.result])

    # What a person does. Each returns at once; the work runs in the worker.

    def refresh(self) -> None:
        """Bring session and picture to what the controls say. The newest request sees all of them: none before it is lost."""
        self.worker.submit(self._refresh)

    def evaluate(self) -> None:
        """Measure the settings on show on fresh episodes of this data set."""
        self.worker.submit(self._evaluate)

    def stop(self) -> None:
        """Stop evaluating."""
        self.worker.stop()
        self.stop_button.disabled = True
        self._say("stopped")

    def classify(self, picture: np.ndarray | Exception) -> None:
        """Classify a person's own picture by the centres on show."""
        learning = self.learning
        if isinstance(picture, Exception) or learning is None:
            self._show_error(picture if isinstance(picture, Exception) else ValueError("sample classes first: nothing is learned yet"))
            return
        try:
            image, probabilities = self.session.classify(learning, picture)
            names = learning.episode.support.class_names
            self.own_picture.show(plots.png(plots.answer_figure(image[0].numpy(), probabilities.numpy(), names)))
        except Exception as error:  # a widget's callback has nobody else to tell
            self._show_error(error)

    def _ask(self) -> None:
        try:
            if self.map is not None:
                self._draw()
        except Exception as error:  # a widget's callback has nobody else to tell
            self._show_error(error)

    # What the worker does.

    def _refresh(self, check: Check) -> None:
        started = time.perf_counter()
        try:
            self._prepare()
        except Exception:
            check()  # a newer request has its own controls
            self._sync_controls()  # the session is what it was, and so the controls must be
            raise
        check()
        self.learning = self.session.learn(*self._inner_loop(), on_epoch=lambda epoch: check())
        self.map = self._mapped(check)
        self._set_silently(self.query, "max", len(self.map.queries) - 1)
        self._draw()
        if self.own_picture.current is not None:
            self.classify(self.own_picture.current)
        right, n = round(self.map.accuracy() * len(self.map.queries)), len(self.map.queries)
        seconds = time.perf_counter() - started
        self._say(f"{self._setting()}: {right} of {n} queries right ({100 * right / n:.0f} %); {seconds:.1f} s{self._inner_loop_text()}")

    def _prepare(self) -> None:
        """Load and sample what the controls say, where the session has something else."""
        if self.dataset.value != self._shown_dataset:
            self._say(f"loading {html.escape(self.dataset.value)} …")
            self.session.load(self.dataset.value)
            self._shown_dataset = self.dataset.value
        wanted = {name: getattr(self, name).value for name in COUNTED}
        if wanted != {name: getattr(self.session, name) for name in COUNTED}:
            chosen = self.session.class_ids
            if chosen is not None and wanted["n_way"] == len(chosen) and wanted["seed"] == self.session.seed:
                self.session.choose(chosen, n_shot=wanted["n_shot"], n_query=wanted["n_query"])  # classes taken by hand stay
            else:
                self.session.sample(**wanted)

    def _mapped(self, check: Check) -> EmbeddingMap:
        method, pool = self.method.value, self._pool()
        if method == "tsne":  # scikit-learn cannot be stopped in its middle
            self._say(f"{self._setting()}: t-SNE of {len(pool.labels)} pictures is being computed; until then, the picture before …")
        found = map_embedding(self.learning.predictor, pool, method, seed=0, before=self._maps.get(method))
        check()
        self._maps[method] = found
        return found

    def _pool(self) -> Pool:
        counts = {name: getattr(self.session, name) for name in COUNTED}
        return episode_pool(self.session.dataset, **counts, class_ids=self.session.class_ids)

    def _draw(self) -> None:
        with self._drawing:
            shown = self.map
            arrays = shown.arrays(asked=min(self.query.value, len(shown.queries) - 1))
            self.map_image.value = plots.png(plots.embedding_figure(centre_name=self.centre_name, **arrays))

    def _evaluate(self, check: Check) -> None:
        self._refresh(check)
        check()
        self.stop_button.disabled = False
        self.progress.value = 0

        def show(done: int, accuracy: Interval) -> None:
            check()
            self.progress.value = done
            self.result.value = f"{accuracy.percent()} after {done} episodes"

        result = self.session.evaluate(EVALUATION_EPISODES, *self._inner_loop(), on_progress=show)
        baseline = self.session.evaluate_baseline(EVALUATION_EPISODES)
        self.stop_button.disabled = True
        self.result.value = (
            f"<b>{result.accuracy.percent()}</b>, cross entropy {result.loss} ({result.n_episodes} episodes, {self._setting()}"
            f"{self._inner_loop_text()}, inductive, seed {result.seed}). "
            f"Nearest pixels: {baseline.accuracy.percent()}. Chance: {100 / result.n_way:.1f} %."
        )

    def _inner_loop(self) -> tuple[float | None, int | None]:
        return (None, None) if self.epochs is None else (self.learning_rate.value, self.epochs.value)

    def _inner_loop_text(self) -> str:
        lr, steps = self._inner_loop()
        return "" if steps is None else f", {self.learning_rate.description} {lr:.3g}, {steps} epochs"

    def _setting(self) -> str:
        session = self.session
        return f"{html.escape(session.dataset.name)} {session.n_way}-way {session.n_shot}-shot"

    def _is_syncing(self) -> bool:
        return self._syncing_thread == threading.get_ident()

    def _set_silently(self, control: widgets.Widget, trait: str, value: object) -> None:
        self._syncing_thread = threading.get_ident()
        try:
            setattr(control, trait, value)
        finally:
            self._syncing_thread = None

    def _sync_controls(self) -> None:
        self._set_silently(self.dataset, "value", self._shown_dataset)
        for name in COUNTED:
            self._set_silently(getattr(self, name), "value", getattr(self.session, name))

    def _say(self, message: str) -> None:
        """Show a line of HTML: escape what a person or a file supplied."""
        self.status.value = f'<span style="color:#374151">{message}</span>'

    def _show_error(self, error: Exception) -> None:
        logger.debug("shown in the panel", exc_info=error)
        self.stop_button.disabled = True
        self.status.value = f'<span role="alert" style="color:{plots.WRONG}"><b>Error:</b> {html.escape(str(error) or repr(error))}</span>'
