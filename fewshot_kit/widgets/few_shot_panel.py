"""The panel of a learner that fine-tunes: watch the loss fall and the queries' probabilities move, epoch by epoch."""

import threading
import time
from collections.abc import Mapping

import ipywidgets as widgets

from fewshot_kit import plots
from fewshot_kit.data.cancelling import Check
from fewshot_kit.data.episodes import Episode
from fewshot_kit.demo.session import DemoSession, Epoch
from fewshot_kit.widgets.class_picker import MAX_CHOSEN
from fewshot_kit.widgets.controls import TEXT, Picture, int_slider, numbered, set_range
from fewshot_kit.widgets.episode_panel import EpisodePanel
from fewshot_kit.widgets.work import Work

FRAME_SECONDS = 0.12  # at least, between two pictures of a learning under way: drawing must not slow the learning down
LEAST_WIDTH = "640px"  # of a picture of 920: below, its letters could not be read, and it scrolls


class FewShotPanel(EpisodePanel):
    """Sample classes, move the sliders, watch the model learn. Every learning starts again from the pretrained weights."""

    keeps_what_was_learned = True

    def __init__(self, session: DemoSession, *, settings: Mapping[str, float] | None = None):
        """Show the session; the sliders start from the given settings, or from those that suit its checkpoint best."""
        super().__init__(session, settings=settings, most_classes=MAX_CHOSEN)
        self._framed: tuple[Episode, plots.LearningPicture] | None = None  # the last picture and what it is of: slow to lay out
        self._drawing = threading.Lock()  # the worker draws a learning under way, and the kernel's thread a look back
        self._drawn_at = 0.0
        self.epoch, self.page = 0, 0  # what the learning's picture shows
        self.support_image, self.learning_image = (Picture(flex="0 0 auto", min_width=LEAST_WIDTH) for _ in range(2))
        self.learn_button = widgets.Button(description="Learn", button_style="success", icon="play")
        self.learn_button.on_click(self._learn_pressed)
        self._make_look_back()
        heading = widgets.HTML(f'<span style="color:{TEXT}"><b>Support</b>, all it learns from:</span>')
        support = widgets.VBox([self.support_image], layout=widgets.Layout(height="190px", width="100%", overflow="auto"))
        learning = widgets.VBox([self.learning_image], layout=widgets.Layout(min_height="340px", width="100%", overflow="auto"))
        support.add_class("fewshot-picture-box")
        self.support_image.add_class("fewshot-support-image")
        self.learning_image.add_class("fewshot-learning-image")
        buttons = widgets.HBox([self.learn_button, self.stop_button])
        self._lay_out([*self.setting_boxes, buttons], [heading, support, self.look_back_row, learning])
        self._begin()

    def _make_look_back(self) -> None:
        self.shown_epoch = int_slider(0, 0, 50, "look back at epoch")
        self.shown_epoch.continuous_update = True
        self.shown_epoch.observe(lambda change: self._look(epoch=change["new"]), "value")
        self.previous_page, self.next_page = (widgets.Button(description=sign, layout=widgets.Layout(width="40px")) for sign in "◀▶")
        self.previous_page.tooltip, self.next_page.tooltip = "the page of queries before", "the next page of queries"
        self.previous_page.on_click(lambda _: self._look(page=self.page - 1))
        self.next_page.on_click(lambda _: self._look(page=self.page + 1))
        self.page_label = widgets.Label()
        self.pages = widgets.HBox([self.previous_page, self.page_label, self.next_page], layout=widgets.Layout(flex="0 0 auto"))
        row = numbered(self.shown_epoch)
        row.layout = widgets.Layout(flex="1 1 360px", max_width="520px", width="auto")
        self.look_back_row = widgets.HBox([row, self.pages], layout=widgets.Layout(flex_flow="row wrap", width="100%"))

    def _learn_pressed(self, _button: widgets.Button) -> None:
        self.status.say("learning …")  # the same settings lead to the same picture: something is to be seen of the press
        self.learn()

    def _start(self, work: Work) -> plots.LearningPicture:
        episode = self.session.episode
        if work.drawn is None and self._framed is not None and self._framed[0] is episode:
            return self._framed[1]
        support, query = episode.support, episode.query
        self.support_image.show_figure(plots.support_figure(support.images.numpy(), support.labels.numpy(), support.class_names))
        drawn = work.drawn or plots.LearningPicture(query.images.numpy(), query.labels.numpy(), query.n_way)
        self._framed = episode, drawn
        return drawn

    def _show_epoch(self, work: Work, epoch: Epoch) -> None:
        n_steps = work.request.values().get("inner_steps", epoch.step)
        if epoch.step == 0:
            self._drawn_at, self.page = time.perf_counter(), 0
        elif time.perf_counter() - self._drawn_at > FRAME_SECONDS and epoch.step < n_steps:
            with self._drawing:
                self.learning_image.value = work.drawn.draw(epoch.support_losses, epoch.probabilities.numpy(), n_steps)
            self._drawn_at = time.perf_counter()

    def _end(self, work: Work, check: Check) -> plots.LearningPicture:
        with self._drawing:
            work.drawn.arrange(work.learning.epochs[-1].probabilities.numpy())
        return work.drawn

    def _draw(self) -> None:
        """Show the last epoch of what was learned, and its first page: the queries that are answered wrong."""
        self.epoch = len(self.shown.learning.epochs) - 1
        self.page = 0
        set_range(self.shown_epoch, 0, self.epoch, self.epoch)
        self._draw_page()

    def _look(self, **where: int) -> None:
        """Show the learning as it was after an epoch, or another page of its queries."""
        epoch, page = where.get("epoch", self.epoch), where.get("page", self.page)
        if self.running is None and (epoch, page) != (self.epoch, self.page):
            self.epoch, self.page = min(epoch, len(self.shown.learning.epochs) - 1), page % self.shown.drawn.n_pages
            self._draw_page()

    def _draw_page(self) -> None:
        epoch, picture = self.shown.learning.epochs[self.epoch], self.shown.drawn
        n_steps = self.shown.request.values().get("inner_steps", len(self.shown.learning.epochs) - 1)
        losses, probabilities, labels = epoch.support_losses, epoch.probabilities.numpy(), self.shown.learning.episode.query.labels.numpy()
        with self._drawing:
            png = picture.draw(losses, probabilities, n_steps, page=self.page)
            self.learning_image.show(png, plots.learning_text(losses, probabilities, labels))
        self.page_label.value = f"queries, page {self.page + 1} of {picture.n_pages}"
        self.pages.layout.visibility = "visible" if picture.n_pages > 1 else "hidden"
