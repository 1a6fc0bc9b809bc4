"""Checks of settings: each says what was wanted. No torch is needed."""

from types import NoneType
from typing import get_args, get_type_hints

MOST = 10_000_000  # of any whole number that has no bound of its own
MOST_TOGETHER = 10_000  # inner steps, and tasks of a meta-batch: what is held at a time
MOST_HANDS = 32  # of a drawing: as it is, and as so many others, less one, might have drawn it
MOST_WIDER = 4  # further looks at a picture that is learned from
MOST_VIEWS = 8  # of a picture: fewshot_kit.learners.views has no more
LARGEST = 1e30  # of any other number: 32 bits hold little more


def check_numbers(config: object) -> None:
    """Raise ValueError for the first number of a configuration that is not finite, not whole where it must be, or beyond all use."""
    for name, kind in get_type_hints(type(config)).items():
        value, kinds = getattr(config, name), (kind, *get_args(kind))
        if value is None and NoneType in kinds:
            continue
        check = check_finite if float in kinds else check_whole if int in kinds else None
        for number in value if isinstance(value, tuple) else (value,):
            if check is not None:
                check(name, number)


def check_finite(name: str, value: float) -> None:
    """Raise ValueError unless it is a finite number that is not beyond all use."""
    if not (_is_number(value) and abs(value) <= LARGEST):
        raise ValueError(f"{name} must be a finite number (at most {LARGEST:g}), not {value!r}")


def check_whole(name: str, value: int) -> None:
    """Raise ValueError unless it is a whole number; what is larger than `MOST` is a slip of the hand, but for a seed."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    if name == "seed" and not 0 <= value < 2**63:
        raise ValueError(f"seed must be a whole number from 0 to 2**63 - 1, not {value}")
    if name != "seed" and value > MOST:
        raise ValueError(f"{name} must be at most {MOST}, not {value}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_at_least(config: object, **least: float) -> None:
    """Raise ValueError for the first of the named settings that is below its least value."""
    for name, bound in least.items():
        if not getattr(config, name) >= bound:
            raise ValueError(f"{name} must be at least {bound}, not {getattr(config, name)}")


def check_at_most(config: object, **most: float) -> None:
    """Raise ValueError for the first of the named settings that is above its largest value."""
    for name, bound in most.items():
        if not getattr(config, name) <= bound:
            raise ValueError(f"{name} must be at most {bound}, not {getattr(config, name)}")


def check_inner_loop(inner_lr: float, inner_steps: int, prefix: str = "") -> None:
    """Raise ValueError unless the learning rate is a finite positive number and the number of steps a whole number from 0."""
    if not (_is_number(inner_lr) and 0 < inner_lr <= LARGEST):
        raise ValueError(f"{prefix}inner_lr (the learning rate) must be a finite number above 0, not {inner_lr!r}; try 0.01")
    name = f"{prefix}inner_steps (the epochs)"
    if isinstance(inner_steps, bool) or not isinstance(inner_steps, int) or inner_steps < 0:
        raise ValueError(f"{name} must be a whole number, 0 or more, not {inner_steps!r}; 0 shows the untrained model")
    if inner_steps > MOST_TOGETHER:
        raise ValueError(f"{name} must be at most {MOST_TOGETHER}, not {inner_steps}")
