"""Random changes to training images: of ink as between two people's handwriting, of photographs as between two shots of a thing."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Of ink: turn, slant, size, place and pen.
MAX_ROTATION = math.radians(12)
MAX_SHEAR = 0.15
MAX_LOG_SCALE = 0.18  # of width and height, each by itself
MAX_SHIFT = 0.16  # of half the picture's width

# Of photographs: the crop, mirroring and colour jitter of Chen et al. 2019 (sec. 4.1, limits as in their code), but for the crop, which
# keeps at least half of the picture: at 32 or 84 pixels a smaller one is mostly blur.
MIN_CROP_AREA = 0.5
MAX_LOG_ASPECT = math.log(4 / 3)
MAX_JITTER = 0.4  # of brightness, contrast and saturation: factors of 0.6 .. 1.4
_LUMA = (0.299, 0.587, 0.114)  # the share of red, green and blue in gray (ITU-R BT.601)


def augment(images: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Change each image of (n, channels, height, width), floats in 0..1, in a random way of its own; the shape stays.

    One channel is light ink on 0, three are a photograph in RGB. `strength` scales how far ink is changed; photographs take 1 alone.
    """
    if images.shape[1] not in (1, 3):
        raise ValueError(f"images must have 1 channel (ink) or 3 (photographs), but are {tuple(images.shape)}")
    if images.shape[1] == 3 and strength != 1:
        raise ValueError(f"photographs are changed with strength 1 alone, not {strength}; leave augment_strength out")
    return _augment_ink(images, generator, strength) if images.shape[1] == 1 else _augment_photographs(images, generator)


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)


# --- ink ---


def _augment_ink(images: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Apply a random affine map and a random pen."""
    pens = torch.rand(len(images), 1, 1, 1, generator=generator).mul_(1.5).sub_(0.5).clamp_(min=0)  # a third are left as they are
    thickness = strength * pens
    thickened = images + thickness * (F.max_pool2d(images, 3, stride=1, padding=1) - images)
    grid = F.affine_grid(_affine_maps(len(images), generator, strength), list(images.shape), align_corners=False)
    return F.grid_sample(thickened, grid, align_corners=False)


def _affine_maps(n: int, generator: torch.Generator, strength: float) -> Tensor:
    """Draw n maps (n, 2, 3) from picture coordinates (-1 .. 1) to where the picture is read."""

    def uniform(limit: float) -> Tensor:
        return (2 * torch.rand(n, generator=generator) - 1) * (strength * limit)

    angle, shear = uniform(MAX_ROTATION), uniform(MAX_SHEAR)
    width, height = uniform(MAX_LOG_SCALE).exp(), uniform(MAX_LOG_SCALE).exp()
    cos, sin = angle.cos(), angle.sin()
    rows = [width * cos, height * (shear * cos - sin), uniform(MAX_SHIFT), width * sin, height * (shear * sin + cos), uniform(MAX_SHIFT)]
    return torch.stack(rows, dim=1).view(n, 2, 3)


# --- photographs ---


def _augment_photographs(images: Tensor, generator: torch.Generator) -> Tensor:
    """Crop at random and scale back, mirror every other one left to right, and change brightness, contrast and saturation."""
    grid = F.affine_grid(_crops(len(images), generator), list(images.shape), align_corners=False)
    # No crop reaches over the edge; "border" is for the half pixel that bilinear sampling looks beyond it.
    cropped = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return _jitter_colours(cropped, generator)


def _crops(n: int, generator: torch.Generator) -> Tensor:
    """Draw n maps (n, 2, 3) from picture coordinates (-1 .. 1) to a part of the picture, half of them mirrored."""
    side = _uniform(n, MIN_CROP_AREA, 1, generator).sqrt()
    stretch = _uniform(n, -MAX_LOG_ASPECT / 2, MAX_LOG_ASPECT / 2, generator).exp()
    width, height = (side * stretch).clamp(max=1), (side / stretch).clamp(max=1)
    x, y = ((1 - extent) * _uniform(n, -1, 1, generator) for extent in (width, height))
    mirrored = torch.where(torch.rand(n, generator=generator) < 0.5, -width, width)
    zero = torch.zeros(n)
    return torch.stack([mirrored, zero, x, zero, height, y], dim=1).view(n, 2, 3)


def _jitter_colours(images: Tensor, generator: torch.Generator) -> Tensor:
    """Scale brightness (distance from black), contrast (from the mean gray) and saturation (from each pixel's gray)."""
    brightness, contrast, saturation = (
        _uniform(len(images), 1 - MAX_JITTER, 1 + MAX_JITTER, generator).view(-1, 1, 1, 1) for _ in range(3)
    )
    images = (images * brightness).clamp(0, 1)
    mean = _gray(images).mean((2, 3), keepdim=True)
    images = torch.lerp(mean, images, contrast).clamp(0, 1)
    return torch.lerp(_gray(images), images, saturation).clamp(0, 1)


def _gray(images: Tensor) -> Tensor:
    return (images * images.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
