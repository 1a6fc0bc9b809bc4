"""Receive files from the browser in pieces: Jupyter drops the connection on a message above 10 MB, and a photograph often is one."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anywidget
import traitlets

MOST_BYTES = 200 * 10**6
IDLE_SECONDS = 60.0  # without a new piece, after which a file is given up: its page was closed, or the network is gone


class UploadError(ValueError):
    """An upload that cannot go on; the message says what was wanted, what came and what to do."""


@dataclass
class _Arriving:
    name: str
    size: int  # in bytes, as the browser announced it
    content: bytearray = field(default_factory=bytearray)
    changed: float = field(default_factory=time.monotonic)


class Upload(anywidget.AnyWidget):
    """A box to choose files in or drop them on; `on_file` gets the name and the bytes of each when all of it has come.

    Every file is a conversation of its own, told apart by its id: `begin`, one `piece` after another (each is answered before the
    next is sent), or `abort`. Several pages may show the same box and send at once. Errors and notes are shown below the box.
    """

    _esm = Path(__file__).with_name("upload.js")
    _css = Path(__file__).with_name("upload.css")

    label = traitlets.Unicode("Choose a picture …").tag(sync=True)
    accept = traitlets.Unicode("image/*").tag(sync=True)
    most_files = traitlets.Int(1).tag(sync=True)  # at once; of 1, the last of several dropped ones is taken
    most_bytes = traitlets.Int(MOST_BYTES).tag(sync=True)  # of all files that are under way
    note = traitlets.Unicode().tag(sync=True)
    error = traitlets.Unicode().tag(sync=True)

    def __init__(self, on_file: Callable[[str, bytes], None], *, idle_seconds: float = IDLE_SECONDS, **options):
        """Make the box; `options` are the traits above and those of every widget."""
        self._on_file, self._idle_seconds = on_file, idle_seconds
        self._arriving: dict[str, _Arriving] = {}
        super().__init__(**options)
        self.on_msg(lambda _, message, buffers: self.hear(message, buffers))

    @property
    def held_bytes(self) -> int:
        """Count the bytes of files that have not come to their end."""
        return sum(len(file.content) for file in list(self._arriving.values()))

    def tell(self, *, note: str = "", error: str = "") -> None:
        """Show a note or an error below the box, in place of what stood there; both empty clear it."""
        with self.hold_sync():
            self.note, self.error = note, error

    def hear(self, message: dict, buffers: list) -> None:
        """Take one message of the browser, and answer it."""
        key = str(message.get("id", ""))[:64]
        try:
            match message.get("kind"):
                case "begin":
                    self._begin(key, str(message.get("name", "")), message.get("size"))
                case "piece":
                    self._add(key, message.get("offset"), buffers)
                case "abort":
                    self._arriving.pop(key, None)
        except UploadError as error:
            self._arriving.pop(key, None)
            self.tell(error=str(error))
            self.send({"id": key, "kind": "refused"})

    def _begin(self, key: str, name: str, size: object) -> None:
        if type(size) is not int or size < 0:
            raise UploadError(f"the size of a file must be a number of bytes, but is {size!r}; choose the file again")
        under_way = list(self._arriving.values())
        if len(under_way) >= max(self.most_files, 8):  # of all pages that show this box
            raise UploadError(f"{len(under_way)} files are being uploaded already; wait until they have come, then choose the file again")
        if size + sum(file.size for file in under_way) > self.most_bytes:
            most = f"{self.most_bytes / 1e6:.0f} MB"
            raise UploadError(f"the file has {size / 1e6:.1f} MB, but at most {most} can be uploaded at once; make the picture smaller")
        self._arriving[key] = _Arriving(name, size)
        self._watch(key, self._idle_seconds)
        self._go_on(key)

    def _add(self, key: str, offset: object, buffers: list) -> None:
        file = self._arriving.get(key)
        if file is None:
            raise UploadError("the upload was interrupted; choose the file again")
        piece = bytes(buffers[0]) if buffers else b""
        if offset != len(file.content) or not piece or len(file.content) + len(piece) > file.size:
            raise UploadError("a piece of the file was lost on its way, or the file changed; choose it again")
        file.content += piece
        file.changed = time.monotonic()
        self._go_on(key)

    def _go_on(self, key: str) -> None:
        """Ask for the next piece, or hand the whole file over."""
        file = self._arriving[key]
        if len(file.content) < file.size:
            self.send({"id": key, "kind": "next", "received": len(file.content)})
            return
        del self._arriving[key]
        try:
            self._on_file(file.name, bytes(file.content))
        finally:
            self.send({"id": key, "kind": "done"})

    def _watch(self, key: str, seconds: float) -> None:
        timer = threading.Timer(seconds, self._drop_if_idle, [key])
        timer.daemon = True
        timer.start()

    def _drop_if_idle(self, key: str) -> None:
        file = self._arriving.get(key)
        if file is None:
            return
        left = file.changed + self._idle_seconds - time.monotonic()
        if left > 0:
            self._watch(key, left)
        else:
            self._arriving.pop(key, None)
