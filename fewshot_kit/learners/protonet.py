"""Prototypical Networks: a class is the mean of its embedded support images (Snell, Swersky and Zemel 2017)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import Episode, EpisodeSampler
from fewshot_kit.learners.base import check_at_least
from fewshot_kit.learners.metric import EmbeddingConfig, EmbeddingLearner, class_means, squared_distances


@dataclass(frozen=True)
class ProtoNetConfig(EmbeddingConfig):
    """Hyper-parameters of Prototypical Networks: the tasks of training, 60-way 1-shot with 5 queries as in the paper (sec. 3.1)."""

    train_way: int = 60
    train_shot: int = 1
    train_query: int = 5  # a class
    meta_batch_size: int = 1  # tasks an outer step
    take_turns: bool = False  # every image of a task is support once and query otherwise: (shot + query) / shot tasks for one embedding

    def __post_init__(self):
        check_at_least(self, train_way=2, train_shot=1, train_query=1, meta_batch_size=1)
        if self.take_turns and self.train_query % self.train_shot:
            raise ValueError(
                f"to take turns, train_query must be a multiple of train_shot, but {self.train_query} is none of {self.train_shot}"
            )


class ProtoNet(EmbeddingLearner):
    """Prototypical Networks (Snell et al. 2017). Nothing is fine-tuned: the prototypes are all there is to learn of new classes.

    Beyond the paper: `take_turns`, off unless asked for.
    """

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
            parts = self.embed(images).split([len(episode.support), len(episode.query)])
            support, query = turns(*parts, episode.n_way) if self.config.take_turns else (part.unsqueeze(0) for part in parts)
            scores = self.scores(query, self.centres(support, episode.support.labels, episode.n_way))
            loss = F.cross_entropy(scores.flatten(0, 1), episode.query.labels.repeat(len(scores))) / len(episodes)
            loss.backward()
            total_loss += loss.item()
        return total_loss

    def training_episodes(self, dataset: ClassImages, generator: torch.Generator) -> list[Episode]:
        """Draw `meta_batch_size` tasks of `train_way` classes."""
        config = self.config
        sampler = EpisodeSampler(dataset, config.train_way, config.train_shot, config.train_query)
        return [sampler.sample(generator) for _ in range(config.meta_batch_size)]


def turns(support: Tensor, query: Tensor, n_way: int) -> tuple[Tensor, Tensor]:
    """Make one task (shot + query) / shot tasks, in which every image is support once.

    Features `support` (n_way * shot, d) and `query` (n_way * query, d) are ordered by class; the tasks' are (tasks, n_way * shot, d)
    and (tasks, n_way * query, d), the given ones first.
    """
    of_classes = torch.cat([part.unflatten(0, (n_way, -1)) for part in (support, query)], dim=1)  # (n_way, shot + query, d)
    shot = len(support) // n_way
    rolled = torch.stack([of_classes.roll(-start, dims=1) for start in range(0, of_classes.shape[1], shot)])
    return rolled[:, :, :shot].flatten(1, 2), rolled[:, :, shot:].flatten(1, 2)
