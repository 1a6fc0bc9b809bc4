"""Write files whole or not at all, and keep what was decoded so that the next load need not decode it again."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import numpy as np

from fewshot_kit.data.sources import cache_folder

logger = logging.getLogger(__name__)

CACHE_VERSION = 1  # raise it whenever decoding, drawing or preprocessing changes a pixel

Arrays = dict[str, np.ndarray]


@contextmanager
def written_whole(target: Path) -> Iterator[BinaryIO]:
    """Open a file beside `target` that takes its place when the block ends, and is deleted if the block fails."""
    part = target.with_name(f"{target.name}.{uuid4().hex}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("w+b") as file:
            yield file
        os.replace(part, target)
    finally:
        with suppress(OSError):  # gone already if all went well
            part.unlink()


def cached(name: str, paths: Sequence[Path], how: tuple, build: Callable[[], Arrays]) -> Arrays:
    """Return what `build` decodes, from the cache where the same files (`paths`) were decoded the same way (`how`) before."""
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    key = hashlib.sha256(repr((CACHE_VERSION, stats, *how)).encode()).hexdigest()[:16]
    cache = cache_folder() / "decoded" / f"{name}-{key}.npz"
    if cache.is_file():
        try:
            return _read(cache)
        except Exception as error:  # numpy and zipfile raise many kinds, and every one of them is cured by a rebuild
            logger.warning("%s is damaged (%s) and is built anew", cache, error)
    arrays = build()
    _write(cache, arrays)
    return arrays


def _read(cache: Path) -> Arrays:
    with cache.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def _write(cache: Path, arrays: Arrays) -> None:
    """Keep decoded pictures; without room for them, the next load decodes them again."""
    try:
        with written_whole(cache) as file:
            np.savez(file, **arrays)
    except OSError as error:
        logger.warning("the decoded pictures could not be kept in %s (%s); the next load decodes them again", cache, error)
