"""The hyper-parameters of the learners that work on the features of any network, as `configs` has those of the others."""

from dataclasses import dataclass, field
from typing import ClassVar

from fewshot_kit.learners.base_config import LearnerConfig
from fewshot_kit.learners.checks import MOST_VIEWS, MOST_WIDER, check_at_least, check_at_most, check_inner_loop
from fewshot_kit.networks.configs import NetworkConfig, ResNet12Config

LEAST_LOOKED_AT = 16  # pixels: a ResNet-12 halves them four times


@dataclass(frozen=True)
class NearestMeanConfig(LearnerConfig):
    """Hyper-parameters of the nearest mean, and of the pre-training of its network as a classifier of all training classes.

    Label smoothing is MetaOptNet's; the scale and the make-up of a batch, 128 images of as many classes as there are, are a first choice.
    """

    network: NetworkConfig = field(default_factory=ResNet12Config)
    scale: float = 10.0  # of the distances on the unit sphere: how sure the answers are
    views: int = 1  # of a picture, whose features are averaged: 2, it and its mirror image; 4 and 6, cropped around its middle too
    middle: float = 1.0  # the share of a picture's width and height that is looked at: 0.6, its middle alone, at the size it has there
    support_views: int = 0  # further looks at a picture that is learned from, each wider than the one before, averaged with the others
    train_way: int = 64  # classes a batch of training
    train_images: int = 2  # of each class
    label_smoothing: float = 0.1
    networks: ClassVar[tuple[str, ...]] = ("conv4", "resnet12", "pretrained")

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, train_way=2, train_images=1, label_smoothing=0, views=1, support_views=0)
        takes_any_size = self.network.kind == "resnet12"
        check_at_most(self, label_smoothing=0.9, views=MOST_VIEWS, middle=1, support_views=MOST_WIDER if takes_any_size else 0)
        least = LEAST_LOOKED_AT / self.network.size if takes_any_size else 1
        if not self.middle >= least:
            why = f"of {self.network.size} pixels it leaves too few" if least < 1 else "this network takes pictures of one size alone"
            raise ValueError(f"middle must be from {least:.2g} to 1, not {self.middle}: {why}")
        if not self.scale > 0:
            raise ValueError(f"scale must be above 0, not {self.scale}")


@dataclass(frozen=True)
class LogisticConfig(NearestMeanConfig):
    """Hyper-parameters of logistic regression, and of the pre-training of its network."""

    inverse_regularisation: float = 1.0  # C of scikit-learn

    def __post_init__(self):
        super().__post_init__()
        if not self.inverse_regularisation > 0:
            raise ValueError(f"inverse_regularisation must be above 0, not {self.inverse_regularisation}")


@dataclass(frozen=True)
class LinearHeadConfig(NearestMeanConfig):
    """Hyper-parameters of a fine-tuned linear head, and of the pre-training of its network; rate and epochs are a first choice."""

    inner_lr: float = 1.0
    inner_steps: int = 50  # full-batch steps ("epochs") of the head

    def __post_init__(self):
        check_inner_loop(self.inner_lr, self.inner_steps)
        super().__post_init__()
