"""Google's Quick, Draw! (CC BY 4.0): 345 categories of doodles, kept as the strokes of a pen and drawn here as small pictures.

A category is looked for in the folder that `FEWSHOT_DATA` names, then in the cache, in each as `quickdraw/<category>.ndjson`
(strokes), `quickdraw/<category>.npy` (pictures of 28 x 28), or an entry `<category>.ndjson` of `quickdraw/simplified.zip`.
What is in neither is downloaded, one category at a time and no more of it than asked for: whole files have tens of megabytes.
"""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote
from zipfile import ZipFile

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fewshot_kit.data.archives import read_zip_entry, reading
from fewshot_kit.data.cache import cached
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.files import NotWrittenError, written_whole
from fewshot_kit.data.images import preprocess
from fewshot_kit.data.opening import open_regular
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.sources import cache_folder, data_folder, root_cause
from fewshot_kit.data.strokes import Drawing, rasterise, read_drawings

SPLITS = Path(__file__).parent / "splits" / "quickdraw.json"
DOWNLOADED_SAMPLES = 100  # of a category, where nobody said how many: some 70 kB
BITMAP_SIZE = 28  # of the official pictures

_URL = "https://storage.googleapis.com/quickdraw_dataset/full/simplified"
_CHUNK = 1 << 16
_TIMEOUT = 30  # seconds without a byte


@dataclass(frozen=True)
class CategoryFile:
    """Where one category is."""

    category: str
    path: Path
    entry: str = ""  # of an archive

    @property
    def has_strokes(self) -> bool:
        return self.path.suffix != ".npy"


# --- categories ---


@cache
def categories(split: str | None = None) -> tuple[str, ...]:
    """Name the categories of a split, or all 345, sorted.

    207 / 69 / 69 for train / val / test: the sorted words in the order of `torch.randperm` with seed 0, cut in three.
    """
    splits = json.loads(SPLITS.read_text(encoding="utf-8"))
    return tuple(splits[split] if split else sorted(chain(*splits.values())))


def _check_category(category: str) -> None:
    if category in categories():
        return
    by_lower_case = {known.lower(): known for known in categories()}
    close = [by_lower_case[name] for name in difflib.get_close_matches(category.lower(), by_lower_case, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "fewshot_kit.data.quickdraw.categories() lists them"
    raise ValueError(f"Quick, Draw! has no category {category!r}; {hint}")


# --- loading ---


def load_pictures(
    names: Sequence[str], preprocessing: Preprocessing, samples_per_class: int | None = None, progress: bool = True
) -> tuple[Tensor, tuple[int, ...]]:
    """Return the pictures of these categories one after the other, canonical, and how many each has.

    That is the first `samples_per_class` of each (fewer where a local file has fewer), else as many as are on this machine,
    where a category that is not has its first `DOWNLOADED_SAMPLES` downloaded.
    """
    files = fetch_files(names, samples_per_class, progress)

    def build() -> dict[str, np.ndarray]:
        bar = tqdm(files, desc="drawing quickdraw", unit="category", disable=not progress)
        pictures = [_pictures(file, preprocessing, samples_per_class) for file in bar]
        return {"images": torch.cat(pictures).numpy(), "counts": np.array([len(of_category) for of_category in pictures])}

    paths = sorted({file.path for file in files})
    arrays = cached("quickdraw", paths, (*preprocessing.form, tuple(names), samples_per_class), ("images", "counts"), build)
    return torch.from_numpy(arrays["images"]), tuple(arrays["counts"].tolist())


def load_drawings(category: str, samples_per_class: int | None = None, progress: bool = True) -> tuple[Drawing, ...]:
    """Return the drawings of a category with their strokes, in the order of its pictures."""
    (file,) = fetch_files([category], samples_per_class, progress)
    if not file.has_strokes:
        raise ValueError(f"{file.path} has pictures, but no strokes; save {_url(category)} beside it")
    return tuple(_drawings(file, samples_per_class))


def _pictures(file: CategoryFile, preprocessing: Preprocessing, limit: int | None) -> Tensor:
    if file.has_strokes:
        pictures = (rasterise(drawing.strokes, preprocessing.size) for drawing in _drawings(file, limit))
    else:
        pictures = _bitmaps(file.path)[:limit]
    canonical = [preprocess(picture, preprocessing, "light") for picture in pictures]
    if not canonical:
        raise ValueError(f"{file.path} has no drawing of {file.category!r}; delete it and load again")
    return torch.stack(canonical)


def _drawings(file: CategoryFile, limit: int | None) -> Iterator[Drawing]:
    name = f"{file.path}, entry {file.entry}," if file.entry else str(file.path)
    for drawing in read_drawings(_read_entry(file) if file.entry else file.path, limit, name=name):
        if drawing.word != file.category:
            raise ValueError(f"{name} has a drawing of {drawing.word[:60]!r} (key_id {drawing.key_id[:60]}), not of {file.category!r}")
        yield drawing


def _read_entry(file: CategoryFile) -> bytes:
    what = f"{file.path}, entry {file.entry},"
    with reading(what), open_regular(file.path) as opened, ZipFile(opened) as archive:
        return read_zip_entry(archive, archive.getinfo(file.entry), what)


def _bitmaps(path: Path) -> np.ndarray:
    """Open an official file of pictures, `(n, 28, 28)`; they are read from it only when used."""
    try:
        open_regular(path).close()  # numpy maps a file by its name alone
        bitmaps = np.load(path, mmap_mode="r", allow_pickle=False)
        if bitmaps.dtype != np.uint8 or bitmaps.shape[1:] != (BITMAP_SIZE**2,):
            raise ValueError(f"it holds {bitmaps.dtype} {bitmaps.shape}, not uint8 (n, {BITMAP_SIZE**2})")
        if path.stat().st_size != bitmaps.offset + bitmaps.nbytes:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, not {bitmaps.offset + bitmaps.nbytes:,}")
    except Exception as error:  # of a damaged header, numpy raises anything from EOFError to the errors of Python's parser
        raise ValueError(f"{path} is cut short, damaged or not of Quick, Draw! ({error}); download it again") from error
    return bitmaps.reshape(-1, BITMAP_SIZE, BITMAP_SIZE)


# --- files ---


def find_files(names: Sequence[str], samples_per_class: int | None = None) -> dict[str, CategoryFile]:
    """Find the categories that are on this machine; of those cut short on purpose, only what has enough samples."""
    found = {}
    for folder in (cache_folder(), data_folder()):  # what the data folder has goes first
        if folder and (folder / "quickdraw").is_dir():
            found |= _files_in(folder / "quickdraw", names, samples_per_class)
    return found


def _files_in(folder: Path, names: Sequence[str], samples_per_class: int | None) -> dict[str, CategoryFile]:
    present = {path.name: path for path in folder.iterdir()}
    entries = _entries(present["simplified.zip"]) if "simplified.zip" in present else frozenset()
    beginnings: dict[str, dict[int, Path]] = {}
    for path in present.values():
        if match := re.fullmatch(r"(.+)-first(\d+)\.ndjson", path.name):
            beginnings.setdefault(match[1], {})[int(match[2])] = path
    found = {}
    for name in names:
        enough = {n: path for n, path in beginnings.get(name, {}).items() if n >= (samples_per_class or 1)}
        if whole := present.get(f"{name}.ndjson") or present.get(f"{name}.npy"):
            found[name] = CategoryFile(name, whole)
        elif f"{name}.ndjson" in entries:
            found[name] = CategoryFile(name, present["simplified.zip"], f"{name}.ndjson")
        elif enough:
            found[name] = CategoryFile(name, enough[min(enough) if samples_per_class else max(enough)])
    return found


def _entries(path: Path) -> frozenset[str]:
    with reading(str(path)), open_regular(path) as file, ZipFile(file) as archive:
        return frozenset(archive.namelist())


def fetch_files(names: Sequence[str], samples_per_class: int | None = None, progress: bool = True) -> list[CategoryFile]:
    """Return the files of these categories, those that are missing downloaded first."""
    for name in names:
        _check_category(name)
    found = find_files(names, samples_per_class)
    missing = [name for name in names if name not in found]
    for name in tqdm(missing, desc="downloading quickdraw", unit="category", disable=not (progress and missing)):
        found[name] = CategoryFile(name, _download_beginning(name, samples_per_class or DOWNLOADED_SAMPLES))
    return [found[name] for name in names]


def _download_beginning(category: str, n: int) -> Path:
    """Download the first `n` drawings of a category and no more."""
    url, target = _url(category), cache_folder() / "quickdraw" / f"{category}-first{n}.ndjson"
    with _downloading(url, target) as file, closing(_chunks(url)) as chunks:
        _check_drawings(_copied(_lines(chunks), file), limit=n)
    return target


def _check_drawings(source: Iterable[bytes], limit: int | None = None) -> None:
    if not sum(1 for _ in read_drawings(source, limit, name="it")):
        raise ValueError("it holds no drawing")


def _copied(lines: Iterable[bytes], file: BinaryIO) -> Iterator[bytes]:
    """Pass lines on, each written down when it is asked for."""
    for text in lines:
        file.write(text)
        yield text


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Join pieces of any size and split them at the ends of lines, which are kept."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (text + b"\n" for text in lines)
    if rest:
        yield rest


def _chunks(url: str) -> Iterator[bytes]:
    """Yield what a URL sends, piece by piece; OSError if that is less than it announced."""
    import requests  # what pooch downloads with; it takes long to import, and only downloads need it

    headers = {"Accept-Encoding": "identity"}  # else the announced length is not of these bytes
    with requests.get(url, stream=True, timeout=_TIMEOUT, headers=headers) as response:
        response.raise_for_status()
        n_announced, n_received = int(response.headers.get("Content-Length", 0)), 0
        for chunk in response.iter_content(_CHUNK):
            n_received += len(chunk)
            yield chunk
        if n_received < n_announced:
            raise OSError(f"it broke off after {n_received:,} of {n_announced:,} bytes")


@contextmanager
def _downloading(url: str, target: Path) -> Iterator[BinaryIO]:
    """Open the file of a download, which is kept if the block ends well; say what to do if not."""
    instead = "use a bundled data set (digits, characters, drawings): they need no network"
    by_hand = f"Try again, save it by hand in {target.parent} under the name of the category, or {instead}"
    try:
        with written_whole(target) as file:
            yield file
    except NotWrittenError:  # no fault of the network
        raise
    except OSError as error:  # requests' exceptions are all OSErrors
        raise ConnectionError(f"{url} could not be downloaded ({root_cause(error)}). {by_hand}") from error
    except ValueError as error:
        raise ConnectionError(f"what {url} sent is not the expected file ({error}). {by_hand}") from error


def _url(category: str) -> str:
    return f"{_URL}/{quote(category)}.ndjson"


# --- the data set ---


def load_quickdraw(split: str, preprocessing: Preprocessing, progress: bool, samples_per_class: int | None) -> ClassImages:
    names = categories(split)
    images, counts = load_pictures(names, preprocessing, samples_per_class, progress)
    return ClassImages("quickdraw", split, images, counts, names, preprocessing)


def quickdraw_is_here() -> bool:
    return len(find_files(categories())) == len(categories())
