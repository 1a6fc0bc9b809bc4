"""The settings of a meta-training, as they stand in config.json and as flags of the command line; no torch is needed to read them."""

import re
from dataclasses import dataclass, field
from typing import Literal

from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.learners.checks import check_at_least, check_at_most, check_numbers
from fewshot_kit.learners.configs import DETECTORS

MOST_EPISODES = 1_000_000  # all are drawn before the first is measured
MOST_THREADS = 1_024


@dataclass(frozen=True)
class TrainConfig:
    """How long, on what and how a run is trained; saved whole beside the weights."""

    source: TaskSource = field(default_factory=TaskSource)  # what training tasks are drawn from
    start_from: str | None = None  # a checkpoint to go on from, of the same network; of another learner, only its network is taken
    val_way: int = 5  # of the validation episodes; what the learner trains on is its own hyper-parameter
    val_shot: int = 1
    val_query: int = 5  # a class
    val_within_group: bool = False  # all classes of a validation episode from one group: of Omniglot, from one alphabet
    outer_steps: int = 20_000
    optimizer: Literal["adam", "sgd"] = "adam"  # on the meta-gradient; sgd: with Nesterov momentum 0.9
    meta_lr: float = 0.001  # of the optimiser; falls along a cosine
    last_lr: float = 0.1  # to this share of itself
    weight_decay: float = 0.0
    clip_norm: float | None = None  # the length that the meta-gradient is shortened to where it is longer
    precision: Literal["float32", "bfloat16"] = "float32"  # bfloat16: of activations and gradients in training; weights stay float32
    evaluate_every: int = 1_000  # outer steps
    evaluation_episodes: int = 200
    seed: int = 0
    device: str = "cpu"
    threads: int = 1  # of torch on a CPU: one thread a run, as many runs as cores

    def __post_init__(self):
        check_numbers(self)
        check_numbers(self.source)
        check_device(self.device)
        if not self.meta_lr > 0:
            raise ValueError(f"meta_lr must be a finite number above 0, not {self.meta_lr}; try 0.001")
        check_at_least(self, outer_steps=1, evaluate_every=1, evaluation_episodes=1, threads=1, val_way=2, val_shot=1, val_query=1)
        check_at_least(self, last_lr=0, weight_decay=0)
        check_at_most(self, evaluation_episodes=MOST_EPISODES, threads=MOST_THREADS, last_lr=1, weight_decay=1)
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be above 0, not {self.clip_norm}; the papers that clip have 0.25 to 10")
        if self.optimizer not in ("adam", "sgd"):
            raise ValueError(f"optimizer must be adam or sgd, not {self.optimizer!r}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be float32 or bfloat16, not {self.precision!r}")

    def validation(self) -> dict[str, int | bool]:
        """Return what a validation episode is, as a sampler takes it."""
        size = {"n_way": self.val_way, "n_shot": self.val_shot, "n_query": self.val_query}
        return {**size, "within_group": self.val_within_group}


@dataclass(frozen=True)
class MeasureConfig:
    """How a checkpoint is measured, as the command line is told."""

    n_way: int
    n_shot: int
    n_query: int
    episodes: int
    seed: int
    device: str

    def __post_init__(self):
        check_numbers(self)
        check_device(self.device)
        check_at_least(self, n_way=2, n_shot=1, n_query=1, episodes=1)
        check_at_most(self, episodes=MOST_EPISODES)

    def check_can_measure(self, checkpoint: str, record: bool) -> None:
        """Raise ValueError where a result is to be recorded in what lies in no folder of ours."""
        if record and checkpoint.startswith("hf:"):
            raise ValueError(
                f"{checkpoint} is no checkpoint that a result could be recorded in; make one of it with adopt, and measure that"
            )


def check_device(name: str) -> None:
    """Raise ValueError for what is no name of a device that the kit works on; whether this machine has it, torch knows."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", name):
        raise ValueError(f"device must be auto, cpu or cuda, not {name!r}")


# How a network is pre-trained as a classifier of all training classes, unless flags say otherwise: SGD with Nesterov momentum, rate and
# decay as MetaOptNet's (Lee et al. 2019, sec. 4.1); a first choice, not tuned, are length, cosine to zero and pictures of 48 cut to 42.
# A detector's, a first choice.
DETECTION = TrainConfig(
    TaskSource("scenes"), val_query=10, outer_steps=5_000, meta_lr=0.001, last_lr=0.01, evaluate_every=500, evaluation_episodes=100
)
PRETRAINING = TrainConfig(
    TaskSource("mini_imagenet", picture_size=48),
    val_query=15,
    outer_steps=5_000,
    optimizer="sgd",
    meta_lr=0.1,
    last_lr=0.0,
    weight_decay=0.0005,
    precision="bfloat16",
    evaluate_every=500,
)


def usual_training(learner: str, *, pretrain: bool = False) -> TrainConfig:
    """Return how a learner is trained, by its name, unless flags say otherwise."""
    return PRETRAINING if pretrain else DETECTION if learner in DETECTORS else TrainConfig()
