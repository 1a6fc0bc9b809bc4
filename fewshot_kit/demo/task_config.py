"""The config.json of a person's classes on the disk, checked before anything is made of it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot_kit.demo.own_classes import LONGEST_NAME, MOST_CLASSES
from fewshot_kit.training.checkpoint_folder import CONFIG, FORMAT_VERSION
from fewshot_kit.training.schema import SchemaError, check_hyper_parameters, check_keys, read_json, shortened
from fewshot_kit.training.staging import finish_killed_save

KIND = "own classes"
PICTURES = "pictures"  # the folder they are in
MOST_CLOSENESS = 10_000


class SavedTaskError(ValueError):
    """A folder of a person's classes that cannot be opened; the message names it, what is wrong and what to do."""


@dataclass(frozen=True)
class PictureRow:
    file: str  # below the folder
    name: str  # as it was given
    sha256: str


@dataclass(frozen=True)
class ClassRow:
    name: str
    pictures: list[PictureRow]


@dataclass(frozen=True)
class EstimateRow:
    n: int
    n_right: int
    closeness: list[float]


@dataclass(frozen=True)
class TaskConfig:
    """What config.json holds."""

    format_version: int
    kind: str  # KIND
    learner: str
    hyper_parameters: dict
    settings: dict[str, float]  # set by hand
    checkpoint: str
    checkpoint_sha256: str
    classes: list[ClassRow]
    estimate: EstimateRow | None
    versions: dict[str, str]
    sha256: str


def read_task_config(folder: Path) -> TaskConfig:
    """Read and check the config.json of saved classes."""
    path = folder / CONFIG
    finish_killed_save(folder)
    try:
        values = read_json(path)
    except FileNotFoundError as error:
        raise SavedTaskError(f"{folder} holds no {CONFIG}: no classes were saved there; choose another folder") from error
    except (OSError, ValueError) as error:
        raise SavedTaskError(f"{path} {error}; copy the folder again") from error
    if values.get("kind") != KIND:
        raise SavedTaskError(f"{folder} holds no classes that were saved; choose another folder")
    version = values.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        newer = type(version) is int and version > FORMAT_VERSION
        do = "upgrade fewshot_kit" if newer else "save the classes again"
        raise SavedTaskError(f"{path} has format_version {version!r}, but this kit reads {FORMAT_VERSION}; {do}")
    try:
        check_keys(values, TaskConfig)
        check_hyper_parameters(values["learner"], values["hyper_parameters"])
        return _task_config(values)
    except (SchemaError, TypeError, KeyError) as error:
        raise SavedTaskError(f"{path} {error}; copy the folder again, or upgrade fewshot_kit") from error


def _task_config(values: dict) -> TaskConfig:
    """Return the config, its rows checked."""
    rows = []
    for row in values["classes"]:
        _check_row(row, ClassRow)
        for picture in row["pictures"]:
            _check_row(picture, PictureRow)
            if not re.fullmatch(rf"{PICTURES}/[a-z0-9-]{{1,60}}/[0-9]{{3}}\.[a-z0-9]{{1,7}}", picture["file"]):
                raise SchemaError(f"names a picture that cannot be in it, {shortened(repr(picture['file']))}")
        rows.append(ClassRow(row["name"], [PictureRow(**picture) for picture in row["pictures"]]))
    names = [row.name for row in rows]
    if not 2 <= len(rows) <= MOST_CLASSES or len(set(names)) != len(names) or not all(0 < len(name) <= LONGEST_NAME for name in names):
        raise SchemaError(f"has classes that cannot be: 2 to {MOST_CLASSES} of different names are wanted")
    estimate = values["estimate"]
    if estimate is not None:
        _check_row(estimate, EstimateRow)
        n, n_right, closeness = estimate["n"], estimate["n_right"], estimate["closeness"]
        if not (0 <= n_right <= n == len(closeness) <= MOST_CLOSENESS and all(type(value) is float for value in closeness)):
            raise SchemaError("has an estimate that cannot be")
    return TaskConfig(**{**values, "classes": rows, "estimate": None if estimate is None else EstimateRow(**estimate)})


def _check_row(row: Any, kind: type) -> None:
    if not isinstance(row, dict):
        raise SchemaError(f"has a row that is no object, but {shortened(repr(row))}")
    check_keys(row, kind)
