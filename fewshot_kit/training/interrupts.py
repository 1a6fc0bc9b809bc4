"""Signals that end a training: after the step in progress, with its state saved."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interrupt_between_steps() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C and SIGTERM end the loop after the step in progress; the same signal a second time ends the process at once."""
    received = []

    def note(signal_number, frame):
        received.append(signal_number)
        signal.signal(signal_number, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():  # a notebook panel: no signal comes here
        yield lambda: False
        return
    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
