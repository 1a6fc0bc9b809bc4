"""RepMet: an embedding and several representatives of every class, trained together (Karlinsky et al. 2019)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import Episode, EpisodeSampler
from fewshot_kit.learners.base import Predictor, check_at_least
from fewshot_kit.learners.clusters import support_clusters
from fewshot_kit.learners.fine_tune import check_inner_loop
from fewshot_kit.learners.metric import (
    NOT_IN_TRAINING,
    EmbeddingConfig,
    EmbeddingLearner,
    EmbeddingPredictor,
    OnPlacing,
    squared_distances,
)
from fewshot_kit.learners.settings import Setting, epochs, learning_rate


@dataclass(frozen=True)
class RepMetConfig(EmbeddingConfig):
    """Hyper-parameters of RepMet; sigma is the paper's."""

    n_representatives: int = 3  # K, of every training class
    sigma: float = 0.5  # of the Gaussian around each representative, on an embedding of length 1
    loss_version: int = 2  # 1: the nearest own against all others, with a margin; 2: all own against all
    alpha: float = 1.0  # the margin of version 1
    train_way: int = 60
    train_images: int = 6  # of each class
    support_representatives: int = 1  # of every class of a support set
    inner_lr: float = 1.0  # of the fine-tuning of the support's representatives
    inner_steps: int = 0  # 0: representatives are averages of the support

    def __post_init__(self):
        check_inner_loop(self.inner_lr, self.inner_steps)
        check_at_least(self, n_representatives=1, train_way=2, train_images=1, support_representatives=1, alpha=0)
        if self.loss_version not in LOSSES:
            raise ValueError(f"loss_version must be 1 or 2, not {self.loss_version!r}")
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise ValueError(f"sigma must be a finite number above 0, not {self.sigma}; the paper's is 0.5")


class RepMet(EmbeddingLearner):
    """RepMet (Karlinsky et al. 2019): a class is a mixture of Gaussians around representatives, learned together with the embedding.

    As a few-shot learner, the representatives are means of the support (k-means for several), fine-tuned by `inner_steps` gradient steps
    on the same loss. Deviations from the paper: classification instead of detection; the embedding is the backbone's output scaled to
    length 1, so that sigma has a meaning of its own; representatives start at random training images.
    """

    config: RepMetConfig

    def __init__(self, config: RepMetConfig):
        super().__init__(config)
        self.training_representatives: nn.Parameter | None = None  # (n_classes, K, d), in training only

    def embed(self, images: Tensor) -> Tensor:
        return F.normalize(super().embed(images), dim=1)

    def centres(self, features: Tensor, labels: Tensor, n_way: int) -> Tensor:
        """Return `support_representatives` means a class."""
        return support_clusters(features, labels, n_way, self.config.support_representatives)

    def scores(self, features: Tensor, centres: Tensor) -> Tensor:
        """Return the log of each class's part of the posterior's numerator: its nearest representative (v1), or all of them (v2)."""
        closeness = self._closeness(features, centres)
        return closeness.amax(-1) if self.config.loss_version == 1 else closeness.logsumexp(-1)

    def _closeness(self, features: Tensor, centres: Tensor) -> Tensor:
        """Return -d^2 / (2 sigma^2) (eq. 2) to every representative, (tasks, n, n_way, k)."""
        distances = squared_distances(features, centres.flatten(1, 2)).unflatten(-1, centres.shape[1:3])
        return -distances / (2 * self.config.sigma**2)

    def background(self, features: Tensor, centres: Tensor) -> Tensor:
        """Return the probability (tasks, n) that an image is of no class: 1 - exp(-d^2 / (2 sigma^2)) at the nearest one (eq. 4)."""
        return 1 - self._closeness(features, centres).flatten(-2).amax(-1).exp()

    def place(self, features: Tensor, labels: Tensor, n_way: int, on_step: OnPlacing | None = None) -> Tensor:
        """Return representatives after `inner_steps` steps of gradient descent on the loss of the support, from its means."""
        centres, loss_of = self.centres(features, labels, n_way), LOSSES[self.config.loss_version]
        for step in range(self.config.inner_steps + 1):
            if on_step is not None:
                on_step(step, self.support_loss(features, labels, centres).mean(), centres)
            if step < self.config.inner_steps:
                with torch.enable_grad():
                    centres = centres.detach().requires_grad_()
                    losses = [loss_of(closeness, labels, self.config.alpha) for closeness in self._closeness(features, centres)]
                    (gradient,) = torch.autograd.grad(torch.stack(losses).sum(), centres)  # tasks do not touch one another
                centres = centres.detach() - self.config.inner_lr * gradient
        return centres

    def settings(self) -> tuple[Setting, ...]:
        config, source = self.config, self.settings_source
        most = max(5, config.support_representatives)
        several = Setting(
            "support_representatives", "representatives a class", config.support_representatives, 1, most, is_whole=True, source=source
        )
        return learning_rate(config.inner_lr, source), epochs(config.inner_steps, source), several

    def describe(self) -> str:
        config = self.config
        tuned = f", fine-tuned by {config.inner_steps} steps at learning rate {config.inner_lr:g}" if config.inner_steps else ""
        return f"The support is embedded; {config.support_representatives} representative(s) a class are its means{tuned}."

    def begin_training(self, dataset: ClassImages) -> None:
        super().begin_training(dataset)
        k = self.config.n_representatives
        if min(dataset.counts) < k:
            few = min(zip(dataset.counts, dataset.class_names, strict=True))
            raise ValueError(f"{k} representatives a class start at as many images, but {few[1]!r} has {few[0]}; lower n_representatives")
        generator = torch.Generator().manual_seed(0)
        picked = EpisodeSampler(dataset, len(dataset), k, 0).draw(generator, range(len(dataset))).support.flatten()
        self.training_representatives = nn.Parameter(self.embedding()(dataset.images[picked]).unflatten(0, (-1, k)))

    def training_episodes(self, dataset: ClassImages, generator: torch.Generator) -> list[Episode]:
        """Draw a batch: `train_images` images of each of `train_way` classes; the loss is over the representatives of all classes."""
        way = min(self.config.train_way, len(dataset))
        return [EpisodeSampler(dataset, way, self.config.train_images, 0).sample(generator)]

    def accumulate_meta_grad(self, episodes: Sequence[Episode]) -> float:
        """Step on the mean loss of the batch, which trains embedding and representatives together."""
        self.network.train()
        total_loss = 0.0
        for episode in episodes:
            support = episode.support.to(self.device)
            closeness = self._closeness(self.embed(support.images).unsqueeze(0), self.training_representatives.unsqueeze(0)).squeeze(0)
            class_ids = torch.tensor(episode.class_ids, device=self.device)[support.labels]
            loss = LOSSES[self.config.loss_version](closeness, class_ids, self.config.alpha) / len(episodes)
            loss.backward()
            total_loss += loss.item()
        return total_loss

    def predictor_of(self, dataset: ClassImages) -> Predictor:
        """Return the predictor of the classes trained on, by their trained representatives."""
        if self.training_representatives is None:
            raise ValueError(NOT_IN_TRAINING)
        return EmbeddingPredictor(self.embedding(), self.scores, self.training_representatives.detach().clone())


def loss_v1(closeness: Tensor, labels: Tensor, alpha: float) -> Tensor:
    """Return the mean of [ -log( exp(-d*^2 / (2 sigma^2)) / sum over the representatives of other classes ) + alpha ]+.

    d* is the distance to the nearest own representative; closeness is -d^2 / (2 sigma^2), (n, n_classes, K), labels (n,). After
    Karlinsky et al. 2019, the first version of the paper.
    """
    own = _is_own(closeness, labels)
    if closeness.shape[1] < 2:
        raise ValueError("the loss compares classes: at least two are needed")
    nearest = closeness.masked_fill(~own, -torch.inf).flatten(1).amax(1)
    others = closeness.masked_fill(own, -torch.inf).flatten(1).logsumexp(1)
    return F.relu(others - nearest + alpha).mean()


def loss_v2(closeness: Tensor, labels: Tensor, alpha: float = 0.0) -> Tensor:
    """Return the mean of -log( sum over own representatives of exp(-d^2 / (2 sigma^2)) / the same sum over all ); no margin."""
    own = closeness.masked_fill(~_is_own(closeness, labels), -torch.inf).flatten(1).logsumexp(1)
    return (closeness.flatten(1).logsumexp(1) - own).mean()


def _is_own(closeness: Tensor, labels: Tensor) -> Tensor:
    """Say which classes are the true ones, (n, n_classes, 1)."""
    return F.one_hot(labels, closeness.shape[1]).bool().unsqueeze(-1)


LOSSES = {1: loss_v1, 2: loss_v2}
