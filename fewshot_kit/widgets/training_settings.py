"""The settings of a training under a person's hands: a control each, and beside it what it means or what is wrong with its value."""

import html
import math
from collections.abc import Callable, Mapping
from dataclasses import fields

import ipywidgets as widgets

from fewshot_kit.data.datasets import dataset_names, is_available
from fewshot_kit.demo.training import Choice, TrainingSession
from fewshot_kit.learners.configs import CLASSIFIERS
from fewshot_kit.widgets.controls import ALARM, text

LOWEST_RATE, HIGHEST_RATE = 1e-5, 1.0  # of the slider; the box beside it takes any number
NOTES = {
    "learner": "the algorithm",
    "dataset": "validated on classes that it is not trained on",
    "outer_steps": "a real training takes some thousand",
    "outer_lr": "of Adam; falls to a tenth by the end",
    "classes": "in a validation task",
    "pictures": "of each class, to learn it from",
    "width": "of the network; the papers' have 64",
}


class TrainingSettings(widgets.VBox):
    """Controls for a `Choice`; `on_change` is called when a person has changed one."""

    def __init__(self, session: TrainingSession, on_change: Callable[[], None]):
        self._on_change, self._is_showing = on_change, False
        self.controls: dict[str, widgets.Widget] = {
            "learner": _dropdown("learner", [(name, name) for name in CLASSIFIERS]),
            "dataset": _dropdown("data set", [(_label(name), name) for name in session.datasets()]),
            "outer_steps": _number(widgets.IntText, "outer steps"),
            "outer_lr": _number(widgets.FloatText, "", width="90px"),
            "classes": _number(widgets.IntText, "classes"),
            "pictures": _number(widgets.IntText, "pictures each"),
            "width": _number(widgets.IntText, "width"),
        }
        self.rate_slider = widgets.FloatLogSlider(
            min=math.log10(LOWEST_RATE), max=math.log10(HIGHEST_RATE), step=0.05, description="outer learning rate",
            continuous_update=False, readout=False, style={"description_width": "140px"}, layout=widgets.Layout(width="334px"),
        )  # fmt: skip
        self.notes = {name: text(flex="1 1 260px", height="38px", margin="2px 0 0 8px") for name in self.controls}
        super().__init__([self._row(name) for name in self.controls])
        self.show(session.choice)
        self.rate_slider.observe(self._on_rate_slider, "value")
        for control in self.controls.values():
            control.observe(lambda _: None if self._is_showing else self._on_change(), "value")

    def _row(self, name: str) -> widgets.HBox:
        control = self.controls[name]
        parts = [self.rate_slider, control] if name == "outer_lr" else [control]
        box = widgets.HBox(parts, layout=widgets.Layout(width="434px"))
        return widgets.HBox([box, self.notes[name]], layout=widgets.Layout(flex_flow="row wrap"))

    def _on_rate_slider(self, change: dict) -> None:
        if not self._is_showing:
            self.controls["outer_lr"].value = float(f"{change['new']:.2g}")  # as it can be read

    @property
    def choice(self) -> Choice:
        """What the controls say, well or not."""
        values = {name: control.value for name, control in self.controls.items()}
        return Choice(**{**values, "width": values["width"] if self.has_width else None})

    def show(self, choice: Choice) -> None:
        """Set the controls to a choice."""
        self._is_showing = True
        try:
            self.has_width = choice.width is not None
            self.children[-1].layout.display = None if self.has_width else "none"
            for field in fields(choice):
                if getattr(choice, field.name) is not None:
                    self.controls[field.name].value = getattr(choice, field.name)
        finally:
            self._is_showing = False
        self.mark({})

    def mark(self, problems: Mapping[str, str]) -> None:
        """Say beside each control what is wrong with its value, or what it means."""
        for name, note in self.notes.items():
            wrong = problems.get(name)
            words, look = (
                (f"⚠ {wrong}", f'role="alert" style="color:{ALARM}')
                if wrong
                else (self._note(name), 'style="color:var(--jp-ui-font-color2)')
            )
            note.value = f'<span {look};font-size:12px">{html.escape(words)}</span>'
        self._show_rate()

    def _note(self, name: str) -> str:
        if name == "classes" and self.controls["classes"].value > 1:
            return f"{NOTES[name]}; chance is {100 / self.controls['classes'].value:.3g} %"
        return NOTES[name]

    def _show_rate(self) -> None:
        """Move the slider to the number beside it, or as near as it goes."""
        value = self.controls["outer_lr"].value
        shown, self._is_showing = self._is_showing, True
        if value > 0 and math.isfinite(value):
            self.rate_slider.value = min(max(value, LOWEST_RATE), HIGHEST_RATE)
        self._is_showing = shown

    def lock(self, is_locked: bool) -> None:
        """Grey the controls out, or let a person at them."""
        for control in (*self.controls.values(), self.rate_slider):
            control.disabled = is_locked


def _dropdown(description: str, options: list[tuple[str, str]]) -> widgets.Dropdown:
    style, layout = {"description_width": "140px"}, widgets.Layout(width="430px")
    return widgets.Dropdown(options=options, description=description, style=style, layout=layout)


def _number(kind: type, description: str, *, width: str = "250px") -> widgets.Widget:
    style = {"description_width": "140px"} if description else {}
    return kind(description=description, style=style, layout=widgets.Layout(width=width))


def _label(name: str) -> str:
    return f"{name} (download)" if name in dataset_names() and not is_available(name) else name
