"""What the gradient-based learners share: a network that is fine-tuned on the support, under a head that starts at zero."""

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import torch
from torch import Tensor

from fewshot_kit.data.episodes import Episode, LabelledImages, stack_episodes
from fewshot_kit.learners.base import Learner, OnStep, Predictor
from fewshot_kit.learners.engines import map_in_threads
from fewshot_kit.learners.fine_tune import (
    UPDATE_RULES,
    Parameters,
    UpdateRule,
    check_inner_loop,
    clone,
    fine_tune,
    network_state,
    predict,
    stack,
    stacked_gradient,
    stacked_loss,
    stacked_predict,
    task_gradient,
    task_loss,
)
from fewshot_kit.learners.settings import Setting, epochs, learning_rate
from fewshot_kit.networks.conv4 import Conv4, Conv4Config

STACKED_SUPPORT = 10  # images; above it, threads were faster than a stack on two cores


@dataclass(frozen=True)
class FineTunedConfig:
    """The network, and the inner loop that adapts it to a person's support set."""

    network: Conv4Config = field(default_factory=Conv4Config)
    update_rule: str = "sgd"  # one of UPDATE_RULES
    inner_lr: float = 0.01
    inner_steps: int = 10  # full-batch steps ("epochs")
    head_lr_scale: float = 50.0  # the head starts at zero and has few steps to grow in

    def __post_init__(self):
        check_inner_loop(self.inner_lr, self.inner_steps)
        if self.update_rule not in UPDATE_RULES:
            raise ValueError(f"update_rule must be one of {', '.join(UPDATE_RULES)}, not {self.update_rule!r}")
        if not self.head_lr_scale > 0:
            raise ValueError(f"head_lr_scale must be above 0, not {self.head_lr_scale}")

    @classmethod
    def from_dict(cls, values: dict) -> Self:
        """Make the configuration from what config.json holds."""
        return cls(**{**values, "network": Conv4Config(**values["network"])})


class FineTuned(Learner):
    """A network that is fine-tuned on the support; a subclass says how its initial weights theta are meta-learned.

    The head starts at zero for every task and has a row a class, for any number of classes. Under random label orders the rows of a
    meta-learned head are equal in expectation, and equal rows change no softmax, so nothing is lost.
    """

    def __init__(self, config: FineTunedConfig):
        super().__init__()
        self.config = config
        self.preprocessing = config.network.preprocessing
        self.network = Conv4(config.network, n_out=0)

    def adapt(self, support: LabelledImages, *, on_step: OnStep | None = None, transductive: bool = False) -> Predictor:
        """Fine-tune a copy of theta on the whole support, `inner_steps` steps of `inner_lr`."""
        self.check_way(support.n_way)
        predictor = _predictor_maker(self.network, transductive)

        def report(step: int, loss: Tensor, parameters: Parameters, buffers: Parameters) -> None:
            if on_step is not None:
                on_step(step, loss.item(), predictor(parameters, clone(buffers)))

        return predictor(*self.inner_loop(support.to(self.device), report))

    def inner_loop(
        self, support: LabelledImages, on_step: Callable[[int, Tensor, Parameters, Parameters], None]
    ) -> tuple[Parameters, Parameters]:
        """Return phi and the buffers after the last step; `on_step(step, support loss, phi, buffers)` sees them after 0, 1, ... steps."""
        network, steps = copy.deepcopy(self.network), self.config.inner_steps  # functional_call swaps parameters in place: a copy a thread
        parameters, buffers = self._start(support.n_way)
        gradient, batches = task_gradient(network, buffers, only=self._adapted()), [(support.images, support.labels)] * steps
        rule = self._rule(self.config.inner_lr)
        adapted = fine_tune(gradient, parameters, batches, rule, lambda step, loss, phi: on_step(step, loss, phi, buffers))
        with torch.no_grad():  # batch norm records the support's statistics at phi
            loss = task_loss(network, adapted, buffers, support.images, support.labels)
        on_step(steps, loss, adapted, buffers)
        return adapted, buffers

    def predict_episodes(self, episodes: Sequence[Episode], *, transductive: bool = False) -> tuple[Tensor, Tensor]:
        """Adapt to all episodes at once: logits (tasks, n_query_total, n_way), support loss (tasks,).

        As one stack, which saves the time between operations; on a CPU, large supports in threads, which compute faster one by one.
        """
        if self.device.type == "cpu" and len(episodes[0].support) > STACKED_SUPPORT:
            parts = map_in_threads(partial(self.predict_episode, transductive=transductive), episodes)
            return torch.stack([logits for logits, _ in parts]), torch.stack([loss for _, loss in parts])
        return self.predict_stack(episodes, transductive=transductive)

    def predict_stack(self, episodes: Sequence[Episode], *, transductive: bool = False) -> tuple[Tensor, Tensor]:
        (images, labels), (queries, _) = stack_episodes([episode.to(self.device) for episode in episodes])
        parameters, buffers = (stack(state, len(episodes)) for state in self._start(episodes[0].n_way))
        network = copy.deepcopy(self.network)  # functional_call swaps parameters in place: a copy a thread
        gradient = stacked_gradient(network, buffers, only=self._adapted())
        batches = [(images, labels)] * self.config.inner_steps
        adapted = fine_tune(gradient, parameters, batches, self._rule(self.config.inner_lr))
        with torch.no_grad():
            support_loss = stacked_loss(network, adapted, buffers, images, labels)
        return stacked_predict(network, adapted, buffers, queries, transductive=transductive), support_loss

    def settings(self) -> tuple[Setting, ...]:
        return learning_rate(self.config.inner_lr, self.settings_source), epochs(self.config.inner_steps, self.settings_source)

    def describe(self) -> str:
        config = self.config
        return (
            f"{config.inner_steps} full-batch steps (epochs) of {config.update_rule} at learning rate {config.inner_lr}; "
            f"the head starts at zero and learns {config.head_lr_scale:g} times as fast."
        )

    def _adapted(self) -> str:
        """Return with what the names of the parameters begin which the inner loop changes: "" for all of them."""
        return ""

    def _rule(self, lr: float) -> UpdateRule:
        return UPDATE_RULES[self.config.update_rule](lr, {"head.": self.config.head_lr_scale})

    def _start(self, n_way: int) -> tuple[Parameters, Parameters]:
        """Return theta with a head of `n_way` zero rows, and the buffers."""
        parameters, buffers = network_state(self.network)
        return {**parameters, **self._zero_head(n_way)}, buffers

    def _zero_head(self, n_way: int) -> Parameters:
        weight = self.network.head.weight
        return {"head.weight": weight.new_zeros(n_way, self.network.n_features), "head.bias": weight.new_zeros(n_way)}


def _predictor_maker(network: Conv4, transductive: bool) -> Callable[[Parameters, Parameters], Predictor]:
    """Return a function that makes predictors. They share a copy of the network and take turns, so any thread may ask any of them."""
    network, lock = copy.deepcopy(network), threading.Lock()

    def make(parameters: Parameters, buffers: Parameters) -> Predictor:
        def predictor(images: Tensor) -> Tensor:
            with lock:
                return predict(network, parameters, buffers, images, transductive=transductive)

        return predictor

    return make
