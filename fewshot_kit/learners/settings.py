"""What a person may turn when a learner adapts. Panels, command line, parameters of notebooks, cards and results build on this alone."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fewshot_kit.learners.checks import MOST_HANDS, MOST_VIEWS, MOST_WIDER, check_finite

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
    neutral: float | None = None  # the value at which it changes nothing, so that there is nothing to say of it

    @property
    def is_neutral(self) -> bool:
        return self.value == self.neutral

    def __str__(self) -> str:
        return f"{self.label} {self.value:g}"


def learning_rate(value: float, source: str, *, label: str = "learning rate", low: float = 1e-4, high: float = 1.0) -> Setting:
    return Setting("inner_lr", label, value, low, high, scale="log", source=source)


def epochs(value: int, source: str, most: int = 50) -> Setting:
    """Return the setting of the number of full-batch steps; 0 shows the untrained model."""
    return Setting("inner_steps", "epochs", value, 0, most, is_whole=True, source=source)


def views(value: int, source: str) -> Setting:
    """Return the setting of how often a picture is looked at: 2, its mirror image too; more, cropped around its middle."""
    return Setting("views", "views a picture", value, 1, MOST_VIEWS, is_whole=True, source=source, neutral=1)


def hands(value: int, source: str) -> Setting:
    """Return the setting of how often a drawing is looked at: as it is, then as other hands might have drawn it."""
    return Setting("views", "views a drawing", value, 1, MOST_HANDS, is_whole=True, source=source, neutral=1)


def middle(value: float, source: str) -> Setting:
    """Return the setting of the share of a picture, around its middle, that is looked at."""
    return Setting("middle", "middle looked at", value, 0.3, 1.0, source=source, neutral=1)


def support_views(value: int, source: str) -> Setting:
    """Return the setting of how often more a picture that is learned from is looked at, each time wider."""
    return Setting("support_views", "further views to learn from", value, 0, MOST_WIDER, is_whole=True, source=source, neutral=0)


def describe(settings: Sequence[Setting]) -> str:
    """Write settings as "learning rate 0.02, epochs 10", "" where there is nothing to say."""
    return ", ".join(str(setting) for setting in settings if not setting.is_neutral)


def parse_settings(words: Sequence[str]) -> dict[str, float]:
    """Read words such as inner_lr=0.01; whole numbers stay whole."""
    found = {}
    for word in words:
        name, _, text = word.partition("=")
        try:
            found[name] = int(text) if text.lstrip("-").isdigit() else float(text)
        except ValueError as error:
            raise ValueError(f"a setting is written name=value, as inner_lr=0.01; {word!r} is not") from error
        check_finite(name, found[name])
    return found


def parse_settings_of(word: str) -> dict:
    """Read 5way-1shot:inner_lr=0.01,inner_steps=10."""
    place, _, values = word.partition(":")
    if not (found := re.fullmatch(r"([1-9]\d*)way-([1-9]\d*)shot", place)):
        raise ValueError(f"settings are written as 5way-1shot:inner_lr=0.01,inner_steps=10; {word!r} is not")
    return {"n_way": int(found[1]), "n_shot": int(found[2]), "values": parse_settings(values.split(","))}
