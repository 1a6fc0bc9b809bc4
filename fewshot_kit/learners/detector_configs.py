"""The hyper-parameters of detectors, as they stand in config.json and as flags of the command line; no torch is needed to read them."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from fewshot_kit.learners.base_config import LearnerConfig
from fewshot_kit.learners.checks import check_at_least, check_at_most, check_inner_loop
from fewshot_kit.networks.configs import PYRAMIDS, NetworkConfig, PyramidConfig


@dataclass(frozen=True)
class DetectorConfig(LearnerConfig):
    """Hyper-parameters that all detectors share: how boxes are proposed, looked at and thinned out. The support's overlap is RepMet's."""

    network: NetworkConfig = field(default_factory=PyramidConfig)
    networks: ClassVar[tuple[str, ...]] = PYRAMIDS
    roi_side: int = 4  # cells of a box and direction
    hidden: int = 256  # of the layer between a box's features and its embedding
    n_features: int = 128  # of the embedding
    embeds: Literal["hidden", "mean"] = "hidden"  # the hidden layer; or the mean features of a box, which suits a pre-trained network
    train_images: int = 16  # pictures a batch of training
    train_boxes: int = 16  # of a picture that the head learns from, half of them at most of things
    n_proposals: int = 40  # of a picture
    proposal_overlap: float = 0.7  # more of two proposals: one is left
    support_overlap: float = 0.7  # more with a support box: a proposal's embedding counts among the class's
    objectness_weight: float = 0.5  # of the proposal's objectness in the score, against the class's probability: 0 leaves it out
    overlap: float = 0.5  # more of two boxes of a class: one is left
    score_threshold: float = 0.05  # what is less certain is not shown
    most_boxes: int = 100  # of a picture, as in COCO's measure
    inner_lr: float = 0.1  # of the fine-tuning on the support
    inner_steps: int = 0  # 0: a class is the mean of its support

    def __post_init__(self):
        check_inner_loop(self.inner_lr, self.inner_steps)
        super().__post_init__()
        check_at_least(self, roi_side=1, hidden=1, n_features=2, train_images=1, train_boxes=2, n_proposals=1, most_boxes=1)
        check_at_most(self, roi_side=14, hidden=4096, n_features=4096, train_images=1024, n_proposals=1000, most_boxes=1000)
        for name in ("proposal_overlap", "support_overlap", "objectness_weight", "overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, not {getattr(self, name)!r}")
        if self.embeds not in ("hidden", "mean"):
            raise ValueError(f"embeds must be hidden or mean, not {self.embeds!r}")
        if not 0 < self.score_threshold <= 1:
            raise ValueError(f"score_threshold must be above 0 and at most 1, not {self.score_threshold!r}; 0.05 shows nearly everything")


@dataclass(frozen=True)
class RepMetDetectorConfig(DetectorConfig):
    """Hyper-parameters of RepMet's detector; sigma is the paper's."""

    n_representatives: int = 3  # K, of every training class
    sigma: float = 0.5  # of the Gaussian around each representative, on an embedding of length 1
    loss_version: int = 2  # of the embedding's loss: see fewshot_kit.learners.repmet
    alpha: float = 1.0  # the margin of version 1
    support_representatives: int = 1  # of every class of a support
    rivalry: float = 0.0  # of a box's classes: 0, each counts by its own representatives, as in the paper; 1, by its share among all

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, n_representatives=1, support_representatives=1, alpha=0)
        if not 0 <= self.rivalry <= 1:
            raise ValueError(f"rivalry must be from 0 to 1, not {self.rivalry!r}; the paper has none, 0")
        if self.loss_version not in (1, 2):
            raise ValueError(f"loss_version must be 1 or 2, not {self.loss_version!r}")
        if not 0.05 <= self.sigma <= 100:
            raise ValueError(f"sigma must be from 0.05 to 100, not {self.sigma:g}; the paper's is 0.5")


@dataclass(frozen=True)
class SoftmaxDetectorConfig(DetectorConfig):
    """Hyper-parameters of the plain detector; the scale of the cosines is a first choice."""

    scale: float = 10.0  # of the cosines to the means: how sure the answers are

    def __post_init__(self):
        super().__post_init__()
        if not self.scale > 0:
            raise ValueError(f"scale must be above 0, not {self.scale}")
