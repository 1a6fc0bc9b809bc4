"""Draw or upload one picture, to be classified by what was just learned."""

import html
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import ipywidgets as widgets
import numpy as np
from ipycanvas import Canvas, hold_canvas
from PIL import Image

from fewshot_kit.data.images import ImageError, read_image
from fewshot_kit.widgets.upload import Upload

SIDE = 196  # of the canvas, in pixels
PEN = 7  # its width
ANSWER_SIZE = ("420px", "196px")
LONGEST_NAME = 40
NOTHING_YET = {True: "stands here once you draw or upload a picture", False: "stands here once you upload a picture"}  # may one draw?
Point = tuple[float, float]
STYLE = "<style>.fewshot-old-answer { opacity: 0.3 } .fewshot-drawing canvas { background: white; cursor: crosshair }</style>"
_UNREAD = {  # what people have that the decoder does not read, and what to do about it; known by its first bytes
    b"ftyp": "is a HEIC or AVIF picture, as phones save them; export it as JPEG (an iPhone's camera set to 'Most Compatible' saves JPEG)",
    b"<svg": "is an SVG, which has no pixels; export it as PNG",
    b"%PDF": "is a PDF; save the page as a PNG picture, or take a screenshot of it",
}


class OwnPicture(widgets.VBox):
    """A canvas and an upload box; `on_picture` gets what was drawn (after every stroke) or uploaded as an array.

    Both are shown on the canvas, one at a time: an upload takes the place of a drawing, and a stroke that of an upload.
    """

    def __init__(self, on_picture: Callable[[np.ndarray], None], *, may_draw: bool = True):
        """`may_draw=False` is for a network that knows photographs alone: the canvas only shows what was uploaded."""
        self._on_picture, self._may_draw = on_picture, may_draw
        self._nothing_yet = NOTHING_YET[may_draw]
        self.strokes: list[list[Point]] = []
        self.current: np.ndarray | None = None  # what was drawn or uploaded last, until it is cleared
        self._is_upload = False  # what the canvas shows
        self._is_down = False
        self._make_canvas()
        self.undo_button = widgets.Button(description="Undo", icon="undo", disabled=True, layout=widgets.Layout(width="94px"))
        self.clear_button = widgets.Button(description="Clear", icon="trash", layout=widgets.Layout(width="94px"))
        self.undo_button.on_click(lambda _: self.undo())
        self.clear_button.on_click(lambda _: self.clear())
        self.upload = Upload(self.receive, layout=widgets.Layout(width="224px", margin="0 2px"))
        width, height = ANSWER_SIZE
        layout = widgets.Layout(width=width, height=height, object_fit="contain", visibility="hidden")
        self.answer_image = widgets.Image(format="png", layout=layout)
        self.answer_image.add_class("fewshot-answer-image")
        self.answer_text = widgets.HTML(layout=widgets.Layout(width=width, height="24px", margin="0 2px"))
        self._lay_out()
        self._say(self._nothing_yet)

    def _make_canvas(self) -> None:
        self.canvas = Canvas(width=SIDE, height=SIDE, layout=widgets.Layout(width=f"{SIDE}px", height=f"{SIDE}px", margin="0"))
        self.canvas.on_client_ready(self._paint_in_new_page)
        self.paint()
        if not self._may_draw:
            return
        self.canvas.on_mouse_down(self.pen_down)
        self.canvas.on_mouse_move(self.pen_move)
        self.canvas.on_mouse_up(self.pen_up)
        self.canvas.on_mouse_out(self.pen_up)
        self.canvas.on_touch_start(self.touch_start)
        self.canvas.on_touch_move(self.touch_move)
        self.canvas.on_touch_end(self.touch_end)
        self.canvas.on_touch_cancel(self.touch_end)

    def _lay_out(self) -> None:
        def column(title: str, *parts: widgets.Widget) -> widgets.VBox:
            heading = widgets.HTML(f'<span style="color:var(--jp-ui-font-color1)">{title}</span>', layout=widgets.Layout(margin="0 2px"))
            return widgets.VBox([heading, *parts], layout=widgets.Layout(margin="0 12px 8px 0", flex="0 0 auto"))

        # The border is the frame's: on the canvas it would shift what is drawn against the pen.
        frame = widgets.Box([self.canvas], layout=widgets.Layout(border="1px solid #8a94a3", width=f"{SIDE + 2}px", overflow="hidden"))
        if self._may_draw:
            frame.add_class("fewshot-drawing")
            drawing = column("<b>Draw</b> one of the classes above", frame, widgets.HBox([self.undo_button, self.clear_button]))
            asking = [drawing, column("… or <b>upload</b> a picture", self.upload)]
        else:
            sending = column("<b>Upload</b> a photograph of one of the classes above", self.upload)
            asking = [sending, column("<b>Your picture</b>", frame, self.clear_button)]
        answer = column("<b>The answer</b>", self.answer_text, self.answer_image)
        wrapped = widgets.Layout(flex_flow="row wrap", align_items="flex-start")
        super().__init__([widgets.HTML(STYLE, layout=widgets.Layout(display="none")), widgets.HBox([*asking, answer], layout=wrapped)])

    # What a person does.

    def pen_down(self, x: float, y: float) -> None:
        if self._is_upload:
            self._wipe()
            self._hide_answer(self._nothing_yet)
        self._is_down = True
        self.strokes.append([(x, y)])
        self.canvas.fill_circle(x, y, PEN / 2)

    def pen_move(self, x: float, y: float) -> None:
        if self._is_down:
            self.canvas.stroke_line(*self.strokes[-1][-1], x, y)
            self.strokes[-1].append((x, y))

    def pen_up(self, x: float | None = None, y: float | None = None) -> None:
        """End the stroke, at a last point if one is given (off the canvas, where the pen left it), and ask for an answer."""
        if self._is_down:
            if x is not None and y is not None:
                self.pen_move(x, y)
            self._is_down = False
            self.undo_button.disabled = False
            self.upload.tell()
            self._ask(self.picture())

    def touch_start(self, touches: Sequence[Point]) -> None:
        if len(touches) == 1:  # a second finger draws nothing
            self.pen_down(*touches[0])

    def touch_move(self, touches: Sequence[Point]) -> None:
        if self._is_down and touches:
            self.pen_move(*self._drawing_finger(touches))

    def touch_end(self, touches: Sequence[Point]) -> None:
        """Lift the pen once the finger that draws is gone; `touches` are the fingers that stay."""
        if self._is_down and not (touches and math.dist(self.strokes[-1][-1], self._drawing_finger(touches)) < 2 * PEN):
            self.pen_up()

    def _drawing_finger(self, touches: Sequence[Point]) -> Point:
        return min(touches, key=lambda touch: math.dist(self.strokes[-1][-1], touch))  # the browser's ids do not come this far

    def undo(self) -> None:
        """Take the last stroke back; what is left is answered anew."""
        if len(self.strokes) <= 1:
            self.clear()
            return
        self._is_down = False
        self.strokes.pop()
        self.paint()
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

    def picture(self) -> np.ndarray:
        """Return what was drawn, (SIDE, SIDE) uint8, dark ink on white: the same strokes as on the canvas."""
        image = np.full((SIDE, SIDE), 255, dtype=np.uint8)
        for stroke in self.strokes:
            for start, end in pairwise([stroke[0], *stroke]):  # a dot is a line to itself
                blacken(image, start, end)
        return image

    def paint(self) -> None:
        """Paint the canvas anew: white (it is transparent, and dark themes shine through), and on it the upload or the strokes."""
        with hold_canvas():
            self.canvas.line_width, self.canvas.line_cap, self.canvas.line_join = PEN, "round", "round"
            self.canvas.fill_style = "white"
            self.canvas.fill_rect(0, 0, SIDE, SIDE)
            self.canvas.fill_style = "black"
            if self._is_upload and self.current is not None:
                self.canvas.put_image_data(preview(self.current))
            for stroke in self.strokes:
                self.canvas.fill_circle(*stroke[0], PEN / 2)
                for start, end in pairwise(stroke):
                    self.canvas.stroke_line(*start, *end)

    def _paint_in_new_page(self) -> None:
        # A page that is opened anew was told neither what is drawn nor on which canvas; ipycanvas tells the latter only when it changes.
        self.canvas._canvas_manager._current_canvas = None
        self.paint()

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
        self.strokes, self._is_down = [], False
        self._is_upload, self.current = upload is not None, upload
        self.undo_button.disabled = True
        self.paint()

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
        start = content[:1000]
        what = next((what for mark, what in _UNREAD.items() if mark in start[:12] or (mark == b"<svg" and mark in start)), None)
        raise (ImageError(f"{name} {what}, and choose that") if what else error) from error


def blacken(image: np.ndarray, start: Point, end: Point) -> None:
    """Draw a line with round ends into an image: every pixel whose centre lies under the pen is 0."""
    (x, y), (dx, dy), radius = start, (end[0] - start[0], end[1] - start[1]), PEN / 2
    height, width = image.shape
    top, bottom = max(0, int(min(y, y + dy) - radius)), min(height, int(max(y, y + dy) + radius) + 1)
    left, right = max(0, int(min(x, x + dx) - radius)), min(width, int(max(x, x + dx) + radius) + 1)
    if top < bottom and left < right:
        rows, columns = np.ogrid[top:bottom, left:right]
        down, across = rows + 0.5 - y, columns + 0.5 - x
        along = np.clip((across * dx + down * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)  # 0 at the start, 1 at the end
        image[top:bottom, left:right][(across - along * dx) ** 2 + (down - along * dy) ** 2 <= radius**2] = 0


def preview(picture: np.ndarray) -> np.ndarray:
    """Fit a picture into the canvas, on white: (SIDE, SIDE, 4) uint8."""
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    fitted = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST)
    square = Image.new("RGBA", (SIDE, SIDE), "white")
    square.paste(fitted, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return np.asarray(square)
