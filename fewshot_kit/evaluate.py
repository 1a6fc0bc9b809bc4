"""Measure a learner on many episodes, with 95 % intervals."""

import dataclasses
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_kit.data.episodes import Episode, EpisodeSampler
from fewshot_kit.learners.base import Learner


@dataclass(frozen=True)
class Interval:
    """A mean over episodes and the half width of its 95 % interval, 1.96 s / sqrt(n) with s the sample standard deviation."""

    mean: float
    half_width: float  # NaN for a single episode

    def __post_init__(self):
        for name, value in (("mean", self.mean), ("half_width", self.half_width)):
            if value is None:  # read from JSON, which has no NaN
                object.__setattr__(self, name, math.nan)

    @classmethod
    def of(cls, values: Tensor) -> "Interval":
        half_width = 1.96 * values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return cls(values.mean().item(), half_width)

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.half_width:.3f}"

    def percent(self) -> str:
        return f"{100 * self.mean:.1f} ± {100 * self.half_width:.1f} %"


@dataclass(frozen=True)
class Evaluation:
    """Query accuracy and cross entropy over episodes (fractions and nats), and the protocol they were measured under."""

    accuracy: Interval
    loss: Interval
    support_loss: float  # mean cross entropy on the support after adaptation
    n_episodes: int
    n_way: int
    n_shot: int
    n_query: int  # a class
    seed: int
    transductive: bool
    dataset: str
    split: str
    settings: dict[str, float]  # what the learner adapted by
    seconds: float
    checkpoint: str | None = None
    within_group: bool = False  # each episode's classes were of one group: of Omniglot, of one alphabet

    def __str__(self) -> str:
        return (
            f"{self.accuracy.percent()}, cross entropy {self.loss} ({self.n_episodes} episodes, {self.n_way}-way {self.n_shot}-shot, "
            f"{self.n_query} queries a class, {self.dataset} {self.split}, {describe_mode(dataclasses.asdict(self))}, seed {self.seed})"
        )

    def to_dict(self) -> dict:
        """Return what JSON can hold: None in place of NaN and infinity."""
        return _finite_or_none(dataclasses.asdict(self))

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)


def describe_mode(result: dict) -> str:
    """Say how the queries of an `Evaluation` (as a dictionary, perhaps an old one) were answered and the classes drawn."""
    mode = "transductive" if result["transductive"] else "inductive"
    return f"{mode}, classes of one group" if result.get("within_group") else mode


def _finite_or_none(value):
    if isinstance(value, dict):
        return {name: _finite_or_none(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sample_episodes(sampler: EpisodeSampler, n_episodes: int, seed: int) -> list[Episode]:
    """Draw the episodes of an evaluation: the same seed gives the same episodes on every machine."""
    generator = torch.Generator().manual_seed(seed)
    return [sampler.sample(generator) for _ in range(n_episodes)]


@torch.no_grad()
def evaluate(
    learner: Learner,
    sampler: EpisodeSampler,
    *,
    n_episodes: int = 600,
    seed: int = 0,
    transductive: bool = False,
    on_progress: Callable[[int, Interval], None] | None = None,
) -> Evaluation:
    """Adapt to `n_episodes` fresh episodes and measure the queries.

    `on_progress(episodes done, accuracy so far)` is called after each chunk; raising in it ends the evaluation.
    """
    if n_episodes < 1:
        raise ValueError(f"n_episodes must be at least 1, not {n_episodes}")
    if sampler.n_query < 1:
        raise ValueError("an evaluation needs queries: n_query must be at least 1")
    started, generator = time.perf_counter(), torch.Generator().manual_seed(seed)
    drawn = [sampler.draw(generator) for _ in range(n_episodes)]
    truth = torch.arange(sampler.n_way).repeat_interleave(sampler.n_query)
    accuracies, losses, support_losses = torch.empty(0), torch.empty(0), torch.empty(0)
    for logits, support_loss in learner.predict_drawn(sampler, drawn, transductive=transductive):
        labels = truth.to(logits.device).expand(logits.shape[:2])  # logits (tasks, n_query_total, n_way), support_loss (tasks,)
        accuracies = torch.cat([accuracies, (logits.argmax(-1) == labels).float().mean(1).cpu()])
        losses = torch.cat([losses, F.cross_entropy(logits.mT, labels, reduction="none").mean(1).cpu()])
        support_losses = torch.cat([support_losses, support_loss.cpu()])
        if on_progress is not None:
            on_progress(len(accuracies), Interval.of(accuracies))
    return Evaluation(
        accuracy=Interval.of(accuracies), loss=Interval.of(losses), support_loss=support_losses.mean().item(), n_episodes=n_episodes,
        n_way=sampler.n_way, n_shot=sampler.n_shot, n_query=sampler.n_query, seed=seed, transductive=transductive,
        dataset=sampler.dataset.name, split=sampler.dataset.split, within_group=sampler.within_group,
        seconds=time.perf_counter() - started,
        settings={setting.name: setting.value for setting in learner.settings()},
    )  # fmt: skip
