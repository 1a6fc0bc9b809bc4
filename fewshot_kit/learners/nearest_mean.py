"""The nearest class mean among centred features of length 1 (SimpleShot, Wang, Chao, Weinberger and van der Maaten 2019)."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_kit.data.episodes import Episode
from fewshot_kit.learners.configs import NearestMeanConfig
from fewshot_kit.learners.embedding import MOMENTUM, centred, class_means, squared_distances
from fewshot_kit.learners.settings import Setting, middle, support_views, views
from fewshot_kit.learners.softmax import Softmax
from fewshot_kit.learners.views import views_of


class NearestMean(Softmax):
    """SimpleShot, "CL2N" (Wang et al. 2019, sec. 3): take the mean feature of the training classes away, scale to length 1, nearest mean.

    Trained as the pre-training of the papers on photographs is: a softmax classifier of all training classes, with smoothed labels.
    Deviation from the paper: the mean feature is a running average over the batches of the training.
    """

    config: NearestMeanConfig

    def __init__(self, config: NearestMeanConfig):
        super().__init__(config)
        self.register_buffer("centre", torch.zeros(self.network.n_features))

    def describe(self) -> str:
        known = ", where that is known," if self.config.network.kind == "pretrained" else ""
        return (
            f"Nothing is fine-tuned: features are centred at the mean of the training classes{known} and scaled to length 1, and a picture "
            f"belongs to the class whose mean is nearest."
        )

    def settings(self) -> tuple[Setting, ...]:
        scale = Setting("scale", "sureness", self.config.scale, 0.1, 100.0, scale="log", source=self.source_of("scale"))
        return scale, *self.looks()

    def looks(self) -> tuple[Setting, ...]:
        """Return the settings of how a picture is looked at."""
        config, of = self.config, self.source_of
        often = views(config.views, of("views"))
        if config.network.kind != "resnet12":  # which alone takes pictures of any size
            return (often,)
        return often, middle(config.middle, of("middle")), support_views(config.support_views, of("support_views"))

    @property
    def views(self) -> int:
        return self.config.views

    @property
    def middle(self) -> float:
        return self.config.middle

    def views_of(self, images: Tensor) -> Iterator[Tensor]:
        return views_of(images, self.views, self.middle)

    @property
    def support_views(self) -> int:
        return self.config.support_views

    def centred(self, features: Tensor) -> Tensor:
        """Return features (..., d) less the mean of the training classes, of length 1."""
        return centred(features, self.centre)

    def centres(self, features: Tensor, labels: Tensor, n_way: int) -> Tensor:
        """Return the class means, (tasks, n_way, 1, d)."""
        return class_means(self.centred(features), labels, n_way).unsqueeze(2)

    def scores(self, features: Tensor, centres: Tensor) -> Tensor:
        """Return minus the squared Euclidean distances, times `scale`."""
        return -self.config.scale * squared_distances(self.centred(features), centres.squeeze(2))

    def loss(self, batch: Episode) -> Tensor:
        """Return the mean cross entropy over all training classes, with smoothed labels."""
        self.network.train()
        support = batch.support.to(self.device)
        class_ids = torch.tensor(batch.class_ids, device=self.device)[support.labels]
        features = self.embed(support.images)
        with torch.no_grad():
            self.centre.lerp_(features.float().mean(0), MOMENTUM)
        return F.cross_entropy(self.training_head(features), class_ids, label_smoothing=self.config.label_smoothing)
