"""Small pictures of a class, each of which can be taken away."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import anywidget
import numpy as np
import traitlets
from PIL import Image

SIDE = 56  # pixels, as shown; twice as many are sent, for sharp screens
MOST_SHOWN = 24


class Thumbnails(anywidget.AnyWidget):
    """A row of pictures; `on_remove(place, name)` is called where a person presses the cross of one."""

    _esm = Path(__file__).with_name("thumbnails.js")
    _css = Path(__file__).with_name("thumbnails.css")

    pictures = traitlets.List(traitlets.Bytes()).tag(sync=True)  # PNG
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    more = traitlets.Unicode().tag(sync=True)

    def __init__(self, on_remove: Callable[[int, str], None]):
        super().__init__()
        self._on_remove = on_remove
        self.on_msg(lambda _, message, buffers: self.hear(message))

    def hear(self, message: dict) -> None:
        """Take a message of the page: what it names must still be there."""
        place, name = message.get("place"), message.get("name")
        if message.get("kind") == "remove" and type(place) is int and 0 <= place < len(self.names) and self.names[place] == name:
            self._on_remove(place, name)

    def show(self, pictures: Sequence[bytes], names: Sequence[str], more: str = "") -> None:
        """Show these, and after them a text."""
        with self.hold_sync():
            self.names, self.pictures = list(names), list(pictures)
            self.more = more


def thumbnail_of(pixels: np.ndarray) -> bytes:
    """Return the central square of a picture (h, w) or (h, w, 3) as a small PNG."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(pixels[top : top + side, left : left + side]).resize((2 * SIDE, 2 * SIDE), Image.Resampling.BOX)
    buffer = io.BytesIO()
    square.save(buffer, "PNG")
    return buffer.getvalue()
