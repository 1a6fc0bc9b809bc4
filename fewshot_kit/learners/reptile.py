"""Reptile: move the initial weights towards the weights each task adapts them to (Nichol, Achiam and Schulman 2018)."""

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from fewshot_kit.datasets import ClassImages
from fewshot_kit.episodes import Episode, EpisodeSampler, LabelledImages
from fewshot_kit.fine_tune import (
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
from fewshot_kit.learners.base import Learner, OnStep, Predictor
from fewshot_kit.models import Conv4, Conv4Config


@dataclass(frozen=True)
class ReptileConfig:
    """Hyper-parameters of Reptile. `inner_*` adapt to a person's support set; `train_*` are the inner loop of meta-training."""

    network: Conv4Config = field(default_factory=Conv4Config)
    update_rule: str = "sgd"  # one of UPDATE_RULES
    inner_lr: float = 0.01
    inner_steps: int = 10  # full-batch steps ("epochs")
    head_lr_scale: float = 50.0  # the head starts at zero and has few steps to grow in
    train_inner_lr: float = 0.1
    train_inner_steps: int = 5  # mini-batches a task, each with one fresh image of every class
    train_way: int = 20
    meta_batch_size: int = 1  # tasks an outer step

    def __post_init__(self):
        check_inner_loop(self.inner_lr, self.inner_steps)
        check_inner_loop(self.train_inner_lr, self.train_inner_steps)
        # The first step finds a zero head, and so no gradient for the backbone: one step alone would teach it nothing.
        for name, least in (("train_inner_steps", 2), ("train_way", 2), ("meta_batch_size", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if not self.head_lr_scale > 0:
            raise ValueError(f"head_lr_scale must be above 0, not {self.head_lr_scale}")
        if self.update_rule not in UPDATE_RULES:
            raise ValueError(f"update_rule must be one of {', '.join(UPDATE_RULES)}, not {self.update_rule!r}")

    @classmethod
    def from_dict(cls, values: dict) -> "ReptileConfig":
        return cls(**{**values, "network": Conv4Config(**values["network"])})


class Reptile(Learner):
    """Reptile (Nichol et al. 2018): fine-tune on a task, then step from theta towards the adapted weights phi.

    Deviations from the paper: the head starts at zero for every task, for any number of classes. Under random label orders the rows of
    Reptile's average head are equal in expectation, and equal rows change no softmax, so nothing is lost. Meta-training tasks have
    `train_way` classes, and each of their inner steps sees fresh images, one of each class.
    """

    def __init__(self, config: ReptileConfig):
        super().__init__()
        self.config = config
        self.preprocessing = config.network.preprocessing
        self.network = Conv4(config.network, n_out=0)

    def accumulate_meta_grad(self, episodes: Sequence[Episode]) -> float:
        """Reptile (Nichol et al. 2018, eq. 2): the meta-gradient is theta - phi, phi the adapted weights."""
        total_loss = 0.0
        for episode in episodes:
            adapted, loss = self._adapt_to_fresh_images(episode.support.to(self.device))
            for name, theta in self.network.named_parameters():
                if not name.startswith("head."):
                    theta.grad = torch.zeros_like(theta) if theta.grad is None else theta.grad
                    theta.grad += (theta - adapted[name]).detach() / len(episodes)
            total_loss += loss / len(episodes)
        return total_loss

    def _adapt_to_fresh_images(self, support: LabelledImages) -> tuple[Parameters, float]:
        """Return phi, after a step on the first image of each class, one on the second, and so on, and the loss at the last step."""
        parameters, buffers = self._start(support.n_way)
        images = support.images.unflatten(0, (support.n_way, -1))  # (n_way, train_inner_steps, c, h, w)
        labels = torch.arange(support.n_way, device=self.device)
        batches = [(images[:, shot], labels) for shot in range(images.shape[1])]
        losses: list[Tensor] = []
        gradient, rule = task_gradient(self.network, buffers), self._rule(self.config.train_inner_lr)
        adapted = fine_tune(gradient, parameters, batches, rule, lambda step, loss, _: losses.append(loss))
        for name, buffer in self.network.named_buffers():
            buffer.copy_(buffers[name])  # running statistics go on from task to task
        return adapted, losses[-1].item()

    def training_episodes(self, dataset: ClassImages, generator: torch.Generator) -> list[Episode]:
        """Draw `meta_batch_size` tasks of `train_way` classes, with one image a class for each inner step and no queries."""
        config = self.config
        sampler = EpisodeSampler(dataset, config.train_way, config.train_inner_steps, n_query=0)
        return [sampler.sample(generator) for _ in range(config.meta_batch_size)]

    def adapt(self, support: LabelledImages, *, on_step: OnStep | None = None, transductive: bool = False) -> Predictor:
        """Fine-tune a copy of theta on the whole support, `inner_steps` steps of `inner_lr`."""
        self.check_way(support.n_way)
        support = support.to(self.device)
        network = copy.deepcopy(self.network)  # functional_call swaps parameters in place: a copy a thread
        parameters, buffers = self._start(support.n_way)
        gradient, predictor = task_gradient(network, buffers), _predictor_maker(network, transductive)

        def report(step: int, loss: Tensor, parameters: Parameters) -> None:
            if on_step is not None:
                on_step(step, loss.item(), predictor(parameters, clone(buffers)))

        batches = [(support.images, support.labels)] * self.config.inner_steps
        adapted = fine_tune(gradient, parameters, batches, self._rule(self.config.inner_lr), report)
        with torch.no_grad():  # batch norm records the support's statistics at phi
            loss = task_loss(network, adapted, buffers, support.images, support.labels)
        report(self.config.inner_steps, loss, adapted)
        return predictor(adapted, buffers)

    def predict_episodes(self, episodes: Sequence[Episode], *, transductive: bool = False) -> tuple[Tensor, Tensor]:
        """Adapt to all episodes at once, as one stack: logits (tasks, n_query_total, n_way), support loss (tasks,)."""
        images = torch.stack([episode.support.images for episode in episodes]).to(self.device)
        labels = torch.stack([episode.support.labels for episode in episodes]).to(self.device)
        queries = torch.stack([episode.query.images for episode in episodes]).to(self.device)
        parameters, buffers = (stack(state, len(episodes)) for state in self._start(episodes[0].n_way))
        network = copy.deepcopy(self.network)  # functional_call swaps parameters in place: a copy a thread
        gradient = stacked_gradient(network, buffers)
        batches = [(images, labels)] * self.config.inner_steps
        adapted = fine_tune(gradient, parameters, batches, self._rule(self.config.inner_lr))
        support_loss = stacked_loss(network, adapted, buffers, images, labels)
        return stacked_predict(network, adapted, buffers, queries, transductive=transductive), support_loss

    def with_inner_loop(self, inner_lr: float | None = None, inner_steps: int | None = None) -> "Reptile":
        """Return a learner on the same weights with another learning rate or number of steps; None keeps what there is."""
        changed = {name: value for name, value in (("inner_lr", inner_lr), ("inner_steps", inner_steps)) if value is not None}
        other = copy.copy(self)
        other.config = replace(self.config, **changed)
        return other

    def inner_loop_settings(self) -> dict:
        return {"inner_lr": self.config.inner_lr, "inner_steps": self.config.inner_steps}

    def _rule(self, lr: float) -> UpdateRule:
        return UPDATE_RULES[self.config.update_rule](lr, {"head.": self.config.head_lr_scale})

    def _start(self, n_way: int) -> tuple[Parameters, Parameters]:
        """Return theta with a head of `n_way` zero rows, and the buffers."""
        parameters, buffers = network_state(self.network)
        parameters["head.weight"] = parameters["head.weight"].new_zeros(n_way, self.network.n_features)
        parameters["head.bias"] = parameters["head.bias"].new_zeros(n_way)
        return parameters, buffers


def _predictor_maker(network: Conv4, transductive: bool) -> Callable[[Parameters, Parameters], Predictor]:
    """Return a function that makes predictors. They share a copy of the network and take turns, so any thread may ask any of them."""
    network, lock = copy.deepcopy(network), threading.Lock()

    def make(parameters: Parameters, buffers: Parameters) -> Predictor:
        def predictor(images: Tensor) -> Tensor:
            with lock:
                return predict(network, parameters, buffers, images, transductive=transductive)

        return predictor

    return make
