"""What the panels are made of: sliders with number boxes, pictures with a text, the line that says how things stand, the styles."""

import html
import logging
import math
import os

import ipywidgets as widgets
import traitlets
from matplotlib.figure import Figure

from fewshot_kit import plots
from fewshot_kit.learners.settings import Setting

logger = logging.getLogger(__name__)

TEXT = "var(--jp-ui-font-color1)"
# The theme's red, drawn a little towards its text: small letters need 4.5 : 1 on the ground of either theme.
ALARM = "color-mix(in srgb, var(--jp-error-color1) 80%, var(--jp-ui-font-color0))"
DESCRIPTION = "140px"
STYLE = """<style>
.fewshot-columns > *, .fewshot-groups > * { min-width: min(100%, 380px) }
.fewshot-picture { background: white; border-radius: 3px }
.fewshot-picture-box { background: white; border: 1px solid var(--jp-border-color2); border-radius: 3px }
.widget-html.fewshot-text > .widget-html-content { line-height: 1.4; white-space: normal; padding: 4px 0; overflow-wrap: anywhere }
.widget-html.fewshot-notice > .widget-html-content { border-left: 4px solid var(--jp-warn-color1); padding: 0 0 0 10px }
.fewshot-numbered { position: relative }
.fewshot-numbered > .widget-slider { position: static }
/* While a slider is dragged nothing is learned, but its readout runs along in the place of the number box. */
.fewshot-numbered .widget-readout { display: none; position: absolute; right: 2px; top: 2px; z-index: 2; width: 72px; height: 28px;
  min-width: 0; margin: 0; box-sizing: border-box; padding: 0 8px; line-height: 26px; text-align: left; overflow: hidden;
  color: var(--jp-ui-font-color1); background: var(--jp-layout-color1); border: 1px solid var(--jp-brand-color1) }
.fewshot-numbered:has(.noUi-active) .widget-readout { display: block }
</style>"""


class StatusLine(widgets.HTML):
    """A line that tells a person what is going on, or what went wrong."""

    def say(self, message: str) -> None:
        """Show a line of HTML: escape what a person or a file supplied."""
        self.value = f'<span role="status" style="color:{TEXT}">{message}</span>'

    def show_error(self, error: Exception) -> None:
        logger.debug("shown in the panel", exc_info=error)
        self.value = alarm(error)


def alarm(error: Exception) -> str:
    """Return what an error says, as HTML."""
    return f'<span role="alert" style="color:{ALARM}"><b>Error:</b> {html.escape(str(error) or repr(error))}</span>'


def is_app() -> bool:
    """Say whether strangers are served, as by Voila: nothing on this machine is then opened or written for them."""
    return os.environ.get("SERVER_SOFTWARE", "").startswith("voila")


def text(**layout: str) -> widgets.HTML:
    """Return an empty line of text, that grows with what it says."""
    line = widgets.HTML(layout=widgets.Layout(width="auto", **layout))
    line.add_class("fewshot-text")
    return line


class Picture(widgets.Image):
    """A PNG with a text for whoever cannot see it: its title in the page, since ipywidgets has no `alt`."""

    description = traitlets.Unicode("").tag(sync=True)  # the page sets a title only beside an empty description

    def __init__(self, **layout: str):
        super().__init__(format="png", layout=widgets.Layout(**{"max_width": "100%", "height": "auto", **layout}))
        self.add_class("fewshot-picture")

    def show(self, png: bytes, text: str) -> None:
        self.value, self.tooltip = png, text

    def show_figure(self, figure: Figure) -> None:
        """Show a figure of `plots`, whose label says what is on it."""
        self.show(plots.png(figure), figure.get_label())


def styles() -> widgets.HTML:
    """Return the panels' styles; to be put anywhere into a panel."""
    return widgets.HTML(STYLE, layout=widgets.Layout(display="none"))


def int_slider(value: int, low: int, high: int, description: str) -> widgets.IntSlider:
    slider = widgets.IntSlider(value=value, min=low, max=high, description=description, continuous_update=False)
    return _styled(slider)


def log_slider(value: float, low: float, high: float, description: str) -> widgets.FloatLogSlider:
    low, high = math.log10(low), math.log10(high)
    slider = widgets.FloatLogSlider(value=value, min=low, max=high, step=0.05, description=description, continuous_update=False)
    slider.readout_format = ".3g"
    return _styled(slider)


def setting_slider(setting: Setting) -> widgets.Widget:
    """Return a slider for a setting, whose range holds its value: a range is widened, a value never cut."""
    value, low, high = setting.value, setting.low, setting.high
    if setting.scale == "log":  # by whole decades, whose ends are exact
        low = low if value >= low else 10 ** math.floor(math.log10(value))
        high = high if value <= high else 10 ** math.ceil(math.log10(value))
        return log_slider(value, low, high, setting.label)
    low, high = min(low, value), max(high, value)
    if setting.is_whole:
        return int_slider(value, low, high, setting.label)
    slider = widgets.FloatSlider(value=value, min=low, max=high, step=(high - low) / 100, description=setting.label)
    slider.continuous_update = False
    return _styled(slider)


def _styled(slider: widgets.Widget) -> widgets.Widget:
    slider.style = {"description_width": DESCRIPTION}
    slider.layout = widgets.Layout(flex="1 1 auto", width="auto", min_width="0")
    return slider


def numbered(slider: widgets.Widget) -> widgets.HBox:
    """Put a number box beside a slider, tied to its value and its range."""
    is_log, is_whole = isinstance(slider, widgets.FloatLogSlider), isinstance(slider, widgets.IntSlider)
    low, high = (slider.base**slider.min, slider.base**slider.max) if is_log else (slider.min, slider.max)
    box = widgets.BoundedIntText if is_whole else widgets.BoundedFloatText
    number = box(value=slider.value, min=low, max=high, layout=widgets.Layout(width="72px", flex="0 0 auto"))
    number.step = 1 if is_whole else 0.001
    number.tooltip = f"{slider.description}, as a number"
    widgets.link((slider, "value"), (number, "value"))
    if not is_log:
        widgets.link((slider, "min"), (number, "min"))
        widgets.link((slider, "max"), (number, "max"))
    widgets.link((slider, "disabled"), (number, "disabled"))
    row = widgets.HBox([slider, number], layout=widgets.Layout(width="100%"))
    row.add_class("fewshot-numbered")
    return row


def set_range(slider: widgets.IntSlider, low: int, high: int, value: int) -> None:
    """Set range and value so that the value is never out of the range; where there is no choice, the slider is disabled."""
    slider.max = max(slider.max, high, value, low + 1)
    slider.min = min(slider.min, low)
    slider.value = value
    slider.min, slider.max = low, max(high, low + 1)  # a slider in a page needs two ends
    slider.disabled = high <= low


def counted(number: float, what: str) -> str:
    """Write "1 epoch", "3 epochs", "1 picture each": the plural `what` begins with goes where there is one."""
    first, _, rest = what.partition(" ")
    one = {"classes": "class", "queries": "query"}.get(first, first.removesuffix("s"))
    return f"{number:g} {one if number == 1 else first}{f' {rest}' if rest else ''}"


def said(setting: Setting) -> str:
    """Write a setting as a person says it: "10 epochs", "learning rate 0.02"."""
    return counted(setting.value, setting.label) if setting.is_whole else f"{setting.label} {setting.value:.3g}"
