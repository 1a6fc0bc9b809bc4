"""Keep what was decoded, so that the next load need not decode it again."""

import hashlib
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from fewshot_kit.data.files import written_whole
from fewshot_kit.data.opening import open_regular
from fewshot_kit.data.sources import cache_folder

logger = logging.getLogger(__name__)

CACHE_VERSION = 1  # raise it whenever decoding, drawing or preprocessing changes a pixel

SMALL = 1_000_000  # bytes of a file whose content is part of the key; of a larger one, its path, size and time are

Arrays = dict[str, np.ndarray]


def cached(name: str, paths: Sequence[Path], how: tuple, keys: Collection[str], build: Callable[[], Arrays]) -> Arrays:
    """Return what `build` decodes, from the cache where the same files (`paths`) were decoded the same way (`how`) before.

    `keys` are the names of the arrays; a cache file that lacks one is damaged, and built anew as such.
    """
    cache = cache_file(f"{name}-{{}}.npz", paths, how)
    if cache.is_file():
        try:
            return _read(cache, keys)
        except Exception as error:  # numpy and zipfile raise many kinds, and every one of them is cured by a rebuild
            logger.warning("%s is damaged (%s) and is built anew", cache, error)
    arrays = build()
    _write(cache, arrays)
    return arrays


def cache_file(name: str, paths: Sequence[Path], how: tuple) -> Path:
    """Return the place of what is decoded from these files in this way; `{}` in its name becomes the key."""
    key = hashlib.sha256(repr((CACHE_VERSION, [_identity(path) for path in paths], *how)).encode()).hexdigest()[:16]
    return cache_folder() / "decoded" / name.format(key)


def _identity(path: Path) -> tuple:
    """Return what tells a file from others of its name, in this folder and elsewhere, now and later."""
    status = path.stat()
    what = (str(path.resolve()), status.st_size, status.st_mtime_ns)
    if status.st_size > SMALL:
        return what
    with open_regular(path) as file:
        return (*what, hashlib.sha256(file.read(SMALL + 1)).hexdigest())


def _read(cache: Path, keys: Collection[str]) -> Arrays:
    with open_regular(cache) as file, np.load(file, allow_pickle=False) as arrays:
        if missing := sorted(set(keys) - set(arrays)):
            raise ValueError(f"it lacks {', '.join(missing)}")
        return dict(arrays)


def _write(cache: Path, arrays: Arrays) -> None:
    """Keep decoded pictures; without room for them, the next load decodes them again."""
    try:
        # As np.savez, which before numpy 2.2 leaves the archive open where a write fails, and Python says so when it is collected.
        with written_whole(cache) as file, ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                    np.lib.format.write_array(part, array, allow_pickle=False)
    except OSError as error:
        logger.warning("the decoded pictures could not be kept: %s. The next load decodes them again", error)
