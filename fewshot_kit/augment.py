"""Random changes to training images, as between two people's handwriting: turn, slant, size, place and pen."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_ROTATION = math.radians(12)
MAX_SHEAR = 0.15
MAX_LOG_SCALE = 0.18  # of width and height, each by itself
MAX_SHIFT = 0.16  # of half the picture's width


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change each ink image (n, 1, height, width), light ink on 0, by a random affine map and a random pen; the shape stays."""
    thickness = torch.rand(len(images), 1, 1, 1, generator=generator).mul_(1.5).sub_(0.5).clamp_(min=0)  # a third are left as they are
    thickened = images + thickness * (F.max_pool2d(images, 3, stride=1, padding=1) - images)
    grid = F.affine_grid(_affine_maps(len(images), generator), list(images.shape), align_corners=False)
    return F.grid_sample(thickened, grid, align_corners=False)


def _affine_maps(n: int, generator: torch.Generator) -> Tensor:
    """Draw n maps (n, 2, 3) from picture coordinates (-1 .. 1) to where the picture is read."""

    def uniform(limit: float) -> Tensor:
        return (2 * torch.rand(n, generator=generator) - 1) * limit

    angle, shear = uniform(MAX_ROTATION), uniform(MAX_SHEAR)
    width, height = uniform(MAX_LOG_SCALE).exp(), uniform(MAX_LOG_SCALE).exp()
    cos, sin = angle.cos(), angle.sin()
    rows = [width * cos, height * (shear * cos - sin), uniform(MAX_SHIFT), width * sin, height * (shear * sin + cos), uniform(MAX_SHIFT)]
    return torch.stack(rows, dim=1).view(n, 2, 3)
