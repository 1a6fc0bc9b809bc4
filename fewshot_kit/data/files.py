"""Write files whole or not at all: the one place where the kit writes a file that is to be kept."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


@contextmanager
def written_whole(target: Path) -> Iterator[BinaryIO]:
    """Open a file beside `target` that takes its place when the block ends, and is deleted if the block fails.

    A full disk or a killed process leaves the old file as it was. A link stays a link: the file that it leads to is written, and keeps
    its mode. What is no regular file (a device, a pipe, this process's own output) is never replaced but written to.
    """
    through = _written_through(target)
    if through is not None:
        with open(through, "wb") as file:
            yield file
        return
    target = Path(os.path.realpath(target))
    part = target.with_name(f".{target.name}.{uuid4().hex}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("w+b") as file:
            if target.exists():
                part.chmod(target.stat().st_mode & 0o7777)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    finally:
        with suppress(OSError):  # gone already if all went well
            part.unlink()


def _written_through(target: Path) -> Path | int | None:
    """Return what to open where nothing can take the place of `target`, None for a regular file and where there is nothing yet."""
    if not target.exists():
        return None
    status = target.stat()
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        with suppress(OSError):  # a closed one
            if os.path.samestat(status, os.fstat(descriptor)):  # /dev/stdout, whatever it was led to: go on where it is
                if stream is not None:
                    stream.flush()
                return os.dup(descriptor)
    return None if target.is_file() else target


def write_text(target: Path, text: str) -> None:
    """Write a text file whole."""
    with written_whole(target) as file:
        file.write(text.encode("utf-8"))
