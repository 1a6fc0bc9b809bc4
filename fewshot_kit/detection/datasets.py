"""Every data set of pictures with boxes behind one name: `load_annotated("fod_a", "train")`."""

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from fewshot_kit.data.bundled import DRAWINGS
from fewshot_kit.data.cancelling import Check, go_on
from fewshot_kit.data.opening import expanded
from fewshot_kit.data.preprocessing import MAX_SIZE
from fewshot_kit.data.quickdraw import quickdraw_is_here
from fewshot_kit.detection.annotated import AnnotatedImages
from fewshot_kit.detection.fod_a import fod_a_is_here, load_fod_a
from fewshot_kit.detection.own_boxes import load_own_boxes
from fewshot_kit.detection.scenes import load_quickdraw_scenes, load_scenes

SIZE = 224  # pixels
LEAST_SIZE = 32
SPLITS = ("train", "train_held_out", "val", "test", "trainval", "trainval_held_out")


def load_annotated(name: str, split: str = "test", *, size: int = SIZE, progress: bool = True, check: Check = go_on) -> AnnotatedImages:
    """Load one split of a data set at `size` x `size` pixels; `boxes:<path>` is a person's own folder (or archive of one).

    "train" and "train_held_out" are different pictures of the same classes, "val" and "test" of other classes; "trainval" has the classes
    of both, for a last training once everything is chosen, and "trainval_held_out" other pictures of them. `check` is
    called at every entry and picture of a person's own folder; raise `Cancelled` in it to stop. Raises ValueError for an unknown name or
    split and for unusable pictures and boxes, FileNotFoundError for what is not on this machine.
    """
    known = _lookup(name)
    if split not in known.splits:
        raise ValueError(f"{name!r} has no split {split!r}; it has {', '.join(known.splits)}")
    if isinstance(size, bool) or not isinstance(size, int) or not LEAST_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size must be a whole number of pixels from {LEAST_SIZE} to {MAX_SIZE}, not {size!r}")
    return replace(known.load(split, size, progress, check), name=name)


def annotated_names() -> tuple[str, ...]:
    """Name the data sets of `load_annotated`, beside `boxes:<path>`."""
    return tuple(_DATASETS)


def annotated_splits(name: str) -> tuple[str, ...]:
    """Name the splits of a data set. Raises ValueError for an unknown name."""
    return _lookup(name).splits


def is_available(name: str) -> bool:
    """Say whether a data set can be loaded."""
    return _lookup(name).is_here()


@dataclass(frozen=True)
class _DataSet:
    splits: tuple[str, ...]
    load: Callable[[str, int, bool, Check], AnnotatedImages]
    is_here: Callable[[], bool]


def _lookup(name: str) -> _DataSet:
    if name.startswith("boxes:"):
        path = expanded(name.removeprefix("boxes:"))
        there = partial(os.path.exists, path)  # False, too, for what can be no path
        return _DataSet(("test",), lambda split, size, progress, check: load_own_boxes(path, size, progress, check), there)
    if name not in _DATASETS:
        close = difflib.get_close_matches(name, _DATASETS, n=1, cutoff=0.4)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ValueError(f"no data set with boxes is called {name!r}{hint} There are {', '.join(_DATASETS)}, and boxes:<path>")
    return _DATASETS[name]


_DATASETS = {
    "fod_a": _DataSet(SPLITS, lambda split, size, progress, check: load_fod_a(split, size, progress), fod_a_is_here),
    "scenes": _DataSet(SPLITS, lambda split, size, progress, check: load_scenes(split, size, progress), DRAWINGS.is_file),
    "quickdraw_scenes": _DataSet(
        SPLITS, lambda split, size, progress, check: load_quickdraw_scenes(split, size, progress), quickdraw_is_here
    ),
}
