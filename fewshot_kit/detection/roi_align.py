"""RoIAlign (He et al. 2017): the features of a box, read between the cells of a feature map and not rounded to them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLES = 2  # a cell of the result and direction, as in the paper's code


def roi_align(features: Tensor, boxes: Sequence[Tensor], stride: float, side: int) -> Tensor:
    """Return the features of all boxes, (n_total, channels, side, side), those of the first picture first.

    `features` (pictures, channels, h, w) has a value for every `stride` pixels; `boxes` holds a tensor (n, 4) a picture, in pixels. A box
    is cut into side x side cells, and a cell's value is the mean of 2 x 2 points in it, each read by bilinear interpolation. The cell
    (0, 0) of a map has its value in its middle, half a stride from the picture's corner; beyond the outermost middles values stay as they
    are there. Features get a gradient, boxes none.
    """
    if len(boxes) != len(features):
        raise ValueError(f"a tensor of boxes is needed for each of {len(features)} pictures, but there are {len(boxes)}")
    counts = [len(of_picture) for of_picture in boxes]
    most, n_points = max(counts, default=0), side * SAMPLES
    if not most:
        return features.new_empty(0, features.shape[1], side, side)
    padded = torch.stack([F.pad(of_picture, (0, 0, 0, most - len(of_picture))) for of_picture in boxes]).detach()  # (pictures, most, 4)
    grid = _points(padded.to(features.dtype), n_points, features.shape[-2:], stride).flatten(1, 2)
    read = F.grid_sample(features, grid, padding_mode="border", align_corners=False)  # (pictures, channels, most * n_points, n_points)
    cells = F.avg_pool2d(read, SAMPLES).unflatten(2, (most, side)).transpose(1, 2)  # (pictures, most, channels, side, side)
    is_box = torch.arange(most, device=features.device) < torch.tensor(counts, device=features.device)[:, None]
    return cells[is_box]


def _points(boxes: Tensor, n_points: int, shape: Sequence[int], stride: float) -> Tensor:
    """Return the points (pictures, n, n_points, n_points, 2) of every box, x and y, in -1 .. 1 from edge to edge of the map."""
    share = (torch.arange(n_points, dtype=boxes.dtype, device=boxes.device) + 0.5) / n_points
    low, sides = boxes[..., :2, None], (boxes[..., 2:] - boxes[..., :2])[..., None]
    extent = boxes.new_tensor([shape[1] * stride, shape[0] * stride])[:, None]
    x, y = (2 * (low + sides * share) / extent - 1).unbind(-2)  # each (pictures, n, n_points)
    x, y = x.unsqueeze(-2).expand(*y.shape, n_points), y.unsqueeze(-1).expand(*y.shape, n_points)
    return torch.stack([x, y], dim=-1)
