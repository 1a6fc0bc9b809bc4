"""The plain way: train a softmax classifier on all training classes, and use its features for new ones."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import Episode, EpisodeSampler
from fewshot_kit.learners.base import Predictor, check_at_least
from fewshot_kit.learners.metric import NOT_IN_TRAINING, EmbeddingConfig
from fewshot_kit.learners.protonet import ProtoNet


@dataclass(frozen=True)
class SoftmaxConfig(EmbeddingConfig):
    """Hyper-parameters of the softmax classifier: what a batch of training holds."""

    train_way: int = 60
    train_images: int = 6  # of each class

    def __post_init__(self):
        check_at_least(self, train_way=2, train_images=1)


class Softmax(ProtoNet):
    """A softmax classifier over the training classes; new classes by the nearest mean of its features (as in Chen et al. 2019).

    The baseline of metric learning: the same network, without a thought of new classes while it is trained.
    """

    config: SoftmaxConfig

    def __init__(self, config: SoftmaxConfig):
        super().__init__(config)
        self.training_head: nn.Linear | None = None

    def begin_training(self, dataset: ClassImages) -> None:
        super().begin_training(dataset)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.training_head = nn.Linear(self.network.n_features, len(dataset)).to(self.device)

    def training_episodes(self, dataset: ClassImages, generator: torch.Generator) -> list[Episode]:
        """Draw a batch: `train_images` images of each of `train_way` classes."""
        return [EpisodeSampler(dataset, min(self.config.train_way, len(dataset)), self.config.train_images, 0).sample(generator)]

    def accumulate_meta_grad(self, episodes: Sequence[Episode]) -> float:
        """Step on the mean cross entropy over all training classes."""
        self.network.train()
        total_loss = 0.0
        for episode in episodes:
            support = episode.support.to(self.device)
            class_ids = torch.tensor(episode.class_ids, device=self.device)[support.labels]
            loss = F.cross_entropy(self.training_head(self.embed(support.images)), class_ids) / len(episodes)
            loss.backward()
            total_loss += loss.item()
        return total_loss

    def predictor_of(self, dataset: ClassImages) -> Predictor:
        """Return the predictor of the classes trained on: the classifier itself."""
        if self.training_head is None:
            raise ValueError(NOT_IN_TRAINING)
        embed, head = self.embedding(), copy.deepcopy(self.training_head)

        @torch.no_grad()
        def predict(images: Tensor) -> Tensor:
            return head(embed(images))

        return predict
