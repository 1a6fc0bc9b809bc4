"""Sliders that look alike, each with a number box, and the line that says how things stand."""

import html
import logging
import math

import ipywidgets as widgets

from fewshot_kit.plots import WRONG

logger = logging.getLogger(__name__)


class StatusLine(widgets.HTML):
    """A line that tells a person what is going on, or what went wrong."""

    def say(self, message: str) -> None:
        """Show a line of HTML: escape what a person or a file supplied."""
        self.value = f'<span style="color:#374151">{message}</span>'

    def show_error(self, error: Exception) -> None:
        logger.debug("shown in the panel", exc_info=error)
        self.value = f'<span role="alert" style="color:{WRONG}"><b>Error:</b> {html.escape(str(error) or repr(error))}</span>'


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
