"""The residual network of the few-shot papers on photographs (Oreshkin et al. 2018; Sun et al. 2019; Lee et al. 2019)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_kit.networks.configs import ResNet12Config
from fewshot_kit.networks.normalised import normalised

SLOPE = 0.1  # of leaky ReLU below zero
DROPPED_SIDE = 5  # of the squares that DropBlock hides, as in MetaOptNet


class ResNet12(nn.Module):
    """Four residual blocks and the mean over all places: float images (n, channels, h, w) in 0..1 -> (n, widths[-1]).

    Pictures may have any size from 16 pixels up; `config.size` is the one that it wants. Batch norm is "running": by the batch in training
    mode, by the average of all batches (momentum 0.1) in evaluation mode.
    """

    def __init__(self, config: ResNet12Config):
        super().__init__()
        self.config = config
        self.preprocessing = config.preprocessing
        self.n_features = config.widths[-1]
        drops = (0.0, 0.0, config.drop_block, config.drop_block)
        shapes = pairwise((config.channels, *config.widths))
        self.blocks = nn.Sequential(*(Block(a, b, config.norm, drop) for (a, b), drop in zip(shapes, drops, strict=True)))
        self.to(memory_format=torch.channels_last)  # twice as fast on a CPU in 16 bits

    def forward(self, images: Tensor) -> Tensor:
        images = normalised(images, self.preprocessing.mean, self.preprocessing.std)
        return self.blocks(images.contiguous(memory_format=torch.channels_last)).mean((2, 3))

    def layers(self) -> dict[str, nn.Module]:
        """Return the layers by name, from the picture up."""
        return {f"block {number}": block for number, block in enumerate(self.blocks, start=1)}


class Block(nn.Module):
    """Three 3x3 convolutions beside a 1x1 one, added up, and 2x2 max pooling: (n, n_in, h, w) -> (n, n_out, h // 2, w // 2)."""

    def __init__(self, n_in: int, n_out: int, norm: str, drop_block: float):
        super().__init__()
        self.convs = nn.ModuleList(_conv(n, n_out, 3) for n in (n_in, n_out, n_out))
        self.norms = nn.ModuleList(_norm(norm, n_out) for _ in range(3))
        self.shortcut = nn.Sequential(_conv(n_in, n_out, 1), _norm(norm, n_out))
        self.drop = DropBlock(drop_block) if drop_block else None

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for conv, norm in zip(self.convs[:2], self.norms[:2], strict=True):
            y = F.leaky_relu(norm(conv(y)), SLOPE, inplace=True)
        y = self.norms[2](self.convs[2](y)) + self.shortcut(x)
        y = F.leaky_relu(F.max_pool2d(y, 2), SLOPE, inplace=True)  # it never falls, so of four the largest stays the largest
        return y if self.drop is None else self.drop(y)


class DropBlock(nn.Module):
    """Hide squares of the features in training mode and scale up the rest (Ghiasi et al. 2018, algorithm 1).

    What is hidden depends on how many batches were seen alone, which a run saves: so a training can be resumed, and repeated.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate
        self.register_buffer("n_seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        self.n_seen += 1
        generator = torch.Generator().manual_seed(int(self.n_seen))
        side = min(DROPPED_SIDE, x.shape[-1] - (x.shape[-1] + 1) % 2)  # odd, and no larger than the features
        free = x.shape[-1] - side + 1
        centres = torch.rand(x.shape[0], x.shape[1], free, free, generator=generator) < self.rate / side**2 * (x.shape[-1] / free) ** 2
        hidden = F.max_pool2d(F.pad(centres.float(), [side // 2] * 4), side, stride=1, padding=side // 2)
        kept = (1 - hidden).to(x.device, x.dtype)
        return x * kept * (kept.numel() / kept.sum().clamp(min=1))


def _conv(n_in: int, n_out: int, side: int) -> nn.Conv2d:
    conv = nn.Conv2d(n_in, n_out, side, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, a=SLOPE, mode="fan_out", nonlinearity="leaky_relu")
    return conv


def _norm(kind: str, n: int) -> nn.Module:
    return nn.GroupNorm(8, n) if kind == "group" else nn.BatchNorm2d(n, momentum=0.1)
