"""Sliders that look alike, each with a number box."""

import math

import ipywidgets as widgets


def int_slider(value: int, low: int, high: int, description: str) -> widgets.IntSlider:
    return widgets.IntSlider(
        value=value, min=low, max=high, description=description, continuous_update=False, readout=False,
        style={"description_width": "130px"}, layout=widgets.Layout(width="360px"),
    )  # fmt: skip


def log_slider(value: float, low: float, high: float, description: str) -> widgets.FloatLogSlider:
    return widgets.FloatLogSlider(
        value=value, min=math.log10(low), max=math.log10(high), step=0.05, description=description, continuous_update=False, readout=False,
        style={"description_width": "130px"}, layout=widgets.Layout(width="360px"),
    )  # fmt: skip


def numbered(slider: widgets.Widget, box_class: type, **box: float) -> widgets.HBox:
    """Put a number box beside a slider, tied to its value."""
    is_log = isinstance(slider, widgets.FloatLogSlider)
    low, high = (slider.base**slider.min, slider.base**slider.max) if is_log else (slider.min, slider.max)
    number = box_class(value=slider.value, min=low, max=high, layout=widgets.Layout(width="80px"), **box)
    widgets.link((slider, "value"), (number, "value"))
    if not is_log:
        widgets.link((slider, "max"), (number, "max"))
    return widgets.HBox([slider, number])
