"""What a config.json may hold: types, ranges, finite numbers and known keys, checked in one place before anything is made of it.

No torch is needed to check it.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fewshot_kit.data.opening import open_regular
from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.learners.configs import CONFIGS
from fewshot_kit.networks.configs import KINDS, Conv4Config, NetworkConfig
from fewshot_kit.training.config import TrainConfig

MAX_BYTES = 50_000_000
MAX_NESTING = 100  # lists and objects in one another: every `start_from` adds two
MOST = {"inner_steps": 10_000, "train_inner_steps": 10_000}  # of whole numbers among the hyper-parameters
MOST_OF_OTHERS = 1_000_000
MAX_PLACE = 200  # letters of where something is, in a message

RUN_KEYS = {"learner", "hyper_parameters", "training", "start", "versions"}
CHECKPOINT_KEYS = {"format_version", "learner", "hyper_parameters", "settings", "training", "versions", "sha256", "results"}
_REQUIRED = {"learner": str, "hyper_parameters": dict, "training": dict, "sha256": str, "results": list}
_RESULT = {
    **{"dataset": str, "split": str, "transductive": bool, "settings": dict[str, float]},
    **dict.fromkeys(("n_episodes", "n_way", "n_shot", "n_query", "seed"), int),
}


class SchemaError(ValueError):
    """A config.json that is not what it should be; the message says where and what, but not in which file."""


def read_json(path: Path) -> dict:
    """Read a file that holds a JSON object, every number in it finite. Raises SchemaError for anything else."""
    with open_regular(path) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise SchemaError(f"has more than {MAX_BYTES:,} bytes")
    try:
        values = json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise SchemaError(f"is not valid JSON (it is nested more than {MAX_NESTING} deep)") from error
    except ValueError as error:
        raise SchemaError(f"is not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise SchemaError("holds no JSON object")
    _check_values(values)
    return values


def _check_values(values: dict) -> None:
    """Raise SchemaError for what is nested too deep, and for numbers that are not finite or too large for any setting."""
    rest: list[tuple[str, Any, int]] = [("", values, 1)]  # a list of what is to be done: recursion would fail on what is nested deep
    while rest:
        where, value, depth = rest.pop()
        if depth > MAX_NESTING:
            raise SchemaError(f"is nested more than {MAX_NESTING} deep")
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        rest += [(shortened(f"{where}.{key}" if where else str(key), MAX_PLACE), item, depth + 1) for key, item in items]
        for text in value if isinstance(value, dict) else [value] if isinstance(value, str) else []:
            _check_text(text)
        if isinstance(value, float) and not math.isfinite(value):
            raise SchemaError(f"has {where} = {value}, which is no finite number")
        if isinstance(value, int) and abs(value) >= 2**64:
            raise SchemaError(f"has in {where} a whole number beyond 64 bits")


def _check_text(text: str) -> None:
    """Raise SchemaError for half of a surrogate pair, which JSON can hold, but no file and no terminal."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SchemaError(f"has a text that is no Unicode ({shortened(ascii(text))})") from error


def check_run(values: dict) -> None:
    """Check the config.json of a run or a checkpoint, as far as showing it needs: those of other versions of the kit are shown too."""
    if not (isinstance(values.get("learner"), str) and isinstance(values.get("training"), dict)):
        raise SchemaError("names no learner and training: it is no run of this kit")
    _check_known(values, RUN_KEYS | CHECKPOINT_KEYS, "")
    if not isinstance(values.get("hyper_parameters", {}), dict):
        raise SchemaError("has hyper_parameters that are no object")


def check_begun(values: dict) -> TrainConfig:
    """Check the config.json of a run that is to be taken up or exported, and return its training, with defaults for what is missing."""
    if not (isinstance(values.get("learner"), str) and isinstance(values.get("hyper_parameters"), dict)):
        raise SchemaError("names no learner and hyper_parameters: it is no run of this kit")
    _check_known(values, RUN_KEYS, "")
    _check_type(values.get("start"), dict | None, "start")
    _check_type(values.get("versions", {}), dict[str, str], "versions")
    check_hyper_parameters(values["learner"], values["hyper_parameters"])
    training = values.get("training")
    _check_type(training, dict, "training")
    if not isinstance(training.get("source"), dict):
        raise SchemaError("has no training.source: the run was begun by an earlier version of the kit")
    _check_fields(training, TrainConfig, "training")
    try:
        return TrainConfig(**{**training, "source": TaskSource(**training["source"])})
    except ValueError as error:
        raise SchemaError(f"has a training that cannot be: {shortened(str(error), 300)}") from error


def check_checkpoint(values: dict) -> None:
    """Check the config.json of a checkpoint, whose format_version is known to be this kit's."""
    if missing := sorted(_REQUIRED.keys() - values.keys()):
        raise SchemaError(f"lacks {', '.join(missing)}")
    _check_known(values, CHECKPOINT_KEYS, "")
    for name, kind in _REQUIRED.items():
        _check_type(values[name], kind, name)
    check_hyper_parameters(values["learner"], values["hyper_parameters"])
    _check_training(values["training"])
    settings = values.get("settings", [])
    if not (isinstance(settings, list) and all(map(_is_setting, settings))):
        raise SchemaError("has settings that are not each n_way, n_shot and values, numbers by name")
    for position, result in enumerate(values["results"]):
        _check_result(result, f"results[{position}]")


def check_hyper_parameters(learner: str, values: dict) -> None:
    """Check a learner's hyper-parameters: names, types and ranges, those of its network among them."""
    if learner not in CONFIGS:
        raise SchemaError(f"has an unknown learner {shortened(repr(learner))}; there are {', '.join(CONFIGS)}")
    if "network" not in values:
        raise SchemaError("has hyper_parameters in which 'network' is missing")
    kind = CONFIGS[learner]
    _check_type(values["network"], dict, "hyper_parameters.network")
    _check_fields(values, kind, "hyper_parameters")
    for name, value in values.items():
        most = MOST.get(name, MOST_OF_OTHERS)
        if type(value) is int and abs(value) > most:
            raise SchemaError(f"has hyper_parameters.{name} = {value}, more than the {most:,} allowed")
    try:
        kind.from_dict(values)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"has hyper_parameters that cannot be: {shortened(str(error), 300)}") from error


def check_keys(values: dict, kind: type) -> None:
    """Check that values have exactly the keys of a dataclass, each of its type; what is in lists is left to the caller."""
    hints = typing.get_type_hints(kind)
    if missing := sorted(hints.keys() - values.keys()):
        raise SchemaError(f"lacks {', '.join(missing)}")
    _check_known(values, set(hints), "")
    for name, hint in hints.items():
        if dataclasses.is_dataclass(hint) or any(map(dataclasses.is_dataclass, typing.get_args(hint))):
            hint = list if typing.get_origin(hint) is list else dict | None
        _check_type(values[name], list if typing.get_origin(hint) is list else hint, name)


def _check_training(values: dict) -> None:
    """Check the types of what is known of a training; what else was recorded with it stays."""
    _check_fields(values, TrainConfig, "training", others=True)
    _check_type(values.get("minutes", 0), float, "training.minutes")
    if isinstance(values.get("source"), dict):
        _check_fields(values["source"], TaskSource, "training.source")


def _check_fields(values: dict, kind: type, where: str, others: bool = False) -> None:
    """Check the values of a dataclass as JSON holds it."""
    hints = typing.get_type_hints(kind)
    if not others:
        _check_known(values, set(hints), where)
    for name in values.keys() & hints.keys():
        hint, place = hints[name], f"{where}.{name}"
        if hint == NetworkConfig:  # an unknown kind is refused by its name, later
            hint = KINDS.get(str(values[name].get("kind")), Conv4Config) if isinstance(values[name], dict) else Conv4Config
        if not dataclasses.is_dataclass(hint):
            _check_type(values[name], hint, place)
        elif not isinstance(values[name], dict):
            raise SchemaError(f"has {place} that is no object")
        elif not others:
            _check_fields(values[name], hint, place)


def _check_known(values: dict, known: set[str], where: str) -> None:
    if unknown := sorted(values.keys() - known):
        of = f" in {where}" if where else ""
        raise SchemaError(f"has keys{of} that this kit does not know: {shortened(', '.join(unknown), 200)}")


def _check_type(value: object, hint: Any, where: str) -> None:
    if not _fits(value, hint):
        raise SchemaError(f"has {where} = {shortened(repr(value))}, but wants {' or '.join(_words(hint))}")


def shortened(text: str, most: int = 60) -> str:
    """Return a text for a message: what somebody else wrote may be as long as a book."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _fits(value: object, hint: Any) -> bool:
    """Say whether what JSON gave is of a type; an integer is a number too, and true is none."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in arguments)
    if origin is typing.Literal:
        return isinstance(value, str) and value in arguments
    if origin is tuple:
        return isinstance(value, list) and all(_fits(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(item, arguments[1]) for item in value.values())
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))


def _words(hint: Any) -> Iterator[str]:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", dict: "an object", list: "a list"}
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for option in arguments:
            yield from _words(option)
    elif typing.get_origin(hint) is typing.Literal:
        yield f"one of {', '.join(arguments)}"
    else:
        yield "null" if hint is type(None) else names.get(hint, "a list of numbers" if arguments and hint is not dict else "an object")


def _is_setting(row: object) -> bool:
    if not isinstance(row, dict) or row.keys() != {"n_way", "n_shot", "values"} or not _fits(row["values"], dict[str, float]):
        return False
    return all(type(row[name]) is int and row[name] > 0 for name in ("n_way", "n_shot"))


def _check_result(result: object, where: str) -> None:
    """Check a measurement as far as lists and cards show it."""
    _check_type(result, dict, where)
    primary = result.get("primary", "accuracy")
    needed = {"accuracy", "loss"} if primary == "accuracy" else set()
    if missing := sorted((_RESULT.keys() | needed) - result.keys()):
        raise SchemaError(f"has {where} that lacks {', '.join(missing)}")
    for name, kind in _RESULT.items():
        _check_type(result[name], kind, f"{where}.{name}")
    for name, value in result.items():
        is_interval = isinstance(value, dict) and value.keys() == {"mean", "half_width"}
        if is_interval and not all(_fits(part, float | None) for part in value.values()):
            raise SchemaError(f"has {where}.{name} that is no mean and half_width, numbers or null")
        if not is_interval and name in ("accuracy", "loss", primary):
            raise SchemaError(f"has {where}.{name} that is no mean and half_width, numbers or null")
    if not isinstance(primary, str) or primary not in result:
        raise SchemaError(f"has {where}.primary that names none of its measurements")
    _check_type(result.get("command", ""), str, f"{where}.command")
