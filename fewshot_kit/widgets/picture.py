"""A picture that a screen reader can name."""

import ipywidgets as widgets
from traitlets import Unicode


class Picture(widgets.Image):
    """A PNG with a text in its place: `describe` says what it shows. It shrinks with the page, and paints its own background."""

    # The browser's side writes a tooltip only where it finds a description, and an image has none of its own.
    description = Unicode("").tag(sync=True)

    def __init__(self, name: str, **layout: str):
        super().__init__(format="png", layout=widgets.Layout(**{"max_width": "100%", "height": "auto", "object_fit": "contain", **layout}))
        self.add_class(f"fewshot-{name}-image")  # for styles, and to find it in the page

    def show(self, png: bytes, text: str) -> None:
        """Show a picture, and its text to those who cannot see it."""
        self.value, self.tooltip = png, text
