"""Drawings kept as the strokes of a pen: read the files of Quick, Draw!, and draw them as small pictures."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from skimage.draw import disk, line

from fewshot_kit.data.opening import open_regular

logger = logging.getLogger(__name__)

Strokes = tuple[np.ndarray, ...]  # one (2, n) array a stroke: x to the right, y down

# The official pictures show a frame of 304 units, with the drawing's 255 in its middle, drawn with a round pen 16 wide.
_SPAN = 255 / 304
_PEN = 16 / 304


@dataclass(frozen=True, eq=False)
class Drawing:
    """One drawing as it was drawn, stroke after stroke."""

    word: str  # what the person was asked to draw
    key_id: str
    strokes: Strokes  # uint8 where all values are whole and in 0..255, else float32; at least one, none without a point


# --- the format ---


def read_drawings(source: Path | bytes | Iterable[bytes], limit: int | None = None, *, name: str = "") -> Iterator[Drawing]:
    """Yield the drawings of an `.ndjson` file in their order, only the first `limit` of them if that is given.

    `source` is a path, the content, or its lines; no more of it is read than needed. Drawings without a point are left out,
    and counted in a log message. `name` is what errors call the source. A line that is cut off or damaged is a ValueError
    that gives its number.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 drawing, but is {limit}")
    name = name or (str(source) if isinstance(source, Path) else "the file of drawings")
    n_found = n_empty = 0
    with _lines(source) as lines:
        for number, text in enumerate(lines, start=1):
            if not text.strip():
                continue
            drawing = _parse(text, name, number)
            if drawing is None:
                n_empty += 1
                continue
            n_found += 1
            yield drawing
            if n_found == limit:
                break
    if n_empty:
        logger.info("%s: %d of %d drawings have no point and are left out", name, n_empty, n_empty + n_found)


def _lines(source: Path | bytes | Iterable[bytes]) -> AbstractContextManager[Iterable[bytes]]:
    if isinstance(source, Path):
        return open_regular(source)
    return nullcontext(BytesIO(source) if isinstance(source, bytes) else source)


def _parse(text: bytes, name: str, number: int) -> Drawing | None:
    """Read one line; None for a drawing without a point."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        fault = f"is damaged in line {number}" if text.endswith(b"\n") else f"is cut off in the middle of line {number}"
        raise ValueError(f"{name} {fault} ({getattr(error, 'msg', error)}); download it again") from error
    try:
        word, key_id, drawing = (record[key] for key in ("word", "key_id", "drawing"))
        strokes = as_strokes(drawing)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{name}, line {number}, is not a drawing with word, key_id and drawing; is it of Quick, Draw!?") from error
    except ValueError as error:
        raise ValueError(f"{name}, line {number}: {error}") from error
    return Drawing(str(word), str(key_id), strokes) if strokes else None


def as_strokes(strokes: Iterable) -> Strokes:
    """Check strokes of two lists of numbers each, x and y (times in a third are left out); strokes without a point are dropped."""
    checked = (_as_stroke(stroke) for stroke in strokes)
    return tuple(stroke for stroke in checked if stroke.shape[1])


def _as_stroke(stroke: Sequence) -> np.ndarray:
    if len(stroke) not in (2, 3):
        raise ValueError(f"a stroke is a list of x and a list of y, but one has {len(stroke)} lists")
    x, y = stroke[0], stroke[1]
    if len(x) != len(y):
        raise ValueError(f"a stroke has {len(x)} x, but {len(y)} y; every point needs both")
    if not len(x):
        return np.empty((2, 0), np.uint8)
    points = np.array([x, y])
    if points.ndim != 2 or points.dtype.kind not in "uif" or not np.abs(points).max() < np.finfo(np.float32).max:
        raise ValueError("a stroke has a value that is no finite number")
    is_simplified = points.dtype.kind != "f" and points.min() >= 0 and points.max() <= 255
    return points.astype(np.uint8 if is_simplified else np.float32)


# --- drawing ---


def rasterise(strokes: Iterable, size: int = 28) -> np.ndarray:
    """Draw strokes as an ink picture, uint8 `(size, size)`, light ink on dark, as the official 28 x 28 pictures look.

    The drawing is scaled until its longer side fills the frame but for a small margin, and centred, so coordinates may have
    any range. A drawing of one point is a dot in the middle. Raises ValueError where there is no point.
    """
    strokes = as_strokes(strokes)
    if not strokes:
        raise ValueError("the drawing is empty: it needs at least one stroke with a point in it")
    samples = max(4, 252 // size)  # a pixel and direction: 9 at 28 x 28, where the pen is then 13 wide, close to its true 13.3
    side = size * samples
    path = np.zeros((side, side), dtype=bool)
    for rows, columns in _pixels(strokes, side):
        path[rows, columns] = True
    inked = np.zeros(side * side, dtype=bool)
    inked[np.flatnonzero(path)[:, None] + _pen(side)] = True
    return np.rint(255 * inked.reshape(size, samples, size, samples).mean(axis=(1, 3))).astype(np.uint8)


def _pixels(strokes: Strokes, side: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows and columns of the thinnest line of every segment, the drawing centred in a frame of `side` pixels."""
    points = np.concatenate(strokes, axis=1).astype(np.float64)  # (2, n_total)
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    extent = (high - low).max()
    scale = _SPAN * side / extent if extent > 1e-6 else 0.0  # no extent: a dot
    placed = np.rint((points - (low + high) / 2) * scale + (side - 1) / 2).astype(int)
    for x, y in np.split(placed, np.cumsum([stroke.shape[1] for stroke in strokes])[:-1], axis=1):
        yield y[:1], x[:1]
        for i in range(len(x) - 1):
            yield line(y[i], x[i], y[i + 1], x[i + 1])


@cache
def _pen(side: int) -> np.ndarray:
    """Return the pen's pixels as offsets into a flattened frame of `side` pixels; the margin is wider than the pen."""
    radius = _PEN * side / 2
    middle = int(np.ceil(radius))
    rows, columns = disk((middle, middle), radius)
    return (rows - middle) * side + columns - middle
