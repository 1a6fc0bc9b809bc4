"""The baseline every learner has to beat: the nearest class mean, without any learning."""

import torch
from torch import Tensor, nn

from fewshot_kit.data.episodes import LabelledImages
from fewshot_kit.learners.base import Learner, OnStep, Predictor


class NearestPrototype(Learner):
    """Classify by the squared Euclidean distance to the mean support image of each class, in pixels or in given features."""

    def __init__(self, features: nn.Module | None = None):
        super().__init__()
        self.features = features if features is not None else nn.Flatten()

    def describe(self) -> str:
        return "Nothing is learned: a picture belongs to the class whose mean support picture is nearest, pixel by pixel."

    @torch.no_grad()
    def adapt(self, support: LabelledImages, *, on_step: OnStep | None = None, transductive: bool = False) -> Predictor:
        support = support.to(self.device)
        features = self.features(support.images)
        prototypes = torch.stack([features[support.labels == label].mean(0) for label in range(support.n_way)])

        @torch.no_grad()
        def predict(images: Tensor) -> Tensor:
            # Squared: the class mean is the optimal prototype only for Bregman divergences (Snell et al. 2017, sec. 2.3).
            return -torch.cdist(self.features(images), prototypes).square()

        return predict
