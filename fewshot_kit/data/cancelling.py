"""How long work is stopped by whoever asked for it: it is given a function that it calls between two steps, and that raises."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

Check = Callable[[], None]  # raises Cancelled once the work is no longer wanted


class Cancelled(Exception):
    """Raised by a callback to stop what called it between two steps."""


def go_on() -> None:
    """Raise nothing: the check of work that nobody stops."""


def checked(items: Iterable[Item], check: Check) -> Iterator[Item]:
    """Yield the items, checked at each."""
    for item in items:
        check()
        yield item
