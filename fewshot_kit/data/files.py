"""Write files whole or not at all: the one place where the kit writes a file that is to be kept."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


@contextmanager
def written_whole(target: Path) -> Iterator[BinaryIO]:
    """Open a file beside `target` that takes its place when the block ends, and is deleted if the block fails.

    A full disk or a killed process leaves the old file as it was.
    """
    part = target.with_name(f".{target.name}.{uuid4().hex}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    finally:
        with suppress(OSError):  # gone already if all went well
            part.unlink()


def write_text(target: Path, text: str) -> None:
    """Write a text file whole."""
    with written_whole(target) as file:
        file.write(text.encode("utf-8"))
