"""Bundled pictures for detection that need no download: the kit's drawings in colour, of all sizes, turned, on textured grounds.

They are made when they are loaded, by a seed. The kinds of things are split: what is for testing is in no scene for training. Made up as
they are, they are for trying out, teaching and testing; a result on them says nothing about photographs.
"""

import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from skimage.segmentation import flood
from torch import Tensor

from fewshot_kit.data.bundled import DRAWINGS, load_examples
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.detection.annotated import AnnotatedImages
from fewshot_kit.detection.boxes import area, intersection

_BASE = (
    "arrow", "bird", "butterfly", "car", "cloud", "face", "fish", "flower", "glasses", "hat", "house", "lightning", "moon", "star", "sun",
    "tree", "triangle",
)  # fmt: skip
_VAL = ("balloon", "boat", "cat", "heart", "ladder")
KINDS = {
    "train": _BASE,
    "train_held_out": _BASE,  # other scenes of the same kinds
    "trainval": (*_BASE, *_VAL),
    "trainval_held_out": (*_BASE, *_VAL),
    "val": _VAL,
    "test": ("clock", "cup", "envelope", "ice_cream", "key", "mushroom", "snail", "umbrella"),
}
# In training, a kind that is turned by quarters makes four classes (as Omniglot's characters do, Vinyals et al. 2016), but for those that
# look the same however they are turned, and those that look alike upside down, which make two.
ONE_WAY, TWO_WAYS = ("cloud", "flower", "star", "sun"), ("glasses", "lightning")
N_PICTURES = {"train": 1200, "train_held_out": 150, "trainval": 1500, "trainval_held_out": 200, "val": 200, "test": 300}
SEEDS = {"train": 1, "train_held_out": 2, "val": 3, "test": 4, "trainval": 5, "trainval_held_out": 6}

MOST_THINGS = 5  # in a picture; at least 2 are tried, and one is there
SIDES = (0.16, 0.45)  # of a drawing, of the picture's
MAX_TURN = math.radians(35)
MAX_OVERLAP = 0.35  # of the smaller of two boxes
_STAMP = 105  # pixels of a drawing: as it is stored
_TRIES = 15  # to place a thing where there is room


def make_scenes(split: str, size: int, *, n_pictures: int | None = None, seed: int | None = None, progress: bool = True) -> AnnotatedImages:
    """Make the scenes of a split, `size` x `size` pixels; the same seed makes the same scenes."""
    n = N_PICTURES[split] if n_pictures is None else n_pictures
    generator = torch.Generator().manual_seed(SEEDS[split] if seed is None else seed)
    kinds = turned_kinds(split)
    stamps = [_stamps(kind, progress).rot90(quarters, (2, 3)) for kind, quarters in kinds.values()]
    made = [_scene(stamps, size, generator) for _ in range(n)]
    images, boxes, labels = zip(*made, strict=True)
    return AnnotatedImages("scenes", split, torch.stack(images), boxes, labels, tuple(kinds))


def turned_kinds(split: str) -> dict[str, tuple[str, int]]:
    """Return the classes of a split by name: a kind, and how often it is turned by a quarter; none is in "val" and "test"."""
    found = {kind: (kind, 0) for kind in KINDS[split]}
    if split.startswith("train"):
        for kind in KINDS[split]:
            n = 1 if kind in ONE_WAY else 2 if kind in TWO_WAYS else 4
            found |= {f"{kind} {90 * quarters}°": (kind, quarters) for quarters in range(1, n)}
    return found


@cache
def _stamps(kind: str, progress: bool) -> Tensor:
    """Return the drawings of a kind as (n, 2, side, side) in 0..1: their ink, and what the ink encloses."""
    drawings = load_examples(DRAWINGS, "all", Preprocessing(size=_STAMP), progress)
    ink = drawings.of_class(drawings.class_names.index(kind))[:, 0].numpy()
    bodies = [~flood(np.pad(picture > 127, 1), (0, 0), connectivity=1)[1:-1, 1:-1] for picture in ink]
    return torch.stack([torch.from_numpy(ink).float() / 255, torch.from_numpy(np.stack(bodies)).float()], dim=1)


def _scene(stamps: list[Tensor], size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return a picture (3, size, size) in uint8, its boxes (n, 4) and their labels (n,)."""
    picture = _ground(size, generator)
    boxes, labels = torch.empty(0, 4), []
    for _ in range(int(torch.randint(2, MOST_THINGS + 1, (), generator=generator))):
        label = int(torch.randint(len(stamps), (), generator=generator))
        thing = _turned(stamps[label], size, generator)
        box = _place(thing, boxes, size, generator)
        if box is not None:
            _paint(picture, thing, box, generator)
            boxes, labels = torch.cat([boxes, box[None]]), [*labels, label]
    return (255 * picture.clamp(0, 1)).round().byte(), boxes, torch.tensor(labels)


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * torch.rand((), generator=generator).item()


def _ground(size: int, generator: torch.Generator) -> Tensor:
    """Return a picture of soft patches, stripes and grain, in colours of its own."""
    picture = torch.rand(3, 1, 1, generator=generator) * 0.7 + 0.15
    for cells, strength in ((4, 0.3), (17, 0.15)):
        patches = torch.rand(1, 3, cells, cells, generator=generator) - 0.5
        picture = picture + strength * F.interpolate(patches, size=(size, size), mode="bicubic", align_corners=False)[0]
    angle, waves = _uniform(0, math.pi, generator), _uniform(4, 25, generator)
    place = torch.linspace(0, 2 * math.pi * waves, size)
    stripes = (math.cos(angle) * place[None] + math.sin(angle) * place[:, None]).sin()
    picture = picture + _uniform(0, 0.08, generator) * stripes
    return picture + 0.04 * torch.randn(3, size, size, generator=generator)


def _turned(stamps: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return one of the drawings, turned and scaled at random, (2, height, width), cropped to what is drawn."""
    stamp = stamps[int(torch.randint(len(stamps), (), generator=generator))]
    side = math.exp(_uniform(math.log(SIDES[0] * size), math.log(SIDES[1] * size), generator))
    side = max(8, round(side))
    small = F.interpolate(stamp[None], size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    angle, n = _uniform(-MAX_TURN, MAX_TURN, generator), math.ceil(1.45 * side)  # a turned square still fits
    turn = torch.tensor([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0]]) * (n / side)
    thing = F.grid_sample(small, F.affine_grid(turn[None], [1, 2, n, n], align_corners=False), align_corners=False)[0]
    is_drawn = thing.amax(0) > 0.25
    rows, columns = (is_drawn.any(dim).nonzero().flatten().tolist() for dim in (1, 0))
    return thing[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _place(thing: Tensor, boxes: Tensor, size: int, generator: torch.Generator) -> Tensor | None:
    """Return a box (4,) for a thing that covers no other one too much, None where none is found."""
    height, width = thing.shape[1:]
    if max(height, width) > size:
        return None
    for _ in range(_TRIES):
        left = int(torch.randint(size - width + 1, (), generator=generator))
        top = int(torch.randint(size - height + 1, (), generator=generator))
        box = torch.tensor([left, top, left + width, top + height], dtype=torch.float32)
        smaller = torch.minimum(area(boxes), area(box[None]))
        if (intersection(box[None], boxes)[0] <= MAX_OVERLAP * smaller).all():
            return box
    return None


def _paint(picture: Tensor, thing: Tensor, box: Tensor, generator: torch.Generator) -> None:
    """Lay a thing's body and its ink on the picture, the ink dark where the ground is light and light where it is dark."""
    left, top, right, bottom = box.int().tolist()
    part = picture[:, top:bottom, left:right]
    ink, body = torch.rand(2, 3, 1, 1, generator=generator)
    ink, body = (0.35 * ink, 0.4 + 0.6 * body) if part.mean() > 0.5 else (0.65 + 0.35 * ink, 0.6 * body)
    part.lerp_(body.expand_as(part), 0.85 * thing[1:2].expand_as(part))
    part.lerp_(ink.expand_as(part), thing[0:1].expand_as(part))
