"""The panel of a detector: boxes around a few things, the same kinds of things found in other pictures."""

from collections.abc import Mapping

import ipywidgets as widgets

from fewshot_kit import plots
from fewshot_kit.data.cancelling import Check
from fewshot_kit.demo.detection import DetectionSession, Findings, FoundEpoch
from fewshot_kit.widgets.class_picker import MAX_CHOSEN
from fewshot_kit.widgets.controls import DESCRIPTION, TEXT, Picture, numbered
from fewshot_kit.widgets.episode_panel import EpisodePanel
from fewshot_kit.widgets.own_boxes import OwnBoxes, OwnTask
from fewshot_kit.widgets.work import Work

THRESHOLD = 0.5  # the probability to show boxes from, at first
LEAST_WIDTH = "640px"  # of a picture of 920: below, its letters could not be read, and it scrolls


class DetectionPanel(EpisodePanel):
    """Sample classes, move the sliders, watch the boxes change. Every learning starts again from the pretrained weights."""

    own_title = "Mark things in pictures of your own"
    session: DetectionSession

    def __init__(self, session: DetectionSession, *, settings: Mapping[str, float] | None = None):
        """Show the session; the sliders start from the given settings, or from those that suit its checkpoint best."""
        super().__init__(session, settings=settings, most_classes=MAX_CHOSEN)
        self.threshold = widgets.FloatSlider(
            value=THRESHOLD, min=0.05, max=0.95, step=0.05, description="show from", continuous_update=False
        )
        self.threshold.style, self.threshold.tooltip = {"description_width": DESCRIPTION}, "the least probability of a box that is shown"
        self.threshold.layout = widgets.Layout(flex="1 1 auto", width="auto", min_width="0")
        self.threshold.observe(lambda change: self._show_from(), "value")
        self.support_image, self.found_image = (Picture(flex="0 0 auto", min_width=LEAST_WIDTH) for _ in range(2))
        self.curve_image, self.map_image = (Picture(flex="1 1 400px", max_width="450px") for _ in range(2))
        self.find_button = widgets.Button(description="Find", button_style="success", icon="search")
        self.find_button.on_click(lambda _: self.learn())
        buttons = widgets.HBox([self.find_button, self.stop_button])
        pictures = [
            _heading("<b>Support</b>, all it learns from: one thing marked in each picture"), _scrolled(self.support_image, "150px"),
            _heading("<b>Queries</b>: what it finds, with the class's letter and its probability; ✓ right, ✗ wrong, dashed what it missed"),
            _scrolled(self.found_image, "300px"),
            widgets.HBox([self.curve_image, self.map_image], layout=widgets.Layout(flex_flow="row wrap", width="100%", min_height="340px")),
        ]  # fmt: skip
        self.found_image.add_class("fewshot-found-image")
        self.support_image.add_class("fewshot-support-image")
        self._lay_out([*self.setting_boxes, numbered(self.threshold), buttons], pictures)
        self._begin()

    # What the base asks for.

    def _own_part(self) -> OwnBoxes:
        return OwnBoxes(lambda task: self.worker.submit(self._find_own), self.session.learner.preprocessing.size)

    def _warning(self, dataset: str, check: Check) -> str:
        return ""

    def _start(self, work: Work) -> object:
        if work.drawn is None or self.shown is None or self.session.episode is not self.shown.learning.episode:
            support = self.session.episode.support
            self.support_image.show_figure(plots.marked_figure(*support.arrays(), support.class_names))
        return work.drawn

    def _show_epoch(self, work: Work, epoch: FoundEpoch) -> None:
        """Nothing: a learning takes a moment."""

    def _end(self, work: Work, check: Check) -> object:
        """Show the boxes, which a person waits for, and draw what does not change with the slider of the probability."""
        findings, names = work.learning, work.learning.episode.query.class_names
        self._draw_found(findings)
        check()
        curves = findings.curves()
        check()
        box_map = self.session.map(findings)
        note = f"two dimensions by PCA, with {100 * box_map.share:.0f} % of the variance"
        figures = (
            plots.precision_recall_figure(curves, findings.precisions().numpy(), names),
            plots.box_map_figure(box_map.places, box_map.labels, box_map.roles, box_map.centres, names, note),
        )
        return [(plots.png(figure), figure.get_label()) for figure in figures]

    def _draw(self) -> None:
        self._draw_found(self.shown.learning)
        for picture, (png, text) in zip((self.curve_image, self.map_image), self.shown.drawn, strict=True):
            picture.show(png, text)

    def _draw_found(self, findings: Findings) -> None:
        query, found = findings.episode.query, findings.judged(self.threshold.value)
        self.found_image.show_figure(plots.found_figure(query.images.numpy(), found, query.class_names))

    def _verdict(self) -> str:
        query = self.shown.learning.episode.query
        if not len(query):
            return "no queries to search"
        n_found, n_things, n_wrong = self.shown.learning.tally(self.threshold.value)
        nothing = "nothing was found; " if not n_found + n_wrong else ""
        return f"{nothing}{n_found} of {n_things} things found, {n_wrong} box{'es' if n_wrong != 1 else ''} wrong"

    # What a person does.

    def _show_from(self) -> None:
        """Show boxes from another probability; nothing is learned anew."""
        self.worker.submit(self._show_again)

    def _show_again(self, check: Check) -> None:
        if self.running is not None or self.requested is not self.shown.request:  # a learning was under way, and is cancelled by this
            self._serve(check)
            return
        self._draw_found(self.shown.learning)
        self._say_shown("on show: ")
        self._answer_again()

    def _find_own(self, check: Check) -> None:
        """Search a person's own pictures, after a learning that is under way: what answers is what is on show."""
        if self.running is not None or self.requested is not self.shown.request:
            self._serve(check)  # at its end it answers the own pictures too
        else:
            self._answer_again()

    def classify(self, task: OwnTask) -> None:
        """Find what a person has marked in pictures of theirs, by the settings on show."""
        found = self.session.find_own(task.support, task.queries, self.shown.request.values())
        found = [of_picture.shown(self.threshold.value) for of_picture in found]
        figure = plots.found_figure(task.queries.numpy() / 255, [f.arrays() for f in found], task.support.class_names)
        self.own_picture.show(plots.png(figure), figure.get_label(), [len(f) for f in found])


def _heading(text: str) -> widgets.HTML:
    line = widgets.HTML(f'<span style="color:{TEXT}">{text}</span>', layout=widgets.Layout(width="auto"))
    line.add_class("fewshot-text")
    return line


def _scrolled(picture: Picture, height: str) -> widgets.VBox:
    box = widgets.VBox([picture], layout=widgets.Layout(min_height=height, width="100%", overflow="auto"))
    box.add_class("fewshot-picture-box")
    return box
