"""Run the cells of a sweep by Dask: on the cores of this machine, or on any cluster that has a scheduler."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dask.distributed import Client, LocalCluster, as_completed

from fewshot_kit.batch.cells import Cell, cells_of, is_done, run_cell
from fewshot_kit.batch.sweep_file import Sweep
from fewshot_kit.batch.table import write_table
from fewshot_kit.data.files import writing

DEATHS = 20  # of workers that a cell may see before it is given up: a killed worker is no fault of the cell
TABLE_EVERY = 10.0  # seconds between two tables while cells are run


@dataclass(frozen=True)
class Progress:
    """How far a sweep is."""

    done: int
    failed: int
    skipped: int  # done before
    total: int
    lost: str = ""  # why the first cell failed that could not even write down its error


def run_sweep(
    sweep: Sweep,
    out: Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    retries: int = 0,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Run all cells that are not done, write the table, and return how it went.

    Whatever is killed meanwhile, the same call goes on: a cell is done when its result is there. `scheduler` is the address of a Dask
    scheduler, whose workers see `out` and the notebook under the same paths; without it, `workers` processes of this machine do the work.
    """
    cells = cells_of(sweep)
    rest = [cell for cell in cells if not is_done(cell, out)]
    skipped, done, failed, told, lost = len(cells) - len(rest), 0, 0, time.monotonic(), ""
    on_progress(Progress(done, failed, skipped, len(cells)))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    if rest:
        with _client(min(workers or os.cpu_count() or 1, len(rest)), scheduler) as client:
            for is_good, why in _outcomes(client, rest, out.resolve(), retries):
                done, failed, lost = done + is_good, failed + (not is_good), lost or why
                on_progress(Progress(done, failed, skipped, len(cells)))
                if time.monotonic() - told > TABLE_EVERY:
                    write_table(out)
                    told = time.monotonic()
    write_table(out)
    return Progress(done, failed, skipped, len(cells), lost)


def _outcomes(client: Client, cells: list[Cell], out: Path, retries: int) -> Iterator[tuple[bool, str]]:
    """Yield of each cell whether it is done; and why not, where the worker could not write that beside the cell."""
    run = partial(run_cell, out=out, retries=retries)  # `retries` beside it would be Dask's own
    futures = client.map(run, cells, pure=False, batch_size=1_000)
    for future in as_completed(futures):
        if future.status == "finished":
            yield future.result(), ""
        else:
            yield False, str(future.exception()) if future.status == "error" else f"its worker is gone ({future.status})"
        future.release()


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Client]:
    import dask

    settings = {"distributed.scheduler.allowed-failures": DEATHS, "distributed.scheduler.work-stealing": True}
    with dask.config.set(settings):
        if scheduler is not None:
            with Client(scheduler, timeout="30s") as client:
                yield client
            return
        one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with (
            LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", env=one_thread, silence_logs=50
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
