"""A file that a person takes from the kernel to their own machine, in pieces: Jupyter drops the connection on a message above 10 MB."""

from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

PIECE = 2**20  # bytes


class Download(anywidget.AnyWidget):
    """A button; `make` returns the name and the bytes of what is saved, or None where there is nothing to save."""

    _esm = Path(__file__).with_name("download.js")
    _css = """
    .fewshot-download { font: inherit; height: 28px; padding: 0 12px; cursor: pointer; border: 1px solid var(--jp-border-color1, #bdbdbd);
      border-radius: 2px; color: var(--jp-ui-font-color1, #1f2937); background: var(--jp-layout-color2, #eeeeee) }
    .fewshot-download:disabled { opacity: 0.5 }
    """

    label = traitlets.Unicode("Download").tag(sync=True)

    def __init__(self, make: Callable[[], tuple[str, bytes] | None], **options):
        super().__init__(**options)
        self._make, self._name, self._content = make, "", b""
        self.on_msg(lambda _, message, buffers: self.hear(message))

    def hear(self, message: dict) -> None:
        """Take a message of the page, which asks for one piece after another."""
        match message.get("kind"):
            case "make":
                self._name, self._content = self._make() or ("", b"")
                self._send_piece(0)
            case "next" if type(message.get("place")) is int and message["place"] >= 0:
                self._send_piece(message["place"])

    def _send_piece(self, place: int) -> None:
        piece = self._content[place * PIECE : (place + 1) * PIECE]
        if piece:
            self.send({"kind": "piece"}, [piece])
        else:
            self.send({"kind": "done", "name": self._name})
            self._content = b""
