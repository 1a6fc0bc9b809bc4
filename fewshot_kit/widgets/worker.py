"""One background thread that works for the newest request only."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from fewshot_kit.data.cancelling import Cancelled, Check

# A job is given `check`, to be called between two steps: it raises Cancelled once a newer request came or `stop` was called.
Job = Callable[[Check], None]


class Worker:
    """Run jobs one after another in a thread; a new job cancels the ones before it."""

    def __init__(self, on_error: Callable[[Exception], None]):
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fewshot", initializer=torch.set_num_threads, initargs=(1,))
        self._on_error = on_error
        self._newest: object = None
        self._last: Future | None = None
        self._lock = threading.Lock()

    def submit(self, job: Job) -> None:
        """Cancel what runs or waits, then run `job`."""
        with self._lock:
            token = self._newest = object()
            self._last = self._pool.submit(self._run, job, token)

    def stop(self) -> None:
        """Cancel what runs or waits."""
        with self._lock:
            self._newest = object()

    def wait(self, timeout: float | None = None) -> None:
        """Block until the newest job has ended, were it submitted meanwhile. Raises TimeoutError after `timeout` seconds of one job."""
        waited_for = None
        while self._last is not waited_for:
            waited_for = self._last
            waited_for.result(timeout)

    def _run(self, job: Job, token: object) -> None:
        def check() -> None:
            if self._newest is not token:
                raise Cancelled

        try:
            check()
            job(check)
        except Cancelled:
            pass
        except Exception as error:  # shown to the person, whatever it is: a thread has nobody else to tell
            if self._newest is token:
                self._on_error(error)
