"""Take pictures with the camera of whoever looks at the page."""

from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

MOST_BYTES = 4_000_000  # of a picture: a square of 480 pixels has some 60,000


class Camera(anywidget.AnyWidget):
    """What the camera sees, and a button; `on_picture` gets a JPEG. Refusals and missing cameras are told in the page."""

    _esm = Path(__file__).with_name("camera.js")
    _css = Path(__file__).with_name("camera.css")

    label = traitlets.Unicode("Take a picture").tag(sync=True)

    def __init__(self, on_picture: Callable[[bytes], None], **options):
        super().__init__(**options)
        self._on_picture = on_picture
        self.on_msg(lambda _, message, buffers: self.hear(message, buffers))

    def hear(self, message: dict, buffers: list) -> None:
        """Take a message of the page."""
        if message.get("kind") == "picture" and len(buffers) == 1 and 0 < len(buffers[0]) <= MOST_BYTES:
            self._on_picture(bytes(buffers[0]))
