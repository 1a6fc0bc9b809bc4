"""The panel of a comparison: all learners on the very same episode."""

import html
from collections.abc import Callable, Mapping
from dataclasses import replace

import ipywidgets as widgets
import numpy as np

from fewshot_kit import plots
from fewshot_kit.data.cancelling import Check
from fewshot_kit.demo.compare_session import CompareSession
from fewshot_kit.demo.comparison import Comparison
from fewshot_kit.demo.photographs import SHARE, coloured_share
from fewshot_kit.demo.request import Limits, Request
from fewshot_kit.demo.roster import SharedImages
from fewshot_kit.demo.session import Epoch
from fewshot_kit.learners.settings import DEFAULT
from fewshot_kit.plots.verdicts import UNDECIDED, answer_to
from fewshot_kit.widgets.compare_controls import PairedEvaluation, Participants, SharedSliders
from fewshot_kit.widgets.controls import TEXT, Picture, counted
from fewshot_kit.widgets.episode_panel import EpisodePanel
from fewshot_kit.widgets.own_picture import OwnPicture
from fewshot_kit.widgets.work import Work

LEAST_WIDTH = "640px"  # of a picture of 940: below, its letters could not be read, and it scrolls
MOST_CLASSES = 20
ODD = {  # a picture of the other kind, by the channels of the networks
    1: "; it looks like a photograph, and these learners know ink drawings: their answers are worth little",
    3: "; it has no colours, and these learners know photographs: their answers are worth little",
}


class ComparePanel(EpisodePanel):
    """Sample classes, tick learners, move the sliders: every learner answers the same queries, each from its pretrained weights."""

    Evaluation = PairedEvaluation
    session: CompareSession
    evaluation: PairedEvaluation

    def __init__(self, session: CompareSession, *, settings: Mapping[str, float] | None = None):
        """Show the session; the sliders start from the given settings, or each learner from those that suit it best."""
        super().__init__(session, settings=settings, most_classes=MOST_CLASSES)
        self.participants = Participants(lambda left_aside: self.ask(left_aside=left_aside))
        self.support_image, self.answers_image, self.disputed_image, self.agreement_image = (
            Picture(flex="0 0 auto", min_width=LEAST_WIDTH) for _ in range(4)
        )
        for name in ("support", "answers", "disputed", "agreement"):
            getattr(self, f"{name}_image").add_class(f"fewshot-{name}-image")
        buttons = widgets.HBox([self.shared_sliders.reset_button, self.stop_button], layout=widgets.Layout(width="100%"))
        result = [
            _heading("<b>Support</b>, all they learn from:"), _scrolled(self.support_image, "190px"),
            _heading("<b>Answers</b>: ✓ right, ✗ wrong, – undecided; the class's letter, and how sure it is"),
            _scrolled(self.answers_image, "200px"),
            _heading("<b>The query they differ most about</b>, and what each makes of it"), _scrolled(self.disputed_image, "170px"),
            _heading("<b>Agreement</b>: how many of the queries two learners answer alike"), _scrolled(self.agreement_image, "120px"),
            self.evaluation.frame,
        ]  # fmt: skip
        self._lay_out([self.participants, self.shared_sliders, buttons], result)
        self._begin()

    # What the base asks for.

    def _make_sliders(self) -> None:
        self.shared_sliders = SharedSliders(self._turn, self._reset)
        self.shared_sliders.show(self.requested, self.session.shared())

    @property
    def sliders(self) -> dict[str, widgets.Widget]:
        """Return the sliders by the names of their settings."""
        return self.shared_sliders.sliders

    def _own_part(self) -> OwnPicture:
        part = OwnPicture(self.classify)
        part.answer_image.layout = widgets.Layout(width="min(800px, 100%)", min_height="196px", visibility="hidden")
        part.answer_text.layout = widgets.Layout(width="auto", max_width="800px", min_height="24px", margin="0 2px")
        part.answer_text.add_class("fewshot-text")
        return part

    def _warning(self, dataset: str, check: Check) -> str:
        return ""  # learners that pictures are not for take no part in them

    def _limits(self, images: SharedImages) -> Limits:
        return Limits.of(images, self.session.roster.max_way(images))

    def _learn(self, request: Request, on_epoch: Callable[[Epoch], None]) -> Comparison:
        def tell(name: str, number: int, of: int) -> None:
            if self.shown is not None:
                self.status.say(f"learning, {number + 1} of {of}: {html.escape(name)} …")

        return self.session.learn(request.by_hand(), left_aside=request.left_aside, on_learner=tell, on_epoch=on_epoch)

    def _measure(self, request: Request, check: Check) -> None:
        self.evaluation.compare(self.session, request, f"{self._where()}{self._at(request)}", check)

    def _set_controls(self, work: Work, *served: Request) -> None:
        with self._lock:
            if not any(self.requested is request for request in served):
                return
            self.participants.show(list(work.images.by_learner), work.request.left_aside)
            self.requested = work.request  # before the sliders are set: they tell of it
            self.shared_sliders.show(work.request, self.session.shared())
            super()._set_controls(work, work.request)

    def _start(self, work: Work) -> object:
        support = self.session.episode.support
        self.support_image.show_figure(plots.support_figure(support.images.numpy(), support.labels.numpy(), support.class_names))
        return work.drawn

    def _end(self, work: Work, check: Check) -> list[tuple[bytes, str]]:
        """Draw everything before anything of it is shown."""
        drawn = []
        for figure in figures(work.learning):
            check()
            drawn.append((plots.png(figure, is_kept=True), figure.get_label()))  # with the notebook
        return drawn

    def _draw(self) -> None:
        comparison = self.shown.learning
        for picture, (png, label) in zip((self.agreement_image, self.answers_image, self.disputed_image), self.shown.drawn, strict=False):
            picture.show(png, label)
        has_queries = len(self.shown.drawn) > 1
        for picture in (self.answers_image, self.disputed_image):
            picture.layout.visibility = "visible" if has_queries else "hidden"
        self.participants.show_left_out(comparison.left_out)
        self.evaluation.show_names(list(comparison.learnings))

    # What a person does.

    def _reset(self) -> None:
        """Give each learner its own best values again."""
        with self._lock:
            own = [replace(setting, source=DEFAULT) for setting in self.requested.settings]
            self.ask(settings=tuple(own))

    def classify(self, picture: np.ndarray) -> None:
        """Answer a person's own picture by all who are on show."""
        comparison = self.shown.learning
        image, answers = self.session.classify(comparison, picture)
        names = comparison.episode.support.class_names
        probabilities = {name: values.numpy() for name, values in answers.items()}
        figure = plots.disputed_figure(image[0].numpy(), probabilities, names)
        is_coloured = coloured_share(picture[..., :3] if picture.ndim == 3 else picture) > SHARE
        odd = ODD[image.shape[1]] if is_coloured != (image.shape[1] == 3) else ""
        self.own_picture.show(plots.png(figure), f"{_most_take(probabilities, names)}{odd}")

    # Words.

    def _at(self, request: Request) -> str:
        labels = {setting.name: setting.label for setting in request.settings}
        by_hand = [html.escape(f"{labels[name]} {value:.3g}") for name, value in request.by_hand().items()]
        return f", {', '.join(by_hand)} for all who have it" if by_hand else ", each at its own best"

    def _verdict(self) -> str:
        comparison = self.shown.learning
        n_query, who = len(comparison.episode.query), counted(len(comparison.learnings), "learners")
        failed = [name for name in comparison.left_out if name in self.shown.images.by_learner]
        left_out = f"; <b>left out: {html.escape(', '.join(failed))}</b>, see why beside the boxes" if failed else ""
        if not n_query:
            return f"{who}, no queries to answer{left_out}"
        low, high = min(comparison.n_right.values()), max(comparison.n_right.values())
        right = f"{low} to {high}" if low != high else f"{low}"
        alike = f", {comparison.n_agreed()} answered alike by all" if len(comparison.learnings) > 1 else ""
        return f"{who}, {right} of {n_query} queries right{alike}{left_out}"


def figures(comparison: Comparison) -> list:
    """Draw the agreement, and where there are queries the answers and the one most differed about."""
    probabilities = {name: values.numpy() for name, values in comparison.probabilities.items()}
    query, order = comparison.episode.query, comparison.by_dispute()
    drawn = [plots.agreement_figure(comparison.agreement().numpy(), comparison.names)]
    if order:
        first, labels = order[0], query.labels.numpy()
        drawn.append(plots.answers_figure(query.images.numpy(), labels, probabilities, order))
        of_it = {name: values[first] for name, values in probabilities.items()}
        drawn.append(plots.disputed_figure(query.images[first].numpy(), of_it, query.class_names, int(labels[first]), "the query"))
    return drawn


def _most_take(probabilities: Mapping[str, np.ndarray], class_names: tuple[str, ...]) -> str:
    given = [answer_to(values) for values in probabilities.values()]
    most = max(set(given), key=given.count)
    what = "are undecided" if most == UNDECIDED else f"take it for {plots.TAGS[most]} {' '.join(class_names[most].split())}"
    return f"Your picture: {given.count(most)} of {counted(len(given), 'learners')} {what}"


def _heading(said: str) -> widgets.HTML:
    line = widgets.HTML(f'<span style="color:{TEXT}">{said}</span>', layout=widgets.Layout(width="auto"))
    line.add_class("fewshot-text")
    return line


def _scrolled(picture: Picture, height: str) -> widgets.VBox:
    return widgets.VBox([picture], layout=widgets.Layout(min_height=height, width="100%", overflow="auto"))
