"""What a sweep is: a notebook and the parameters of every cell, read from a YAML or TOML file and checked before anything starts."""

import ast
import itertools
import math
import reprlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import papermill
import yaml

from fewshot_kit.data.opening import open_regular

Value = str | int | float | bool | None
KEYS = {"notebook", "parameters", "grid", "list"}
MOST_BYTES = 100_000  # YAML is read at a tenth of a megabyte a second or two
MOST_CELLS = 100_000
LARGEST = 2**63 - 1  # of whole numbers: what a table holds
EXAMPLE = "notebook: ../notebooks/evaluate.ipynb, and grid: {seed: [0, 1, 2]}"
_KINDS = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}


class SweepError(ValueError):
    """A sweep that cannot be run; the message names the file, what is wrong and what to do."""


@dataclass(frozen=True)
class Sweep:
    """A notebook, and the parameters that each cell of the sweep gives it: all that it has, those left out at its defaults."""

    notebook: Path
    cells: tuple[dict[str, Value], ...]


def read_sweep(path: Path) -> Sweep:
    """Read a sweep: `notebook` (from the file's folder), `parameters` of all cells, a `grid` of lists, and a `list` of their own.

    Cells are every row of `list` with every combination of `grid`. Raises SweepError for what the notebook does not take.
    """
    values = _read(path)
    if unknown := sorted(map(str, values.keys() - KEYS)):
        raise SweepError(f"{path} has {', '.join(unknown)[:200]}, but a sweep has {', '.join(sorted(KEYS))}")
    if not isinstance(values.get("notebook"), str):
        raise SweepError(f"{path} names no notebook; write {EXAMPLE}")
    notebook = (path.parent / values["notebook"]).resolve()
    known = notebook_parameters(notebook)
    common, grid = (_table(path, values, key) for key in ("parameters", "grid"))
    rows = values.get("list", [{}])
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise SweepError(f"{path} has a list that is none of tables; write one table of parameters a row")
    if wrong := [name for name, of in grid.items() if not isinstance(of, list) or not of]:
        raise SweepError(f"{path} has in its grid {wrong[0]} without a list of values; write {wrong[0]}: [...], or move it to parameters")
    n_cells = len(rows) * math.prod(len(of) for of in grid.values())
    if n_cells > MOST_CELLS:
        raise SweepError(f"{path} has {n_cells:,} cells, but at most {MOST_CELLS:,} are run; make the grid smaller")
    defaults = {name: default for name, (_, default) in known.items()}
    cells = []
    for row, combination in itertools.product(rows, itertools.product(*grid.values())):
        _check_disjoint(path, common, grid, row)
        given = {**common, **dict(zip(grid, combination, strict=True)), **row}
        cells.append({**defaults, **{name: _checked(path, notebook, name, value, known) for name, value in given.items()}})
    return Sweep(notebook, tuple(cells))


def notebook_parameters(notebook: Path) -> dict[str, tuple[str, Value]]:
    """Return the type and the default of each parameter of a notebook, by name. Raises SweepError where it has none."""
    if not notebook.is_file():
        raise SweepError(f"there is no notebook {notebook}; write its path from the folder of the sweep's file")
    try:
        found = papermill.inspect_notebook(str(notebook))
    except Exception as error:  # of a damaged notebook, nbformat raises nearly anything
        raise SweepError(f"{notebook} cannot be read as a notebook ({' '.join(str(error).split())[:200]})") from error
    if not found:
        raise SweepError(f"{notebook} has no cell tagged parameters, so that a sweep can give it none; tag one")
    return {name: (one["inferred_type_name"], _literal(notebook, name, one["default"])) for name, one in found.items()}


def _literal(notebook: Path, name: str, text: str) -> Value:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise SweepError(f"{notebook} computes its parameter {name} ({text[:60]}); write its value instead, as a sweep takes it") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        with open_regular(path) as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SweepError(f"{path} cannot be read ({error.strerror or error}); name a YAML or TOML file") from error
    if len(content) > MOST_BYTES:
        raise SweepError(f"{path} has more than {MOST_BYTES:,} bytes; a sweep is shorter")
    try:
        text = content.decode("utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise SweepError(
            f"{path} is not valid {'TOML' if path.suffix == '.toml' else 'YAML'} ({' '.join(str(error).split())[:200]})"
        ) from error
    if not isinstance(values, dict):
        raise SweepError(f"{path} holds no table; write {EXAMPLE}")
    return values


def _table(path: Path, values: Mapping, key: str) -> dict[str, Any]:
    found = values.get(key) or {}
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise SweepError(f"{path} has {key} that is no table of names; write {key}: {{seed: ...}}")
    return found


def _check_disjoint(path: Path, *tables: Mapping[str, Any]) -> None:
    names: Sequence[Any] = [name for table in tables for name in table]
    if twice := sorted({str(name) for name in names if names.count(name) > 1}):
        raise SweepError(f"{path} gives {twice[0]} in two places; leave it in one of parameters, grid and list")


def _checked(path: Path, notebook: Path, name: str, value: Any, known: Mapping[str, tuple[str, Value]]) -> Value:
    """Return a value as the notebook takes it."""
    if name not in known:
        raise SweepError(f"{path} gives {name}, but {notebook.name} takes {', '.join(known)}")
    type_name = known[name][0].replace(" ", "")
    kind = type_name.removesuffix("|None")  # "None" by itself: the notebook says no type
    fits = _KINDS.get(kind, (str, int, float, bool))
    is_fit = (
        isinstance(value, fits)
        and (bool in fits or not isinstance(value, bool))
        and not (isinstance(value, float) and not math.isfinite(value))
        and not (isinstance(value, int) and abs(value) > LARGEST)
    )
    if not is_fit and not (value is None and type_name.endswith("|None")):
        told = repr(value[:60]) if isinstance(value, str) else reprlib.repr(value)[:60]  # aliases of YAML make huge lists of a few letters
        raise SweepError(
            f"{path} gives {name} = {told}, but {notebook.name} wants {kind if kind in _KINDS else 'a number, a text, true or false'}"
        )
    return float(value) if kind == "float" and value is not None else value
