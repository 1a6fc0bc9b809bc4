"""Write a folder that is to be kept, as a checkpoint: all of it or nothing, by one process at a time, in place of the one before."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from fewshot_kit.data.files import writing
from fewshot_kit.data.locks import locked
from fewshot_kit.training.checkpoint_folder import CONFIG, moved_away


@contextmanager
def staged(folder: Path, check_replaceable: Callable[[], None]) -> Iterator[Path]:
    """Give a folder to write into, which takes the place of `folder` when the block ends, and is removed if it fails.

    `check_replaceable` raises where what is there must not be replaced; it is asked under the folder's lock.
    """
    with lock_of(folder), writing(folder, parts=True):
        _tidy(folder)
        check_replaceable()
        staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.new."))
        try:
            yield staging
            _swap(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        _tidy(folder)


def lock_of(folder: Path, seconds: float = 0.2) -> AbstractContextManager[None]:
    """Return what holds a checkpoint's lock, which lies beside it, while it is written."""
    return locked(folder.parent / f".{folder.name}.lock", folder, seconds)


def finish_killed_save(folder: Path) -> None:
    """Put back what a process killed between the two renames of a save had moved away, unless another is writing or nobody may."""
    if moved_away(folder) and not folder.exists():
        with suppress(OSError), lock_of(folder):
            put_back(folder)


def put_back(folder: Path) -> None:
    """Put a checkpoint back in its place that a killed save had moved away, under its lock."""
    for place in moved_away(folder):
        if not folder.exists() and (place / CONFIG).is_file():
            os.rename(place, folder)
            place.parent.rmdir()


def _tidy(folder: Path) -> None:
    """Put the checkpoint in its place and remove what killed saves of it left, under its lock: nobody who lives is saving it."""
    put_back(folder)
    if not (folder / CONFIG).is_file():  # nothing is removed unless the checkpoint is there
        return
    is_left = re.compile(rf"\.{re.escape(folder.name)}\.(new|old)\.[a-z0-9_]{{8}}").fullmatch  # as `mkdtemp` names them
    for path in folder.parent.iterdir():
        if is_left(path.name) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def _swap(staging: Path, folder: Path) -> None:
    """Put `staging` where `folder` is; the old one is removed last."""
    os.chmod(staging, 0o755)
    if folder.exists():
        old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old."))
        try:
            os.rename(folder, old / folder.name)
            os.rename(staging, folder)
        except OSError:
            if not folder.exists():
                os.rename(old / folder.name, folder)
            old.rmdir()
            raise
        shutil.rmtree(old)
    else:
        os.rename(staging, folder)
