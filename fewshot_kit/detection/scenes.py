"""Pictures for detection that are made when they are loaded: drawings in colour, of all sizes, turned, on textured grounds.

Made up as they are, they are for trying out, teaching and testing; a result on them says nothing about photographs.
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_kit.detection.annotated import AnnotatedImages
from fewshot_kit.detection.boxes import area, intersection
from fewshot_kit.detection.scene_kinds import Kind, kinds_of_quickdraw_scenes, kinds_of_scenes

N_PICTURES = {"train": 1200, "train_held_out": 150, "trainval": 1500, "trainval_held_out": 200, "val": 200, "test": 300}
N_QUICKDRAW = {"train": 3000, "train_held_out": 400, "trainval": 4000, "trainval_held_out": 500, "val": 600, "test": 600}
SEEDS = {"train": 1, "train_held_out": 2, "val": 3, "test": 4, "trainval": 5, "trainval_held_out": 6}

MOST_THINGS = 5  # in a picture; at least 2 are tried, and one is there
SIDES = (0.16, 0.45)  # of a drawing, of the picture's
MAX_TURN = math.radians(35)
MAX_OVERLAP = 0.35  # of the smaller of two boxes
_TRIES = 15  # to place a thing where there is room


def load_scenes(split: str, size: int, progress: bool = True) -> AnnotatedImages:
    """Make the scenes of a split, of the kit's own drawings."""
    return make_scenes(kinds_of_scenes(split, progress), size, N_PICTURES[split], SEEDS[split], name="scenes", split=split)


def load_quickdraw_scenes(split: str, size: int, progress: bool = True) -> AnnotatedImages:
    """Make the scenes of a split, of drawings of Quick, Draw!."""
    kinds = kinds_of_quickdraw_scenes(split, progress)
    return make_scenes(kinds, size, N_QUICKDRAW[split], SEEDS[split], name="quickdraw_scenes", split=split)


def make_scenes(kinds: Mapping[str, Kind], size: int, n: int, seed: int, *, name: str = "scenes", split: str = "") -> AnnotatedImages:
    """Make `n` scenes of `size` x `size` pixels with things of these kinds; the same seed makes the same scenes."""
    generator = torch.Generator().manual_seed(seed)
    images, boxes, labels = zip(*(_scene(tuple(kinds.values()), size, generator) for _ in range(n)), strict=True)
    return AnnotatedImages(name, split, torch.stack(images), boxes, labels, tuple(kinds))


def _scene(kinds: Sequence[Kind], size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return a picture (3, size, size) in uint8, its boxes (n, 4) and their labels (n,)."""
    picture = _ground(size, generator)
    boxes, labels = torch.empty(0, 4), []
    for _ in range(int(torch.randint(2, MOST_THINGS + 1, (), generator=generator))):
        label = int(torch.randint(len(kinds), (), generator=generator))
        drawing = kinds[label].drawing(int(torch.randint(len(kinds[label]), (), generator=generator)))
        thing = _turned(drawing, size, generator)
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


def _turned(drawing: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return a drawing (2, side, side), turned and scaled at random, (2, height, width), cropped to what is drawn."""
    side = math.exp(_uniform(math.log(SIDES[0] * size), math.log(SIDES[1] * size), generator))
    side = max(8, round(side))
    small = F.interpolate(drawing[None], size=(side, side), mode="bilinear", antialias=True, align_corners=False)
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
