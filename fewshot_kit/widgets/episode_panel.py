"""What the panels of the learners share: the episode under a person's hands, a picture of one's own, an evaluation."""

import html
import threading
import time
from collections.abc import Callable, Mapping

import ipywidgets as widgets
import numpy as np
import torch

from fewshot_kit import plots
from fewshot_kit.data.datasets import dataset_names, is_available
from fewshot_kit.demo.session import DemoSession, Learning
from fewshot_kit.results import Interval
from fewshot_kit.widgets.class_picker import ClassPicker
from fewshot_kit.widgets.controls import StatusLine, int_slider, log_slider, numbered
from fewshot_kit.widgets.own_picture import OwnPicture
from fewshot_kit.widgets.worker import Worker

OWN_FOLDER = "own folder …"
EVALUATION_EPISODES = 200
COUNTED = ("n_way", "n_shot", "n_query", "seed")
Check = Callable[[], None]


class EpisodePanel(widgets.VBox):
    """Choose an episode, learn it, evaluate. A subclass learns and shows what was learned (`_learn`), and lays out the parts."""

    def __init__(self, session: DemoSession, *, settings: Mapping[str, float] | None, most_classes: int):
        """Show the session; sliders of fine-tuning are there if it has any, and start from the given settings or its checkpoint's."""
        super().__init__(layout=widgets.Layout(width="960px"))
        self.session = session
        self.learning: Learning | None = None
        self.status = StatusLine()
        self.worker = Worker(self._show_error)
        self._syncing_thread: int | None = None  # it sets the controls to what the session has; any other is a person who moves them
        self._wanted: dict[str, Callable[[], object]] = {}  # what to do to the session before the next learning; the newest of each kind
        self._lock = threading.Lock()
        self._tried: set[str] = set()  # kinds of what was wanted and done, well or not, since the controls were last set by the session
        self._failed: Exception | None = None  # what a choice came to that nobody was told of yet
        self._n_asked = self._n_learned = 0  # how many times a learning was asked for, and that count when the last one began
        self.picker = ClassPicker(session, self.choose)
        self.own_picture = OwnPicture(self.classify)
        self._make_data_controls(most_classes)
        self._make_sliders(settings or {})
        self._make_evaluation_controls()

    # The controls.

    def _make_data_controls(self, most_classes: int) -> None:
        session = self.session
        options = [(name if is_available(name) else f"{name} (download)", name) for name in dataset_names()]
        self.dataset = widgets.Dropdown(
            options=[*options, (OWN_FOLDER, OWN_FOLDER)], description="data set", layout=widgets.Layout(width="300px")
        )
        self.dataset.value = self._dataset_shown()
        self.folder = widgets.Text(
            placeholder="folder or .zip with one sub-folder a class, then Enter", layout=widgets.Layout(width="420px")
        )
        self.folder.continuous_update = False
        self.folder.layout.visibility = "visible" if self.dataset.value == OWN_FOLDER else "hidden"
        self.n_way = int_slider(session.n_way, 2, max(most_classes, session.n_way), "classes (way)")
        self.n_shot = int_slider(session.n_shot, 1, max(10, session.n_shot), "pictures each (shot)")
        self.n_query = int_slider(session.n_query, 1, max(10, session.n_query), "queries a class")
        self.seed = widgets.IntText(value=session.seed, description="seed", layout=widgets.Layout(width="200px"))
        self.sample_button = widgets.Button(description="Sample classes", button_style="primary", icon="random")
        way, shot, query = (numbered(slider, widgets.BoundedIntText) for slider in (self.n_way, self.n_shot, self.n_query))
        self.data_box = widgets.VBox(
            [
                widgets.HBox([self.dataset, self.folder]),
                widgets.HBox([way, self.seed, self.sample_button]),
                widgets.HBox([shot, query]),
                widgets.Accordion([self.picker], titles=("Choose the classes by hand",)),
            ]
        )
        self._watch_data_controls()  # after the links between sliders and boxes: an error that comes at once sets the controls back

    def _watch_data_controls(self) -> None:
        self.dataset.observe(lambda change: self._on_dataset(change["new"]), "value")
        self.folder.observe(lambda change: self._on_folder(change["new"].strip()), "value")
        for control in (self.n_way, self.n_shot, self.n_query, self.seed):
            control.observe(lambda _: None if self._is_syncing() else self.sample(), "value")
        self.sample_button.on_click(lambda _: self.seed.set_trait("value", int(torch.randint(10**6, ()))))

    def _make_sliders(self, given: Mapping[str, float]) -> None:
        self.sliders: dict[str, widgets.Widget] = {}
        self.setting_boxes: list[widgets.HBox] = []
        for setting in self.session.learner.with_settings(**given).settings():
            high = max(setting.high, setting.value)
            make = log_slider if setting.scale == "log" else int_slider
            slider = make(setting.value, min(setting.low, setting.value), high, setting.label)
            self.sliders[setting.name] = slider
            box = {} if setting.is_whole else {"step": 0.001}
            self.setting_boxes.append(numbered(slider, widgets.BoundedIntText if setting.is_whole else widgets.BoundedFloatText, **box))
            slider.observe(lambda _: self.learn(), "value")

    def _make_evaluation_controls(self) -> None:
        self.evaluate_button = widgets.Button(
            description=f"Evaluate on {EVALUATION_EPISODES} episodes", layout=widgets.Layout(width="230px")
        )
        self.stop_button = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.progress = widgets.IntProgress(max=EVALUATION_EPISODES, layout=widgets.Layout(width="300px"))
        self.result = widgets.HTML()
        self.evaluate_button.on_click(lambda _: self.evaluate())
        self.stop_button.on_click(lambda _: self.stop())

    def _name_parts(self, *names: str) -> None:
        """Give these parts a class by which styles and tests find them in the page."""
        for name in names:
            getattr(self, name).add_class(f"fewshot-{name.replace('_', '-')}")

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
        self.status.say(f"loading {html.escape(dataset)} …")
        self._start("data set", lambda: (self.session.load(dataset), self.picker.reset()))

    def sample(self) -> None:
        """Sample an episode by the settings on show, and learn it."""
        settings = {name: getattr(self, name).value for name in COUNTED}
        self._start("episode", lambda: self._sample(**settings))

    def choose(self, class_ids: list[int]) -> None:
        """Take these classes of the data set on show, and learn them."""
        dataset = self.session.dataset
        self._start("episode", lambda: self.session.choose(class_ids) if self.session.dataset is dataset else None)

    def _start(self, kind: str, prepare: Callable[[], object]) -> None:
        with self._lock:
            self._wanted.pop(kind, None)
            self._wanted[kind] = prepare
        self.learn()

    def learn(self) -> None:
        """Learn the episode on show from the pretrained weights, at the settings on show."""
        self._n_asked += 1
        self.worker.submit(self._learn_anew)

    def stop(self) -> None:
        """Stop learning or evaluating; what was drawn last stays."""
        self.worker.stop()
        self.stop_button.disabled = True
        self.status.say("stopped")

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

    def _learn(self, check: Check, settings: dict[str, float]) -> str:
        """Set `learning` to the session's episode learned, show it, and return what to say of it."""
        raise NotImplementedError  # not an abstract method: a widget's metaclass is that of traitlets, which enforces none

    def _show_episode(self) -> None:
        """Show the session's episode, which is a new one, before it is learned."""

    def _learn_anew(self, check: Check) -> None:
        asked, settings, started = self._n_asked, self._settings(), time.perf_counter()
        self._prepare()
        check()
        self.progress.value, self.result.value = 0, ""  # they were of something else
        said = self._learn(check, settings)
        if self.own_picture.current is not None:
            self.classify(self.own_picture.current)
        self._n_learned = asked
        self.status.say(f"{self._setting()}: learned in {time.perf_counter() - started:.2f} s{self._settings_text(settings)}; {said}")
        if self._failed is not None:  # it belonged to a choice before the newest, whose job it ended
            self._show_error(self._failed)

    def _prepare(self) -> None:
        """Do to the session what is wanted and not done yet: a newer request cancels a learning, but loses no choice before it."""
        if not self._wanted:
            return
        try:
            while self._wanted:
                with self._lock:
                    kind = next(iter(self._wanted))
                    prepare = self._wanted.pop(kind)
                self._tried.add(kind)
                prepare()
        except Exception as error:
            self._failed = error
            raise
        finally:  # after an error the session is what it was, and so the controls must be
            if not self._wanted:
                self._sync_controls(with_dataset="data set" in self._tried)
                self._tried.clear()
        self._show_episode()

    def _sample(self, n_way: int, n_shot: int, n_query: int, seed: int) -> None:
        chosen = self.session.class_ids
        if chosen is not None and n_way == len(chosen) and seed == self.session.seed:  # classes taken by hand stay
            self.session.choose(chosen, n_shot=n_shot, n_query=n_query)
        else:
            self.session.sample(n_way=n_way, n_shot=n_shot, n_query=n_query, seed=seed)

    def _evaluate(self, check: Check) -> None:
        if self._n_learned != self._n_asked:  # it was cancelled: what is measured must be what is on show
            self._learn_anew(check)
        check()
        self.stop_button.disabled, self.progress.value = False, 0
        settings = self._settings()

        def show(done: int, accuracy: Interval) -> None:
            check()
            self.progress.value = done
            self.result.value = f"{accuracy.percent()} after {done} episodes"

        try:
            result = self.session.evaluate(EVALUATION_EPISODES, settings, on_progress=show)
            baseline = self.session.evaluate_baseline(EVALUATION_EPISODES, on_progress=lambda done, accuracy: check())
            check()
        finally:
            self.stop_button.disabled = True
        self.result.value = (
            f"<b>{result.accuracy.percent()}</b>, cross entropy {result.loss} ({result.n_episodes} episodes, {self._setting()}"
            f"{self._settings_text(settings)}, inductive, seed {result.seed}). "
            f"Nearest pixels: {baseline.accuracy.percent()}. Chance: {100 / result.n_way:.1f} %."
        )

    def _settings(self) -> dict[str, float]:
        return {name: slider.value for name, slider in self.sliders.items()}

    def _settings_text(self, settings: dict[str, float]) -> str:
        return "".join(f", {self.sliders[name].description} {value:.3g}" for name, value in settings.items())

    def _setting(self) -> str:
        session = self.session
        return f"{html.escape(session.dataset.name)} {session.n_way}-way {session.n_shot}-shot"

    def _dataset_shown(self) -> str:
        return self.session.dataset.name if self.session.dataset.name in dataset_names() else OWN_FOLDER

    def _is_syncing(self) -> bool:
        return self._syncing_thread == threading.get_ident()

    def _set_silently(self, control: widgets.Widget, trait: str, value: object) -> None:
        self._syncing_thread = threading.get_ident()
        try:
            setattr(control, trait, value)
        finally:
            self._syncing_thread = None

    def _sync_controls(self, *, with_dataset: bool) -> None:
        for name in COUNTED:
            self._set_silently(getattr(self, name), "value", getattr(self.session, name))
        if with_dataset:  # else a person may be about to type the path of a folder
            self._set_silently(self.dataset, "value", self._dataset_shown())

    def _show_error(self, error: Exception) -> None:
        self.stop_button.disabled, self._failed = True, None
        self.status.show_error(error)
