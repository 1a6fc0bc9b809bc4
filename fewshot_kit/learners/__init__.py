"""The algorithms, one file each. `LEARNERS` maps the name used on the command line and in config.json to (learner, configuration)."""

from fewshot_kit.learners.base import Learner, OnStep, Predictor
from fewshot_kit.learners.magnet import Magnet, MagnetConfig
from fewshot_kit.learners.maml import MAML, MAMLConfig
from fewshot_kit.learners.meta_sgd import MetaSGD, MetaSGDConfig
from fewshot_kit.learners.nearest_prototype import NearestPrototype
from fewshot_kit.learners.protonet import ProtoNet, ProtoNetConfig
from fewshot_kit.learners.repmet import RepMet, RepMetConfig
from fewshot_kit.learners.reptile import Reptile, ReptileConfig
from fewshot_kit.learners.softmax import Softmax, SoftmaxConfig

LEARNERS = {
    "reptile": (Reptile, ReptileConfig),
    "maml": (MAML, MAMLConfig),
    "meta_sgd": (MetaSGD, MetaSGDConfig),
    "protonet": (ProtoNet, ProtoNetConfig),
    "magnet": (Magnet, MagnetConfig),
    "repmet": (RepMet, RepMetConfig),
    "softmax": (Softmax, SoftmaxConfig),
}

__all__ = [
    "LEARNERS",
    "MAML",
    "Learner",
    "MAMLConfig",
    "Magnet",
    "MagnetConfig",
    "MetaSGD",
    "MetaSGDConfig",
    "NearestPrototype",
    "OnStep",
    "Predictor",
    "ProtoNet",
    "ProtoNetConfig",
    "RepMet",
    "RepMetConfig",
    "Reptile",
    "ReptileConfig",
    "Softmax",
    "SoftmaxConfig",
]
