"""What a network is to know of the pictures that it will be trained on."""

from dataclasses import replace

from fewshot_kit.learners.configs import LearnerConfig
from fewshot_kit.networks.configs import ResNet12Config
from fewshot_kit.training.config import TrainConfig

DIGITS = 4


def with_statistics(learner: LearnerConfig, training: TrainConfig) -> LearnerConfig:
    """Return the configuration with the mean and standard deviation of the training set in its network, where they are to be measured.

    They are for a ResNet-12 that was given none and does not go on from the weights of a checkpoint.
    """
    network = learner.network
    if not isinstance(network, ResNet12Config) or network.mean or training.start_from is not None:
        return learner
    dataset = training.source.load(network.preprocessing)
    mean, std = ([round(value, DIGITS) for value in values] for values in dataset.mean_and_std())
    return replace(learner, network=replace(network, mean=tuple(mean), std=tuple(std)))
