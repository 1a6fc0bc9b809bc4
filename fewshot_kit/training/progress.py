"""What a command says to a person at a terminal, and how far it is. No torch is needed."""

import os
import sys


def say(text: str) -> None:
    """Tell a person at a terminal what is going on, at once; of several processes, the first one speaks."""
    if os.environ.get("RANK", "0") == "0":
        print(text, file=sys.stderr, flush=True)


class Bar:
    """A bar on a terminal that comes when there is something to count, and goes when it is full."""

    def __init__(self, what: str, total: int, quiet: bool = False, unit: str = "episode"):
        self._what, self._total, self._quiet, self._unit, self._bar = what, total, quiet, unit, None

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *error) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def show_of(self, done: int, total: int) -> None:
        """Show how many of how many are done, where that is known only now."""
        self._total = total
        self.show(done)

    def show(self, done: int, *_) -> None:
        """Show how many are done."""
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=self._total, desc=self._what, unit=self._unit, leave=False, disable=self._quiet or None)
        self._bar.update(done - self._bar.n)
        if done >= self._total:
            self.__exit__()
