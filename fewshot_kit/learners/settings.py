"""What a person may turn when a learner adapts. Panels, command line, parameters of notebooks, cards and results build on this alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

CHOSEN, DEFAULT = "set by hand", "the default"


@dataclass(frozen=True)
class Setting:
    """One number of how a learner adapts, with what a slider needs to know of it."""

    name: str  # of the configuration, and of `Learner.with_settings`
    label: str  # in a person's words
    value: float | int
    low: float  # where a slider begins and ends; a value beyond is allowed
    high: float
    scale: Literal["linear", "log"] = "linear"
    is_whole: bool = False
    source: str = DEFAULT  # where the value came from

    def __str__(self) -> str:
        return f"{self.label} {self.value:g}"


def learning_rate(value: float, source: str, *, label: str = "learning rate", low: float = 1e-4, high: float = 1.0) -> Setting:
    return Setting("inner_lr", label, value, low, high, scale="log", source=source)


def epochs(value: int, source: str, most: int = 50) -> Setting:
    """Return the setting of the number of full-batch steps; 0 shows the untrained model."""
    return Setting("inner_steps", "epochs", value, 0, most, is_whole=True, source=source)


def describe(settings: Sequence[Setting]) -> str:
    """Write settings as "learning rate 0.02, epochs 10", "" where there is nothing to set."""
    return ", ".join(str(setting) for setting in settings)
