"""The panel of a learner that fine-tunes: watch the loss fall and the queries' probabilities move, epoch by epoch."""

import threading
import time
from collections.abc import Mapping

import ipywidgets as widgets

from fewshot_kit import plots
from fewshot_kit.demo.session import DemoSession, Epoch
from fewshot_kit.widgets.class_picker import MAX_CHOSEN
from fewshot_kit.widgets.controls import int_slider, numbered
from fewshot_kit.widgets.episode_panel import Check, EpisodePanel

FRAME_SECONDS = 0.12  # at least, between two pictures of a learning under way: drawing must not slow the learning down


class FewShotPanel(EpisodePanel):
    """Sample classes, move the sliders, watch the model learn. Every learning starts again from the pretrained weights."""

    def __init__(self, session: DemoSession, *, settings: Mapping[str, float] | None = None):
        """Show the session; the sliders start from the given settings, or from those of its checkpoint."""
        super().__init__(session, settings=settings, most_classes=MAX_CHOSEN)
        self._picture: plots.LearningPicture | None = None
        self._drawing = threading.Lock()
        self.support_image, self.learning_image = widgets.Image(format="png"), widgets.Image(format="png")
        self.learn_button = widgets.Button(description="Learn", button_style="success", icon="play")
        self.shown_epoch = int_slider(0, 0, 50, "look back at epoch")
        self.shown_epoch.continuous_update = True
        self.learn_button.on_click(self._learn_pressed)
        self.shown_epoch.observe(lambda change: self._look_back(change["new"]), "value")
        self.children = [
            self.data_box,
            widgets.HTML("<b>Support</b>, all it learns from:"),
            self.support_image,
            *self.setting_boxes,
            widgets.HBox([self.learn_button, self.stop_button]),
            self.status,
            self.learning_image,
            numbered(self.shown_epoch, widgets.BoundedIntText),
            widgets.Accordion([self.own_picture], titles=("Try a picture of your own",)),
            widgets.HBox([self.evaluate_button, self.progress]),
            self.result,
        ]
        self._name_parts("support_image", "learning_image", "status", "result")
        self._show_episode()
        self._learn_anew(lambda: None)

    def _learn_pressed(self, _button: widgets.Button) -> None:
        self.status.say("learning …")  # the same settings lead to the same picture: something is to be seen of the press
        self.learn()

    def _learn(self, check: Check, settings: dict[str, float]) -> str:
        self.learning = None  # if this one is stopped, there is none
        inner_steps = settings["inner_steps"]
        drawn = time.perf_counter()
        self.stop_button.disabled = False

        def show(epoch: Epoch) -> None:
            nonlocal drawn
            check()
            if time.perf_counter() - drawn > FRAME_SECONDS and epoch.step < inner_steps:
                self._draw(epoch, inner_steps)
                drawn = time.perf_counter()

        self.learning = self.session.learn(settings, on_epoch=show)
        self.stop_button.disabled = True
        self._set_silently(self.shown_epoch, "max", max(inner_steps, 1))
        self._set_silently(self.shown_epoch, "value", inner_steps)
        self._draw(self.learning.epochs[-1], inner_steps)
        return f"{100 * self.learning.accuracy:.0f} % of the queries right"

    def _draw(self, epoch: Epoch, n_steps: int) -> None:
        with self._drawing:  # the worker draws a learning under way, and the kernel's thread a look back
            self.learning_image.value = self._picture.draw(epoch.support_losses, epoch.probabilities.numpy(), n_steps)

    def _look_back(self, step: int) -> None:
        """Show the last learning as it was after `step` epochs."""
        learning = self.learning
        if learning is not None and step < len(learning.epochs) and not self._is_syncing():
            self._draw(learning.epochs[step], len(learning.epochs) - 1)

    def _show_episode(self) -> None:
        support, query = self.session.episode.support, self.session.episode.query
        self.support_image.value = plots.png(plots.support_figure(support.images.numpy(), support.labels.numpy(), support.class_names))
        with self._drawing:
            self._picture = plots.LearningPicture(query.images.numpy(), query.labels.numpy(), query.n_way)
            self.learning = None
