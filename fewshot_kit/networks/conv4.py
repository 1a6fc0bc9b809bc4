"""Networks: a backbone that turns images into features, and a linear head that turns features into logits."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from fewshot_kit.data.images import Preprocessing

NORMS = ("group", "batch", "running", "none")


@dataclass(frozen=True)
class Conv4Config:
    """Shape of a `Conv4`. The defaults are the strided Omniglot network of Finn et al. 2017 with group norm in place of batch norm."""

    width: int = 64  # channels of every block
    norm: str = "group"  # one of NORMS
    stride: int = 2  # 2: strided convolutions (Omniglot); 1: 2x2 max pooling after each block (mini-ImageNet)
    channels: int = 1
    size: int = 28  # images are size x size pixels

    def __post_init__(self):
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, not {self.norm!r}")
        if self.stride not in (1, 2):
            raise ValueError(f"stride must be 2 (strided convolutions) or 1 (max pooling), not {self.stride}")
        if self.width < 8 or self.width % 8:
            raise ValueError(f"width must be a multiple of 8 (the groups of group norm), not {self.width}")

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(size=self.size, channels=self.channels)


# The small network of the Reptile web demo: 16,251 parameters with a head for three classes.
SMALL = Conv4Config(width=24, norm="batch")


class Conv4(nn.Module):
    """Four blocks of 3x3 convolution, normalisation and ReLU, then a linear head.

    `features` maps float images (n, channels, size, size) in 0..1 to (n, n_features); `forward` maps them to logits (n, n_out).
    Block: Vinyals et al. 2016; strided variant: Finn et al. 2017, sec. 5.1. `norm`:
    - "group": 8 groups (Wu and He 2018). An image is normalised by itself, so its logits cannot depend on its neighbours.
    - "batch": in training mode by the statistics of the batch, as in MAML and Reptile, which are recorded; in evaluation mode by the
      recorded ones, those of the last batch alone: after an inner loop, of the support. Inductive, unless queries are run in training mode.
    - "running": the same, with the exponential average of all batches ever seen (momentum 0.1) in evaluation mode.
    - "none": none, and a bias in its place.

    `n_out` 0 makes a head without rows, for learners that add one row a class at the start of a task.
    """

    def __init__(self, config: Conv4Config, n_out: int):
        super().__init__()
        self.config = config
        channels = [config.channels] + [config.width] * 4
        self.backbone = nn.Sequential(*(self._block(a, b) for a, b in pairwise(channels)), nn.Flatten())
        with torch.no_grad():  # in evaluation mode: batch norm is not to record the zeros
            self.n_features = self.backbone.eval()(torch.zeros(2, config.channels, config.size, config.size)).shape[1]
        self.train()
        self.head = nn.Linear(self.n_features, max(n_out, 1))
        if n_out == 0:  # cut afterwards: torch warns when it initialises an empty tensor
            self.head.weight, self.head.bias = nn.Parameter(self.head.weight[:0].detach()), nn.Parameter(self.head.bias[:0].detach())
        self.to(memory_format=torch.channels_last)  # twice as fast on a CPU from twenty images on

    def _block(self, n_in: int, n_out: int) -> nn.Sequential:
        config = self.config
        norms = {
            "group": lambda: nn.GroupNorm(8, n_out),
            "batch": lambda: nn.BatchNorm2d(n_out, momentum=1.0),
            "running": lambda: nn.BatchNorm2d(n_out, momentum=0.1),
            "none": nn.Identity,
        }
        layers = [nn.Conv2d(n_in, n_out, 3, stride=config.stride, padding=1, bias=config.norm == "none"), norms[config.norm]()]
        # Pooling first: the maximum and ReLU commute, and ReLU then has a quarter of the pixels.
        layers += ([nn.MaxPool2d(2)] if config.stride == 1 else []) + [nn.ReLU()]
        return nn.Sequential(*layers)

    def features(self, images: Tensor) -> Tensor:
        return self.backbone(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))
