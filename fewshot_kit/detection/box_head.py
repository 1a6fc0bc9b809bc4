"""What a detector says of a box: an embedding of what it shows, and where the thing's own box lies."""

import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_kit.learners.detector_configs import DetectorConfig


class BoxHead(nn.Module):
    """The features of boxes (n, channels of all maps, side, side) -> embeddings (n, d), and offsets (n, 4) to the things' own boxes.

    The offsets are the same for all classes. Departures from RepMet's paper: one hidden layer, on boxes pooled from all maps; and with
    `embeds="mean"` the embedding skips it, and is a linear map of the mean features of the box, each channel scaled to variance 1.
    """

    def __init__(self, config: DetectorConfig):
        super().__init__()
        channels = sum(width for _, width in config.network.maps)
        self.hidden = nn.Linear(channels * config.roi_side**2, config.hidden)
        self.offsets = nn.Linear(config.hidden, 4)
        self.norm = nn.BatchNorm1d(channels) if config.embeds == "mean" else None
        self.embedding = nn.Linear(config.hidden if self.norm is None else channels, config.n_features)
        nn.init.normal_(self.offsets.weight, std=0.001)  # a new head leaves proposals where they are
        nn.init.zeros_(self.offsets.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        hidden = F.relu(self.hidden(features.flatten(1)))
        shown = hidden if self.norm is None else self.norm(features.mean((2, 3)))
        return self.embedding(shown), self.offsets(hidden)
