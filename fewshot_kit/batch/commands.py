"""The command for many runs of a notebook: `sweep`."""

from pathlib import Path
from typing import Literal

from fewshot_kit.training.progress import say


def sweep_command(
    file: Path,
    out: Path | None = None,
    engine: Literal["local"] = "local",
    workers: int | None = None,
    scheduler: str | None = None,
    retries: int = 0,
) -> int:
    """Run a notebook over a grid of parameters; what is done is skipped, so that the same command goes on after anything.

    Args:
        file: a YAML or TOML file, as sweeps/omniglot.yaml.
        out: the folder of the results; runs/sweeps/<the file's name> if left out.
        engine: local, the cores of this machine.
        workers: how many processes of this machine; as many as it has cores if left out.
        scheduler: the address of a Dask scheduler, as tcp://host:8786, in place of this machine's cores.
        retries: how often a cell that fails is tried again.
    """
    if workers is not None and not 1 <= workers <= 1_000:
        raise ValueError(f"workers must be from 1 to 1000, not {workers}")
    if workers is not None and scheduler is not None:
        raise ValueError("--workers are of this machine, and a scheduler has its own; leave one of --workers and --scheduler out")
    if not 0 <= retries <= 100:
        raise ValueError(f"retries must be from 0 to 100, not {retries}")
    say("reading the sweep …")
    from tqdm import tqdm

    try:
        from fewshot_kit.batch.sweep import Progress, run_sweep
        from fewshot_kit.batch.sweep_file import read_sweep
        from fewshot_kit.batch.table import CSV, PARQUET
    except ImportError as error:
        raise ValueError(f"a sweep needs more packages ({error}): pip install -e '.[batch]' in the folder of the kit") from error

    sweep, folder = read_sweep(file), out or Path("runs", "sweeps", file.stem)
    with tqdm(total=len(sweep.cells), unit="cell", disable=None) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.total
            bar.initial = progress.skipped
            bar.n = progress.skipped + progress.done + progress.failed
            bar.set_postfix(failed=progress.failed)

        end = run_sweep(sweep, folder, workers=workers, scheduler=scheduler, retries=retries, on_progress=show)
    print(f"{end.done} done, {end.skipped} done before, {end.failed} failed, of {end.total}; {folder / CSV} and {PARQUET}")
    if end.failed:
        say(f"a cell could not be run: {end.lost}" if end.lost else f"why stands in {folder / CSV}, under error")
    return 1 if end.failed else 0
