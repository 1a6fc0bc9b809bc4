"""Prototypical Networks: a class is the mean of its embedded support images (Snell, Swersky and Zemel 2017)."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import Episode, EpisodeSampler
from fewshot_kit.learners.configs import ProtoNetConfig
from fewshot_kit.learners.embedding import EmbeddingLearner, class_means, squared_distances
from fewshot_kit.learners.settings import Setting, hands
from fewshot_kit.learners.views import ink_views_of, said_of_hands


class ProtoNet(EmbeddingLearner):
    """Prototypical Networks (Snell et al. 2017). Nothing is fine-tuned: the prototypes are all there is to learn of new classes.

    Beyond the paper: `take_turns`, `within_group` and `views`, off unless asked for.
    """

    config: ProtoNetConfig

    def describe(self) -> str:
        rule = "Nothing is fine-tuned: the support is embedded, and a picture belongs to the class whose mean is nearest."
        return rule + said_of_hands(self.views)

    def settings(self) -> tuple[Setting, ...]:
        """Return how often a drawing is looked at; of photographs, there is nothing to set."""
        return (hands(self.config.views, self.source_of("views")),) if self.preprocessing.channels == 1 else ()

    @property
    def views(self) -> int:
        return self.config.views

    def views_of(self, images: Tensor) -> Iterator[Tensor]:
        return ink_views_of(images, self.views)

    def centres(self, features: Tensor, labels: Tensor, n_way: int) -> Tensor:
        """Return the prototypes (eq. 1), (tasks, n_way, 1, d)."""
        return class_means(features, labels, n_way).unsqueeze(2)

    def scores(self, features: Tensor, centres: Tensor) -> Tensor:
        """Return minus the squared Euclidean distances (eq. 2)."""
        # Squared: the class mean is the optimal prototype only for Bregman divergences (sec. 2.3).
        return -squared_distances(features, centres.squeeze(2))

    def loss(self, batch: Episode) -> Tensor:
        """Return the queries' mean cross entropy under the prototypes of the support (algorithm 1)."""
        self.network.train()
        task = batch.to(self.device)
        features = self.embed(torch.cat([task.support.images, task.query.images]))
        parts = features.split([len(task.support), len(task.query)])
        support, query = turns(*parts, task.n_way) if self.config.take_turns else (part.unsqueeze(0) for part in parts)
        scores = self.scores(query, self.centres(support, task.support.labels, task.n_way))
        return F.cross_entropy(scores.flatten(0, 1), task.query.labels.repeat(len(scores)))

    def training_batches(self, dataset: ClassImages, generator: torch.Generator) -> list[Episode]:
        """Draw `meta_batch_size` tasks of `train_way` classes."""
        config = self.config
        sampler = EpisodeSampler(dataset, config.train_way, config.train_shot, config.train_query, config.within_group)
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
