"""What a detector says of a box: an embedding of what it shows, and where the thing's own box lies."""

import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_kit.learners.detector_configs import DetectorConfig
from fewshot_kit.networks.pyramid import STRIDES


class BoxHead(nn.Module):
    """The features of boxes (n, channels of all maps, side, side) -> embeddings (n, d), and offsets (n, 4) to the things' own boxes.

    The offsets are the same for all classes. Departure from RepMet's paper: one hidden layer, on boxes pooled from all maps.
    """

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.hidden = nn.Linear(len(STRIDES) * config.network.map_channels * config.roi_side**2, config.hidden)
        self.embedding = nn.Linear(config.hidden, config.n_features)
        self.offsets = nn.Linear(config.hidden, 4)
        nn.init.normal_(self.offsets.weight, std=0.001)  # a new head leaves proposals where they are
        nn.init.zeros_(self.offsets.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        hidden = F.relu(self.hidden(features.flatten(1)))
        return self.embedding(hidden), self.offsets(hidden)
