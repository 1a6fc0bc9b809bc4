"""How tests drive a panel without a browser."""

from collections.abc import Iterator

import ipywidgets as widgets

from fewshot_kit.widgets.episode_panel import EpisodePanel

TIMEOUT = 120  # seconds


def settle(panel: EpisodePanel) -> None:
    """Wait until the worker has nothing left to do; nothing may have gone wrong."""
    panel.worker.wait(TIMEOUT)
    assert "Error" not in panel.status.value, panel.status.value


def press(button: widgets.Button) -> None:
    """Run a button's handlers; `click()` would swallow their exceptions."""
    for handler in button._click_handlers.callbacks:
        handler(button)


def tree(widget: widgets.Widget) -> Iterator[widgets.Widget]:
    """Walk through a widget and all in it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from tree(child)
