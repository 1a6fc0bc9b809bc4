"""Draw or upload one picture, to be classified by what was just learned."""

from collections.abc import Callable

import ipywidgets as widgets
import numpy as np
from ipycanvas import Canvas
from skimage.draw import disk, line

from fewshot_kit.data.images import read_image

SIDE = 196  # of the canvas, in pixels
PEN = 7  # its width


class OwnPicture(widgets.HBox):
    """A canvas and an upload box; `on_picture` gets what was drawn or uploaded as an array, or the error that reading it raised."""

    def __init__(self, on_picture: Callable[[np.ndarray | Exception], None]):
        self._on_picture = on_picture
        self.strokes: list[list[tuple[float, float]]] = []
        self.current: np.ndarray | None = None  # what was drawn or uploaded last, until it is cleared
        self._is_down = False
        self.canvas = Canvas(
            width=SIDE, height=SIDE, layout=widgets.Layout(border="1px solid #8a94a3", width=f"{SIDE}px", height=f"{SIDE}px")
        )
        self.canvas.line_width, self.canvas.line_cap, self.canvas.line_join = PEN, "round", "round"
        self.canvas.on_mouse_down(self.pen_down)
        self.canvas.on_mouse_move(self.pen_move)
        self.canvas.on_mouse_up(self.pen_up)
        self.canvas.on_mouse_out(self.pen_up)
        self.clear_button = widgets.Button(description="Clear", layout=widgets.Layout(width="170px"))
        self.clear_button.on_click(lambda _: self.clear())
        self.upload = widgets.FileUpload(
            accept="image/*", multiple=False, description="Upload a picture", layout=widgets.Layout(width="170px")
        )
        self.upload.observe(self._on_upload, "value")
        self.answer_image = widgets.Image(format="png", layout=widgets.Layout(width="420px", height="196px", visibility="hidden"))
        self.answer_image.add_class("fewshot-answer-image")
        hint = widgets.HTML("Draw one of the classes above:<br>it is classified when you lift the pen.")
        left = widgets.VBox([hint, self.clear_button, self.upload], layout=widgets.Layout(width="280px"))
        super().__init__([left, self.canvas, self.answer_image])

    def pen_down(self, x: float, y: float) -> None:
        self._is_down = True
        self.strokes.append([(x, y)])

    def pen_move(self, x: float, y: float) -> None:
        if self._is_down:
            self.canvas.stroke_line(*self.strokes[-1][-1], x, y)
            self.strokes[-1].append((x, y))

    def pen_up(self, x: float, y: float) -> None:
        if self._is_down:
            self._is_down = False
            self._take(self.picture())

    def picture(self) -> np.ndarray:
        """Return what was drawn, (SIDE, SIDE) uint8, dark ink on white: the same strokes as on the canvas."""
        image = np.full((SIDE, SIDE), 255, dtype=np.uint8)
        for stroke in self.strokes:
            points = [(round(y), round(x)) for x, y in stroke]
            for (row, column), (next_row, next_column) in zip(points, points[1:] + points[-1:], strict=True):
                for center in zip(*line(row, column, next_row, next_column), strict=True):
                    image[disk(center, PEN / 2, shape=image.shape)] = 0
        return image

    def clear(self) -> None:
        """Wipe the canvas and the answer."""
        self.strokes, self.current, self._is_down = [], None, False
        self.canvas.clear()
        self.answer_image.layout.visibility = "hidden"

    def show(self, png: bytes) -> None:
        self.answer_image.value = png
        self.answer_image.layout.visibility = "visible"

    def _on_upload(self, change: dict) -> None:
        for file in change["new"]:
            try:
                picture = read_image(file["content"], name=file["name"])
            except ValueError as error:
                self._on_picture(error)
            else:
                self._take(picture)

    def _take(self, picture: np.ndarray) -> None:
        self.current = picture
        self._on_picture(picture)
