"""What a learned optimiser does: its losses and answers beside other rules', its gates step by step, its first step by the gradient."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fewshot_kit.data.episodes import Episode, LabelledImages
from fewshot_kit.learners.fine_tune import Parameters, UpdateRule, detached, fine_tune, predict, task_gradient, task_loss
from fewshot_kit.learners.meta_lstm import LearnedOptimiser, MetaLSTM
from fewshot_kit.networks.build import layer_names


@torch.no_grad()
def compare_rules(
    learner: MetaLSTM, episodes: Sequence[Episode], rules: Mapping[str, UpdateRule], steps: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return each rule's support losses and its share of right queries after 0, 1, ... steps, (episodes, steps + 1) both.

    All start from the learner's initial weights, and see the whole support at every step.
    """
    found = {name: [_follow(learner, episode.to(learner.device), rule, steps) for episode in episodes] for name, rule in rules.items()}
    return {name: tuple(torch.tensor(part) for part in zip(*rows, strict=True)) for name, rows in found.items()}


def _follow(learner: MetaLSTM, episode: Episode, rule: UpdateRule, steps: int) -> tuple[list[float], list[float]]:
    support, query, network = episode.support, episode.query, copy.deepcopy(learner.network)  # whose mode changes
    buffers, losses, right = learner.buffers_of_network(), [], []

    def note(step: int, loss: Tensor, phi: Parameters) -> None:
        losses.append(loss.item())  # batch norm has just seen the support, at phi
        right.append((predict(network, phi, buffers, query.images).argmax(1) == query.labels).float().mean().item())

    batches = [(support.images, support.labels)] * steps
    phi = fine_tune(task_gradient(network, buffers), detached(learner.theta(support.n_way)), batches, rule, note)
    note(steps, task_loss(network, phi, buffers, support.images, support.labels), phi)
    return losses, right


@dataclass
class Recorded:
    """An update rule that remembers the gates of another after each of its steps, by the name of the parameter."""

    rule: LearnedOptimiser
    forget: list[Parameters] = field(default_factory=list)
    take: list[Parameters] = field(default_factory=list)

    def start(self, parameters: Parameters) -> None:
        return self.rule.start(parameters)

    def step(self, parameters: Parameters, gradients: Parameters, loss: Tensor, state: tuple | None) -> tuple[Parameters, tuple]:
        parameters, state = self.rule.step(parameters, gradients, loss, state)
        for gates, values in zip((self.forget, self.take), state[1], strict=True):
            parts = values.split([parameters[name].numel() for name in gradients])
            gates.append(dict(zip(gradients, parts, strict=True)))
        return parameters, state


@torch.no_grad()
def gates_by_layer(learner: MetaLSTM, support: LabelledImages) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the mean forget gate and the mean input gate of each layer's weights at every step, {layer: (steps,)} both."""
    recorded, support = Recorded(learner.optimiser), support.to(learner.device)
    batches = [(support.images, support.labels)] * learner.config.inner_steps
    gradient = task_gradient(copy.deepcopy(learner.network), learner.buffers_of_network())
    fine_tune(gradient, detached(learner.theta(support.n_way)), batches, recorded)
    layers, names = layer_names(learner.network), {}
    for name in recorded.forget[0]:
        names.setdefault(layers.get(name, "head"), []).append(name)
    return tuple(
        {layer: torch.stack([torch.cat([step[name] for name in own]).mean() for step in gates]).cpu() for layer, own in names.items()}
        for gates in (recorded.forget, recorded.take)
    )


@torch.no_grad()
def first_steps(rule: UpdateRule, gradients: Tensor, loss: float) -> Tensor:
    """Return by how much the first step of a rule changes a weight of zero at each of these gradients (n,) under this support loss."""
    weights = {"weight": torch.zeros_like(gradients)}
    stepped, _ = rule.step(weights, {"weight": gradients}, gradients.new_tensor(loss), rule.start(weights))
    return stepped["weight"]
