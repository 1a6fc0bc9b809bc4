"""A small notebook to sweep over, and what its cells come to."""

import json
from collections.abc import Sequence
from pathlib import Path

import nbformat
import numpy as np
import pandas
from nbformat.v4 import new_code_cell, new_notebook

PARAMETERS = """number: int = 1  # of the cell
rate: float = 0.5
word: str = "a"
is_on: bool = False"""
WORK = """import json, os, pathlib, time
log = pathlib.Path("log.txt")
with open(log, "a") as file:
    file.write(f"{number}\\n")
time.sleep(rate)
if word == "fails" or (word == "once" and not pathlib.Path(f"failed-{number}").exists()):
    pathlib.Path(f"failed-{number}").touch()
    raise ValueError("this cell fails")"""
RESULT = 'print(json.dumps({"square": number**2, "accuracy": {"mean": 0.5, "half_width": None}, "list": [1, 2]}))'


def notebook(folder: Path) -> Path:
    """Write it into a folder."""
    cells = [
        new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        new_code_cell(WORK),
        new_code_cell(RESULT, metadata={"tags": ["result"]}),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = folder / "work.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
    return path


def begun(folder: Path) -> list[int]:
    """Return the numbers of the cells that were begun, as often as they were."""
    log = folder / "log.txt"
    return [int(line) for line in log.read_text().split()] if log.is_file() else []


# --- what a sweep of evaluate.ipynb writes ---


def measured(checkpoint: str = "a", seed: int = 0, accuracies: Sequence[float] = (0.5, 1.0), **changes: object) -> dict:
    """Return the row of a cell that is done, as `results.parquet` holds it."""
    n, values = len(accuracies), np.asarray(accuracies, dtype=float)
    half_width = 1.96 * values.std(ddof=1) / n**0.5 if n > 1 else None
    row = {
        "key": f"{checkpoint}-{seed}-{changes}"[:99], "status": "done", "param.checkpoint": checkpoint, "checkpoint": checkpoint,
        "seed": seed, "dataset": "characters", "split": "test", "n_way": 5, "n_shot": 1, "n_query": 5, "n_episodes": n,
        "within_group": False,
        "transductive": False, "accuracy.mean": values.mean(), "accuracy.half_width": half_width, "seconds": 2.0, "n_parameters": 1000,
        "episode_accuracies": json.dumps(values.tolist()),
    }  # fmt: skip
    return {**row, **changes}


def failed(checkpoint: str = "a", error: str = "Traceback\nValueError: this cell fails", **parameters: object) -> dict:
    """Return the row of a cell that has failed."""
    given = {"checkpoint": checkpoint, "dataset": "characters", "n_way": 5, "n_shot": 1, "episodes": 2, "seed": 0, **parameters}
    return {"key": "f", "status": "failed", **{f"param.{name}": value for name, value in given.items()}, "error": error}


def write_results(folder: Path, *rows: dict) -> Path:
    """Write the rows as a sweep's folder holds them."""
    folder.mkdir(parents=True, exist_ok=True)
    pandas.DataFrame(list(rows)).to_parquet(folder / "results.parquet", index=False)
    return folder


def few_models(n: int = 3, episodes: int = 40, seeds: Sequence[int] = (0, 1)) -> list[dict]:
    """Return cells of models of which each is clearly better than the next."""
    rows = []
    for seed in seeds:
        hardness = np.random.default_rng(seed).normal(0, 0.03, episodes)
        for place in range(n):
            noise = np.random.default_rng((seed, place)).normal(0, 0.005, episodes)
            values = np.clip(0.9 - 0.5 * place / n + hardness + noise, 0, 1)
            rows.append(measured(f"model{place}", seed, values, seconds=4.0 + place, n_parameters=1000 * 10 ** (place % 5)))
    return rows
