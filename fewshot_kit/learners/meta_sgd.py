"""Meta-SGD: MAML that learns the learning rate of every single parameter too (Li, Zhou, Chen and Li 2017)."""

import torch
from torch import Tensor, nn

from fewshot_kit.learners.configs import MetaSGDConfig
from fewshot_kit.learners.fine_tune import LearnedSGD, UpdateRule
from fewshot_kit.learners.heads import HEAD
from fewshot_kit.learners.maml import MAML
from fewshot_kit.learners.settings import Setting, epochs, learning_rate
from fewshot_kit.learners.views import said_of_hands


class MetaSGD(MAML):
    """Meta-SGD (Li et al. 2017, eq. 2): phi = theta - alpha * gradient, element by element, alpha learned together with theta.

    The rates of the head are one a feature and one for the bias, the same for every class, so that they fit any number of classes;
    rates may become negative, as in the paper. `rates` holds alpha in units of where it starts, so that an outer step changes it by a
    share of itself. Deviation from the paper: several inner steps share the rates, which it takes one step for.
    """

    config: MetaSGDConfig

    def __init__(self, config: MetaSGDConfig):
        super().__init__(config)
        shapes = {name: p.shape for name, p in self.theta(1).items()}  # of the head one row: it broadcasts
        self.rates = nn.ParameterDict({name.replace(".", "/"): nn.Parameter(torch.ones(shape)) for name, shape in shapes.items()})

    def rule(self, lr: float) -> UpdateRule:
        """Return descent at the learned rates times `lr`."""
        return LearnedSGD(self.learned_rates(), factor=lr)

    def train_rule(self) -> UpdateRule:
        return self.rule(1.0)

    def learned_rates(self) -> dict[str, Tensor]:
        """Return alpha by the name of the parameter that it belongs to."""
        start, head = self.config.train_inner_lr, self.config.head_lr_scale
        rates = {name.replace("/", "."): rate for name, rate in self.rates.items()}
        return {name: start * (head if name.startswith(HEAD) else 1) * rate for name, rate in rates.items()}

    def settings(self) -> tuple[Setting, ...]:
        factor = learning_rate(self.config.inner_lr, self.source_of("inner_lr"), label="learned rates ×", low=0.01, high=10.0)
        return factor, epochs(self.config.inner_steps, self.source_of("inner_steps")), *self.looks()

    def describe(self) -> str:
        steps, factor, head = self.config.inner_steps, self.config.inner_lr, self.describe_head()
        rates = f"{steps} full-batch steps (epochs) at the learned rates times {factor:g}; the head {head}."
        return f"{rates}{said_of_hands(self.config.views)}{self.describe_part()}"
