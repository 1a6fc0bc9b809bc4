"""Choose where tensors live, and how many threads work on them.

Networks this small give a team of threads too little to do: its members wait for one another, and beside busy processes they wait many
times longer (docs/results.md). So an operation has one thread, and a second core works on a second task.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

_n_workers: int | None = None  # of the process; None: nothing was said yet, and torch's own number counts
_of_thread = threading.local()  # `n`: what this thread was told, as by a training of its own


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called `name`; "auto" is CUDA where there is one. Raises ValueError for a device this machine lacks."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device must be auto, cpu or cuda, not {name!r}") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, not {name!r}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r} was asked for, but torch sees no CUDA GPU here; use device='cpu' (or 'auto')")
    return device


def n_workers() -> int:
    """Return how many threads work side by side, each on a task of its own."""
    return getattr(_of_thread, "n", None) or _n_workers or torch.get_num_threads()


def use_one_thread() -> None:
    """Give every operation of this process one thread; the threads torch had for one are from now on for tasks side by side."""
    global _n_workers
    _n_workers = _n_workers or torch.get_num_threads()
    torch.set_num_threads(1)


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Let torch use `n` CPU threads, for an operation or for tasks side by side, and afterwards as many as before."""
    before, workers_before = torch.get_num_threads(), getattr(_of_thread, "n", None)
    torch.set_num_threads(n)
    _of_thread.n = n
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _of_thread.n = workers_before


def map_in_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return `work` of every item, by `n_workers` threads, each of which has one torch thread for itself."""
    n_threads, before = min(n_workers(), len(items)), torch.get_num_threads()
    if n_threads == 1:
        return [work(item) for item in items]
    try:
        with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, items))
    finally:  # what a thread sets is also where threads begin that are started later
        torch.set_num_threads(before)
