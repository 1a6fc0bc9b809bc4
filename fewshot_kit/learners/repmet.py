"""RepMet: an embedding and several representatives of every class, trained together (Karlinsky et al. 2019)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import Episode, EpisodeSampler
from fewshot_kit.learners.base import Predictor
from fewshot_kit.learners.clusters import support_clusters
from fewshot_kit.learners.configs import RepMetConfig
from fewshot_kit.learners.embedding import NOT_IN_TRAINING, EmbeddingLearner, EmbeddingPredictor, OnPlacing, squared_distances
from fewshot_kit.learners.fine_tune import SGD, Parameters, fine_tune
from fewshot_kit.learners.settings import Setting, epochs, learning_rate


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
        closeness = self.closeness(features, centres)
        return closeness.amax(-1) if self.config.loss_version == 1 else closeness.logsumexp(-1)

    def closeness(self, features: Tensor, centres: Tensor) -> Tensor:
        """Return -d^2 / (2 sigma^2) (eq. 2) to every representative, (tasks, n, n_way, k)."""
        distances = squared_distances(features, centres.flatten(1, 2)).unflatten(-1, centres.shape[1:3])
        return -distances / (2 * self.config.sigma**2)

    def background(self, features: Tensor, centres: Tensor) -> Tensor:
        """Return the probability (tasks, n) that an image is of no class: 1 - exp(-d^2 / (2 sigma^2)) at the nearest one (eq. 4)."""
        return 1 - self.closeness(features, centres).flatten(-2).amax(-1).exp()

    def place(self, features: Tensor, labels: Tensor, n_way: int, on_step: OnPlacing | None = None) -> Tensor:
        """Return representatives after `inner_steps` steps of gradient descent on the loss of the support, from its means."""

        def report(step: int, loss: Tensor, parameters: Parameters) -> None:
            if on_step is not None:
                centres = parameters["centres"].detach()
                on_step(step, self.support_loss(features, labels, centres).mean(), centres)

        steps, rule = self.config.inner_steps, SGD(self.config.inner_lr, {})
        means = {"centres": self.centres(features, labels, n_way).detach()}
        tuned = fine_tune(self._gradient_of_representatives, means, [(features, labels)] * steps, rule, report)
        report(steps, torch.empty(0), tuned)
        return tuned["centres"]

    def _gradient_of_representatives(self, parameters: Parameters, features: Tensor, labels: Tensor) -> tuple[Parameters, Tensor]:
        """Return the gradient of the loss of the support; of a stack, tasks do not touch one another."""
        with torch.enable_grad():
            centres = parameters["centres"].detach().requires_grad_()
            losses = [self._loss(closeness, labels) for closeness in self.closeness(features, centres)]
            (gradient,) = torch.autograd.grad(torch.stack(losses).sum(), centres)
        return {"centres": gradient}, torch.stack(losses).detach()

    def _loss(self, closeness: Tensor, labels: Tensor) -> Tensor:
        return LOSSES[self.config.loss_version](closeness, labels, self.config.alpha)

    def settings(self) -> tuple[Setting, ...]:
        name, value = "support_representatives", self.config.support_representatives
        several = Setting(name, "representatives a class", value, 1, 5, is_whole=True, source=self.source_of(name))
        rate = learning_rate(self.config.inner_lr, self.source_of("inner_lr"))
        return rate, epochs(self.config.inner_steps, self.source_of("inner_steps")), several

    def describe(self) -> str:
        config = self.config
        tuned = f", fine-tuned by {config.inner_steps} steps at learning rate {config.inner_lr:g}" if config.inner_steps else ""
        k = config.support_representatives
        placed = (
            "one representative a class is the mean of its pictures" if k == 1 else f"{k} representatives a class are means of its pictures"
        )
        return f"The support is embedded; {placed}{tuned}."

    def begin_training(self, dataset: ClassImages, generator: torch.Generator) -> None:
        """Place the representatives of every class at images of it, drawn by the generator."""
        super().begin_training(dataset, generator)
        k = self.config.n_representatives
        if min(dataset.counts) < k:
            few = min(zip(dataset.counts, dataset.class_names, strict=True))
            raise ValueError(f"{k} representatives a class start at as many images, but {few[1]!r} has {few[0]}; lower n_representatives")
        picked = EpisodeSampler(dataset, len(dataset), k, 0).draw(generator, range(len(dataset))).support.flatten()
        self.training_representatives = nn.Parameter(self.snapshot().embed_all(dataset.images[picked]).unflatten(0, (-1, k)))

    def training_batches(self, dataset: ClassImages, generator: torch.Generator) -> list[Episode]:
        """Draw a batch: `train_images` images of each of `train_way` classes; the loss is over the representatives of all classes."""
        way = min(self.config.train_way, len(dataset))
        return [EpisodeSampler(dataset, way, self.config.train_images, 0).sample(generator)]

    def loss(self, batch: Episode) -> Tensor:
        """Return the mean loss of the batch, which trains embedding and representatives together."""
        self.network.train()
        support = batch.support.to(self.device)
        closeness = self.closeness(self.embed(support.images).unsqueeze(0), self.training_representatives.unsqueeze(0)).squeeze(0)
        return self._loss(closeness, torch.tensor(batch.class_ids, device=self.device)[support.labels])

    def predictor_of(self, dataset: ClassImages) -> Predictor:
        """Return the predictor of the classes trained on, by their trained representatives."""
        if self.training_representatives is None:
            raise ValueError(NOT_IN_TRAINING)
        return EmbeddingPredictor(self.snapshot().embed_all, self.scores, self.training_representatives.detach().clone())


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
