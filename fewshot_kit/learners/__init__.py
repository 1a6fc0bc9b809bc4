"""The algorithms, one file each. `LEARNERS` maps the name used on the command line and in config.json to (learner, configuration)."""

from fewshot_kit.learners.base import Learner, OnStep, Predictor
from fewshot_kit.learners.nearest_prototype import NearestPrototype
from fewshot_kit.learners.reptile import Reptile, ReptileConfig

LEARNERS = {"reptile": (Reptile, ReptileConfig)}

__all__ = ["LEARNERS", "Learner", "NearestPrototype", "OnStep", "Predictor", "Reptile", "ReptileConfig"]
