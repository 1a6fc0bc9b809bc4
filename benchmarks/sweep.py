"""What a sweep costs, and what it withstands.

    python benchmarks/sweep.py speed [--cells 48] [--workers 2]   # against papermill, one cell after the other, in one run
    python benchmarks/sweep.py cost                               # of a cell beside its work
    python benchmarks/sweep.py kills [--kills 40] [--seed 0]      # SIGKILL of driver or worker at random moments, then the same command
    python benchmarks/sweep.py many [--cells 200] [--workers 2]   # does one of many stall?

Short cells are notebooks/evaluate.ipynb on the bundled characters, a seed each.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import nbformat
import pandas
import papermill
import psutil
from nbformat.v4 import new_code_cell, new_notebook

from fewshot_kit.batch.cells import cells_of, run_cell
from fewshot_kit.batch.sweep_file import read_sweep
from fewshot_kit.batch.table import PARQUET

EVALUATE = Path(__file__).parents[1] / "notebooks" / "evaluate.ipynb"
SHORT = {"checkpoint": "protonet-omniglot_vinyals", "n_way": 5, "n_query": 5, "episodes": 20}
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def written(folder: Path, notebook: Path, parameters: dict, name: str, values: Iterable) -> Path:
    """Write a sweep of a notebook over the values of one parameter."""
    sweep = {"notebook": str(notebook), "parameters": parameters, "grid": {name: list(values)}}
    (folder / "sweep.yaml").write_text(json.dumps(sweep), encoding="utf-8")  # JSON is YAML
    return folder / "sweep.yaml"


def command(file: Path, out: Path, workers: int) -> list[str]:
    return [sys.executable, "-m", "fewshot_kit", "sweep", str(file), "--out", str(out), "--workers", str(workers)]


def swept(file: Path, out: Path, workers: int) -> tuple[float, pandas.DataFrame]:
    """Return the seconds that a sweep took, and its table."""
    started = time.perf_counter()
    subprocess.run(command(file, out, workers), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started, pandas.read_parquet(out / PARQUET)


def speed(folder: Path, n_cells: int, workers: int) -> None:
    started = time.perf_counter()
    for seed in range(n_cells):
        target = str(folder / "one.ipynb")
        papermill.execute_notebook(str(EVALUATE), target, SHORT | {"seed": seed}, cwd=str(EVALUATE.parent), progress_bar=False)
    one_by_one = time.perf_counter() - started
    seconds, table = swept(written(folder, EVALUATE, SHORT, "seed", range(n_cells)), folder / "out", workers)
    assert list(table["status"]) == ["done"] * n_cells
    print(
        f"{n_cells} cells, {workers} workers: papermill one by one {one_by_one:.0f} s, sweep {seconds:.0f} s, with its start; "
        f"{one_by_one / seconds:.2f} times as fast"
    )


def cost(folder: Path) -> None:
    imports = next(cell.source for cell in nbformat.read(EVALUATE, 4).cells if cell.source.startswith("import"))
    for what, source in (("without torch", "1"), ("with torch and the kit", imports)):
        parameters = new_code_cell("number: int = 1  # of the cell", metadata={"tags": ["parameters"]})
        path = folder / "empty.ipynb"
        nbformat.write(new_notebook(cells=[parameters, new_code_cell(source)], metadata=KERNEL), path)
        seconds = []
        for cell in cells_of(read_sweep(written(folder, path, {}, "number", range(8)))):
            started = time.perf_counter()
            assert run_cell(cell, folder / what)
            seconds.append(time.perf_counter() - started)
        median = sorted(seconds)[len(seconds) // 2]
        print(f"a cell that only imports, {what}: median {median:.1f} s, worst {max(seconds):.1f} s of {len(seconds)}")


def kills(folder: Path, n_kills: int, seed: int) -> None:
    chance, n_cells, killed = random.Random(seed), 4 * n_kills, {"driver": 0, "worker": 0}
    cells = [
        new_code_cell("number: int = 1", metadata={"tags": ["parameters"]}),
        new_code_cell("import json, time\ntime.sleep(0.3)"),
        new_code_cell('print(json.dumps({"square": number**2}))', metadata={"tags": ["result"]}),
    ]
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), folder / "work.ipynb")
    file, out = written(folder, folder / "work.ipynb", {}, "number", range(n_cells)), folder / "out"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    while sum(killed.values()) < n_kills:
        driver = subprocess.Popen(command(file, out, 2), **quiet)
        while sum(killed.values()) < n_kills:
            try:
                driver.wait(1 + 9 * chance.random())
                break  # done, or the cells of it are
            except subprocess.TimeoutExpired:
                whom = chance.choice(["driver", "worker"])
            workers = _workers(driver.pid)
            if whom == "driver" or not workers:
                driver.kill()
                driver.wait()
                killed["driver"] += 1
                break
            chance.choice(workers).kill()
            killed["worker"] += 1
        else:
            driver.wait()
    _, table = swept(file, out, 2)
    assert list(table["status"]) == ["done"] * n_cells and sorted(table["square"].astype(int)) == [n**2 for n in range(n_cells)]
    print(f"after {killed['driver']} kills of the driver and {killed['worker']} of a worker: {n_cells} cells, each once in the table")


def _workers(driver: int) -> list[psutil.Process]:
    """Return the processes of a driver that run cells."""
    found = []
    for child in psutil.Process(driver).children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def many(folder: Path, n_cells: int, workers: int) -> None:
    seconds, table = swept(written(folder, EVALUATE, SHORT, "seed", range(n_cells)), folder / "out", workers)
    assert list(table["status"]) == ["done"] * n_cells
    of_cells = table["cell_seconds"]
    told = f"a cell {of_cells.median():.1f} s, the slowest {of_cells.max():.1f} s"
    print(f"{n_cells} cells, {workers} workers: all done in {seconds:.0f} s; {told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "cost", "kills", "many"])
    parser.add_argument("--cells", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.what == "speed":
            speed(folder, given.cells or 48, given.workers)
        elif given.what == "cost":
            cost(folder)
        elif given.what == "kills":
            kills(folder, given.kills, given.seed)
        else:
            many(folder, given.cells or 200, given.workers)


if __name__ == "__main__":
    main()
