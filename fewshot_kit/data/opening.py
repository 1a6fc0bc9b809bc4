"""Open a file that somebody else named: the one place where the kit opens a file to read data from it.

A pipe would make its reader wait for ever, a device never ends, and opening some of them already does something.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises ValueError for whatever else has that name, without waiting for it."""
    _check_regular(path, os.stat(path).st_mode)
    # What was a file a moment ago may be a pipe now: without a writer, opening that waits unless it is told not to.
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))  # noqa: SIM115, the caller closes it
    try:
        _check_regular(path, os.fstat(file.fileno()).st_mode)
    except ValueError:
        file.close()
        raise
    return file


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise ValueError(f"{path} is {kind}, not a regular file; give a file, or take it away")


def expanded(path: str | Path) -> Path:
    """Return a path with `~` as the home folder it means. Raises ValueError where that is nobody's."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path} begins with the home folder of somebody unknown here ({error}); give the whole path") from error
