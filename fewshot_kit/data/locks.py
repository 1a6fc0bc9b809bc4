"""One process at a time writes a folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from fewshot_kit.data.files import folder_for, writing


class InUseError(OSError):
    """A folder that another process is writing; the message names it."""


@contextmanager
def locked(lock: Path, folder: Path, seconds: float = 0.2) -> Iterator[None]:
    """Hold the file `lock` while `folder` is written; wait so many seconds for whoever holds it. Raises InUseError if they do not let go.

    The operating system lets go for a process that was killed, so a lock file that was left behind blocks nobody.
    """
    with folder_for(lock):
        holder = FileLock(lock, timeout=seconds)
        try:
            with writing(folder):
                holder.acquire()
        except Timeout:
            raise InUseError(f"{folder} is being written by {_writer(lock)}; wait until it is done, or choose another folder") from None
        try:
            with suppress(OSError):  # only for the message: no room, or a system on which nobody may write what is locked
                lock.write_text(str(os.getpid()), encoding="utf-8")
            yield
        finally:
            with suppress(OSError):
                lock.unlink()
            holder.release()


def _writer(lock: Path) -> str:
    with suppress(OSError, ValueError):
        pid = int(lock.read_text(encoding="utf-8"))
        return "this process already" if pid == os.getpid() else f"another process (pid {pid})"
    return "another process"
