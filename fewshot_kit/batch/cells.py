"""One cell of a sweep: a notebook run once with its parameters, done once and for all, whoever runs it."""

import hashlib
import json
import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import papermill

import fewshot_kit
from fewshot_kit.batch.sweep_file import Sweep, Value
from fewshot_kit.data.files import write_text
from fewshot_kit.data.locks import locked
from fewshot_kit.data.opening import expanded
from fewshot_kit.training.checkpoint_folder import CONFIG, CheckpointError, find_checkpoint, read_config

CELLS = "cells"  # the folder they are in
EXECUTED, RUNNING, FAILED, RESULT, ERROR = "executed.ipynb", "running.ipynb", "failed.ipynb", "result.json", "error.json"
RESULT_TAG = "result"  # of the notebook's cell that prints the result as JSON
MOST_ERROR = 2_000  # letters that are kept of an error
OWN = ("folder", "boxes", "hf")  # before the path of a person's own pictures or model
WAITED = 86_400.0  # seconds for another sweep that runs the very same cell


@dataclass(frozen=True)
class Cell:
    """A notebook, its parameters, and the key that tells what comes of them."""

    notebook: Path
    parameters: dict[str, Value]
    key: str

    def folder(self, out: Path) -> Path:
        return out / CELLS / self.key


def cells_of(sweep: Sweep) -> list[Cell]:
    """Return the cells of a sweep, each once: those of equal content are one."""
    source, found, begun_in = source_sha256(sweep.notebook), {}, sweep.notebook.parent
    checkpoint_content, folder_content = cache(_checkpoint_content), cache(_folder_content)  # a folder is looked through once
    for parameters in sweep.cells:
        made_of = {"parameters": parameters, "notebook": source, "version": fewshot_kit.__version__}
        made_of["checkpoint"] = checkpoint_content(parameters.get("checkpoint"), begun_in)
        own = {name: value.partition(":") for name, value in parameters.items() if isinstance(value, str)}
        if own := {name: folder_content(begun_in / expanded(path)) for name, (kind, _, path) in own.items() if kind in OWN and path}:
            made_of["folders"] = own
        key = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:20]
        found.setdefault(key, Cell(sweep.notebook, parameters, key))
    return list(found.values())


def source_sha256(notebook: Path) -> str:
    """Return the hash of a notebook's code: its outputs and texts change nothing of what it computes."""
    cells = nbformat.read(notebook, 4).cells
    code = [(cell.source, sorted(cell.metadata.get("tags", []))) for cell in cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def _checkpoint_content(name: Value, begun_in: Path) -> dict[str, Any] | None:
    """Return what a checkpoint answers by: its weights, and the settings with which it adapts. A folder is looked for where a cell runs."""
    try:
        if not name:
            return None
        folder = begun_in / str(name)
        config = read_config(folder if (folder / CONFIG).is_file() else find_checkpoint(str(name)))
        return {key: config.get(key) for key in ("sha256", "learner", "hyper_parameters", "settings")}
    except (CheckpointError, OSError, ValueError):  # the notebook says what is wrong with it
        return None


def _folder_content(root: Path) -> str:
    """Return a hash of the paths, sizes and times of change below a folder, which of photographs is quicker than one of their content."""
    if not os.path.isdir(root):  # an archive, a model by its name
        return hashlib.sha256(json.dumps(_stat(root)).encode()).hexdigest()
    found, seen = [], set()
    for folder, inside, files in os.walk(root, followlinks=True):  # links too, as pictures are read through them
        if (place := os.path.realpath(folder)) in seen:
            inside.clear()
            continue
        seen.add(place)
        paths = [Path(folder, name) for name in files]
        found += [(path.relative_to(root).as_posix(), *_stat(path)) for path in paths]
    return hashlib.sha256(json.dumps(sorted(found)).encode()).hexdigest()


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError):  # gone, a link to nowhere, a model by its name, no path at all: the notebook says what is wrong
        return -1, -1
    return found.st_size, found.st_mtime_ns


def is_done(cell: Cell, out: Path) -> bool:
    return (cell.folder(out) / RESULT).is_file()


def run_cell(cell: Cell, out: Path, retries: int = 0) -> bool:
    """Run a cell unless it is done, and return whether it is; a failed one is kept with its error and its half-run notebook.

    What a killed process had begun is begun anew: the result is written last, and whole. One process at a time runs a cell.
    """
    folder = cell.folder(out)
    with locked(folder.with_suffix(".lock"), folder, WAITED):
        folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(retries + 1):
            if is_done(cell, out) or _run(cell, folder, attempt):
                return True
    return False


def _run(cell: Cell, folder: Path, attempt: int) -> bool:
    started = time.time()
    running = folder / RUNNING
    try:
        papermill.execute_notebook(
            str(cell.notebook), str(running), cell.parameters, cwd=str(cell.notebook.parent), progress_bar=False, log_output=False,
            kernel_manager_class="fewshot_kit.batch.kernels.KernelManager",
        )  # fmt: skip
        found = printed_result(running)
    except Exception as error:  # whatever a notebook raises; a sweep goes on
        told = str(error)[-MOST_ERROR:]
        if running.is_file():
            os.replace(running, folder / FAILED)
        kept = {"notebook": cell.notebook.name, "parameters": cell.parameters, "error": told, "attempts": attempt + 1}
        write_text(folder / ERROR, json.dumps(kept, indent=2) + "\n")
        return False
    os.replace(running, folder / EXECUTED)
    seconds = round(time.time() - started, 3)
    row = {"key": cell.key, "notebook": cell.notebook.name, "parameters": cell.parameters, "result": found, "cell_seconds": seconds}
    row["kit_version"] = fewshot_kit.__version__
    write_text(folder / RESULT, json.dumps(row, indent=2) + "\n")
    for left in (FAILED, ERROR):
        (folder / left).unlink(missing_ok=True)
    return True


def printed_result(notebook: Path) -> dict[str, Any]:
    """Return what the cell tagged `result` of an executed notebook printed, a JSON object; {} where there is no such cell."""
    for cell in nbformat.read(notebook, 4).cells:
        if cell.cell_type == "code" and RESULT_TAG in cell.metadata.get("tags", []):
            text = "".join(output.get("text", "") for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")
            found = json.loads(text)
            if not isinstance(found, dict):
                raise ValueError(f"the cell tagged {RESULT_TAG} of {notebook.name} printed no JSON object")
            return found
    return {}
