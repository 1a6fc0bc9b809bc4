"""Before a training: is the data set there, and what is the network to know of its pictures?"""

from dataclasses import replace

from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.learners.configs import LearnerConfig
from fewshot_kit.networks.configs import Conv4Config
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.tasks import TaskKind, kind_of

DIGITS = 4
TRAINING_SPLITS = ("train", "trainval")


def prepared(learner: LearnerConfig, training: TrainConfig) -> LearnerConfig:
    """Return the configuration that a training begins with, once it is known that there is something to train on."""
    check_splits(training.source, kind_of(learner))
    return with_statistics(learner, training)


def check_splits(source: TaskSource, kind: TaskKind) -> None:
    """Raise ValueError for a data set that is not there to train on, before anything of it is loaded."""
    for split in ("train", "val"):
        if split not in kind.splits(source.dataset):
            raise ValueError(f"{source.dataset!r} has no {split} split; train on another, {kind.example} for instance")
    if source.split not in TRAINING_SPLITS or source.split not in kind.splits(source.dataset):
        raise ValueError(f"{source.dataset!r} has no {source.split!r} split to train on; leave split out, which is train then")


def with_statistics(learner: LearnerConfig, training: TrainConfig) -> LearnerConfig:
    """Return the configuration with the mean and standard deviation of the training set in its network, where they are to be measured.

    They are for a ResNet-12 or a pyramid that was given none and does not go on from the weights of a checkpoint.
    """
    network = learner.network
    if isinstance(network, Conv4Config) or network.mean or training.start_from is not None:
        return learner
    dataset = kind_of(learner).load_training(training.source, network.preprocessing)
    mean, std = ([round(value, DIGITS) for value in values] for values in dataset.mean_and_std())
    return replace(learner, network=replace(network, mean=tuple(mean), std=tuple(std)))
