"""Every data set behind one name: `load_dataset("omniglot", "train")` gives its pictures by class."""

import difflib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from fewshot_kit.data import bundled, digits, mini_imagenet, omniglot, photo_patches, photographs, quickdraw
from fewshot_kit.data.cancelling import Check, go_on
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.opening import expanded
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.sources import RemoteFile

DEFAULT_PREPROCESSING = Preprocessing()
ALL = ("train", "val", "test")


def load_dataset(
    name: str,
    split: str = "test",
    *,
    preprocessing: Preprocessing = DEFAULT_PREPROCESSING,
    samples_per_class: int | None = None,
    progress: bool = True,
    check: Check = go_on,
) -> ClassImages:
    """Load one split of a data set; `folder:<path>` loads a person's own folder (or archive of one), one sub-folder a class.

    `samples_per_class` keeps the first so many of every class (of `quickdraw`, no more are downloaded), and is a ValueError
    where a class has fewer; without it a class has all its pictures, but of `quickdraw` those on this machine.

    Photographs (`mini_imagenet`, `fc100`, `cifar_fs`, `grocery_store`, `grocery_store_images`, `photo_patches`) want
    `Preprocessing(channels=3)`, of 32 or 84 pixels.

    `check` is called at every entry and every picture of a person's own folder; raise `Cancelled` in it to stop.

    Files come from where `fewshot_kit.data.sources` finds them. What was decoded is kept in the cache, except a person's own
    pictures. Raises ValueError for an unknown name or split and for unusable pictures, ConnectionError without a network,
    FileNotFoundError where a set has to be fetched by hand (`mini_imagenet`, `grocery_store`).
    """
    known = _lookup(name)
    if split not in known.splits:
        raise ValueError(f"{name!r} has no split {split!r}; it has {', '.join(known.splits)}")
    if samples_per_class is not None and samples_per_class < 1:
        raise ValueError(f"samples_per_class must be at least 1, but is {samples_per_class}")
    more = {"samples_per_class": samples_per_class} if known.reads_first else {"check": check} if known.can_be_stopped else {}
    dataset = replace(known.load(split, preprocessing, progress, **more), name=name, split=split)
    return dataset if samples_per_class is None else dataset.first(samples_per_class)


def dataset_names() -> tuple[str, ...]:
    """Name the data sets of `load_dataset`, beside `folder:<path>`."""
    return tuple(_DATASETS)


def dataset_splits(name: str) -> tuple[str, ...]:
    """Name the splits of a data set. Raises ValueError for an unknown name."""
    return _lookup(name).splits


def rotates_in_training(name: str) -> bool:
    """Say whether a training on this data set takes every class in four orientations unless it is told otherwise (Vinyals et al. 2016)."""
    return _lookup(name).rotates


def has_photographs(name: str) -> bool:
    """Say whether a data set's pictures are photographs in colour, which a network for ink cannot tell apart."""
    return _lookup(name).photographs


def is_available(name: str) -> bool:
    """Say whether a data set can be loaded without a network."""
    return _lookup(name).is_here()


@dataclass(frozen=True)
class _DataSet:
    splits: tuple[str, ...]
    load: Callable[..., ClassImages]  # (split, preprocessing, progress)
    is_here: Callable[[], bool]
    rotates: bool = False  # in training: ink without an up and down of its own, unless its classes are rotated already
    photographs: bool = False
    can_be_stopped: bool = False  # `load` takes a check too
    reads_first: bool = False  # `load` takes samples_per_class too, and reads no more than those


def _lookup(name: str) -> _DataSet:
    if name.startswith("folder:"):
        path = expanded(name.removeprefix("folder:"))
        return _DataSet(("test",), partial(bundled.load_folder, path), partial(os.path.exists, path), can_be_stopped=True)
    if name not in _DATASETS:
        close = difflib.get_close_matches(name, _DATASETS, n=1, cutoff=0.4)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"no data set is called {name!r}{hint} There are {', '.join(_DATASETS)}, and folder:<path>")
    return _DATASETS[name]


def _remote(splits: tuple[str, ...], load: Callable, files: Sequence[RemoteFile], rotates: bool = False) -> _DataSet:
    return _DataSet(splits, load, lambda: all(file.find() for file in files), rotates)


def _example_archive(path: Path) -> _DataSet:
    return _DataSet(("test",), partial(bundled.load_examples, path), path.is_file)


_OMNIGLOT, _MNIST = (omniglot.BACKGROUND, omniglot.EVALUATION), (digits.MNIST_IMAGES, digits.MNIST_LABELS)
_DATASETS = {
    "omniglot": _remote(ALL, omniglot.load_omniglot, _OMNIGLOT, rotates=True),
    "omniglot_vinyals": _remote(ALL, omniglot.load_omniglot_vinyals, _OMNIGLOT),
    "mnist": _remote(("test",), digits.load_mnist, _MNIST),
    "quickdraw": _DataSet(ALL, quickdraw.load_quickdraw, quickdraw.quickdraw_is_here, rotates=True, reads_first=True),
    "mini_imagenet": _DataSet(ALL, mini_imagenet.load_mini_imagenet, mini_imagenet.mini_imagenet_is_here, photographs=True),
    "fc100": _DataSet(ALL, partial(photographs.load_cifar, "fc100"), photographs.cifar_is_here, photographs=True),
    "cifar_fs": _DataSet(ALL, partial(photographs.load_cifar, "cifar_fs"), photographs.cifar_is_here, photographs=True),
    "grocery_store": _DataSet(ALL, photographs.load_grocery_store, photographs.grocery_is_here, photographs=True),
    "grocery_store_images": _DataSet(ALL, photographs.load_grocery_store_images, photographs.grocery_is_here, photographs=True),
    "photo_patches": _DataSet(ALL, photo_patches.load_photo_patches, lambda: True, photographs=True),
    "digits": _DataSet(("test",), digits.load_small_digits, lambda: find_spec("sklearn") is not None),
    "characters": _example_archive(bundled.CHARACTERS),
    "characters_by_alphabet": _DataSet(ALL, bundled.load_characters_by_alphabet, bundled.CHARACTERS.is_file, rotates=True),
    "drawings": _example_archive(bundled.DRAWINGS),
}
