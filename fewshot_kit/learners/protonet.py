"""Prototypical Networks: a class is the mean of its embedded support images (Snell, Swersky and Zemel 2017)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_kit.class_images import ClassImages
from fewshot_kit.episodes import Episode, EpisodeSampler
from fewshot_kit.learners.base import check_at_least
from fewshot_kit.learners.embedding import EmbeddingConfig, EmbeddingLearner, class_means, squared_distances


@dataclass(frozen=True)
class ProtoNetConfig(EmbeddingConfig):
    """Hyper-parameters of Prototypical Networks: the tasks of training, 60-way 1-shot with 5 queries as in the paper (sec. 3.1)."""

    train_way: int = 60
    train_shot: int = 1
    train_query: int = 5  # a class
    meta_batch_size: int = 1  # tasks an outer step

    def __post_init__(self):
        check_at_least(self, train_way=2, train_shot=1, train_query=1, meta_batch_size=1)


class ProtoNet(EmbeddingLearner):
    """Prototypical Networks (Snell et al. 2017). Nothing is fine-tuned: the prototypes are all there is to learn of new classes."""

    config: ProtoNetConfig

    def centres(self, features: Tensor, labels: Tensor, n_way: int) -> Tensor:
        """Return the prototypes (eq. 1), (tasks, n_way, 1, d)."""
        return class_means(features, labels, n_way).unsqueeze(2)

    def scores(self, features: Tensor, centres: Tensor) -> Tensor:
        """Return minus the squared Euclidean distances (eq. 2)."""
        # Squared: the class mean is the optimal prototype only for Bregman divergences (sec. 2.3).
        return -squared_distances(features, centres.squeeze(2))

    def accumulate_meta_grad(self, episodes: Sequence[Episode]) -> float:
        """Step on the queries' mean cross entropy under the prototypes of the support (algorithm 1)."""
        self.network.train()
        total_loss = 0.0
        for episode in episodes:
            episode = episode.to(self.device)
            images = torch.cat([episode.support.images, episode.query.images])
            support, query = self.embed(images).split([len(episode.support), len(episode.query)])
            prototypes = self.centres(support.unsqueeze(0), episode.support.labels, episode.n_way)
            loss = F.cross_entropy(self.scores(query.unsqueeze(0), prototypes).squeeze(0), episode.query.labels) / len(episodes)
            loss.backward()
            total_loss += loss.item()
        return total_loss

    def training_episodes(self, dataset: ClassImages, generator: torch.Generator) -> list[Episode]:
        """Draw `meta_batch_size` tasks of `train_way` classes."""
        config = self.config
        sampler = EpisodeSampler(dataset, config.train_way, config.train_shot, config.train_query)
        return [sampler.sample(generator) for _ in range(config.meta_batch_size)]
