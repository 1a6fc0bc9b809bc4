"""Pictures with boxes: what a detector learns from, what it finds, what it misses."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from fewshot_kit.plots.basics import FRAME, TAGS, WRONG, font, shorten
from fewshot_kit.plots.tiles import color_of

WIDTH, COLUMNS, GAP = 920, 5, 6  # pixels, pictures side by side, pixels between them
INK, MISSED = "#111827", "#111827"
TEXT = 11  # pixels


@dataclass(frozen=True)
class _Found:
    """What was found in one picture, and what is in it."""

    boxes: np.ndarray  # (n, 4): left, top, right, bottom in pixels of the picture
    labels: np.ndarray  # (n,)
    probabilities: np.ndarray  # (n,)
    is_right: np.ndarray | None = None  # (n,), bool; None: nobody knows what is in the picture
    missed: np.ndarray = field(default_factory=lambda: np.empty((0, 4)))  # (m, 4): boxes of things that were not found
    missed_labels: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))  # (m,)

    def counted(self) -> str:
        """Say how many of them are right, wrong and missed."""
        if self.is_right is None:
            return f"{len(self.labels)} found" if len(self.labels) else "nothing found"
        n_right, n_wrong, n_missed = int(self.is_right.sum()), int((~self.is_right).sum()), len(self.missed_labels)
        counts = [f"{n} {word}" for n, word in ((n_right, "found"), (n_wrong, "wrong"), (n_missed, "missed")) if n]
        return ", ".join(counts) or "nothing to find, nothing found"


def marked_figure(images: np.ndarray, boxes: Sequence[np.ndarray], labels: Sequence[np.ndarray], class_names: Sequence[str]) -> Figure:
    """Draw pictures (n, 3, h, w), 0..1, with the boxes (n_boxes, 4) that mark the things in them, their labels (n_boxes,) as letters."""
    tiles = []
    for image, of_picture, classes in zip(images, boxes, labels, strict=True):
        picture = _Picture(image)
        for box, label in zip(of_picture, classes, strict=True):
            picture.mark(box, TAGS[label], color_of(label))
        names = dict.fromkeys(int(label) for label in classes)
        tiles.append((picture.labelled(), ", ".join(f"{TAGS[label]} {class_names[label]}" for label in names) or "nothing marked"))
    counts = [sum(int((of_picture == label).sum()) for of_picture in labels) for label in range(len(class_names))]
    named = ", ".join(f"{TAGS[i]} {name} ({n})" for i, (name, n) in enumerate(zip(class_names, counts, strict=True)))
    return _grid(tiles, f"{len(images)} pictures with {sum(counts)} marked things: {named}")


def found_figure(images: np.ndarray, found: Sequence[tuple[np.ndarray, ...]], class_names: Sequence[str]) -> Figure:
    """Draw what was found in pictures (n, 3, h, w), 0..1: boxes with the class's letter, probability and ✓ or ✗; dashed what was missed.

    What was found in a picture is a tuple of boxes (n, 4), labels (n,) and probabilities (n,); and, where it is known what is in it,
    which of them are right (n,), the boxes (m, 4) of the things that were missed, and their labels (m,).
    """
    tiles, found = [], [_Found(*of_picture) for of_picture in found]
    for image, of_picture in zip(images, found, strict=True):
        picture = _Picture(image)
        for box, label in zip(of_picture.missed, of_picture.missed_labels, strict=True):
            picture.mark(box, f"{TAGS[label]} missed", MISSED, dashed=True)
        signs = ["" if of_picture.is_right is None else " ✓" if right else " ✗" for right in _each(of_picture)]
        rows = zip(of_picture.boxes, of_picture.labels, of_picture.probabilities, signs, strict=True)
        for box, label, probability, sign in reversed(list(rows)):  # the most certain on top
            color = WRONG if sign == " ✗" else color_of(label)
            picture.mark(box, f"{TAGS[label]} {100 * probability:.0f} %{sign}", color)
        tiles.append((picture.labelled(), of_picture.counted()))
    named = ", ".join(f"{TAGS[i]} {name}" for i, name in enumerate(class_names))
    said = "; ".join(f"picture {i}: {of_picture.counted()}" for i, of_picture in enumerate(found, start=1))
    return _grid(tiles, f"what was found of {named}: {said or 'no pictures'}")


def _each(found: _Found) -> list[bool]:
    return [False] * len(found.labels) if found.is_right is None else found.is_right.tolist()


def precision_recall_figure(curves: Sequence[tuple[np.ndarray, np.ndarray]], precisions: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw precision over recall of each class, (n,) each, the most certain box first; `precisions` (n_way,) are the average ones."""
    figure = Figure(figsize=(4.5, 3.4), dpi=100, facecolor="white")
    axes = figure.add_axes((0.13, 0.14, 0.52, 0.74), facecolor="white")
    for label, (precision, recall) in enumerate(curves):
        average = "nothing to find" if np.isnan(precisions[label]) else f"{100 * precisions[label]:.0f} %"
        name = f"{TAGS[label]} {shorten(class_names[label], 12)}: {average}"
        marker = "os^Dv"[label % 5]
        axes.plot([0, *recall], [1, *precision], color=color_of(label), marker=marker, markersize=4, label=name, clip_on=False, zorder=3)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title("Precision over recall, IoU 0.5", loc="left", fontsize=9.5, weight="bold", color=INK)
    axes.set_xlabel("recall: share of the things found", fontsize=9, color=INK)
    axes.set_ylabel("precision: share of boxes right", fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="upper left", bbox_to_anchor=(0.66, 0.9), fontsize=8, frameon=False, title="average precision", title_fontsize=8)
    mean = float(np.nanmean(precisions)) if np.isfinite(precisions).any() else float("nan")
    figure.set_label(f"precision over recall of {len(class_names)} classes; mean average precision {100 * mean:.0f} %")
    return figure


def box_map_figure(
    places: np.ndarray, labels: np.ndarray, roles: np.ndarray, centres: np.ndarray, class_names: Sequence[str], note: str = ""
) -> Figure:
    """Draw what boxes show as points: places (n, 2), labels (n,) with -1 for the background, roles (n,) of "support" and "query".

    centres (n_way, k, 2) are what stands for the classes.
    """
    figure = Figure(figsize=(4.5, 3.4), dpi=100, facecolor="white")
    axes = figure.add_axes((0.03, 0.05, 0.94, 0.83), facecolor="white")
    background = labels < 0
    axes.scatter(*places[background].T, s=10, color="#9ca3af", marker="x", linewidth=1)
    for label in range(len(class_names)):
        color = color_of(label)
        axes.scatter(*centres[label].T, s=170, marker="*", color=color, edgecolor="white", linewidth=0.8, zorder=3)
        for role, size in (("support", 10), ("query", 8)):
            for x, y in places[(labels == label) & (roles == role)]:
                frame = {"boxstyle": "square,pad=0.15", "facecolor": color, "edgecolor": "none"} if role == "support" else None
                axes.text(
                    x, y, TAGS[label], fontsize=size, color="white" if frame else color, ha="center", va="center", bbox=frame, zorder=4
                )
    axes.margins(0.12)
    axes.set(xticks=[], yticks=[])
    axes.set_title("What the boxes show", loc="left", fontsize=9.5, weight="bold", color=INK)
    axes.set_title("★ class   ■ marked   letter: query   × background", loc="right", fontsize=7.5, color=INK)
    for spine in axes.spines.values():
        spine.set_color(FRAME)
    axes.text(0.01, 0.01, note, transform=axes.transAxes, fontsize=7, color="#4b5563")
    counts = ", ".join(f"{TAGS[i]} {name}: {int((labels == i).sum())} boxes" for i, name in enumerate(class_names))
    figure.set_label(f"what boxes show, in two dimensions: {counts}; {int(background.sum())} of the background")
    return figure


class _Picture:
    """A picture as a framed square on which boxes are drawn."""

    side = (WIDTH - (COLUMNS - 1) * GAP) // COLUMNS

    def __init__(self, image: np.ndarray):
        pixels = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
        self._scale = self.side / max(pixels.shape[:2])
        whole = Image.fromarray(np.ascontiguousarray(pixels)).resize((self.side, self.side), Image.Resampling.BILINEAR)
        self.image = whole.point(lambda value: value & 0xF8 | 0x04)  # 5 bits a colour, as the eye: a texture takes half the room
        self._pen = ImageDraw.Draw(self.image)
        self._texts: list[tuple[tuple[int, int, int, int], str, str, bool]] = []  # (box, text, colour, dashed), still to be written

    def mark(self, box: np.ndarray, text: str, color: str, *, dashed: bool = False) -> None:
        """Draw a box, whose text `labelled` writes: later boxes lie on top, and their texts have the better places."""
        left, top, right, bottom = (round(float(edge) * self._scale) for edge in box)
        right, bottom = min(right, self.side - 1), min(bottom, self.side - 1)
        for outline, width in (("white", 4), (color, 2)):  # seen on every ground
            self._frame(left, top, right, bottom, outline, width, dashed)
        self._texts.append(((left, top, right, bottom), text, color, dashed))

    def labelled(self) -> Image.Image:
        """Return the picture with the texts of all boxes, each on its box's colour, at a corner of it where it covers no other text."""
        taken: list[tuple[int, int, int]] = []  # (x, y, width)
        for box, text, color, dashed in reversed(self._texts):
            wide, high = int(font(TEXT).getlength(text)) + 5, TEXT + 4
            places = self._places(box, wide, high)
            free = (p for p in places if not any(p[0] < x + w and x < p[0] + wide and abs(p[1] - y) < high for x, y, w in taken))
            x, y = next(free, places[0])
            taken.append((x, y, wide))
            self._pen.rectangle((x, y, x + wide, y + high), fill="white" if dashed else color, outline=color)
            self._pen.text((x + 3, y + high / 2 + 0.5), text, fill=color if dashed else "white", font=font(TEXT), anchor="lm")
        return self.image

    def _places(self, box: tuple[int, int, int, int], wide: int, high: int) -> list[tuple[int, int]]:
        """Return where a text of this size may stand, the best place first: above a box, below it, inside it; at its left, at its right."""
        left, top, right, bottom = box
        rows = [y for y in (top - high, bottom) if 0 <= y <= self.side - high - 1] + [top, max(0, bottom - high)]
        columns = [min(left, self.side - wide - 1), max(0, right - wide)]
        return [(x, y) for y in rows for x in columns]

    def _frame(self, left: int, top: int, right: int, bottom: int, color: str, width: int, dashed: bool) -> None:
        if not dashed:
            self._pen.rectangle((left, top, right, bottom), outline=color, width=width)
            return
        for x in range(left, right, 8):
            self._pen.line((x, top, min(x + 4, right), top), fill=color, width=width)
            self._pen.line((x, bottom, min(x + 4, right), bottom), fill=color, width=width)
        for y in range(top, bottom, 8):
            self._pen.line((left, y, left, min(y + 4, bottom)), fill=color, width=width)
            self._pen.line((right, y, right, min(y + 4, bottom)), fill=color, width=width)


def _grid(tiles: Sequence[tuple[Image.Image, str]], label: str) -> Figure:
    """Lay pictures with a line of text below each into rows."""
    side, line = _Picture.side, 20
    rows = max(1, -(-len(tiles) // COLUMNS))
    height = rows * (side + line)
    canvas = Image.new("RGB", (WIDTH, height), "white")
    pen = ImageDraw.Draw(canvas)
    for i, (tile, text) in enumerate(tiles):
        left, top = i % COLUMNS * (side + GAP), i // COLUMNS * (side + line)
        canvas.paste(tile, (left, top))
        pen.rectangle((left, top, left + side - 1, top + side - 1), outline=FRAME)
        pen.text((left + 1, top + side + line / 2 - 1), shorten(text, 27).replace(r"\$", "$"), fill=INK, font=font(TEXT), anchor="lm")
    figure = Figure(figsize=(WIDTH / 100, height / 100), dpi=100)
    figure.figimage(np.asarray(canvas), 0, 0, origin="upper")
    figure.set_label(label)
    return figure
