"""The table that a sweep has written, read again: its cells checked, and their models named."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from fewshot_kit.data.opening import expanded, open_regular

PARQUET, CSV = "results.parquet", "results.csv"
EPISODES = "episode_accuracies"  # a list as JSON: too long for a table that people read
EXAMPLE = Path(__file__).parents[2] / "data_examples" / "sweep"  # the results of sweeps/bundled.yaml, which come with the kit
TASK = ("dataset", "n_way", "n_shot")
PROTOCOL = ("dataset", "n_way", "n_shot", "split", "n_query", "within_group", "transductive", "n_episodes")  # all of it but the seed
WHOLE = ("n_way", "n_shot", "n_query", "n_episodes", "seed")
NUMBERS = ("accuracy", "half_width", "seconds", "n_parameters")
DONE, FAILED, UNUSABLE, AGAIN = "done", "failed", "unusable", "again"  # the states of a cell
LARGEST = 2**53  # whole numbers up to here are exact


class ResultsError(ValueError):
    """Results that cannot be shown; the message says what is wrong and what to do."""


def read_results(folder: str | Path = "") -> pandas.DataFrame:
    """Read the results.parquet of a sweep's folder, a row a cell; of the kit's example if left empty.

    `model` is a checkpoint, with learner and settings where they were given; `status` is done, failed, unusable (done, but without what a
    leaderboard needs) or again (the same cell is counted in another row), and `error` says why; `episodes` is an array (n_episodes,) of
    accuracies, or None where they were not kept. Raises ResultsError.
    """
    path = _path_of(expanded(folder) if str(folder).strip() else EXAMPLE)
    table = _read(path)
    _check(path, table)
    cells = _named(table)
    cells["episodes"] = [_episodes(text, n) for text, n in zip(_column(table, EPISODES), cells["n_episodes"], strict=True)]
    return _judged(cells)


def _path_of(given: Path) -> Path:
    if given.suffix == ".csv":
        raise ResultsError(f"{given} is the short table, without the episodes that pairs need; give its folder, with {PARQUET}")
    path = given if given.suffix == ".parquet" else given / PARQUET
    if not path.exists():
        at = "there is no such folder" if not path.parent.is_dir() else f"there is no {PARQUET}"
        at += f", only {CSV}" * (path.parent / CSV).is_file()
        raise ResultsError(f"{given}: {at}; give a sweep's folder, as runs/sweeps/bundled after python -m fewshot_kit sweep")
    return path


def _read(path: Path) -> pandas.DataFrame:
    try:
        with open_regular(path) as file:
            return pandas.read_parquet(io.BytesIO(file.read()))
    except Exception as error:  # of a damaged file, pyarrow raises nearly anything
        told = " ".join(str(error).split())[:200]
        raise ResultsError(f"{path} cannot be read as a table ({told}); the sweep's command writes it anew") from error


def _check(path: Path, table: pandas.DataFrame) -> None:
    if not len(table):
        raise ResultsError(f"{path} is empty: no cell of the sweep has ended yet; run it, or wait for its first cell")
    if not table.columns.is_unique or "status" not in table:
        raise ResultsError(f"{path} is no table of a sweep: it has no column status; give the folder of a sweep")
    if "accuracy.mean" not in table and (table["status"] == DONE).any():
        raise ResultsError(f"{path} has no accuracies: it is of another notebook; a leaderboard is of sweeps of evaluate.ipynb")


def _column(table: pandas.DataFrame, name: str, parameter: str = "") -> pandas.Series:
    """Return a column; where a cell has nothing there, as one that failed, the parameter that it was given."""
    nothing = pandas.Series(None, index=table.index, dtype=object)
    found, given = (table.get(key, nothing).astype(object) for key in (name, f"param.{parameter or name}"))
    return found.where(found.notna(), given)


def _named(table: pandas.DataFrame) -> pandas.DataFrame:
    """Return the columns that a leaderboard needs, in one type each."""
    cells = pandas.DataFrame({name: _texts(_column(table, name)) for name in ("key", "status", "error", "dataset", "split")})
    parts = [_texts(_column(table, name)) for name in ("checkpoint", "learner", "settings", "size")]
    # As it was given, where it was: two folders of one name are two models.
    parts[0] = [given or found for given, found in zip(_texts(_column(table, "param.checkpoint")), parts[0], strict=True)]
    cells["model"] = [model_name(*values) for values in zip(*parts, strict=True)]
    for name in WHOLE:
        cells[name] = _whole(_column(table, name, {"n_episodes": "episodes"}.get(name, name)))
    for name, source in zip(NUMBERS, ("accuracy.mean", "accuracy.half_width", "seconds", "n_parameters"), strict=True):
        cells[name] = _numbers(_column(table, source))
    for name in ("within_group", "transductive"):
        cells[name] = [value is True or str(value) in ("True", "1.0", "1") for value in _column(table, name)]
    return cells


def model_name(checkpoint: str, learner: str = "", settings: str = "", size: str = "") -> str:
    """Name a model: the checkpoint, and how it was measured where that is not the default; the order of settings is no difference."""
    said = [learner and f"by {learner}", *sorted(settings.split()), size and f"{size.removesuffix('.0')} pixels"]
    return ", ".join(" ".join(part.split()) for part in (checkpoint.strip() or "no name", *said) if part)


def _texts(values: pandas.Series) -> list[str]:
    return ["" if value is None or value is pandas.NA or value != value else str(value) for value in values]


def _numbers(values: pandas.Series) -> pandas.Series:
    numbers = pandas.to_numeric(values, errors="coerce").astype(float)
    return numbers.where(np.isfinite(numbers))


def _whole(values: pandas.Series) -> pandas.Series:
    numbers = _numbers(values)
    return numbers.where((numbers % 1 == 0) & (numbers.abs() <= LARGEST)).astype("Int64")


def _episodes(text: Any, n: Any) -> np.ndarray | None:
    """Return the accuracies of a cell's episodes, or None where they are missing or are not one finite number an episode."""
    try:
        found = np.array(json.loads(text), dtype=float) if isinstance(text, str) else None
    except (ValueError, TypeError, RecursionError):
        return None
    is_whole = found is not None and n is not pandas.NA and found.shape == (n,) and bool(np.isfinite(found).all())
    return found if is_whole else None


def _judged(cells: pandas.DataFrame) -> pandas.DataFrame:
    """Say of each cell that is done whether it counts, and if not, why."""
    done = cells["status"] == DONE
    cells.loc[~done, "status"] = FAILED
    cells.loc[~done & (cells["error"] == ""), "error"] = "no error was kept"
    for name in ("dataset", "split", *WHOLE, "accuracy"):
        is_missing = cells[name].isna() if name in (*WHOLE, *NUMBERS) else cells[name] == ""
        cells.loc[is_missing & (cells["status"] == DONE), ["status", "error"]] = UNUSABLE, f"its result has no {name}"
    is_strange = (cells["status"] == DONE) & (~cells["accuracy"].between(0, 1) | (cells["n_episodes"] < 1).fillna(False).astype(bool))
    cells.loc[is_strange, ["status", "error"]] = UNUSABLE, "its accuracy is no share of 0 to 1, or of no episode"
    counted = cells[cells["status"] == DONE].assign(kept=lambda rows: rows["episodes"].notna()).sort_values("kept", kind="stable")
    same = [*PROTOCOL, "seed", "model"]
    again = counted.index[counted.duplicated(same, keep="last")]
    cells.loc[again, ["status", "error"]] = AGAIN, "the same model, protocol and seed stand in another row, which is counted"
    return cells
