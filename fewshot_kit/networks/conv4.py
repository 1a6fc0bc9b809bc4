"""The four-block network of the few-shot papers (Vinyals et al. 2016)."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from fewshot_kit.networks.configs import Conv4Config
from fewshot_kit.networks.normalised import normalised


class Conv4(nn.Module):
    """Four blocks of 3x3 convolution, normalisation and ReLU: float images (n, channels, size, size) in 0..1 -> (n, n_features).

    Block: Vinyals et al. 2016; strided variant: Finn et al. 2017, sec. 5.1. `norm`:
    - "group": 8 groups (Wu and He 2018). An image is normalised by itself, so its features cannot depend on its neighbours.
    - "batch": in training mode by the statistics of the batch, as in MAML and Reptile, which are recorded; in evaluation mode by the
      recorded ones, those of the last batch alone: after an inner loop, of the support. Inductive, unless queries are run in training mode.
    - "running": the same, with the exponential average of all batches ever seen (momentum 0.1) in evaluation mode.
    - "none": none, and a bias in its place.
    """

    def __init__(self, config: Conv4Config):
        super().__init__()
        self.config = config
        self.preprocessing = config.preprocessing
        self.blocks = nn.Sequential(*(self._block(a, b) for a, b in pairwise([config.channels] + [config.width] * 4)))
        with torch.no_grad():  # in evaluation mode: batch norm is not to record the zeros
            self.n_features = self.eval()(torch.zeros(2, config.channels, config.size, config.size)).shape[1]
        self.train()
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

    def forward(self, images: Tensor) -> Tensor:
        return self.blocks(normalised(images, self.preprocessing.mean, self.preprocessing.std)).flatten(1)

    def layers(self) -> dict[str, nn.Module]:
        """Return the layers by name, from the picture up."""
        return {f"block {number}": block for number, block in enumerate(self.blocks, start=1)}
