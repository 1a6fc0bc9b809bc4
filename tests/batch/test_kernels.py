"""Kernels that begin with the kit imported: as a kernel of its own would be, and gone when who started them is gone."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from fewshot_kit.batch import kernels
from fewshot_kit.batch.cells import ERROR, EXECUTED, RESULT, cells_of, run_cell
from fewshot_kit.batch.sweep_file import Sweep

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.skipif(kernels.IS_WINDOWS, reason="Windows has no forks")]
LOOK = """import os, random, signal, subprocess, sys
is_warm = "torch" in sys.modules
import matplotlib.pyplot as plt
import numpy as np
plt.plot([1, 2])
plt.show()"""
TELL = """import json
child = subprocess.run(["true"]).returncode
told = {"is_warm": is_warm, "random": [random.random(), float(np.random.rand())], "child": child, "folder": os.getcwd()}
print(json.dumps({**told, "name": __name__, "number": number, "path": sys.path[0], "parent": os.getppid()}))"""


@pytest.fixture
def results(tmp_path):
    cells = [
        new_code_cell("number: int = 1", metadata={"tags": ["parameters"]}),
        new_code_cell(LOOK),
        new_code_cell(TELL, metadata={"tags": ["result"]}),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), tmp_path / "look.ipynb")

    def run(*numbers: int) -> list[tuple[dict, Path]]:
        found = []
        for cell in cells_of(Sweep(tmp_path / "look.ipynb", tuple({"number": number} for number in numbers))):
            assert run_cell(cell, tmp_path)
            folder = cell.folder(tmp_path)
            found.append((json.loads((folder / RESULT).read_text())["result"], folder / EXECUTED))
        return found

    return run


def test_a_kernel_is_as_one_of_its_own_but_has_the_kit_imported(results, tmp_path):
    (first, executed), (second, _) = results(1, 2)
    for number, found in enumerate([first, second], start=1):
        assert found["is_warm"] and found["number"] == number and found["name"] == "__main__" and found["child"] == 0
        assert found["folder"] == str(tmp_path) and found["path"] != os.getcwd()
    assert first["parent"] == second["parent"] == kernels._zygote.pid
    assert not set(first["random"]) & set(second["random"]), "chance is not that of the kernel before"
    outputs = nbformat.read(executed, 4).cells[2].outputs
    assert any("image/png" in output.get("data", {}) for output in outputs), "a picture is drawn in its place"


def test_where_none_can_be_copied_a_kernel_begins_as_usual(results, monkeypatch):
    (before, _), = results(1)  # fmt: skip
    os.kill(before["parent"], signal.SIGKILL)
    (again, _), = results(2)  # fmt: skip
    assert again["is_warm"] and again["parent"] != before["parent"], "another takes the place of one that was killed"
    kernels._zygote.kill()
    started = subprocess.Popen
    monkeypatch.setattr(kernels.subprocess, "Popen", lambda words, **more: started([sys.executable, "-c", "raise SystemExit(3)"], **more))
    (plain, _), = results(3)  # fmt: skip
    assert not plain["is_warm"] and plain["parent"] == os.getpid()


def test_a_kernel_that_cannot_begin_leaves_nothing_behind(results, tmp_path):
    before = set(Path(tempfile.gettempdir()).glob("fewshot-*"))
    notebook = nbformat.read(tmp_path / "look.ipynb", 4)
    notebook.metadata["kernelspec"]["name"] = "nosuch"
    nbformat.write(notebook, tmp_path / "look.ipynb")
    (cell,) = cells_of(Sweep(tmp_path / "look.ipynb", ({"number": 4},)))
    assert not run_cell(cell, tmp_path) and "nosuch" in (cell.folder(tmp_path) / ERROR).read_text()
    assert set(Path(tempfile.gettempdir()).glob("fewshot-*")) <= before


def test_kernels_end_with_who_started_them(tmp_path):
    (tmp_path / "sockets").mkdir()
    order = {"argv": ["-f", str(tmp_path / "connection.json")], "cwd": str(tmp_path), "env": dict(os.environ)}
    order["sockets"] = str(tmp_path / "sockets")
    code = f"from fewshot_kit.batch.kernels import forked; import time; print(forked({order!r}), flush=True); time.sleep(100)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as starter:
        pid = int(starter.stdout.readline())
        time.sleep(2)
        assert psutil.pid_exists(pid)
        starter.kill()
    deadline = time.monotonic() + 20
    while (psutil.pid_exists(pid) or (tmp_path / "sockets").exists()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not psutil.pid_exists(pid) and not (tmp_path / "sockets").exists()
