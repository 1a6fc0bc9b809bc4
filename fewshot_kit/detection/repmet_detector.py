"""RepMet's detector (Karlinsky et al. 2019): what a box shows is told by the nearest of a few representatives of each class."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_kit.detection.annotated import AnnotatedImages
from fewshot_kit.detection.detector import Detector, OnPlacing
from fewshot_kit.learners.clusters import k_means
from fewshot_kit.learners.detector_configs import RepMetDetectorConfig
from fewshot_kit.learners.embedding import squared_distances
from fewshot_kit.learners.fine_tune import SGD, Parameters, fine_tune
from fewshot_kit.learners.repmet import LOSSES
from fewshot_kit.learners.settings import Setting

NEAREST = -1e-6  # of a logarithm of a probability: 1 - p is never 0


class RepMetDetector(Detector):
    """RepMet's detector: an embedding and K representatives of every training class, trained together.

    Few-shot, a class's representatives are the mean of its support's embeddings, or several means by k-means; then they take `inner_steps`
    steps of gradient descent on the head's loss of the support, whose other proposals are background. Departure from the paper, which may
    fine-tune the whole network: representatives alone.
    """

    config: RepMetDetectorConfig

    def __init__(self, config: RepMetDetectorConfig):
        super().__init__(config)
        self.training_representatives: nn.Parameter | None = None  # (n_classes, K, d), in training only

    def describe(self) -> str:
        tuned = f", fine-tuned by {self.config.inner_steps} steps of gradient descent" if self.config.inner_steps else ""
        return (
            f"Every class is {self.config.support_representatives} representative(s) of what its boxes show{tuned}; a box is of the class "
            "whose representative is nearest, and of none where all are far."
        )

    def settings(self) -> tuple[Setting, ...]:
        name, value = "support_representatives", self.config.support_representatives
        several = Setting(name, "representatives each", value, 1, 5, is_whole=True, source=self.source_of(name))
        rivalry = Setting("rivalry", "rivalry of classes", self.config.rivalry, 0.0, 1.0, source=self.source_of("rivalry"))
        return (*super().settings(), several, rivalry)

    def begin_training(self, dataset: AnnotatedImages, generator: torch.Generator) -> None:
        """Place the representatives of the training classes at random on the sphere of the embeddings."""
        super().begin_training(dataset, generator)
        shape = (len(dataset.class_names), self.config.n_representatives, self.config.n_features)
        self.training_representatives = nn.Parameter(F.normalize(torch.randn(shape, generator=generator), dim=-1).to(self.device))

    def class_losses(self, embeddings: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
        representatives = F.normalize(self.training_representatives, dim=-1)
        return self._losses(self.closeness(embeddings, representatives), labels)

    def closeness(self, embeddings: Tensor, representatives: Tensor) -> Tensor:
        """Return -d^2 / (2 sigma^2) (eq. 2), (n, n_way, k), of embeddings (n, d), scaled to length 1, to representatives (n_way, k, d)."""
        embeddings = self.on_sphere(embeddings)
        distances = squared_distances(embeddings[None], representatives.flatten(0, 1)[None])[0]
        return -distances.unflatten(1, representatives.shape[:2]) / (2 * self.config.sigma**2)

    def _losses(self, closeness: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss of the classifier's RepMet on boxes of things, and that of the background; labels (n,), -1: background."""
        is_thing, loss = labels >= 0, LOSSES[self.config.loss_version]
        of_things = {"classes": loss(closeness[is_thing], labels[is_thing], self.config.alpha)} if is_thing.any() else {}
        return {**of_things, "background": background_loss(closeness, labels)}

    def place(self, embeddings: Tensor, labels: Tensor, n_way: int, on_step: OnPlacing | None = None) -> Tensor:
        """Return the representatives (n_way, k, d)."""
        k, steps = self.config.support_representatives, self.config.inner_steps
        embeddings = self.on_sphere(embeddings)

        def gradient(parameters: Parameters, embeddings: Tensor, labels: Tensor) -> tuple[Parameters, Tensor]:
            with torch.enable_grad():
                representatives = parameters["representatives"].detach().requires_grad_()
                loss = sum(self._losses(self.closeness(embeddings, representatives), labels).values())
                (of_representatives,) = torch.autograd.grad(loss, representatives)
            return {"representatives": of_representatives}, loss.detach()

        def report(step: int, loss: Tensor, parameters: Parameters) -> None:
            if on_step is not None:
                on_step(step, loss, parameters["representatives"])

        means = {"representatives": torch.stack([_means(embeddings[labels == label], k) for label in range(n_way)])}
        tuned = fine_tune(gradient, means, [(embeddings, labels)] * steps, SGD(self.config.inner_lr, {}), report)
        if on_step is not None:
            report(steps, gradient(tuned, embeddings, labels)[1], tuned)
        return tuned["representatives"]

    def probabilities(self, embeddings: Tensor, centres: Tensor) -> Tensor:
        """Return the posteriors, and with `rivalry` the weighted product of each with its share among the classes.

        The share is the normalised posterior of version 2 of the loss, by the nearest representatives. Departure from the paper: there,
        a box that is near to two classes counts as fully for both.
        """
        closeness = self.closeness(embeddings, centres)
        shares = closeness.amax(2).softmax(1)
        return posteriors(closeness) ** (1 - self.config.rivalry) * shares**self.config.rivalry


def _means(embeddings: Tensor, k: int) -> Tensor:
    """Return `k` means (k, d); where there are fewer different embeddings, the first again, which changes no nearest one."""
    means, _ = k_means(embeddings, k, seed=0)
    return torch.where(means.isinf(), means[:1], means)


def posteriors(closeness: Tensor) -> Tensor:
    """Return the probability of each class (n, n_way), by its nearest representative (eq. 3), of closeness (n, n_way, k)."""
    return closeness.amax(2).exp()


def background(closeness: Tensor) -> Tensor:
    """Return the probability (n,) that a box shows nothing of any class: 1 - the largest posterior (eq. 4)."""
    return -closeness.flatten(1).amax(1).expm1()


def background_loss(closeness: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of -log p: of its own class for the box of a thing, of the background for others; labels (n,), -1: background."""
    is_thing = labels >= 0
    own = closeness[is_thing, labels[is_thing]].amax(1)
    nothing = (-closeness[~is_thing].flatten(1).amax(1).clamp(max=NEAREST).expm1()).log()
    return -torch.cat([own, nothing]).mean()
