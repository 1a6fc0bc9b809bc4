"""The shape of a detector and the numbers it works by, as they stand in config.json; no torch is needed to read them."""

from dataclasses import dataclass

from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.learners.checks import check_at_least, check_at_most, check_inner_loop, check_numbers


@dataclass(frozen=True)
class DetectorConfig:
    """Hyper-parameters of a RepMet detector. Sigma and the overlap of the support are the paper's; the network is far smaller than its."""

    size: int = 224  # pictures are size x size pixels; the weights fit any
    mean: tuple[float, ...] = ()  # of the training pictures, a number a channel; none: values stay in 0..1
    std: tuple[float, ...] = ()
    widths: tuple[int, ...] = (16, 24, 48, 96, 128)  # channels of the two convolutions that begin, and of the three blocks
    channels: int = 64  # of every map of the pyramid
    roi_side: int = 4  # cells of a box and direction
    hidden: int = 256  # of the layer between a box's features and its embedding
    n_features: int = 128  # of the embedding
    n_representatives: int = 3  # K, of every training class
    sigma: float = 0.5  # of the Gaussian around each representative, on an embedding of length 1
    loss_version: int = 2  # of the embedding's loss: see fewshot_kit.learners.repmet
    alpha: float = 1.0  # the margin of version 1
    train_boxes: int = 16  # of a picture that the head learns from, half of them at most of things
    n_proposals: int = 40  # of a picture
    proposal_overlap: float = 0.7  # more of two proposals: one is left
    support_overlap: float = 0.7  # more with a support box: a proposal's embedding counts among the class's
    support_representatives: int = 1  # of every class of a support
    inner_lr: float = 0.1  # of the fine-tuning of the support's representatives
    inner_steps: int = 0  # 0: representatives are means
    objectness_weight: float = 0.5  # of the proposal's objectness in the score, against the class's posterior: 0 leaves it out
    overlap: float = 0.5  # more of two boxes of a class: one is left
    score_threshold: float = 0.05
    most_boxes: int = 100  # of a picture, as in COCO's measure

    def __post_init__(self):
        for name in ("widths", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists
        check_numbers(self)
        check_inner_loop(self.inner_lr, self.inner_steps)
        if len(self.widths) != 5 or any(width % 8 or not 8 <= width <= 512 for width in self.widths):
            raise ValueError(f"widths must be five multiples of 8 from 8 to 512, not {self.widths}")
        if self.channels % 8:
            raise ValueError(f"channels must be a multiple of 8 (the groups of group norm), not {self.channels}")
        least = {"channels": 8, "roi_side": 1, "hidden": 1, "n_features": 2, "n_representatives": 1, "alpha": 0, "train_boxes": 2}
        check_at_least(self, size=32, n_proposals=1, support_representatives=1, most_boxes=1, **least)
        check_at_most(self, size=1024, channels=512, roi_side=14, hidden=4096, n_features=4096, n_proposals=1000, most_boxes=1000)
        for name in ("proposal_overlap", "support_overlap", "objectness_weight", "overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, not {getattr(self, name)!r}")
        if not 0 < self.score_threshold <= 1:
            raise ValueError(f"score_threshold must be above 0 and at most 1, not {self.score_threshold!r}; 0.05 shows nearly everything")
        if self.loss_version not in (1, 2):
            raise ValueError(f"loss_version must be 1 or 2, not {self.loss_version!r}")
        if not 0.05 <= self.sigma <= 100:
            raise ValueError(f"sigma must be from 0.05 to 100, not {self.sigma:g}; the paper's is 0.5")
        _ = self.preprocessing  # which checks the rest

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(self.size, 3, self.mean, self.std)
