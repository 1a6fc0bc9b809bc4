"""The plain way: train a softmax classifier on all training classes, and use its features for new ones."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import Episode, EpisodeSampler
from fewshot_kit.learners.base import Predictor
from fewshot_kit.learners.configs import NearestMeanConfig, SoftmaxConfig
from fewshot_kit.learners.embedding import NOT_IN_TRAINING
from fewshot_kit.learners.protonet import ProtoNet


class Softmax(ProtoNet):
    """A softmax classifier over the training classes; new classes by the nearest mean of its features (as in Chen et al. 2019).

    The baseline of metric learning: the same network, without a thought of new classes while it is trained.
    """

    config: SoftmaxConfig

    def __init__(self, config: SoftmaxConfig | NearestMeanConfig):
        super().__init__(config)
        self.training_head: nn.Linear | None = None

    def describe(self) -> str:
        return "Nothing is fine-tuned: the support is embedded, and a picture belongs to the class whose mean of features is nearest."

    def begin_training(self, dataset: ClassImages, generator: torch.Generator) -> None:
        """Make the classifier, with torch's usual start for a linear layer."""
        super().begin_training(dataset, generator)
        head = nn.utils.skip_init(nn.Linear, self.network.n_features, len(dataset))  # torch would ask its global generator
        bound = self.network.n_features**-0.5
        for parameter in (head.weight, head.bias):
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        self.training_head = head.to(self.device)

    def training_batches(self, dataset: ClassImages, generator: torch.Generator) -> list[Episode]:
        """Draw a batch: `train_images` images of each of `train_way` classes."""
        return [EpisodeSampler(dataset, min(self.config.train_way, len(dataset)), self.config.train_images, 0).sample(generator)]

    def loss(self, batch: Episode) -> Tensor:
        """Return the mean cross entropy over all training classes."""
        self.network.train()
        support = batch.support.to(self.device)
        class_ids = torch.tensor(batch.class_ids, device=self.device)[support.labels]
        return F.cross_entropy(self.training_head(self.embed(support.images)), class_ids)

    def predictor_of(self, dataset: ClassImages) -> Predictor:
        """Return the predictor of the classes trained on: the classifier itself."""
        if self.training_head is None:
            raise ValueError(NOT_IN_TRAINING)
        embed_all, head = self.snapshot().embed_all, copy.deepcopy(self.training_head)

        @torch.no_grad()
        def predict(images: Tensor) -> Tensor:
            return head(embed_all(images))

        return predict
