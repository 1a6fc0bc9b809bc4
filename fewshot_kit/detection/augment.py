"""Random changes to pictures for training that move the boxes with the pixels."""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_kit.data.augment import JITTER, jitter_colours
from fewshot_kit.data.images import to_float
from fewshot_kit.detection.annotated import BoxedImages
from fewshot_kit.detection.boxes import area, clipped

ZOOM = (0.6, 1.6)  # of width and height: below 1 the picture shrinks and gets a gray margin, above 1 a part of it is taken
MAX_LOG_ASPECT = math.log(1.2)
LEAST_VISIBLE = 0.4  # of a box's area: of which less is left, it is dropped
LEAST_SIDE = 3.0  # pixels
_MARGIN = 0.5  # gray


def augment_boxed(
    batch: BoxedImages,
    generator: torch.Generator,
    *,
    zoom: tuple[float, float] = ZOOM,
    aspect: float = MAX_LOG_ASPECT,
    turns: bool = False,
    jitter: float = JITTER,
) -> BoxedImages:
    """Mirror every other picture, zoom into or out of it, and change its colours; the shape stays, and the result is floats in 0..1.

    `turns` also turns square pictures by quarters and mirrors them upside down: for pictures that have no up and down, as those of the
    ground from above. A box of which too little is left is dropped, and what is left of the others is clipped to the picture.
    """
    images = to_float(batch.images)
    matrices, shifts = _maps(len(images), generator, zoom, aspect, turns)
    if turns and images.shape[-1] != images.shape[-2]:
        raise ValueError(f"only square pictures can be turned by quarters, but these are {tuple(images.shape[-2:])}; set turns=False")
    theta = torch.cat([matrices, shifts[..., None]], dim=2).to(images.device, images.dtype)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images - _MARGIN, grid, align_corners=False) + _MARGIN  # beyond the picture, 0 is the margin's gray
    height, width = images.shape[-2:]
    found = [move_boxes(*parts, height, width) for parts in zip(batch.boxes, matrices, shifts, strict=True)]
    boxes = tuple(boxes for boxes, _ in found)
    labels = tuple(labels[is_left] for labels, (_, is_left) in zip(batch.labels, found, strict=True))
    return replace(batch, images=jitter_colours(moved, generator, jitter) if jitter else moved, boxes=boxes, labels=labels)


def _maps(n: int, generator: torch.Generator, zoom: tuple[float, float], aspect: float, turns: bool) -> tuple[Tensor, Tensor]:
    """Draw maps u -> M u + t from a place in the new picture to one in the old, both in -1 .. 1: matrices (n, 2, 2), shifts (n, 2)."""
    low, high = math.log(zoom[0]), math.log(zoom[1])
    logs = (low + (high - low) * torch.rand(n, 1, generator=generator)).expand(n, 2)
    stretch = aspect / 2 * (2 * torch.rand(n, 1, generator=generator) - 1)
    extent = (logs + torch.cat([stretch, -stretch], dim=1)).exp().reciprocal()  # of what is read, by the picture's width and height
    shifts = (1 - extent).abs() * (2 * torch.rand(n, 2, generator=generator) - 1)  # the crop in the picture, or the picture in the margin
    is_mirrored, is_upside_down, is_turned = torch.rand(3, n, generator=generator) < 0.5
    signs = torch.stack([torch.where(is_mirrored, -1.0, 1.0), torch.where(is_upside_down & turns, -1.0, 1.0)], dim=1)
    matrices = torch.diag_embed(extent * signs)
    return torch.where((is_turned & turns)[:, None, None], matrices.flip(2), matrices), shifts


def move_boxes(boxes: Tensor, matrix: Tensor, shift: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return where boxes (n, 4) lie in the picture that is read by M u + t, those of which enough is left, and which these are, (n,)."""
    half = boxes.new_tensor([width, height]) / 2
    corners = (boxes.unflatten(1, (2, 2)) / half - 1 - shift) @ torch.linalg.inv(matrix).T
    corners = (corners + 1) * half
    moved = torch.cat([corners.amin(1), corners.amax(1)], dim=1)
    visible = clipped(moved, height, width)
    sides = (visible[:, 2:] - visible[:, :2]).amin(1)
    is_left = (area(visible) >= LEAST_VISIBLE * area(moved)) & (sides >= LEAST_SIDE)
    return visible[is_left], is_left
