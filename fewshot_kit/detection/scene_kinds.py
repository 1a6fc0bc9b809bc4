"""Which kinds of things are in the scenes of each data set and split: what is for testing is in no scene for training.

`scenes` takes the kit's own drawings and needs no download. `quickdraw_scenes` adds hundreds of kinds of Quick, Draw! to those for
training: how many kinds a detector was trained on decides how well it tells new ones apart.
"""

from dataclasses import dataclass

import numpy as np
import torch
from skimage.segmentation import flood
from torch import Tensor

from fewshot_kit.data.bundled import DRAWINGS, load_examples
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.quickdraw import categories, load_pictures

_BASE = (
    "arrow", "bird", "butterfly", "car", "cloud", "face", "fish", "flower", "glasses", "hat", "house", "lightning", "moon", "star", "sun",
    "tree", "triangle",
)  # fmt: skip
_VAL = ("balloon", "boat", "cat", "heart", "ladder")
KINDS = {
    "train": _BASE,
    "train_held_out": _BASE,  # other scenes of the same kinds
    "trainval": (*_BASE, *_VAL),
    "trainval_held_out": (*_BASE, *_VAL),
    "val": _VAL,
    "test": ("clock", "cup", "envelope", "ice_cream", "key", "mushroom", "snail", "umbrella"),
}
# In training, a kind that is turned by quarters makes four classes (as Omniglot's characters do, Vinyals et al. 2016), but for those that
# look the same however they are turned, and those that look alike upside down, which make two.
ONE_WAY, TWO_WAYS = ("cloud", "flower", "star", "sun"), ("glasses", "lightning")
# Words of Quick, Draw! for what `scenes` validates and tests on: left out of all its scenes.
LEFT_OUT = (
    "alarm clock", "cat", "clock", "coffee cup", "cup", "envelope", "hot air balloon", "ice cream", "key", "ladder", "mug", "mushroom",
    "sailboat", "snail", "umbrella", "wristwatch",
)  # fmt: skip

_SIDE = 105  # pixels of a drawing: as the kit's own are stored


@dataclass(frozen=True, eq=False)
class Kind:
    """The drawings of one kind of things."""

    ink: Tensor  # (n, side, side), uint8: 255 where it is drawn
    quarters: int = 0  # turned by

    def __len__(self) -> int:
        return len(self.ink)

    def drawing(self, i: int) -> Tensor:
        """Return a drawing as (2, side, side) in 0..1: its ink, and what the ink encloses."""
        ink = self.ink[i]
        body = ~flood(np.pad(ink.numpy() > 127, 1), (0, 0), connectivity=1)[1:-1, 1:-1]
        return torch.stack([ink.float() / 255, torch.from_numpy(body).float()]).rot90(self.quarters, (1, 2))


def kinds_of_scenes(split: str, progress: bool = True) -> dict[str, Kind]:
    """Return the kinds of a split of `scenes` by name: those turned by quarters too, if it is for training."""
    ink = _ink_of(load_examples(DRAWINGS, "all", Preprocessing(size=_SIDE), progress))
    return {name: Kind(ink[kind], quarters) for name, (kind, quarters) in turned_kinds(split).items()}


def turned_kinds(split: str) -> dict[str, tuple[str, int]]:
    """Return the classes of a split by name: a kind, and how often it is turned by a quarter; none is in "val" and "test"."""
    found = {kind: (kind, 0) for kind in KINDS[split]}
    if split.startswith("train"):
        for kind in KINDS[split]:
            n = 1 if kind in ONE_WAY else 2 if kind in TWO_WAYS else 4
            found |= {f"{kind} {90 * quarters}°": (kind, quarters) for quarters in range(1, n)}
    return found


def kinds_of_quickdraw_scenes(split: str, progress: bool = True) -> dict[str, Kind]:
    """Return the words of a split of Quick, Draw!, for training with the kit's own drawings of the kinds of `scenes` for training."""
    names = quickdraw_words(split)
    pictures, counts = load_pictures(names, Preprocessing(size=_SIDE), progress=progress)
    ink = dict(zip(names, pictures[:, 0].split(counts), strict=True))
    if split.startswith("train"):
        own = _ink_of(load_examples(DRAWINGS, "all", Preprocessing(size=_SIDE), progress))
        ink |= {kind: torch.cat([own[kind], ink[kind]]) if kind in ink else own[kind] for kind in KINDS[split]}
    return {name: Kind(of_kind) for name, of_kind in ink.items()}


def quickdraw_words(split: str) -> tuple[str, ...]:
    """Name the words of Quick, Draw! in a split of `quickdraw_scenes`."""
    splits = ("train", "val") if split.startswith("trainval") else (split.removesuffix("_held_out"),)
    return tuple(word for name in splits for word in categories(name) if word not in LEFT_OUT)


def _ink_of(dataset: ClassImages) -> dict[str, Tensor]:
    return {name: dataset.of_class(class_id)[:, 0] for class_id, name in enumerate(dataset.class_names)}
