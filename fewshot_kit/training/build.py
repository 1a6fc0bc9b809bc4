"""From a learner's name and hyper-parameters, as in config.json, to the learner."""

import threading
from dataclasses import replace

import torch

from fewshot_kit.detection.repmet_detector import RepMetDetector
from fewshot_kit.detection.softmax_detector import SoftmaxDetector
from fewshot_kit.learners.base import TrainableLearner
from fewshot_kit.learners.configs import CONFIGS, LearnerConfig, config_name
from fewshot_kit.learners.linear_head import LinearHead
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
from fewshot_kit.networks.configs import PYRAMIDS, take_same_weights

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
    "linear_head": LinearHead,
    "meta_lstm": MetaLSTM,
    "mtl": MTL,
    "repmet_detector": RepMetDetector,
    "softmax_detector": SoftmaxDetector,
}

ON_ANY_NETWORK = ("nearest_mean", "logistic", "linear_head")

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


def on_network_of(learner: TrainableLearner, name: str | None, size: int | None = None) -> TrainableLearner:
    """Return another learner, one of `ON_ANY_NETWORK`, on the network of this one; with `size`, for pictures of that size.

    Where the learner knows the mean feature of its training classes, so does the other; else features are not centred. It looks at a
    picture as often. Raises ValueError for learners that cannot do without a training of their own, and for networks that take one size
    alone.
    """
    if name is None and size is None:
        return learner
    network = learner.config.network
    if name not in (None, learner_name(learner)) and network.kind in PYRAMIDS:
        raise ValueError(f"a detector's network gives no features for {name!r}; leave learner out")
    name = name or learner_name(learner)
    if size is not None:
        if not take_same_weights(network, replace(network, size=size)):
            raise ValueError(f"this network takes pictures of {network.size} pixels alone; leave size out")
        network = replace(network, size=size)
    if name == learner_name(learner):
        other = make_learner(replace(learner.config, network=network), seed=0)
        other.load_state_dict(learner.released_state())
    elif name in ON_ANY_NETWORK:
        looks = {field: getattr(learner.config, field) for field in ("views", "middle", "support_views") if hasattr(learner.config, field)}
        other = make_learner(CONFIGS[name](network=network, **looks), seed=0)
        other.load_state_dict({key: value for key, value in learner.released_state().items() if key in other.state_dict()}, strict=False)
    else:
        raise ValueError(f"learner must be one of {', '.join(ON_ANY_NETWORK)}, which take any network as it is, not {name!r}")
    return other.to(learner.device).eval()


def build_learner(name: str, hyper_parameters: dict) -> TrainableLearner:
    """Make an untrained learner from what config.json holds."""
    if name not in CONFIGS:
        raise ValueError(f"unknown learner {name!r}; there are {', '.join(CONFIGS)}")
    return make_learner(CONFIGS[name].from_dict(hyper_parameters), seed=0)
