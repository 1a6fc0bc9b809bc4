"""Mark things in pictures of one's own, and see them found in others."""

import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import ipywidgets as widgets
import numpy as np
import torch
from jupyter_bbox_widget import BBoxWidget
from PIL import Image
from torch import Tensor

from fewshot_kit.data.images import ImageError
from fewshot_kit.detection.annotated import BoxedImages
from fewshot_kit.detection.annotations import Annotation, check_names, class_name, picture_boxes
from fewshot_kit.detection.letterbox import letterboxed
from fewshot_kit.plots.tiles import CLASS_COLORS
from fewshot_kit.widgets.controls import TEXT, Picture, StatusLine
from fewshot_kit.widgets.own_picture import read_upload
from fewshot_kit.widgets.upload import Upload

LARGEST_SIDE = 800  # pixels of a picture on which boxes are drawn: a phone's is shrunk
MOST_PICTURES = 30
HOW = (
    "1. Upload pictures. 2. Name the classes. 3. Choose a class below a picture and draw a box around each thing with the mouse; a box can "
    "be moved, resized and deleted. Leave the pictures unmarked in which things are to be found. 4. Press Find in my pictures."
)


@dataclass(eq=False)
class Marked:
    """One uploaded picture, and the boxes drawn on it."""

    name: str
    pixels: np.ndarray  # (h, w, 3) uint8, at most LARGEST_SIDE high and wide
    bboxes: list[dict] = field(default_factory=list)  # as the widget has them: x, y, width, height, label

    def annotation(self) -> Annotation:
        """Return its boxes as an annotation file would have them."""
        try:
            corners = [[float(box[name]) for name in ("x", "y", "width", "height")] for box in self.bboxes]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"a box of {self.name} has no place (x, y, width and height as numbers); draw it anew") from error
        boxes = [(x, y, x + width, y + height) for x, y, width, height in corners]
        return Annotation(PurePosixPath(self.name), self.name, tuple(boxes), tuple(str(b.get("label", "")) for b in self.bboxes))


@dataclass(frozen=True, eq=False)
class OwnTask:
    """What is asked of a person's own pictures."""

    support: BoxedImages
    queries: Tensor  # (n, 3, size, size), uint8
    names: tuple[str, ...]  # of the pictures that are searched


class OwnBoxes(widgets.VBox):
    """An upload box, a picture to draw boxes on, and what is found; `on_task` gets an `OwnTask` when a person presses the button."""

    def __init__(self, on_task: Callable[[OwnTask], None], size: int):
        """Make them for a detector that takes pictures of `size` x `size` pixels."""
        self._on_task, self._size = on_task, size
        self.pictures: list[Marked] = []
        self.at = 0  # the picture on show
        self.current: OwnTask | None = None  # what was asked last
        self._is_showing = False
        self.upload = Upload(self.receive, label="Choose pictures …", most_files=MOST_PICTURES, layout=widgets.Layout(width="224px"))
        self.classes = widgets.Text(placeholder="for instance: mug, key", description="classes", continuous_update=False)
        self.classes.layout = widgets.Layout(flex="1 1 300px", width="auto", max_width="520px")
        self.classes.observe(lambda change: self._show(), "value")
        self.boxes = BBoxWidget(classes=[], colors=list(CLASS_COLORS), hide_buttons=True)
        self.boxes.layout = widgets.Layout(width="100%", max_width="560px")
        self.boxes.add_class("fewshot-marked-picture")
        self.boxes.observe(self._drawn, "bboxes")
        self._make_buttons()
        self.status = StatusLine(layout=widgets.Layout(min_height="28px", width="auto"))
        self.result = Picture(flex="0 0 auto", min_width="640px")
        self.result.add_class("fewshot-own-found-image")
        how = widgets.HTML(f'<span style="color:{TEXT}">{HOW}</span>')
        how.add_class("fewshot-text")
        self.scene = widgets.VBox([self.row, self.boxes], layout=widgets.Layout(width="100%"))
        found = widgets.VBox([self.result], layout=widgets.Layout(width="100%", overflow="auto"))
        top = widgets.HBox([self.upload, self.classes], layout=widgets.Layout(flex_flow="row wrap", width="100%"))
        super().__init__([how, top, self.scene, self.find_button, self.status, found], layout=widgets.Layout(width="100%"))
        self._show()

    def _make_buttons(self) -> None:
        narrow = {"width": "40px"}
        self.previous, self.next = (widgets.Button(description=sign, layout=widgets.Layout(**narrow)) for sign in "◀▶")
        self.previous.tooltip, self.next.tooltip = "the picture before", "the next picture"
        self.previous.on_click(lambda _: self.show_picture(self.at - 1))
        self.next.on_click(lambda _: self.show_picture(self.at + 1))
        self.remove_button = widgets.Button(description="Remove picture", icon="trash", layout=widgets.Layout(width="150px"))
        self.remove_button.on_click(lambda _: self.remove())
        self.where = widgets.Label()
        self.row = widgets.HBox([self.previous, self.next, self.where, self.remove_button], layout=widgets.Layout(flex_flow="row wrap"))
        self.find_button = widgets.Button(description="Find in my pictures", button_style="success", icon="search")
        self.find_button.layout.width = "190px"
        self.find_button.on_click(lambda _: self.find())

    # What a person does.

    def receive(self, name: str, content: bytes) -> None:
        """Take an uploaded picture, or say why it cannot be read."""
        try:
            if len(self.pictures) >= MOST_PICTURES:
                raise ImageError(f"{name}: there are {MOST_PICTURES} pictures already; remove one first")
            pixels = np.asarray(_shrunk(Image.fromarray(read_upload(name, content)).convert("RGB")))
        except ImageError as error:
            self.upload.tell(error=str(error))
            return
        self.upload.tell(note=f"{name}, shown at {pixels.shape[1]} × {pixels.shape[0]} pixels")
        self.pictures.append(Marked(name, pixels))
        if len(self.pictures) == 1:
            self.show_picture(0)
        else:
            self._show()

    def show_picture(self, number: int) -> None:
        """Show one of the pictures, counted from 0; beyond the last it goes on with the first."""
        if self.pictures:
            self.at = number % len(self.pictures)
            self._show()

    def remove(self) -> None:
        """Take the picture on show away, and its boxes with it."""
        if self.pictures:
            del self.pictures[self.at]
            self.at = max(0, min(self.at, len(self.pictures) - 1))
            self._show()

    def find(self) -> None:
        """Ask for what is marked to be found in the pictures without a box; what is wrong is said below the button."""
        try:
            self.current = self.task()
            self.status.say("looking …")
            self._on_task(self.current)
        except Exception as error:  # a widget's callback has nobody else to tell
            self.show_error(error)

    def _drawn(self, change: dict) -> None:
        if self.pictures and not self._is_showing:
            self.pictures[self.at].bboxes = [dict(box) for box in change["new"] if isinstance(box, dict)]
            self._count()

    # What it comes to.

    def class_names(self) -> tuple[str, ...]:
        """Return the names in the box, which commas part. Raises ValueError for names that repeat or cannot be."""
        names = tuple(class_name(name, "a class") for name in self.classes.value.split(",") if name.strip())
        check_names(names, "the box of classes")
        return names

    def task(self) -> OwnTask:
        """Return what is marked and where to look for it. Raises ValueError, which says what to do, where one of them is missing."""
        if not self.pictures:
            raise ValueError("there are no pictures yet; upload at least two: one to mark things in, one to find them in")
        names = self.class_names()
        marked, others = ([p for p in self.pictures if bool(p.bboxes) == has] for has in (True, False))
        squares, boxes, labels = [], [], []
        for picture in marked:
            annotation = picture.annotation()
            if unknown := [name for name in annotation.names if name not in names]:
                raise ValueError(f"a box of {picture.name} is of class {unknown[0]!r}, which is not among the classes; name it there")
            height, width = picture.pixels.shape[:2]
            square, letterbox = letterboxed(picture.pixels, self._size)
            squares.append(square)
            boxes.append(letterbox.into(picture_boxes(annotation, width, height)).clamp(0, self._size))
            labels.append(torch.tensor([names.index(name) for name in annotation.names]))
        if missing := [i for i in range(len(names)) if not any((of_picture == i).any() for of_picture in labels)]:
            raise ValueError(f"no box marks a {names[missing[0]]!r}; draw one in a picture, or take the name out")
        if not others:
            raise ValueError("every picture has a box; upload one more, without a box, in which things are to be found")
        queries = torch.stack([letterboxed(picture.pixels, self._size)[0] for picture in others])
        return OwnTask(BoxedImages(torch.stack(squares), tuple(boxes), tuple(labels), names), queries, tuple(p.name for p in others))

    # What is shown.

    def show(self, png: bytes, text: str, counts: Sequence[int]) -> None:
        """Show what was found in the pictures that were searched, and how many things in each."""
        self.result.show(png, text)
        self.result.remove_class("fewshot-old-answer")
        names = self.current.names if self.current else ()
        rows = (f"{html.escape(name)}: {n or 'nothing'} found" for name, n in zip(names, counts, strict=False))
        self.status.say("; ".join(rows))

    def mark_old(self) -> None:
        """Fade what is on show until the next answer comes."""
        if self.current is not None:
            self.result.add_class("fewshot-old-answer")

    def show_error(self, error: Exception) -> None:
        self.status.show_error(error)
        self.mark_old()

    def _show(self) -> None:
        self._is_showing = True
        try:
            self.scene.layout.display = "" if self.pictures else "none"
            self.boxes.classes = [name.strip() for name in self.classes.value.split(",") if name.strip()] or ["thing"]
            if self.pictures:
                picture = self.pictures[self.at]
                self.boxes.bboxes = []
                self.boxes.image_bytes = _jpeg(picture.pixels)
                self.boxes.bboxes = [dict(box) for box in picture.bboxes]
            self.previous.disabled = self.next.disabled = len(self.pictures) < 2
            self._count()
        finally:
            self._is_showing = False

    def _count(self) -> None:
        if not self.pictures:
            self.status.say("no pictures yet")
            return
        picture, n_marked = self.pictures[self.at], sum(bool(p.bboxes) for p in self.pictures)
        n = len(picture.bboxes)
        said = f"{n} box{'es' if n != 1 else ''}" if n else "no box: it will be searched"
        self.where.value = f"picture {self.at + 1} of {len(self.pictures)}: {picture.name[:40]}, {said}"
        self.status.say(f"{n_marked} marked, {len(self.pictures) - n_marked} to be searched")


def _shrunk(picture: Image.Image) -> Image.Image:
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    return picture


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
