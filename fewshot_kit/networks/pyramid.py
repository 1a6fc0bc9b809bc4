"""Residual networks with a small feature pyramid (Lin et al. 2017): maps of several depths, told what the deeper ones have seen."""

from itertools import pairwise
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_kit.networks.configs import PyramidConfig, ResNetPyramidConfig
from fewshot_kit.networks.normalised import normalised
from fewshot_kit.networks.resnet12 import Block, ResNet12


class Pyramid(nn.Module):
    """Float images (n, 3, h, w) in 0..1 -> three maps (n, map_channels, h / stride, w / stride), rounded down, the finest first.

    Two convolutions of stride 2, then three residual blocks of `ResNet12`, whose maps are added up from the deepest one.
    """

    def __init__(self, config: PyramidConfig):
        super().__init__()
        self.config = config
        self.preprocessing = config.preprocessing
        first, second, *widths = config.widths
        self.stem = nn.Sequential(*_strided(3, first), *_strided(first, second))
        self.blocks = nn.ModuleList(Block(a, b, "running", 0.0) for a, b in pairwise([second, *widths]))
        self.laterals = nn.ModuleList(nn.Conv2d(width, config.map_channels, 1) for width in widths)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = normalised(images, self.preprocessing.mean, self.preprocessing.std).contiguous(memory_format=torch.channels_last)
        x, maps = self.stem(x), []
        for block, lateral in zip(self.blocks, self.laterals, strict=True):
            x = block(x)
            maps.append(lateral(x))
        for finer in (1, 0):
            maps[finer] = maps[finer] + F.interpolate(maps[finer + 1], size=maps[finer].shape[-2:], mode="nearest")
        return maps

    def layers(self) -> dict[str, nn.Module]:
        """Return the layers by name, from the picture up."""
        blocks = {f"block {number}": block for number, block in enumerate(self.blocks, start=1)}
        return {"stem": self.stem, **blocks, "pyramid": self.laterals}


class ResNetPyramid(ResNet12):
    """A ResNet-12 as a pyramid: float images (n, 3, h, w) in 0..1 -> three maps, of strides 8, 8 and 16.

    The first map joins the last two blocks, and things are proposed from it; the others are these blocks' own, as a picture's features are
    made of them. So a network that was trained to tell pictures apart brings what it knows along (`start_from`). Frozen blocks learn
    nothing, and their batch norm keeps its statistics.
    """

    def __init__(self, config: ResNetPyramidConfig):
        super().__init__(config)
        self.laterals = nn.ModuleList(nn.Conv2d(width, config.map_channels, 1) for width in config.widths[2:])
        self.blocks[: config.frozen_blocks].requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = normalised(images, self.preprocessing.mean, self.preprocessing.std).contiguous(memory_format=torch.channels_last)
        fine = self.blocks[:3](x)
        deep = self.blocks[3](fine)
        above = F.interpolate(self.laterals[1](deep), size=fine.shape[-2:], mode="nearest")
        return [self.laterals[0](fine) + above, fine, deep]

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.blocks[: self.config.frozen_blocks].eval()
        return self

    def layers(self) -> dict[str, nn.Module]:
        return {**super().layers(), "pyramid": self.laterals}


def _strided(n_in: int, n_out: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()
