"""The hyper-parameters of every learner, as they stand in config.json and as flags of the command line; no torch is needed to read them."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from fewshot_kit.learners.base_config import LearnerConfig
from fewshot_kit.learners.checks import MOST_HANDS, MOST_TOGETHER, MOST_VIEWS, check_at_least, check_at_most, check_inner_loop
from fewshot_kit.learners.detector_configs import RepMetDetectorConfig, SoftmaxDetectorConfig
from fewshot_kit.learners.feature_configs import LinearHeadConfig, LogisticConfig, NearestMeanConfig
from fewshot_kit.networks.configs import NetworkConfig, ResNet12Config

UPDATE_RULES = ("sgd", "adam")


# --- learners that fine-tune by gradient steps ---


@dataclass(frozen=True)
class GradientConfig(LearnerConfig):
    """The network, and the inner loop that adapts it to a person's support set."""

    head: Literal["zero", "learned"] = "zero"  # zero: any number of classes; learned, as in the papers: as many as it was trained with
    update_rule: str = "sgd"  # sgd or adam
    inner_lr: float = 0.01
    inner_steps: int = 10  # full-batch steps ("epochs")
    head_lr_scale: float = 50.0  # a zero head has few steps to grow in; of a learned one, the papers have 1
    views: int = 1  # of a drawing before a person: it learns from, and answers, it and as other hands might have drawn it

    def __post_init__(self):
        check_inner_loop(self.inner_lr, self.inner_steps)
        super().__post_init__()
        if self.update_rule not in UPDATE_RULES:
            raise ValueError(f"update_rule must be one of {', '.join(UPDATE_RULES)}, not {self.update_rule!r}")
        check_at_least(self, views=1)
        check_at_most(self, views=MOST_HANDS if self.network.channels == 1 else 1)
        if not self.head_lr_scale > 0:
            raise ValueError(f"head_lr_scale must be above 0, not {self.head_lr_scale}")
        if self.head not in ("zero", "learned"):
            raise ValueError(f"head must be zero or learned, not {self.head!r}")


@dataclass(frozen=True)
class ReptileConfig(GradientConfig):
    """Hyper-parameters of Reptile. `inner_*` adapt to a person's support set; `train_*` are the inner loop of meta-training.

    The defaults were chosen on the validation alphabets of Omniglot.
    """

    train_inner_lr: float = 0.1
    train_inner_steps: int = 5  # mini-batches a task, each with one fresh image of every class
    train_way: int = 20
    meta_batch_size: int = 1  # tasks an outer step

    def __post_init__(self):
        super().__post_init__()
        check_inner_loop(self.train_inner_lr, self.train_inner_steps, "train_")
        # The first step finds a zero head, and so no gradient for the network: one step alone would teach it nothing.
        check_at_least(self, train_inner_steps=2 if self.head == "zero" else 1, train_way=2, meta_batch_size=1)
        check_at_most(self, meta_batch_size=MOST_TOGETHER)


@dataclass(frozen=True)
class MAMLConfig(GradientConfig):
    """Hyper-parameters of MAML. `inner_*` adapt to a person's support set; `train_*` are the tasks and the inner loop of meta-training.

    The defaults are a first choice, not tuned: five times the train_inner_lr diverged on quickdraw.
    """

    first_order: bool = False  # take the gradient at the adapted weights for that at the initial ones (paper, sec. 5.2)
    adapt_only: str = "all"  # "head": the inner loop changes the head alone (ANIL, Raghu et al. 2020)
    train_inner_lr: float = 0.01
    train_inner_steps: int = 3
    train_way: int = 20
    train_shot: int = 1
    train_query: int = 3  # a class
    meta_batch_size: int = 1  # tasks an outer step

    def __post_init__(self):
        super().__post_init__()
        check_inner_loop(self.train_inner_lr, self.train_inner_steps, "train_")
        check_at_least(self, train_way=2, train_shot=1, train_query=1, meta_batch_size=1)
        check_at_most(self, meta_batch_size=MOST_TOGETHER)
        if self.update_rule != "sgd":
            raise ValueError(f"MAML takes plain gradient steps (paper, eq. 1): update_rule must stay sgd, not {self.update_rule!r}")
        if self.network.norm == "running":
            raise ValueError("MAML adapts by the statistics of the support and keeps no running ones; choose norm group, batch or none")
        if self.adapt_only not in ("all", "head"):
            raise ValueError(f"adapt_only must be all or head, not {self.adapt_only!r}")


@dataclass(frozen=True)
class MetaSGDConfig(MAMLConfig):
    """Hyper-parameters of Meta-SGD: `train_inner_lr` is what every rate starts from, `inner_lr` multiplies the learned rates."""

    inner_lr: float = 1.0
    inner_steps: int = 3


@dataclass(frozen=True)
class MetaLSTMConfig(LearnerConfig):
    """Hyper-parameters of Meta-LSTM, the paper's: 8 steps, in training as before a person."""

    head: Literal["zero", "learned"] = "learned"
    hidden: int = 20  # of the LSTM
    inner_steps: int = 8  # full-batch steps ("epochs")
    train_inner_steps: int = 8
    train_way: int = 5
    train_shot: int = 5
    train_query: int = 15  # a class
    meta_batch_size: int = 1  # tasks an outer step
    # What a learner that goes through its inner loop asks, and what has but one answer here.
    inner_lr: ClassVar[float] = 1.0
    train_inner_lr: ClassVar[float] = 1.0
    views: ClassVar[int] = 1
    first_order: ClassVar[bool] = True
    adapt_only: ClassVar[str] = "all"

    def __post_init__(self):
        check_inner_loop(self.inner_lr, self.inner_steps)
        check_inner_loop(self.inner_lr, self.train_inner_steps, "train_")
        super().__post_init__()
        check_at_least(self, train_inner_steps=1, hidden=1, train_way=2, train_shot=1, train_query=1, meta_batch_size=1)
        check_at_most(self, meta_batch_size=MOST_TOGETHER, hidden=1000)
        if self.head not in ("zero", "learned"):
            raise ValueError(f"head must be zero or learned, not {self.head!r}")


@dataclass(frozen=True)
class MTLConfig(LearnerConfig):
    """Hyper-parameters of MTL. `inner_*` fine-tune the head on a person's support set; `train_*` are the tasks of meta-training.

    The rate of 0.01 and 100 steps before a person are the paper's, which has 20 to 100 steps (sec. 5.1); 50 in training lie between.
    """

    network: NetworkConfig = field(default_factory=ResNet12Config)
    hard_tasks: bool = True  # tasks of the classes that other tasks were worst at come in between
    first_order: bool = False  # take the inner loop's gradients as constants
    inner_lr: float = 0.01
    inner_steps: int = 100  # full-batch steps ("epochs") of the head
    views: int = 1  # of a picture before a person, whose features are averaged: 2, it and its mirror image; 4 and 6, cropped too
    normalised: bool = False  # the head works on features that are centred at the mean of training and of length 1, as SimpleShot's
    train_inner_lr: float = 0.01
    train_inner_steps: int = 50
    train_way: int = 5
    train_shot: int = 1
    train_query: int = 15  # a class
    meta_batch_size: int = 2  # tasks an outer step

    def __post_init__(self):
        check_inner_loop(self.inner_lr, self.inner_steps)
        check_inner_loop(self.train_inner_lr, self.train_inner_steps, "train_")
        super().__post_init__()
        check_at_least(self, train_inner_steps=1, train_way=2, train_shot=1, train_query=1, meta_batch_size=1, views=1)
        check_at_most(self, meta_batch_size=MOST_TOGETHER, views=MOST_VIEWS)


# --- learners that measure distances ---


@dataclass(frozen=True)
class ProtoNetConfig(LearnerConfig):
    """Hyper-parameters of Prototypical Networks: the tasks of training, 60-way 1-shot with 5 queries as in the paper (sec. 3.1)."""

    train_way: int = 60
    train_shot: int = 1
    train_query: int = 5  # a class
    meta_batch_size: int = 1  # tasks an outer step
    take_turns: bool = False  # every image of a task is support once and query otherwise: (shot + query) / shot tasks for one embedding
    within_group: bool = False  # all classes of a task from one group: of Omniglot, from one alphabet, turned and mirrored one way
    views: int = 1  # of a drawing before a person, whose features are averaged: as it is, and as other hands might have drawn it

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, train_way=2, train_shot=1, train_query=1, meta_batch_size=1, views=1)
        check_at_most(self, meta_batch_size=MOST_TOGETHER, views=MOST_HANDS if self.network.channels == 1 else 1)
        if self.take_turns and self.train_query % self.train_shot:
            raise ValueError(
                f"to take turns, train_query must be a multiple of train_shot ({self.train_query} is not a multiple of {self.train_shot})"
            )


@dataclass(frozen=True)
class MagnetConfig(LearnerConfig):
    """Hyper-parameters of Magnet loss; K, M, D, L and alpha are the paper's."""

    n_clusters: int = 3  # K, clusters a class in training
    train_clusters: int = 12  # M, clusters of a neighbourhood
    train_images: int = 4  # D, images of each of them
    alpha: float = 1.0  # the gap between a cluster and those of other classes
    refresh_every: int = 50  # outer steps between two runs of k-means
    nearest_clusters: int = 128  # L, that decide on an image; all of them if there are fewer
    support_clusters: int = 1  # clusters a class of a support set

    def __post_init__(self):
        super().__post_init__()
        check_at_least(
            self, n_clusters=1, train_clusters=2, train_images=2, alpha=0, refresh_every=1, nearest_clusters=1, support_clusters=1
        )


@dataclass(frozen=True)
class RepMetConfig(LearnerConfig):
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
        super().__post_init__()
        check_at_least(self, n_representatives=1, train_way=2, train_images=1, support_representatives=1, alpha=0)
        if self.loss_version not in (1, 2):
            raise ValueError(f"loss_version must be 1 or 2, not {self.loss_version!r}")
        if not 1e-6 <= self.sigma <= 1e6:  # its square divides distances of at most 4
            raise ValueError(f"sigma must be a number from 1e-6 to 1e6, not {self.sigma:g}; the paper's is 0.5")


@dataclass(frozen=True)
class SoftmaxConfig(LearnerConfig):
    """Hyper-parameters of the softmax classifier: what a batch of training holds."""

    train_way: int = 60
    train_images: int = 6  # of each class
    views: int = 1  # of a drawing before a person, as of ProtoNet

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, train_way=2, train_images=1, views=1)
        check_at_most(self, views=MOST_HANDS if self.network.channels == 1 else 1)


CLASSIFIERS: dict[str, type[LearnerConfig]] = {
    "reptile": ReptileConfig,
    "maml": MAMLConfig,
    "meta_sgd": MetaSGDConfig,
    "protonet": ProtoNetConfig,
    "magnet": MagnetConfig,
    "repmet": RepMetConfig,
    "softmax": SoftmaxConfig,
    "nearest_mean": NearestMeanConfig,
    "logistic": LogisticConfig,
    "linear_head": LinearHeadConfig,
    "meta_lstm": MetaLSTMConfig,
    "mtl": MTLConfig,
}
DETECTORS: dict[str, type[LearnerConfig]] = {"repmet_detector": RepMetDetectorConfig, "softmax_detector": SoftmaxDetectorConfig}
CONFIGS = {**CLASSIFIERS, **DETECTORS}


def config_name(config: LearnerConfig) -> str:
    """Return the name of the learner that a configuration is of, as in config.json and on the command line."""
    return next(name for name, kind in CONFIGS.items() if type(config) is kind)
