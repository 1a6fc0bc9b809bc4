"""From a learner's name and hyper-parameters, as in config.json, to the learner."""

import threading

import torch

from fewshot_kit.learners.base import TrainableLearner
from fewshot_kit.learners.configs import CONFIGS, LearnerConfig, config_name
from fewshot_kit.learners.logistic import Logistic
from fewshot_kit.learners.magnet import Magnet
from fewshot_kit.learners.maml import MAML
from fewshot_kit.learners.meta_lstm import MetaLSTM
from fewshot_kit.learners.meta_sgd import MetaSGD
from fewshot_kit.learners.mtl import MTL
from fewshot_kit.learners.nearest_mean import NearestMean
from fewshot_kit.learners.protonet import ProtoNet
from fewshot_kit.learners.repmet import RepMet
from fewshot_kit.learners.reptile import Reptile
from fewshot_kit.learners.softmax import Softmax

_CLASSES: dict[str, type[TrainableLearner]] = {
    "reptile": Reptile,
    "maml": MAML,
    "meta_sgd": MetaSGD,
    "protonet": ProtoNet,
    "magnet": Magnet,
    "repmet": RepMet,
    "softmax": Softmax,
    "nearest_mean": NearestMean,
    "logistic": Logistic,
    "meta_lstm": MetaLSTM,
    "mtl": MTL,
}


_seeding = threading.Lock()  # torch has one seed for all threads


def learner_name(learner: TrainableLearner) -> str:
    """Return the name of a learner in config.json and on the command line."""
    return config_name(learner.config)


def make_learner(config: LearnerConfig, seed: int | None = None) -> TrainableLearner:
    """Make an untrained learner of the kind that a configuration is of, with random weights.

    By `seed`, whatever else is drawn meanwhile, and torch's global generator stays as it was; without one, by that generator.
    """
    kind = _CLASSES[config_name(config)]
    if seed is None:
        return kind(config)
    with _seeding, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(config)


def build_learner(name: str, hyper_parameters: dict) -> TrainableLearner:
    """Make an untrained learner from what config.json holds."""
    if name not in CONFIGS:
        raise ValueError(f"unknown learner {name!r}; there are {', '.join(CONFIGS)}")
    return make_learner(CONFIGS[name].from_dict(hyper_parameters), seed=0)
