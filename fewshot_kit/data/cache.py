"""Keep what was decoded, so that the next load need not decode it again."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fewshot_kit.data.files import written_whole
from fewshot_kit.data.sources import cache_folder

logger = logging.getLogger(__name__)

CACHE_VERSION = 1  # raise it whenever decoding, drawing or preprocessing changes a pixel

Arrays = dict[str, np.ndarray]


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
