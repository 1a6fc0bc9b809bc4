"""How a person's classes are learned: by which checkpoint, with which settings, and from when on a picture is unknown."""

from collections.abc import Callable, Mapping, Sequence

import ipywidgets as widgets

from fewshot_kit.demo.own_task import FAMILIAR
from fewshot_kit.demo.photographs import checkpoints_for
from fewshot_kit.learners.settings import Setting
from fewshot_kit.networks.pretrained import RECOMMENDED
from fewshot_kit.widgets.controls import DESCRIPTION, StatusLine, numbered, setting_slider

WIDEST = "580px"


class LearnerControls(widgets.VBox):
    """`show` sets them; what a person changes is told: `on_use(checkpoint)`, `on_turn(name, value)`, `on_unknown()`."""

    def __init__(
        self, checkpoint: str, on_use: Callable[[str], None], on_turn: Callable[[str, float], None], on_unknown: Callable[[], None]
    ):
        self._on_turn, self._showing = on_turn, False
        options = [(f"{name} (drawings)", name) for name in checkpoints_for(in_colour=False)]
        options += [(f"{name} (photographs)", name) for name in checkpoints_for(in_colour=True)]
        options.append((f"{RECOMMENDED} (photographs; downloaded once)", RECOMMENDED))
        if checkpoint not in dict(options).values():
            options.append((checkpoint, checkpoint))
        self.checkpoint = widgets.Dropdown(options=options, value=checkpoint, description="learns by")
        self.checkpoint.observe(lambda change: self._showing or on_use(change["new"]), "value")
        self.sliders: dict[str, widgets.Widget] = {}
        self.slider_boxes = widgets.VBox()
        self.unknown = widgets.FloatSlider(value=FAMILIAR, min=0, max=0.5, step=0.01, description="“I don't know”", readout_format=".2f")
        self.unknown.continuous_update = False
        self.unknown.observe(lambda change: on_unknown(), "value")
        for control in (self.checkpoint, self.unknown):
            control.style = {"description_width": DESCRIPTION}
            control.layout = widgets.Layout(flex="1 1 auto", width="auto", min_width="0")
        self.status = StatusLine(layout=widgets.Layout(width="auto"))  # of a checkpoint that was chosen: the panel's own is out of sight
        self.status.add_class("fewshot-text")
        super().__init__([self.checkpoint, self.status, self.slider_boxes, numbered(self.unknown)], layout=widgets.Layout(max_width=WIDEST))

    def show_checkpoint(self, checkpoint: str) -> None:
        """Show by which checkpoint is learned, without telling of it."""
        before, self._showing = self._showing, True
        if checkpoint not in dict(self.checkpoint.options).values():
            self.checkpoint.options = (*self.checkpoint.options, (checkpoint, checkpoint))
        self.checkpoint.value = checkpoint
        self._showing = before

    def show(self, checkpoint: str, settings: Sequence[Setting], by_hand: Mapping[str, float]) -> None:
        """Show by which checkpoint and settings was learned."""
        self._showing = True
        try:
            self.show_checkpoint(checkpoint)
            if [setting.name for setting in settings] != list(self.sliders):
                self.sliders = {setting.name: setting_slider(setting) for setting in settings}
                self.slider_boxes.children = [numbered(slider) for slider in self.sliders.values()]
                for name, slider in self.sliders.items():
                    slider.observe(lambda change, name=name: self._showing or self._on_turn(name, change["new"]), "value")
            for setting in settings:
                self.sliders[setting.name].value = by_hand.get(setting.name, setting.value)
        finally:
            self._showing = False
