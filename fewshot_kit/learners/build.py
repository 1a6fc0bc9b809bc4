"""From a learner's name and hyper-parameters, as in config.json, to the learner."""

from fewshot_kit.learners.base import Learner, TrainableLearner
from fewshot_kit.learners.configs import CONFIGS, LearnerConfig
from fewshot_kit.learners.magnet import Magnet
from fewshot_kit.learners.maml import MAML
from fewshot_kit.learners.meta_sgd import MetaSGD
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
}


def learner_name(learner: Learner) -> str:
    """Return the name of a learner in config.json and on the command line."""
    return next(name for name, kind in _CLASSES.items() if type(learner) is kind)


def make_learner(config: LearnerConfig) -> TrainableLearner:
    """Make an untrained learner of the kind that a configuration is of, with random weights by torch's global seed."""
    return next(_CLASSES[name] for name, kind in CONFIGS.items() if type(config) is kind)(config)


def build_learner(name: str, hyper_parameters: dict) -> TrainableLearner:
    """Make an untrained learner from what config.json holds."""
    if name not in CONFIGS:
        raise ValueError(f"unknown learner {name!r}; there are {', '.join(CONFIGS)}")
    return make_learner(CONFIGS[name].from_dict(hyper_parameters))
