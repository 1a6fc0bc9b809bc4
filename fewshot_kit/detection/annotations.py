"""What an annotation file says of a picture, and whether it can be true: what holds for every format.

A box that is wrong by a slip makes a detector worse and nobody sees it. So nothing is left out or put right in silence: every fault is a
ValueError that names the file, the box, and what to do.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from fewshot_kit.data.archives import PictureTree, reading
from fewshot_kit.data.opening import open_regular
from fewshot_kit.detection.boxes import iou

MAX_BOXES = 1_000  # of a picture
MAX_CLASSES = 10_000
MAX_NAME = 100  # letters of a class's name
LEAST_SIDE = 2.0  # pixels of the picture as it is: a box of one pixel is a slip of the mouse
BEYOND = 1.0  # pixels that an edge may lie outside: some count from 1, some round; it is clipped
SAME_THING = 0.95  # the overlap from which two boxes are of the same thing
_NUMBER = re.compile(r"[-+]?(\d{1,15}(\.\d{0,30})?|\.\d{1,30})([eE][-+]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True)
class Annotation:
    """What a file says of one picture."""

    picture: PurePosixPath  # in the folder or archive
    file: str  # that says so, for messages
    boxes: tuple[tuple[float, float, float, float], ...]  # left, top, right, bottom
    names: tuple[str, ...]  # the class of each box
    size: tuple[int, int] | None = None  # width and height, where the file names them
    in_shares: bool = False  # boxes are shares of width and height, else pixels
    lines: tuple[str, ...] = field(default=())  # what messages call each box, else its number

    def box_name(self, number: int) -> str:
        """Return what a message calls a box."""
        where = self.lines[number] if self.lines else f"box {number + 1}"
        return f"{self.file}, {where} ({self.names[number]!r})"


def read_text(tree: PictureTree, path: PurePosixPath, most: int) -> bytes:
    """Return the content of a file of at most `most` bytes."""
    what = f"{tree.origin}/{path}"
    found = tree.read(path)
    if isinstance(found, Path):
        with reading(what), open_regular(found) as file:
            found = file.read(most + 1)
    if len(found) > most:
        raise ValueError(f"{what} has more than {most:,} bytes, which no annotation needs; take it away, or split it")
    return found


def decoded_text(content: bytes, what: str) -> str:
    """Return a text that is UTF-8, with or without a mark at its beginning."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{what} is no text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error


def number(text: str, what: str) -> float:
    """Read a finite decimal number."""
    stripped = text.strip()
    if not _NUMBER.fullmatch(stripped) or not math.isfinite(float(stripped)):
        raise ValueError(f"{what} must be a number, but is {text.strip()[:50]!r}; correct it")
    return float(stripped)


def class_name(name: object, what: str) -> str:
    """Return the name of a class without blanks around it."""
    stripped = name.strip() if isinstance(name, str) else None
    if not stripped:
        raise ValueError(f"{what} has no name of a class ({name!r:.50}); give it one")
    if len(stripped) > MAX_NAME or not stripped.isprintable():
        raise ValueError(f"{what} has a name that is longer than {MAX_NAME} letters or no plain text: {stripped[:MAX_NAME]!r}; shorten it")
    return stripped


def check_names(names: Sequence[str], what: str) -> None:
    """Raise ValueError for names that repeat, or that differ by capitals alone: two classes are then one by a slip, or one is two."""
    if not names:
        raise ValueError(f"{what} names no class; at least one is needed")
    if len(names) > MAX_CLASSES:
        raise ValueError(f"{what} names {len(names):,} classes, more than the {MAX_CLASSES:,} allowed; choose fewer")
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(name.casefold(), name)) != name or names.count(name) > 1:
            raise ValueError(f"{what} names a class twice: {other!r} and {name!r}; give each class one name")


def check_classes_have_boxes(class_names: Iterable[str], annotations: Iterable[Annotation], what: str) -> None:
    """Raise ValueError for the first class without a box."""
    marked = {name for annotation in annotations for name in annotation.names}
    if missing := [name for name in class_names if name not in marked]:
        raise ValueError(f"class {missing[0]!r} of {what} has no box in any picture; mark one, or take the class out")


def picture_boxes(annotation: Annotation, width: int, height: int) -> Tensor:
    """Return the boxes (n, 4) of a picture in its pixels, float32, once it is known how large it is, or say what is wrong with one."""
    if annotation.size not in (None, (width, height)):
        told = f"{annotation.size[0]} x {annotation.size[1]}"
        raise ValueError(
            f"{annotation.file} says that {annotation.picture} is {told}, but it is {width} x {height} (turned as its file says); "
            f"its boxes are of another picture, or it was scaled or turned since: mark it again"
        )
    if len(annotation.boxes) > MAX_BOXES:
        raise ValueError(f"{annotation.file} has {len(annotation.boxes):,} boxes, more than the {MAX_BOXES:,} allowed a picture")
    scale = (width, height, width, height) if annotation.in_shares else (1, 1, 1, 1)
    boxes = [
        _checked(annotation, i, tuple(a * b for a, b in zip(box, scale, strict=True)), width, height)
        for i, box in enumerate(annotation.boxes)
    ]
    found = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    same = (iou(found, found).triu(diagonal=1) >= SAME_THING).nonzero().tolist()
    if same:
        first, second = (annotation.box_name(i) for i in same[0])
        raise ValueError(f"two boxes are of the same thing: {first} and {second}; delete one")
    return found


def _checked(annotation: Annotation, i: int, box: tuple[float, ...], width: int, height: int) -> tuple[float, ...]:
    """Return a box clipped by the fraction of a pixel that it may lie outside, or say what is wrong with it."""
    left, top, right, bottom = box
    told = f"{annotation.box_name(i)}: {left:g} {top:g} {right:g} {bottom:g} (left, top, right, bottom in pixels of {width} x {height})"
    if not all(map(math.isfinite, box)):
        raise ValueError(f"{told} has an edge that is no number; correct it")
    if right < left or bottom < top:
        raise ValueError(f"{told} has its corners the wrong way round; swap them")
    if min(left, top) < -BEYOND or right > width + BEYOND or bottom > height + BEYOND:
        raise ValueError(f"{told} is outside its picture; move it inside, or check that it is of this picture")
    box = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    if min(box[2] - box[0], box[3] - box[1]) < LEAST_SIDE:
        raise ValueError(f"{told} is less than {LEAST_SIDE:g} pixels wide or high; mark the whole thing, or delete it")
    return box


# --- which picture a file means ---


class Pictures:
    """The pictures of a folder or archive by the end of their path."""

    def __init__(self, tree: PictureTree):
        self.origin = tree.origin
        self._by_name: dict[str, list[PurePosixPath]] = {}
        self._by_stem: dict[str, list[PurePosixPath]] = {}
        for picture in tree.pictures:
            self._by_name.setdefault(picture.name, []).append(picture)
            self._by_stem.setdefault(picture.stem, []).append(picture)

    def named(self, name: str, what: str) -> PurePosixPath:
        """Return the one picture whose path ends with `name`. Folders that lead elsewhere (another machine's) are left out of account."""
        parts = [part for part in name.strip().replace("\\", "/").split("/") if part not in ("", ".")]
        candidates = self._by_name.get(parts[-1], []) if parts else []
        if len(candidates) > 1:  # the same name in several folders: as many folders as the file names must agree
            candidates = [path for path in candidates if path.parts[-len(parts) :] == tuple(parts)]
        return self._only(candidates, f"{what} is of picture {name[:200]!r}")

    def beside(self, file: PurePosixPath, what: str) -> PurePosixPath:
        """Return the one picture that has a file's name but for the suffix, in its folder or where `labels` in its path is `images`."""
        candidates = self._by_stem.get(file.stem, [])
        if len(candidates) > 1:
            folders = (file.parent, PurePosixPath(*("images" if part == "labels" else part for part in file.parent.parts)))
            candidates = [path for path in candidates if path.parent in folders]
        return self._only(candidates, f"{what} is of a picture {file.stem!r}")

    def _only(self, candidates: list[PurePosixPath], what: str) -> PurePosixPath:
        if not candidates:
            raise ValueError(f"{what}, which is not in {self.origin}; add the picture, or take its annotation away")
        if len(candidates) > 1:
            raise ValueError(f"{what}, but there are {candidates[0]} and {candidates[1]}; give pictures different names")
        return candidates[0]
