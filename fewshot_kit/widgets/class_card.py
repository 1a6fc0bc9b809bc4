"""A class of a person: its name, its pictures, and whether pictures go to it."""

from collections.abc import Callable

import ipywidgets as widgets

from fewshot_kit.demo.own_classes import OwnClass
from fewshot_kit.widgets.thumbnails import MOST_SHOWN, Thumbnails, thumbnail_of


class ClassCard(widgets.VBox):
    """Shows a class; what a person does with it is told: `on_name(text)`, `on_choose()`, `on_remove()`, `on_remove_picture(place)`."""

    def __init__(
        self,
        on_name: Callable[[str], None],
        on_choose: Callable[[], None],
        on_remove: Callable[[], None],
        on_remove_picture: Callable[[int], None],
    ):
        self._is_showing, self._thumbs = False, {}
        self.name = widgets.Text(continuous_update=False, layout=widgets.Layout(flex="1 1 120px", width="auto", min_width="0"))
        self.name.observe(lambda change: self._is_showing or on_name(change["new"]), "value")
        self.choose = widgets.Button(layout=widgets.Layout(width="156px", flex="0 0 auto"))
        self.choose.on_click(lambda _: on_choose())
        self.remove = widgets.Button(icon="trash", tooltip="remove this class", layout=widgets.Layout(width="36px", flex="0 0 auto"))
        self.remove.on_click(lambda _: on_remove())
        self.thumbnails = Thumbnails(lambda place, name: on_remove_picture(place))
        row = widgets.HBox([self.name, self.choose, self.remove], layout=widgets.Layout(width="100%"))
        super().__init__([row, self.thumbnails], layout=widgets.Layout(width="100%", padding="6px"))
        self.add_class("fewshot-class-card")

    def show(self, one: OwnClass, is_chosen: bool) -> None:
        """Show the class as it is now; `is_chosen`: pictures go to it."""
        self._is_showing = True
        try:
            self.name.value, self.name.tooltip = one.name, f"the name of {one.name}"
        finally:
            self._is_showing = False
        self.choose.description = "pictures go here" if is_chosen else "add pictures"
        self.choose.icon = "arrow-right" if is_chosen else "plus"
        self.choose.button_style = "primary" if is_chosen else ""
        (self.add_class if is_chosen else self.remove_class)("fewshot-class-chosen")
        shown = one.pictures[:MOST_SHOWN]
        self._thumbs = {p.digest: self._thumbs.get(p.digest) or thumbnail_of(p.pixels()) for p in shown}
        n_hidden = len(one.pictures) - len(shown)
        more = f"and {n_hidden} more" if n_hidden else "" if shown else "no picture yet"
        self.thumbnails.show([self._thumbs[p.digest] for p in shown], [p.name for p in shown], more)
