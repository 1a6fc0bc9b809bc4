"""What the panels of the learners share: the episode under a person's hands, a picture of one's own, an evaluation."""

import copy
import html
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import ipywidgets as widgets
import numpy as np

from fewshot_kit import plots
from fewshot_kit.data.cancelling import Check
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.demo.photographs import warn_of_pictures
from fewshot_kit.demo.request import Limits, Request, title
from fewshot_kit.demo.session import DemoSession, Epoch, Learning
from fewshot_kit.plots.verdicts import tally
from fewshot_kit.widgets.class_picker import MAX_CHOSEN, ClassPicker
from fewshot_kit.widgets.controls import TEXT, StatusLine, counted, numbered, said, setting_slider, styles, text
from fewshot_kit.widgets.data_controls import DataControls
from fewshot_kit.widgets.evaluation import NO_QUERIES, EvaluationControls
from fewshot_kit.widgets.own_picture import OwnPicture
from fewshot_kit.widgets.work import Work
from fewshot_kit.widgets.worker import Worker


class EpisodePanel(widgets.VBox):
    """Choose an episode, learn it, evaluate. A subclass shows what is learned, and lays out the parts.

    The state of a panel is three things: what is `requested`, what is `running`, what is `shown`. A person's hand on a control changes
    `requested` alone, and the one worker serves the newest request. Controls are set from `requested`, pictures from `shown`; after an
    error `requested` is what is `shown`.
    """

    keeps_what_was_learned = False  # of a learning that is stopped: else the one before stays
    own_title = "Try a picture of your own"
    Evaluation = EvaluationControls

    def __init__(self, session: DemoSession, *, settings: Mapping[str, float] | None, most_classes: int):
        """Show the session; the sliders start from the given settings, or from those that suit its checkpoint best."""
        super().__init__(layout=widgets.Layout(width="100%", max_width="1500px"))
        self.session = copy.copy(session)  # a hand on the panel does not change what the cells below it speak of
        self.requested = session.request(settings or {})
        self.running: Work | None = None
        self.shown: Work | None = None  # None only until the first learning is done
        self._lock = threading.RLock()  # held while `requested` changes, and while controls are set from it
        self.worker = Worker(self._on_error)
        self.status, self.notice = StatusLine(layout=widgets.Layout(min_height="48px", width="auto")), text(display="none")
        self.data = DataControls(session.shelf, lambda: self.requested, self.ask, self.load, most_classes=most_classes)
        self.picker = ClassPicker(session.dataset, self.choose, min(MAX_CHOSEN, session.learner.max_way or MAX_CHOSEN))
        self.own_picture = self._own_part()
        self.evaluation = self.Evaluation(self.evaluate)
        self.stop_button = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.stop_button.on_click(lambda _: self.stop())
        self._make_sliders()

    # The controls.

    def _make_sliders(self) -> None:
        self.sliders = {setting.name: setting_slider(setting) for setting in self.requested.settings}
        self.setting_boxes = [numbered(slider) for slider in self.sliders.values()]
        for name, slider in self.sliders.items():  # after the number boxes: `_turn` may set the slider again
            slider.observe(lambda change, name=name: self._turn(name, change["new"]), "value")

    def _lay_out(self, controls: list[widgets.Widget], result: list[widgets.Widget]) -> None:
        """Put the controls beside the result where there is room, above it where there is not; folded, what takes the whole width."""
        group = widgets.VBox([self.notice, *controls, self.evaluation], layout=widgets.Layout(flex="1 1 380px", width="auto"))
        gaps = {"flex_flow": "row wrap", "grid_gap": "0 20px", "align_content": "flex-start"}
        left = widgets.HBox([self.data, group], layout=widgets.Layout(flex="1 1 380px", width="auto", **gaps))
        left.add_class("fewshot-groups")
        right = widgets.VBox([self.status, *result], layout=widgets.Layout(flex="3 1 680px", max_width="940px", width="auto"))
        columns = widgets.HBox([left, right], layout=widgets.Layout(flex_flow="row wrap", grid_gap="8px 20px", width="100%"))
        columns.add_class("fewshot-columns")
        folded = [(self.picker, "Choose the classes by hand"), (self.own_picture, self.own_title)]
        self.children = [styles(), columns, *(widgets.Accordion([part], titles=(name,)) for part, name in folded)]
        self.status.add_class("fewshot-status")
        self.status.add_class("fewshot-text")
        self.notice.add_class("fewshot-notice")

    def _begin(self) -> None:
        """Show the first learning: here, so that an error is the caller's, and only then listen to the controls."""
        self._serve(lambda: None)
        self.data.watch()

    # What a person does. Each returns at once; the work runs in the worker.

    def ask(self, **changes) -> None:
        """Request what is on the controls, with these changes; what is requested already is not served again."""
        with self._lock:
            requested = self.requested.changed(**changes)
            if requested == self.requested:
                return
            self.requested = requested
        self.learn()

    def load(self, dataset: str) -> None:
        """Change to a data set, or read it again: a folder may have other pictures by now."""
        self.ask(dataset=dataset, opened=self.requested.opened + 1)

    def choose(self, images: ClassImages, class_ids: list[int]) -> None:
        """Take these classes of these pictures, unless others are requested by now."""
        if images is self.shown.images and self.requested.source() == self.shown.request.source():
            self.ask(n_way=len(class_ids), class_ids=tuple(class_ids))

    def _turn(self, name: str, value: float) -> None:
        with self._lock:
            self.ask(settings=self.requested.with_value(name, value).settings)
            self.sliders[name].value = self.requested.values()[name]

    def learn(self) -> None:
        """Learn what is requested, from the pretrained weights."""
        self.worker.submit(self._serve)

    def stop(self) -> None:
        """Stop learning or evaluating; what a learning has come to stays, if the panel can show it."""
        self.stop_button.disabled = True
        self.worker.submit(partial(self._stopped, self.requested))  # it cancels what runs, and runs when that has ended

    def evaluate(self) -> None:
        """Measure the settings on show on fresh episodes of this data set."""
        self.worker.submit(self._evaluate)

    def classify(self, picture: np.ndarray) -> None:
        """Answer a person's own picture by what is on show. What goes wrong is said beside the picture, by who calls this."""
        learning = self.shown.learning
        image, probabilities = self.session.classify(learning, picture)
        figure = plots.answer_figure(image[0].numpy(), probabilities.numpy(), learning.episode.support.class_names)
        self.own_picture.show(plots.png(figure), figure.get_label())

    # What the worker does.

    def _serve(self, check: Check) -> None:
        """Serve the newest request: sample, learn, show."""
        asked, started = self.requested, time.perf_counter()
        if self.shown is None or asked.source() != self.shown.request.source():
            self.status.say(f"loading {html.escape(title(asked.dataset))} …")
            self.stop_button.disabled = False
        before, self.running = (self.running, self.shown), Work(asked, asked)
        self.running = work = self._fitted(asked, before, check)
        check()
        self.stop_button.disabled = False
        self.own_picture.mark_old()
        self.session.lay(work.images, **work.request.episode())
        self.running = work = replace(work, request=work.request.with_defaults(self.session.settings()))
        self._set_controls(work, asked)
        self.running = work = replace(work, drawn=self._start(work))

        def note(epoch: Epoch) -> None:
            work.epochs.append(epoch)
            check()
            self._show_epoch(work, epoch)

        learning = self._learn(work.request, note)
        text = f"learned in {time.perf_counter() - started:.2f} s"
        self._finish(replace(work, learning=learning), check, f"{text}{self._at(work.request)}")

    def _fitted(self, asked: Request, before: Sequence[Work | None], check: Check) -> Work:
        """Return what there is of a request; the pictures are read unless the work before has them."""
        known = next((work for work in before if work and work.images and work.asked.source() == asked.source()), None)
        if known is None:
            images = self.session.dataset if self.shown is None else self.session.read(asked.dataset, check)
            known = Work(asked, asked, images, warning=self._warning(asked.dataset, check))
        request, notes = self._limits(known.images).fit(asked, self.shown.request if self.shown else None)
        return Work(asked, request, known.images, tuple(notes), known.warning)

    def _finish(self, work: Work, check: Check, text: str) -> None:
        """Show what was learned, all of it or as far as it came."""
        work = replace(work, drawn=self._end(work, check))
        self.shown, self.running = work, None
        self.stop_button.disabled = True
        self.evaluation.reset(work.request.n_query)
        self._draw()
        notes = "".join(f"<b>{html.escape(note)}</b>. " for note in work.notes)
        self.status.say(f"{notes}{self._where()}: {text}; {self._verdict()}")
        self._answer_again()

    def _stopped(self, asked: Request, check: Check) -> None:
        """Show what a stopped learning has come to, or what was shown before; `asked` is what was requested when it was stopped."""
        work = self.running
        if work is not None and work.epochs and self.keeps_what_was_learned:
            learning = self.session.learned(work.epochs)
            n_steps = work.request.values().get("inner_steps")
            of = "" if n_steps is None else f" of {n_steps}"
            self._finish(replace(work, learning=learning), check, f"stopped after epoch {work.epochs[-1].step}{of}")
            self._set_controls(work, asked)
        else:
            self._put_back(asked)
            self._say_shown("stopped; on show: ")

    def _on_error(self, error: Exception) -> None:
        """Return to what is shown, and say what went wrong: in the worker, for the newest request only."""
        failed = self.running
        self.status.show_error(error)
        self._put_back(failed.asked if failed else self.requested)
        if failed and failed.images is None:
            self.data.show_error(error)

    def _put_back(self, asked: Request) -> None:
        """Make session, controls and pictures again what is shown."""
        failed, work = self.running, self.shown
        self.running, self.stop_button.disabled = None, True
        self.session.lay(work.images, **work.request.episode())
        self._set_controls(work, asked, *([failed.request] if failed else []))
        if failed is not None:  # it, or one before it, may have drawn something already
            self._start(work)
            self._draw()
            self._answer_again()

    def _answer_again(self) -> None:
        """Answer the own picture by what is on show now."""
        try:
            if self.own_picture.current is not None:
                self.classify(self.own_picture.current)
        except Exception as error:  # it is no fault of the learning, which stays
            self.own_picture.show_error(error)

    def _set_controls(self, work: Work, *served: Request) -> None:
        """Make what the worker came to the request, and set the controls to it, unless a person has asked for something else since."""
        with self._lock:
            if not any(self.requested is request for request in served):
                return
            self.requested = request = work.request
            self.data.show(request, work.images, self._limits(work.images))
            for name, value in request.values().items():
                self.sliders[name].value = value
            self.picker.show(work.images)
            self.notice.value, self.notice.layout.display = work.warning, "" if work.warning else "none"

    def _evaluate(self, check: Check) -> None:
        if self.running is not None or self.requested is not self.shown.request:  # what is measured must be what is on show
            self._serve(check)
        check()
        request = self.shown.request
        if not request.n_query:
            self.status.say(NO_QUERIES)
            return
        self._say_shown("on show: ")
        self.stop_button.disabled = False
        try:
            self._measure(request, check)
        finally:
            self.stop_button.disabled = True

    def _own_part(self) -> widgets.Widget:
        """Return the part for a person's own pictures, which asks `classify` for an answer."""
        return OwnPicture(self.classify, may_draw=self.session.learner.preprocessing.channels == 1)

    # What a subclass may do otherwise.

    def _limits(self, images: ClassImages) -> Limits:
        return Limits.of(images, self.session.learner.max_way)

    def _learn(self, request: Request, on_epoch: Callable[[Epoch], None]) -> Learning:
        return self.session.learn(request.values(), on_epoch=on_epoch)

    def _measure(self, request: Request, check: Check) -> None:
        self.evaluation.measure(self.session, request.values(), f"{self._where()}{self._at(request)}", check)

    # What a subclass does. No abstract methods: a widget's metaclass is that of traitlets, which enforces none.

    def _start(self, work: Work) -> object:
        """Show the episode of some work before it is learned, and return what its picture is drawn from."""
        return work.drawn

    def _show_epoch(self, work: Work, epoch: Epoch) -> None:
        """Show an epoch of the learning under way."""

    def _end(self, work: Work, check: Check) -> object:
        """Return what the picture of finished work is drawn from."""
        return work.drawn

    def _draw(self) -> None:
        """Show what was learned: `shown`."""
        raise NotImplementedError  # no ABC says so, since a widget's metaclass is traitlets' own

    # Words.

    def _warning(self, dataset: str, check: Check) -> str:
        warning = warn_of_pictures(dataset, self.session.learner.preprocessing, check)
        return f'<span role="alert" style="color:{TEXT}">{html.escape(warning)}</span>' if warning else ""

    def _say_shown(self, before: str) -> None:
        self.status.say(f"{before}{self._where()}{self._at(self.shown.request)}; {self._verdict()}")

    def _where(self) -> str:
        request = self.shown.request
        counts = f"{counted(request.n_way, 'classes')}, {counted(request.n_shot, 'pictures each')}"
        return f"{html.escape(title(request.dataset))}, {counts}"

    def _at(self, request: Request) -> str:
        return "".join(f", {html.escape(said(setting))}" for setting in request.settings if not setting.is_neutral)

    def _verdict(self) -> str:
        learning = self.shown.learning
        if not len(learning.episode.query):
            return "no queries to answer"
        return f"queries: {tally(learning.epochs[-1].probabilities.numpy(), learning.episode.query.labels.numpy())}"
