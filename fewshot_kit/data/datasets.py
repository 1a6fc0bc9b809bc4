"""Every data set behind one name: `load_dataset("omniglot", "train")` gives its pictures by class."""

import difflib
import gzip
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from fewshot_kit.data import photographs, quickdraw
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.decoding import decode_pictures, kept_images
from fewshot_kit.data.images import Ink, Preprocessing, preprocess
from fewshot_kit.data.sources import RemoteFile, open_tree, pictures_by_class

DEFAULT_PREPROCESSING = Preprocessing()
EXAMPLES = Path(__file__).parents[2] / "data_examples"
VINYALS_SPLITS = Path(__file__).parent / "splits" / "omniglot_vinyals.json"

# Five of the 30 background alphabets, drawn once: torch.randperm(30, generator=torch.Generator().manual_seed(1))[:5] of them sorted.
OMNIGLOT_VAL_ALPHABETS = (
    "Ojibwe_(Canadian_Aboriginal_Syllabics)",
    "Asomtavruli_(Georgian)",
    "Bengali",
    "Braille",
    "Mkhedruli_(Georgian)",
)

# The bundled characters again, split by alphabet: small enough to meta-train on while one looks on.
CHARACTERS_ALPHABETS = {"train": ("Velmic", "Torrak"), "val": ("Osheni",), "test": ("Quilda",)}

_OMNIGLOT_URL = "https://github.com/brendenlake/omniglot/raw/master/python"
_MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist"
_BACKGROUND = RemoteFile("omniglot/images_background.zip", f"{_OMNIGLOT_URL}/images_background.zip", "68d2efa1b9178cc56df9314c21c6e718")
_EVALUATION = RemoteFile("omniglot/images_evaluation.zip", f"{_OMNIGLOT_URL}/images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811")
_MNIST_IMAGES = RemoteFile("mnist/t10k-images-idx3-ubyte.gz", f"{_MNIST_URL}/t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3")
_MNIST_LABELS = RemoteFile("mnist/t10k-labels-idx1-ubyte.gz", f"{_MNIST_URL}/t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c")


def load_dataset(
    name: str,
    split: str = "test",
    *,
    preprocessing: Preprocessing = DEFAULT_PREPROCESSING,
    samples_per_class: int | None = None,
    progress: bool = True,
) -> ClassImages:
    """Load one split of a data set; `folder:<path>` loads a person's own folder (or archive of one), one sub-folder a class.

    `samples_per_class` keeps the first so many of every class (of `quickdraw`, no more are downloaded), and is a ValueError
    where a class has fewer; without it a class has all its pictures, but of `quickdraw` those on this machine.

    Photographs (`cifar_fs`, `grocery_store`, `grocery_store_images`) want `Preprocessing(channels=3)`, of 32 or 84 pixels.

    Files come from where `fewshot_kit.data.sources` finds them. What was decoded is kept in the cache, except a person's own
    pictures. Raises ValueError for an unknown name or split and for unusable pictures, ConnectionError without a network,
    FileNotFoundError where a set has to be fetched by hand (`grocery_store`).
    """
    known = _lookup(name)
    if split not in known.splits:
        raise ValueError(f"{name!r} has no split {split!r}; it has {', '.join(known.splits)}")
    if samples_per_class is not None and samples_per_class < 1:
        raise ValueError(f"samples_per_class must be at least 1, but is {samples_per_class}")
    limit = {"samples_per_class": samples_per_class} if known.reads_first else {}
    dataset = replace(known.load(split, preprocessing, progress, **limit), name=name, split=split)
    return dataset if samples_per_class is None else dataset.first(samples_per_class)


def dataset_names() -> tuple[str, ...]:
    """Name the data sets of `load_dataset`, beside `folder:<path>`."""
    return tuple(_DATASETS)


def dataset_splits(name: str) -> tuple[str, ...]:
    """Name the splits of a data set. Raises ValueError for an unknown name."""
    return _lookup(name).splits


def is_available(name: str) -> bool:
    """Say whether a data set can be loaded without a network."""
    return _lookup(name).is_here()


@dataclass(frozen=True)
class _DataSet:
    splits: tuple[str, ...]
    load: Callable[..., ClassImages]  # (split, preprocessing, progress)
    is_here: Callable[[], bool]
    reads_first: bool = False  # `load` takes samples_per_class too, and reads no more than those


def _lookup(name: str) -> _DataSet:
    if name.startswith("folder:"):
        path = Path(name.removeprefix("folder:")).expanduser()
        return _DataSet(("test",), lambda *arguments: _decode_tree(path, "auto", *arguments), path.exists)
    if name not in _DATASETS:
        close = difflib.get_close_matches(name, _DATASETS, n=1, cutoff=0.4)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"no data set is called {name!r}{hint} There are {', '.join(_DATASETS)}, and folder:<path>")
    return _DATASETS[name]


def _load_omniglot(split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    if split == "test":
        return _omniglot_file(_EVALUATION, preprocessing, progress)
    background = _omniglot_file(_BACKGROUND, preprocessing, progress)
    is_val = [name.split("/")[0] in OMNIGLOT_VAL_ALPHABETS for name in background.class_names]
    return background.select([class_id for class_id, held_out in enumerate(is_val) if held_out == (split == "val")])


def _load_omniglot_vinyals(split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    parts = [_omniglot_file(file, preprocessing, progress) for file in (_BACKGROUND, _EVALUATION)]
    everything = replace(
        parts[0],
        images=torch.cat([part.images for part in parts]),
        counts=parts[0].counts + parts[1].counts,
        class_names=parts[0].class_names + parts[1].class_names,
    )
    class_ids = {name: class_id for class_id, name in enumerate(everything.class_names)}
    ranges = json.loads(VINYALS_SPLITS.read_text(encoding="utf-8"))[split]  # {alphabet: [first, last character]}
    wanted = [f"{alphabet}/character{n:02d}" for alphabet, (first, last) in ranges.items() for n in range(first, last + 1)]
    return everything.select([class_ids[name] for name in wanted]).with_rotations()


def _omniglot_file(file: RemoteFile, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    path = file.fetch(progress)
    return _cached([path], preprocessing, lambda: _decode_tree(path, "dark", "all", preprocessing, progress))


def _load_mnist(split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    paths = [file.fetch(progress) for file in (_MNIST_IMAGES, _MNIST_LABELS)]

    def build() -> ClassImages:
        return _sort_by_label(_read_idx(paths[0], 3), _read_idx(paths[1], 1), preprocessing)

    return _cached(paths, preprocessing, build)


def _load_quickdraw(split: str, preprocessing: Preprocessing, progress: bool, samples_per_class: int | None) -> ClassImages:
    names = quickdraw.categories(split)
    images, counts = quickdraw.load_pictures(names, preprocessing, samples_per_class, progress)
    return ClassImages("quickdraw", split, images, counts, names, preprocessing)


def _quickdraw_is_here() -> bool:
    return len(quickdraw.find_files(quickdraw.categories())) == len(quickdraw.categories())


def _load_digits(split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    from sklearn.datasets import load_digits  # takes a second to import, and nothing else needs it

    digits = load_digits()
    return _sort_by_label(digits.images / 16, digits.target, preprocessing)  # 0..16, light ink


def _example_archive(file_name: str) -> _DataSet:
    path = EXAMPLES / file_name

    def load(split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: the bundled pictures lie beside the package; install it with pip install -e . in its checkout"
            )
        return _cached([path], preprocessing, lambda: _decode_tree(path, "dark", split, preprocessing, progress))

    return _DataSet(("test",), load, path.is_file)


def _load_characters_by_alphabet(split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    characters = _DATASETS["characters"].load("all", preprocessing, progress)
    wanted = [name.startswith(CHARACTERS_ALPHABETS[split]) for name in characters.class_names]
    return characters.select([class_id for class_id, is_wanted in enumerate(wanted) if is_wanted])


def _decode_tree(path: Path, ink: Ink, split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    """Decode a folder or archive of one sub-folder a class."""
    with open_tree(path) as tree:
        return replace(decode_pictures(tree, pictures_by_class(tree), ink, preprocessing, progress), split=split)


def _sort_by_label(pictures: np.ndarray, labels: np.ndarray, preprocessing: Preprocessing) -> ClassImages:
    """Turn light-ink pictures `(n, h, w)` of digits into classes "0" to "9", each in the order of the file."""
    order = np.argsort(labels, kind="stable")
    images = torch.stack([preprocess(picture, preprocessing, "light") for picture in pictures[order]])
    counts = tuple(np.bincount(labels, minlength=10).tolist())
    return ClassImages("digits", "test", images, counts, tuple("0123456789"), preprocessing)


def _read_idx(path: Path, n_dims: int) -> np.ndarray:
    """Read MNIST's format: 0, 0, type 8 (uint8), the number of dimensions, big-endian sizes, values."""
    try:
        content = gzip.decompress(path.read_bytes())
        magic, *shape = struct.unpack_from(f">{1 + n_dims}I", content)
        if magic != 0x800 + n_dims:
            raise ValueError(f"it starts with {magic:#x}, not {0x800 + n_dims:#x}")
        return np.frombuffer(content, dtype=np.uint8, offset=4 * (1 + n_dims)).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise ValueError(f"{path} is damaged or not an MNIST file ({error}); delete it and load again") from error


def _cached(paths: Sequence[Path], preprocessing: Preprocessing, build: Callable[[], ClassImages]) -> ClassImages:
    return kept_images(paths[0].name.split(".")[0], paths, preprocessing, build)


def _remote(splits: tuple[str, ...], load: Callable, files: Sequence[RemoteFile]) -> _DataSet:
    return _DataSet(splits, load, lambda: all(file.find() for file in files))


_DATASETS = {
    "omniglot": _remote(("train", "val", "test"), _load_omniglot, (_BACKGROUND, _EVALUATION)),
    "omniglot_vinyals": _remote(("train", "val", "test"), _load_omniglot_vinyals, (_BACKGROUND, _EVALUATION)),
    "mnist": _remote(("test",), _load_mnist, (_MNIST_IMAGES, _MNIST_LABELS)),
    "quickdraw": _DataSet(("train", "val", "test"), _load_quickdraw, _quickdraw_is_here, reads_first=True),
    "cifar_fs": _DataSet(("train", "val", "test"), photographs.load_cifar_fs, photographs.cifar_is_here),
    "grocery_store": _DataSet(("train", "val", "test"), photographs.load_grocery_store, photographs.grocery_is_here),
    "grocery_store_images": _DataSet(("train", "val", "test"), photographs.load_grocery_store_images, photographs.grocery_is_here),
    "digits": _DataSet(("test",), _load_digits, lambda: find_spec("sklearn") is not None),
    "characters": _example_archive("characters.zip"),
    "characters_by_alphabet": _DataSet(("train", "val", "test"), _load_characters_by_alphabet, (EXAMPLES / "characters.zip").is_file),
    "drawings": _example_archive("drawings.zip"),
}
