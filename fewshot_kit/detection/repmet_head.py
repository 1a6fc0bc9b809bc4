"""RepMet's head (Karlinsky et al. 2019): what a box shows is told by the nearest of a few representatives of each class."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_kit.detection.configs import DetectorConfig
from fewshot_kit.detection.pyramid import STRIDES
from fewshot_kit.learners.embedding import squared_distances
from fewshot_kit.learners.repmet import LOSSES

NEAREST = -1e-6  # of a logarithm of a probability: 1 - p is never 0


class RepMetHead(nn.Module):
    """The features of a box -> its embedding, scaled to length 1, and the offsets that lead from it to the thing's own box.

    The offsets are the same for all classes. Departure from the paper: one hidden layer, on boxes pooled from all depths of the pyramid.
    """

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.config = config
        self.hidden = nn.Linear(len(STRIDES) * config.channels * config.roi_side**2, config.hidden)
        self.embedding = nn.Linear(config.hidden, config.n_features)
        self.offsets = nn.Linear(config.hidden, 4)
        nn.init.normal_(self.offsets.weight, std=0.001)  # a new head leaves proposals where they are
        nn.init.zeros_(self.offsets.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings (n, d) and offsets (n, 4) of box features (n, channels of all maps, side, side)."""
        hidden = F.relu(self.hidden(features.flatten(1)))
        return F.normalize(self.embedding(hidden), dim=1), self.offsets(hidden)

    def closeness(self, embeddings: Tensor, representatives: Tensor) -> Tensor:
        """Return -d^2 / (2 sigma^2) (eq. 2), (n, n_way, k), of embeddings (n, d) to representatives (n_way, k, d)."""
        distances = squared_distances(embeddings[None], representatives.flatten(0, 1)[None])[0]
        return -distances.unflatten(1, representatives.shape[:2]) / (2 * self.config.sigma**2)


def posteriors(closeness: Tensor) -> Tensor:
    """Return the probability of each class (n, n_way), by its nearest representative (eq. 3)."""
    return closeness.amax(2).exp()


def background(closeness: Tensor) -> Tensor:
    """Return the probability (n,) that a box shows nothing of any class: 1 - the largest posterior (eq. 4)."""
    return -closeness.flatten(1).amax(1).expm1()


def class_loss(closeness: Tensor, labels: Tensor, config: DetectorConfig) -> Tensor:
    """Return the loss of boxes of things, by the losses of the classifier: closeness (n, n_way, k), labels (n,)."""
    return LOSSES[config.loss_version](closeness, labels, config.alpha)


def background_loss(closeness: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of -log p: of its own class for the box of a thing, of the background for others; labels (n,), -1: background."""
    is_thing = labels >= 0
    own = closeness[is_thing, labels[is_thing]].amax(1)
    nothing = (-closeness[~is_thing].flatten(1).amax(1).clamp(max=NEAREST).expm1()).log()
    return -torch.cat([own, nothing]).mean()
