"""Measurements: a mean with its 95 % interval, and an evaluation with its whole protocol. No torch is needed to read them."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


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
    def of(cls, values: Any) -> Self:
        """Return the interval of the mean of a tensor (n,)."""
        half_width = 1.96 * values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return cls(values.mean().item(), half_width)

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.half_width:.3f}"

    def percent(self) -> str:
        return f"{100 * self.mean:.1f} ± {100 * self.half_width:.1f} %"


@dataclass(frozen=True)
class Evaluation:
    """Named metrics over episodes, and the protocol they were measured under.

    Of classification the metrics are the queries' accuracy (a fraction), which is the primary one, and their cross entropy (`loss`, nats);
    of detection they are mean average precisions (fractions): see `fewshot_kit.detection.evaluate_detection`.
    """

    metrics: Mapping[str, Interval]
    n_episodes: int
    n_way: int
    n_shot: int
    n_query: int  # a class
    seed: int
    transductive: bool
    dataset: str
    split: str
    settings: Mapping[str, float]  # what the learner adapted by
    seconds: float
    primary: str = "accuracy"  # the metric by which the best of several is chosen: larger is better
    support_loss: float | None = None  # mean cross entropy on the support after adaptation
    checkpoint: str | None = None
    within_group: bool = False  # each episode's classes were of one group: of Omniglot, of one alphabet
    learner: str | None = None  # where it was another than the checkpoint's, on its network
    size: int | None = None  # of the pictures, where it was another than the network's
    n_parameters: int | None = None  # of the network and what the learner learned beside it, where that was counted
    episode_accuracies: tuple[float, ...] = ()  # of each episode, in the order they were drawn, where they were asked for

    @property
    def accuracy(self) -> Interval:
        return self.metrics["accuracy"]

    @property
    def loss(self) -> Interval:
        return self.metrics["loss"]

    @property
    def best_by(self) -> float:
        """Return the mean of the primary metric."""
        return self.metrics[self.primary].mean

    @classmethod
    def from_dict(cls, values: Mapping) -> Self:
        """Make it from what `to_dict` returns; keys that are none of its own are left out."""
        names = {item.name for item in dataclasses.fields(cls)}
        return cls(metrics=metrics_of(values), **{name: value for name, value in values.items() if name in names})

    def __str__(self) -> str:
        return describe_result(self.to_dict())

    def to_dict(self) -> dict:
        """Return what JSON can hold, a key a metric: None in place of NaN and infinity."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name != "metrics"}
        metrics = {name: dataclasses.asdict(value) for name, value in self.metrics.items()}
        left_out = () if self.episode_accuracies else ("episode_accuracies",)
        values = {name: value for name, value in values.items() if name not in left_out}
        return _finite_or_none({**metrics, **values, "settings": dict(self.settings)})

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)


def metrics_of(result: Mapping) -> dict[str, Interval]:
    """Return the metrics of an `Evaluation` as a dictionary."""
    return {
        name: Interval(**value) for name, value in result.items() if isinstance(value, Mapping) and value.keys() == {"mean", "half_width"}
    }


METRICS = {  # as a person reads them
    "accuracy": "{percent}",
    "loss": "cross entropy {value}",
    "map50": "mAP50 {percent} strict",
    "map": "mAP50-95 {percent} strict",
    "map50_lenient": "mAP50 {percent} lenient",
    "map_lenient": "mAP50-95 {percent} lenient",
}


def describe_metrics(result: Mapping) -> str:
    """Write "97.1 ± 0.4 %, cross entropy 0.098 ± 0.018": the primary metric first."""
    metrics, primary = metrics_of(result), result.get("primary", "accuracy")
    metrics = {primary: metrics[primary], **metrics}
    return ", ".join(METRICS.get(name, f"{name} {{value}}").format(percent=m.percent(), value=m) for name, m in metrics.items())


def describe_result(result: Mapping) -> str:
    """Write a measurement (an `Evaluation` as a dictionary) with its protocol, in a line."""
    return (
        f"{describe_metrics(result)} ({result['n_episodes']} episodes, {result['n_way']}-way {result['n_shot']}-shot, "
        f"{result['n_query']} queries a class, {result['dataset']} {result['split']}, {describe_mode(result)}, seed {result['seed']})"
    )


def describe_mode(result: Mapping) -> str:
    """Say how the queries of a measurement were answered and its classes drawn."""
    words = ["transductive" if result["transductive"] else "inductive"]
    words += ["classes of one group"] if result.get("within_group") else []
    words += [f"by {result['learner']}"] if result.get("learner") else []
    words += [f"pictures of {result['size']} pixels"] if result.get("size") else []
    return ", ".join(words)


def _finite_or_none(value):
    if isinstance(value, dict):
        return {name: _finite_or_none(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
