"""The plain detector: features trained by a softmax over the training classes; new classes by the nearest mean, or a linear classifier."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_kit.detection.annotated import AnnotatedImages
from fewshot_kit.detection.detector import Detector, OnPlacing
from fewshot_kit.learners.detector_configs import SoftmaxDetectorConfig
from fewshot_kit.learners.fine_tune import SGD, Parameters, fine_tune


class SoftmaxDetector(Detector):
    """The baseline of RepMet's detector: the same network and boxes, a linear classifier of classes and background over the embeddings.

    Few-shot without steps, a box is of the class whose mean embedding has the largest cosine to its own. With `inner_steps`, a linear
    classifier of the classes and the background starts at those means and takes steps of gradient descent on the support's cross entropy.
    """

    config: SoftmaxDetectorConfig

    def __init__(self, config: SoftmaxDetectorConfig):
        super().__init__(config)
        self.training_classifier: nn.Linear | None = None

    def describe(self) -> str:
        if self.config.inner_steps:
            return f"A linear classifier of what the boxes show takes {self.config.inner_steps} steps of gradient descent on the support."
        return "Nothing is fine-tuned: a box is of the class whose mean of what the support's boxes show is most like what it shows."

    def begin_training(self, dataset: AnnotatedImages, generator: torch.Generator) -> None:
        """Make the classifier of the training classes and, last, the background, with torch's usual start for a linear layer."""
        super().begin_training(dataset, generator)
        n_answers = len(dataset.class_names) + 1
        classifier = nn.utils.skip_init(nn.Linear, self.config.n_features, n_answers)  # torch would ask its global generator
        bound = self.config.n_features**-0.5
        for parameter in (classifier.weight, classifier.bias):
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        self.training_classifier = classifier.to(self.device)

    def class_losses(self, embeddings: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
        n_classes = self.training_classifier.out_features - 1
        return {"classes": F.cross_entropy(self.training_classifier(embeddings), torch.where(labels < 0, n_classes, labels))}

    def place(self, embeddings: Tensor, labels: Tensor, n_way: int, on_step: OnPlacing | None = None) -> Tensor:
        """Return a row a class, (n_way, d); with steps, one more for the background, and weights (n_way + 1, d + 1), the bias last."""
        embeddings = self.on_sphere(embeddings)
        means = torch.stack([F.normalize(embeddings[labels == label].mean(0), dim=0) for label in range(n_way)])
        if not self.config.inner_steps:
            if on_step is not None:
                is_thing = labels >= 0
                on_step(0, F.cross_entropy(self.config.scale * embeddings[is_thing] @ means.T, labels[is_thing]), means)
            return means
        return self._classifier(means, F.pad(embeddings, (0, 1), value=1.0), torch.where(labels < 0, n_way, labels), on_step)

    def _classifier(self, means: Tensor, inputs: Tensor, labels: Tensor, on_step: OnPlacing | None) -> Tensor:
        """Return the weights after `inner_steps` steps; before them they answer as the nearest mean does, and the background is 0."""

        def gradient(parameters: Parameters, inputs: Tensor, labels: Tensor) -> tuple[Parameters, Tensor]:
            with torch.enable_grad():
                weights = parameters["weights"].detach().requires_grad_()
                loss = F.cross_entropy(inputs @ weights.T, labels)
                (of_weights,) = torch.autograd.grad(loss, weights)
            return {"weights": of_weights}, loss.detach()

        def report(step: int, loss: Tensor, parameters: Parameters) -> None:
            if on_step is not None:
                on_step(step, loss, parameters["weights"])

        start = {"weights": F.pad(self.config.scale * means, (0, 1, 0, 1))}
        tuned = fine_tune(gradient, start, [(inputs, labels)] * self.config.inner_steps, SGD(self.config.inner_lr, {}), report)
        report(self.config.inner_steps, gradient(tuned, inputs, labels)[1], tuned)
        return tuned["weights"]

    def points(self, centres: Tensor) -> Tensor:
        rows = centres[:-1, :-1] if self.config.inner_steps else centres
        return self.on_sphere(rows)[:, None]

    def probabilities(self, embeddings: Tensor, centres: Tensor) -> Tensor:
        embeddings = self.on_sphere(embeddings)
        if not self.config.inner_steps:
            return (self.config.scale * embeddings @ centres.T).softmax(1)
        return (F.pad(embeddings, (0, 1), value=1.0) @ centres.T).softmax(1)[:, :-1]
