"""A canvas to draw on with mouse, pen or finger, stroke by stroke."""

import math
from collections.abc import Sequence
from itertools import pairwise

import ipywidgets as widgets
import numpy as np
from ipycanvas import Canvas, hold_canvas

SIDE = 196  # of the canvas, in pixels
PEN = 7  # its width
Point = tuple[float, float]
PAD_STYLE = "<style>.fewshot-drawing canvas { background: white; cursor: crosshair }</style>"


class Pad(widgets.VBox):
    """A canvas in a frame with its buttons, for a subclass to lay out; the same strokes are kept here and painted in the page."""

    def __init__(self, *, may_draw: bool = True):
        """`may_draw=False` is for a canvas that only shows."""
        super().__init__()
        self._may_draw = may_draw
        self.strokes: list[list[Point]] = []
        self._is_down = False
        self._make_canvas()
        self.undo_button = widgets.Button(description="Undo", icon="undo", disabled=True, layout=widgets.Layout(width="94px"))
        self.clear_button = widgets.Button(description="Clear", icon="trash", layout=widgets.Layout(width="94px"))
        self.undo_button.on_click(lambda _: self.undo())
        self.clear_button.on_click(lambda _: self.clear())

    def _make_canvas(self) -> None:
        self.canvas = Canvas(width=SIDE, height=SIDE, layout=widgets.Layout(width=f"{SIDE}px", height=f"{SIDE}px", margin="0"))
        self.canvas.on_client_ready(self._paint_in_new_page)
        # The border is the frame's: on the canvas it would shift what is drawn against the pen.
        layout = widgets.Layout(border="1px solid #8a94a3", width=f"{SIDE + 2}px", flex="0 0 auto", overflow="hidden")
        self.frame = widgets.Box([self.canvas], layout=layout)
        self.paint()
        if not self._may_draw:
            return
        self.frame.add_class("fewshot-drawing")
        self.canvas.on_mouse_down(self.pen_down)
        self.canvas.on_mouse_move(self.pen_move)
        self.canvas.on_mouse_up(self.pen_up)
        self.canvas.on_mouse_out(self.pen_up)
        self.canvas.on_touch_start(self.touch_start)
        self.canvas.on_touch_move(self.touch_move)
        self.canvas.on_touch_end(self.touch_end)
        self.canvas.on_touch_cancel(self.touch_end)

    # What a subclass does.

    def _before_stroke(self) -> None:
        """The pen comes down."""

    def _after_stroke(self) -> None:
        """A stroke was drawn, or taken back."""

    def _paint_below(self) -> None:
        """Paint what lies below the strokes."""

    # What a person does.

    def pen_down(self, x: float, y: float) -> None:
        self._before_stroke()
        self._is_down = True
        self.strokes.append([(x, y)])
        self.canvas.fill_circle(x, y, PEN / 2)

    def pen_move(self, x: float, y: float) -> None:
        if self._is_down:
            self.canvas.stroke_line(*self.strokes[-1][-1], x, y)
            self.strokes[-1].append((x, y))

    def pen_up(self, x: float | None = None, y: float | None = None) -> None:
        """End the stroke, at a last point if one is given: off the canvas, where the pen left it."""
        if self._is_down:
            if x is not None and y is not None:
                self.pen_move(x, y)
            self._is_down = False
            self.undo_button.disabled = False
            self._after_stroke()

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
        """Take the last stroke back."""
        if len(self.strokes) <= 1:
            self.clear()
            return
        self._is_down = False
        self.strokes.pop()
        self.paint()
        self._after_stroke()

    def clear(self) -> None:
        """Wipe the canvas."""
        self.wipe()

    # What is shown.

    def wipe(self) -> None:
        self.strokes, self._is_down = [], False
        self.undo_button.disabled = True
        self.paint()

    def picture(self) -> np.ndarray:
        """Return what was drawn, (SIDE, SIDE) uint8, dark ink on white: the same strokes as on the canvas."""
        image = np.full((SIDE, SIDE), 255, dtype=np.uint8)
        for stroke in self.strokes:
            for start, end in pairwise([stroke[0], *stroke]):  # a dot is a line to itself
                blacken(image, start, end)
        return image

    def paint(self) -> None:
        """Paint the canvas anew: white (it is transparent, and dark themes shine through), and on it what is drawn."""
        with hold_canvas():
            self.canvas.line_width, self.canvas.line_cap, self.canvas.line_join = PEN, "round", "round"
            self.canvas.fill_style = "white"
            self.canvas.fill_rect(0, 0, SIDE, SIDE)
            self.canvas.fill_style = "black"
            self._paint_below()
            for stroke in self.strokes:
                self.canvas.fill_circle(*stroke[0], PEN / 2)
                for start, end in pairwise(stroke):
                    self.canvas.stroke_line(*start, *end)

    def _paint_in_new_page(self) -> None:
        # A page that is opened anew was told neither what is drawn nor on which canvas; ipycanvas tells the latter only when it changes.
        self.canvas._canvas_manager._current_canvas = None
        self.paint()


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
