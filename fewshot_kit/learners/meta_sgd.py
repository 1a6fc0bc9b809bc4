"""Meta-SGD: MAML that learns the learning rate of every single parameter too (Li, Zhou, Chen and Li 2017)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fewshot_kit.learners.fine_tune import LearnedSGD, UpdateRule
from fewshot_kit.learners.maml import MAML, MAMLConfig
from fewshot_kit.learners.settings import Setting, epochs, learning_rate


@dataclass(frozen=True)
class MetaSGDConfig(MAMLConfig):
    """Hyper-parameters of Meta-SGD: `train_inner_lr` is what every rate starts from, `inner_lr` multiplies the learned rates."""

    inner_lr: float = 1.0
    inner_steps: int = 3

    def __post_init__(self):
        super().__post_init__()
        if self.update_rule != "sgd":
            raise ValueError(f"Meta-SGD is an update rule of its own: update_rule must stay sgd, not {self.update_rule!r}")


class MetaSGD(MAML):
    """Meta-SGD (Li et al. 2017, eq. 2): phi = theta - alpha * gradient, element by element, alpha learned together with theta.

    The rates of the head are one a feature and one for the bias, the same for every class, so that they fit any number of classes; rates
    may become negative, as in the paper. `rates` holds alpha in units of where it starts, so that an outer step changes it by a
    share of itself. Deviation from the paper: several inner steps share the rates, which it takes one step for.
    """

    def __init__(self, config: MetaSGDConfig):
        super().__init__(config)
        shapes = {name: p.shape for name, p in self.network.named_parameters() if not name.startswith("head.")}
        shapes |= {"head.weight": (1, self.network.n_features), "head.bias": (1,)}
        self.rates = nn.ParameterDict({name.replace(".", "/"): nn.Parameter(torch.ones(shape)) for name, shape in shapes.items()})

    def learned_rates(self) -> dict[str, Tensor]:
        """Return alpha by the name of the parameter that it belongs to."""
        start, head = self.config.train_inner_lr, self.config.head_lr_scale
        rates = {name.replace("/", "."): rate for name, rate in self.rates.items()}
        return {name: start * (head if name.startswith("head.") else 1) * rate for name, rate in rates.items()}

    def settings(self) -> tuple[Setting, ...]:
        factor = learning_rate(self.config.inner_lr, self.settings_source, label="learned rates ×", low=0.01, high=10.0)
        return factor, epochs(self.config.inner_steps, self.settings_source)

    def describe(self) -> str:
        steps, factor = self.config.inner_steps, self.config.inner_lr
        return f"{steps} full-batch steps (epochs) at the learned rates times {factor:g}; the head starts at zero."

    def _rule(self, lr: float) -> UpdateRule:
        return LearnedSGD({name: rate.detach() for name, rate in self.learned_rates().items()}, factor=lr)

    def _train_rule(self) -> UpdateRule:
        return LearnedSGD(self.learned_rates())
