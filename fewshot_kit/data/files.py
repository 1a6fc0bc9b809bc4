"""Write files whole or not at all: the one place where the kit writes a file that is to be kept."""

import errno
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

try:
    import fcntl
except ImportError:  # Windows, where nobody can take away a file that is open
    fcntl = None

_NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EFBIG: "the longest that a file may be here is reached",
    **({errno.EDQUOT: "your share of the disk is used up"} if hasattr(errno, "EDQUOT") else {}),
}
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


class NotWrittenError(OSError):
    """A file or folder that could not be written; the message names it, says why and what to do. It is as it was before."""

    target: Path | str = ""


class NotAllowedError(NotWrittenError, PermissionError):
    """One that this process may not write."""


@contextmanager
def writing(target: Path | str, *, parts: bool = False) -> Iterator[None]:
    """Turn what a full disk or a missing permission raises into a NotWrittenError of `target`.

    With `parts` also one that names a file which is a part of `target`, or stands in for it until it is whole.
    """
    try:
        yield
    except OSError as error:
        is_known = error.errno in _NO_ROOM or error.errno in _NOT_ALLOWED
        if not is_known or (isinstance(error, NotWrittenError) and not parts):
            raise
        raise _not_written(target, error.errno) from error


def _not_written(target: Path | str, number: int) -> NotWrittenError:
    reason, kept = os.strerror(number), "What was there before is as it was"
    if number in _NO_ROOM:
        told = NotWrittenError(f"{target} could not be written: {_NO_ROOM[number]} ({reason}). {kept}; make room, then do it again")
    else:
        told = NotAllowedError(f"{target} could not be written: it is not allowed ({reason}). {kept}; allow it, or choose another place")
    told.errno, told.target = number, target
    return told


@contextmanager
def folder_for(target: Path) -> Iterator[None]:
    """Make the folder of `target`, and what it lies in; if the block fails, take away those of them in which nothing has come to lie."""
    missing = [folder for folder in target.parents if not folder.exists()]
    try:
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise


@contextmanager
def written_whole(target: Path) -> Iterator[BinaryIO]:
    """Open a file beside `target` that takes its place when the block ends, and is deleted if the block fails.

    A full disk or a killed process leaves the old file as it was; a NotWrittenError tells of the disk. A link stays a link: the file that
    it leads to is written, and keeps its mode. What is no regular file (a device, a pipe, this process's own output) is never replaced
    but written to.
    """
    through = _written_through(target)
    with writing(target):
        if through is not None:
            with open(through, "wb") as file:
                yield file
            return
        target = Path(os.path.realpath(target))
        with folder_for(target), _part_of(target) as (part, file):
            yield file
            _to_the_disk(file)
            _put_in_place(part, file, target)


@contextmanager
def _part_of(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a file beside `target` that is to take its place; it is held meanwhile, and deleted if it has not."""
    part, file = _opened_part(target)
    try:
        if target.exists():
            part.chmod(target.stat().st_mode & 0o7777)
        yield part, file
    finally:
        with suppress(OSError):  # what could not be written before cannot be now; what is to be kept is on the disk already
            file.close()
        with suppress(OSError):  # gone already if all went well
            part.unlink()


def _to_the_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _put_in_place(part: Path, file: BinaryIO, target: Path) -> None:
    if fcntl is None:  # there, no open file can be moved
        file.close()
    os.replace(part, target)
    _remove_left_parts(target)


def _opened_part(target: Path) -> tuple[Path, BinaryIO]:
    """Open a new file beside `target`, held against those who tidy up."""
    while True:
        part = target.with_name(f".{target.name}.{uuid4().hex}.part")
        file = part.open("w+b")
        _hold(file.fileno())
        if part.exists():  # else somebody has tidied it up before it was held
            return part, file
        file.close()


def _hold(descriptor: int) -> bool:
    """Hold an open file while it is open, for as long as this process lives; return whether nobody else does."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it is held, or this file system knows of no holding
        return False
    return True


def _remove_left_parts(target: Path) -> None:
    """Remove the parts of this file that nobody holds: whoever wrote them was killed."""
    is_part = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{32}}\.part").fullmatch
    with suppress(OSError):
        for name in filter(is_part, os.listdir(target.parent)):
            with suppress(OSError):
                _remove_unless_held(target.with_name(name))


def _remove_unless_held(part: Path) -> None:
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(part, flags) if fcntl is not None else None
    try:
        if descriptor is None or _hold(descriptor):
            part.unlink()
    finally:
        if descriptor is not None:
            os.close(descriptor)


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


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write several files whole, in this order; where there is no room for all of them, none is touched."""
    with ExitStack() as stack:
        ready = []
        for target, content in contents.items():
            with writing(target):
                if _written_through(target) is not None:
                    raise OSError(f"{target} is no regular file; take it away")
                place = Path(os.path.realpath(target))
                stack.enter_context(folder_for(place))
                part, file = stack.enter_context(_part_of(place))
                file.write(content)
                _to_the_disk(file)
                ready.append((part, file, place))
        for part, file, place in ready:
            with writing(place):
                _put_in_place(part, file, place)
