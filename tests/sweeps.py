"""A small notebook to sweep over, and what its cells come to."""

from pathlib import Path

import nbformat
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
