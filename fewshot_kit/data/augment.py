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
LEAST_CROP = 0.5  # of the area
MAX_LOG_ASPECT = math.log(4 / 3)
JITTER = 0.4  # of brightness, contrast and saturation: factors of 0.6 .. 1.4
_LUMA = (0.299, 0.587, 0.114)  # the share of red, green and blue in gray (ITU-R BT.601)


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)


# --- ink ---


def augment_ink(images: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Change each picture of (n, 1, height, width), light ink on 0 in 0..1, by a random affine map and a random pen.

    `strength` scales how far; the shape stays.
    """
    if images.shape[1] != 1:
        raise ValueError(f"pictures of ink have 1 channel, but these are {tuple(images.shape)}")
    pens = torch.rand(len(images), 1, 1, 1, generator=generator).mul_(1.5).sub_(0.5).clamp_(min=0)  # a third are left as they are
    thickness = strength * pens
    thickened = images + thickness * (F.max_pool2d(images, 3, stride=1, padding=1) - images)
    grid = F.affine_grid(_affine_maps(len(images), generator, strength), list(images.shape), align_corners=False)
    return F.grid_sample(thickened, grid, align_corners=False)


def other_hand(images: Tensor, number: int, strength: float) -> Tensor:
    """Return pictures of (n, 1, height, width) as another hand might have drawn them, the same hand for all: that of this number."""
    generator = torch.Generator().manual_seed(number)
    thickness = strength * torch.rand(1, generator=generator).mul_(1.5).sub_(0.5).clamp_(min=0).item()
    thickened = images + thickness * (F.max_pool2d(images, 3, stride=1, padding=1) - images)
    maps = _affine_maps(1, generator, strength).to(images.device).expand(len(images), 2, 3)
    return F.grid_sample(thickened, F.affine_grid(maps, list(images.shape), align_corners=False), align_corners=False)


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


def augment_photographs(
    images: Tensor, generator: torch.Generator, *, size: int | None = None, least_crop: float = LEAST_CROP, jitter: float = JITTER
) -> Tensor:
    """Crop each photograph of (n, 3, height, width), in 0..1, at random and scale the crop to `size` x `size` pixels, mirror every other
    one left to right, and change brightness, contrast and saturation; without `size`, the shape stays.
    """
    if images.shape[1] != 3:
        raise ValueError(f"photographs have 3 channels, but these are {tuple(images.shape)}")
    shape = list(images.shape) if size is None else [*images.shape[:2], size, size]
    grid = F.affine_grid(_crops(len(images), generator, least_crop).to(images.device), shape, align_corners=False)
    # No crop reaches over the edge; "border" is for the half pixel that bilinear sampling looks beyond it.
    cropped = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return jitter_colours(cropped, generator, jitter) if jitter else cropped


def _crops(n: int, generator: torch.Generator, least_crop: float) -> Tensor:
    """Draw n maps (n, 2, 3) from picture coordinates (-1 .. 1) to a part of the picture, half of them mirrored."""
    side = _uniform(n, least_crop, 1, generator).sqrt()
    stretch = _uniform(n, -MAX_LOG_ASPECT / 2, MAX_LOG_ASPECT / 2, generator).exp()
    width, height = (side * stretch).clamp(max=1), (side / stretch).clamp(max=1)
    x, y = ((1 - extent) * _uniform(n, -1, 1, generator) for extent in (width, height))
    mirrored = torch.where(torch.rand(n, generator=generator) < 0.5, -width, width)
    zero = torch.zeros(n)
    return torch.stack([mirrored, zero, x, zero, height, y], dim=1).view(n, 2, 3)


def jitter_colours(images: Tensor, generator: torch.Generator, jitter: float) -> Tensor:
    """Scale brightness (distance from black), contrast (from the mean gray) and saturation (from each pixel's gray)."""
    factors = [_uniform(len(images), 1 - jitter, 1 + jitter, generator).view(-1, 1, 1, 1) for _ in range(3)]
    brightness, contrast, saturation = (factor.to(images.device) for factor in factors)
    images = (images * brightness).clamp(0, 1)
    mean = _gray(images).mean((2, 3), keepdim=True)
    images = torch.lerp(mean, images, contrast).clamp(0, 1)
    return torch.lerp(_gray(images), images, saturation).clamp(0, 1)


def _gray(images: Tensor) -> Tensor:
    return (images * images.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
