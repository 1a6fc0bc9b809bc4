"""Draw or upload one picture, to be classified by what was just learned."""

import html
from collections.abc import Callable

import ipywidgets as widgets
import numpy as np
from PIL import Image

from fewshot_kit.data.images import ImageError, read_image
from fewshot_kit.widgets.pad import PAD_STYLE, SIDE, Pad
from fewshot_kit.widgets.upload import Upload

TITLES = "<b>Draw</b> one of the classes above", "… or <b>upload</b> a picture"
ANSWER_SIZE = ("420px", "196px")
LONGEST_NAME = 40
NOTHING_YET = {True: "stands here once you draw or upload a picture", False: "stands here once you upload a picture"}  # may one draw?
STYLE = PAD_STYLE + "<style>.fewshot-old-answer { opacity: 0.3 }</style>"
_UNREAD = {  # what people have that the decoder does not read, and what to do about it; known by its first bytes
    b"ftyp": "is a HEIC or AVIF picture, as phones save them; export it as JPEG (an iPhone's camera set to 'Most Compatible' saves JPEG)",
    b"<svg": "is an SVG, which has no pixels; export it as PNG",
    b"%PDF": "is a PDF; save the page as a PNG picture, or take a screenshot of it",
}


class OwnPicture(Pad):
    """A canvas and an upload box; `on_picture` gets what was drawn (after every stroke) or uploaded as an array.

    Both are shown on the canvas, one at a time: an upload takes the place of a drawing, and a stroke that of an upload.
    """

    def __init__(self, on_picture: Callable[[np.ndarray], None], *, may_draw: bool = True, titles: tuple[str, str] = TITLES):
        """`may_draw=False` is for a network that knows photographs alone: the canvas only shows what was uploaded.

        `titles` stand above the canvas and the upload box where one may draw.
        """
        self._titles = titles
        self._on_picture = on_picture
        self._nothing_yet = NOTHING_YET[may_draw]
        self.current: np.ndarray | None = None  # what was drawn or uploaded last, until it is cleared
        self._is_upload = False  # what the canvas shows
        super().__init__(may_draw=may_draw)
        self.upload = Upload(self.receive, layout=widgets.Layout(width="224px", margin="0 2px"))
        width, height = ANSWER_SIZE
        layout = widgets.Layout(width=width, height=height, object_fit="contain", visibility="hidden")
        self.answer_image = widgets.Image(format="png", layout=layout)
        self.answer_image.add_class("fewshot-answer-image")
        self.answer_text = widgets.HTML(layout=widgets.Layout(width=width, height="24px", margin="0 2px"))
        self._lay_out()
        self._say(self._nothing_yet)

    def _lay_out(self) -> None:
        def column(title: str, *parts: widgets.Widget) -> widgets.VBox:
            heading = widgets.HTML(f'<span style="color:var(--jp-ui-font-color1)">{title}</span>', layout=widgets.Layout(margin="0 2px"))
            return widgets.VBox([heading, *parts], layout=widgets.Layout(margin="0 12px 8px 0", flex="0 0 auto"))

        if self._may_draw:
            drawing = column(self._titles[0], self.frame, widgets.HBox([self.undo_button, self.clear_button]))
            asking = [drawing, column(self._titles[1], self.upload)]
        else:
            sending = column("<b>Upload</b> a photograph of one of the classes above", self.upload)
            asking = [sending, column("<b>Your picture</b>", self.frame, self.clear_button)]
        answer = column("<b>The answer</b>", self.answer_text, self.answer_image)
        wrapped = widgets.Layout(flex_flow="row wrap", align_items="flex-start")
        self.children = [widgets.HTML(STYLE, layout=widgets.Layout(display="none")), widgets.HBox([*asking, answer], layout=wrapped)]

    # What a person does.

    def _before_stroke(self) -> None:
        if self._is_upload:
            self._wipe()
            self._hide_answer(self._nothing_yet)

    def _after_stroke(self) -> None:
        """Ask for an answer to what is drawn now."""
        self.upload.tell()
        self._ask(self.picture())

    def clear(self) -> None:
        """Wipe the canvas, the answer, and what the upload box says."""
        self._wipe()
        self.current = None
        self.upload.tell()
        self._hide_answer(self._nothing_yet)

    def receive(self, name: str, content: bytes) -> None:
        """Take an uploaded file: show it in place of what was drawn, and ask for an answer; or say why it cannot be read."""
        name = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 16]}…{name[-15:]}"
        try:
            picture = read_upload(name, content)
        except ImageError as error:
            self.upload.tell(error=str(error))
            return
        self._wipe(picture)
        height, width = picture.shape[:2]
        self.upload.tell(note=f"{name}, {width} × {height} pixels")
        self._ask(picture)

    # What is shown.

    def _paint_below(self) -> None:
        if self._is_upload and self.current is not None:
            self.canvas.put_image_data(preview(self.current))

    def show(self, png: bytes, text: str = "") -> None:
        """Show the answer to the current picture as a PNG, and the same in words."""
        if self.current is None:  # cleared while it was answered
            return
        self.answer_image.value = png
        self.answer_image.remove_class("fewshot-old-answer")
        self.answer_image.layout.visibility = "visible"
        self._say(text)

    def mark_old(self) -> None:
        """Fade the answer on show until the next comes: it is of another picture, or of a learning before."""
        if self.current is not None:
            self.answer_image.add_class("fewshot-old-answer")
            self._say("answering …")

    def show_error(self, error: Exception) -> None:
        """Say beside the upload box why there is no answer, and hide the old one."""
        self.upload.tell(error=str(error) or repr(error))
        self._hide_answer("none: see the error" if self.current is not None else self._nothing_yet)

    def _wipe(self, upload: np.ndarray | None = None) -> None:
        """Empty the canvas, or show an upload on it."""
        self._is_upload, self.current = upload is not None, upload
        self.wipe()

    def _ask(self, picture: np.ndarray) -> None:
        self.current = picture
        self.mark_old()
        try:
            self._on_picture(picture)
        except Exception as error:  # a widget's callback has nobody else to tell
            self.show_error(error)

    def _hide_answer(self, said: str) -> None:
        self.answer_image.layout.visibility = "hidden"
        self._say(said)

    def _say(self, text: str) -> None:
        self.answer_text.value = f'<span role="status" style="color:var(--jp-ui-font-color1)">{html.escape(text)}</span>'


def read_upload(name: str, content: bytes) -> np.ndarray:
    """Decode an uploaded picture; an `ImageError` says what to do about a file that is none."""
    try:
        return read_image(content, name=name)
    except ImageError as error:
        raise ImageError(why_unread(error, name, content)) from error


def why_unread(error: ImageError, name: str, content: bytes) -> str:
    """Return the message of an error, or what to do about a file that is known and no picture."""
    start = content[:1000]
    what = next((what for mark, what in _UNREAD.items() if mark in start[:12] or (mark == b"<svg" and mark in start)), None)
    return f"{name} {what}, and choose that" if what else str(error)


def preview(picture: np.ndarray) -> np.ndarray:
    """Fit a picture into the canvas, on white: (SIDE, SIDE, 4) uint8."""
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    fitted = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST)
    square = Image.new("RGBA", (SIDE, SIDE), "white")
    square.paste(fitted, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return np.asarray(square)
