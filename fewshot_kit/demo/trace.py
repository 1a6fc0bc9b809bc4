"""What the inner loop does step by step: how accurate it is after each, and how far each layer moves. Nothing here changes a learner."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fewshot_kit.data.episodes import Episode, LabelledImages
from fewshot_kit.learners.base import Learner, Predictor
from fewshot_kit.learners.fine_tune import Parameters
from fewshot_kit.learners.gradient import GradientLearner
from fewshot_kit.learners.meta_sgd import MetaSGD
from fewshot_kit.networks.build import layer_names
from fewshot_kit.results import Interval


def accuracy_by_step(learner: Learner, episodes: Sequence[Episode], steps: Sequence[int] | None = None) -> Tensor:
    """Return the share of right queries of each episode after each of `steps` inner steps, (episodes, len(steps)).

    Each episode is adapted to once, for as many steps as the largest; without `steps` they are 0 .. inner_steps.
    """
    steps = range(learner.config.inner_steps + 1) if steps is None else steps
    learner = learner.with_settings(inner_steps=max(steps))
    return torch.stack([_accuracies(learner, episode.to(learner.device), steps) for episode in episodes])


def _accuracies(learner: Learner, episode: Episode, steps: Sequence[int]) -> Tensor:
    right: dict[int, Tensor] = {}

    def note(step: int, loss: float, predictor: Predictor) -> None:
        if step in steps:
            right[step] = (predictor(episode.query.images).argmax(1) == episode.query.labels).float().mean()

    learner.adapt(episode.support, on_step=note)
    return torch.stack([right[step] for step in steps]).cpu()


def mean_and_half_width(accuracies: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each column of (episodes, steps), and the half width of its 95 % interval."""
    columns = [Interval.of(column) for column in accuracies.T]
    return np.array([column.mean for column in columns]), np.array([column.half_width for column in columns])


def from_scratch(learner: GradientLearner, seed: int = 0, **changes) -> GradientLearner:
    """Return a learner of the same kind with random weights in place of the meta-learned ones; `changes` are of its configuration."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return type(learner)(replace(learner.config, **changes)).to(learner.device)


def best_inner_lr(learner: Learner, episodes: Sequence[Episode], rates: Sequence[float]) -> float:
    """Return that of the learning rates after whose inner steps most queries of these episodes are right; of equals the first."""
    labels = torch.stack([episode.query.labels for episode in episodes])

    def right(rate: float) -> float:
        logits, _ = learner.with_settings(inner_lr=rate).predict_episodes(episodes)
        return (logits.argmax(-1).cpu() == labels).float().mean().item()

    return max(rates, key=right)


def parameters_by_step(learner: GradientLearner, support: LabelledImages) -> tuple[Parameters, ...]:
    """Return the weights that `adapt` goes through: theta, and phi after each inner step."""
    path: list[Parameters] = []
    learner.inner_loop(support.to(learner.device), lambda step, loss, phi, buffers: path.append(phi))
    return tuple(path)


def layer_changes(learner: GradientLearner, support: LabelledImages) -> dict[str, Tensor]:
    """Return how far each inner step moves each layer, (inner_steps,): the norm of the step over that of the layer after the step.

    After, not before: the head starts at zero, so that its first step counts as 1 (all there is of it is new).
    """
    path, layers = parameters_by_step(learner, support), layer_names(learner.network)
    names: dict[str, list[str]] = {}
    for name in path[0]:
        names.setdefault(layers.get(name, "head"), []).append(name)
    flat = {layer: torch.stack([torch.cat([phi[name].flatten() for name in own]) for phi in path]) for layer, own in names.items()}
    return {layer: (p.diff(dim=0).norm(dim=1) / p[1:].norm(dim=1).clamp_min(1e-12)).cpu() for layer, p in flat.items()}


def relative_rates(learner: MetaSGD) -> dict[str, Tensor]:
    """Return Meta-SGD's learned rates in units of where they started, one vector for the filters or the norm of a block, or the head's."""
    layers, parts = layer_names(learner.network), {}
    for name, rate in _rates(learner).items():
        kind = "filters" if rate.ndim == 4 else "norm"
        part = f"{layers[name]} {kind}" if name in layers else name.replace(".", " ")
        parts.setdefault(part, []).append(rate.flatten())
    return {part: torch.cat(parts[part]) for part in sorted(parts, key=lambda part: (part == "head bias", part))}


def rate_images(learner: MetaSGD) -> dict[str, Tensor]:
    """Return the relative rates that can be seen as small images (n, height, width): those of the first filters, and of the head."""
    rates = _rates(learner)
    first = next(rate for rate in rates.values() if rate.ndim == 4).mean(1)  # over the channels of the picture
    head = rates["head.weight"]
    side = round((head.numel() / len(first)) ** 0.5)
    return {"first filters": first, "head weights": head.reshape(-1, side, side)}


def _rates(learner: MetaSGD) -> dict[str, Tensor]:
    return {name.replace("/", "."): rate.detach().cpu() for name, rate in learner.rates.items()}
