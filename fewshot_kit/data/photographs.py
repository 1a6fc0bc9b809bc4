"""Data sets of colour photographs: CIFAR-FS and FC100 (32 x 32 pixels) and the Grocery Store data set (84 x 84 in its usual small form).

Load them with `Preprocessing(size=32 or 84, channels=3)`; with one channel they are gray as they are, not turned into light ink.
A photograph on its side is no class of its own: it is not rotated in training.

- CIFAR-FS: the 100 classes of CIFAR-100 (Krizhevsky 2009; 600 images each, official train and test pooled), split 64 / 16 / 20 as
  by Bertinetto et al. 2019. Read from `cifar100/images.zip` (a folder a class) or from the official binary archive, which is downloaded.
- FC100: the same classes, split 60 / 20 / 20 by superclass (Oreshkin et al. 2018): test classes are of other kinds than training classes.
- Grocery Store (Klasson et al. 2019, MIT): 5,421 images of 81 fine-grained classes. Read from `grocery_store/images.zip`.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from fewshot_kit.data.archives import ArchiveError, PictureTree, opened_tar, read_tar_entry, reading, tar_entries
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.decoding import Classes, decode_pictures, kept_images
from fewshot_kit.data.images import preprocess
from fewshot_kit.data.opening import open_regular
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.sources import RemoteFile, cache_folder, find_file
from fewshot_kit.data.trees import open_tree, pictures_by_class

_SPLITS = Path(__file__).parent / "splits"
_OFFICIAL_SPLITS = ("train", "val", "test")

# The binary version: the one for Python is a pickle, and those run code when they are read.
CIFAR_BINARY = RemoteFile(
    "cifar100/cifar-100-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    "03b5dce01913d631647c71ecec9e9cb8",
)
CIFAR_PICTURES = "cifar100/images.zip"
_CIFAR_SIZE = 32
_RECORD = 2 + 3 * _CIFAR_SIZE**2  # coarse label, fine label, the red, the green and the blue plane
_MAX_MEMBER_BYTES = 200_000_000  # train.bin has 153,700,000

GROCERY_PICTURES = "grocery_store/images.zip"
GROCERY_REPOSITORY = "https://github.com/marcusklasson/GroceryStoreDataset"
_GROCERY_KINDS = ("Fruit", "Packages", "Vegetables")


# --- CIFAR-FS and FC100 ---


def load_cifar(which: str, split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    """Load the classes of a split of "cifar_fs" or "fc100", 600 images each; their order is that of the file they are read from."""
    names = tuple(json.loads((_SPLITS / f"{which}.json").read_text(encoding="utf-8"))[split])
    path = find_file(CIFAR_PICTURES) or CIFAR_BINARY.fetch(progress)

    def build() -> ClassImages:
        if path.suffix != ".zip":
            return _from_binary(path, names, preprocessing)
        with open_tree(path) as tree:
            return decode_pictures(tree, _chosen(pictures_by_class(tree), names, path), "light", preprocessing, progress)

    return kept_images(f"{which}-{split}", [path], preprocessing, build)


def cifar_is_here() -> bool:
    return bool(find_file(CIFAR_PICTURES) or CIFAR_BINARY.find())


def _chosen(classes: Classes, names: Sequence[str], path: Path) -> Classes:
    if missing := [name for name in names if name not in classes]:
        raise ValueError(f"{path} has no pictures of class {missing[0]!r} ({len(missing)} missing); download or pack it again")
    return {name: classes[name] for name in names}


def _from_binary(path: Path, names: Sequence[str], preprocessing: Preprocessing) -> ClassImages:
    """Read these classes from the official archive, train images before test images."""
    known, records = _read_binary(path)
    if missing := [name for name in names if name not in known]:
        raise ArchiveError(f"fine_label_names.txt of {path} does not name {missing[0]!r}; delete the archive and load again")
    images, counts = [], []
    for name in names:
        of_class = records[records[:, 1] == known.index(name), 2:].reshape(-1, 3, _CIFAR_SIZE, _CIFAR_SIZE).transpose(0, 2, 3, 1)
        images += [preprocess(picture, preprocessing, "light") for picture in of_class]
        counts.append(len(of_class))
    if 0 in counts:
        raise ArchiveError(f"{path} has no pictures of class {names[counts.index(0)]!r}; delete it and load again")
    return ClassImages("cifar_fs", "all", torch.stack(images), tuple(counts), tuple(names), preprocessing)


def _read_binary(path: Path) -> tuple[list[str], np.ndarray]:
    """Return the names of the fine labels, and all records `(n, 3074)` of uint8."""
    with reading(str(path)), open_regular(path) as file, opened_tar(file, str(path)) as archive:
        members = {PurePosixPath(member.name).name: member for member in tar_entries(archive, str(path)) if member.isfile()}
        wanted = ("fine_label_names.txt", "train.bin", "test.bin")
        if missing := [name for name in wanted if name not in members]:
            raise ArchiveError(f"{path} has no {missing[0]}; delete it and load again")
        if max(members[name].size for name in wanted) > _MAX_MEMBER_BYTES:
            raise ArchiveError(f"{path} unpacks to more than CIFAR-100 has; delete it and load again")
        text, *contents = (read_tar_entry(archive, members[name], f"{path}, entry {name},") for name in wanted)
        # A cut file would shift every record after it: refused rather than read up to there.
        parts = [np.frombuffer(content, dtype=np.uint8).reshape(-1, _RECORD) for content in contents]
        return text.decode("ascii").split(), np.concatenate(parts)


# --- Grocery Store ---


@cache
def grocery_splits() -> dict[str, dict[str, tuple[str, ...]]]:
    """Name the classes of each split of `grocery_store`, `{split: {coarse class: fine classes}}`: 52 / 13 / 16 of the 81 fine ones.

    The fine classes of one coarse class (all apples, all milk) are in one split: unseen classes are of unseen kinds, as they
    would not be if Royal Gala were for training and Pink Lady for testing. There are 43 coarse classes, as in the official table.
    """
    # Drawn once: the coarse classes in order of their names, shuffled by torch.randperm(43, generator=torch.Generator().manual_seed(0)),
    # each put whole into the first of train, val, test that has room for it, of 52, 13 and 16 (64, 16 and 20 per cent).
    splits = json.loads((_SPLITS / "grocery_store.json").read_text(encoding="utf-8"))
    return {split: {coarse: tuple(fine) for coarse, fine in classes.items()} for split, classes in splits.items()}


def load_grocery_store(split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    """Load the classes of a split, each with all its images, the official train, val and test ones one after the other.

    Each has 35 to 143 images.
    """
    names = sorted(name for fine in grocery_splits()[split].values() for name in fine)
    parts = _grocery_parts(preprocessing, progress)
    ids = [[i for i, part in enumerate(parts.class_names) if part.split("/")[0] == name] for name in names]
    pooled = parts.select([i for of_class in ids for i in of_class])
    counts = tuple(sum(parts.counts[i] for i in of_class) for of_class in ids)
    return ClassImages("grocery_store", split, pooled.images, counts, tuple(names), preprocessing)


def load_grocery_store_images(split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    """Load the official split of the images (2,640 / 296 / 2,485), for classes known from training.

    Train and test have all 81 classes, val 60 of them: match classes by name, not by their number.
    """
    parts = _grocery_parts(preprocessing, progress)
    chosen = parts.select([i for i, part in enumerate(parts.class_names) if part.split("/")[1] == split])
    return ClassImages("grocery_store_images", split, chosen.images, chosen.counts, _before_slash(chosen.class_names), preprocessing)


def grocery_is_here() -> bool:
    return find_file(GROCERY_PICTURES) is not None


def _before_slash(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.split("/")[0] for name in names)


def _grocery_parts(preprocessing: Preprocessing, progress: bool) -> ClassImages:
    """Return all pictures; a class here is what one official split has of a fine class, "Royal-Gala/train"."""
    path = find_file(GROCERY_PICTURES)
    if path is None:
        raise FileNotFoundError(
            f"the Grocery Store pictures are not on this machine, and are not downloaded by themselves (there is no official archive with "
            f"a checksum). Open {GROCERY_REPOSITORY}, choose Code, Download ZIP, and save the file as {cache_folder() / GROCERY_PICTURES}; "
            f"or clone the repository and zip its folder dataset under that name. Or use a bundled data set (digits, characters, drawings)"
        )

    def build() -> ClassImages:
        with open_tree(path) as tree:
            return decode_pictures(tree, _by_class_and_split(tree), "light", preprocessing, progress)

    return kept_images("grocery_store", [path], preprocessing, build)


def _by_class_and_split(tree: PictureTree) -> Classes:
    """Group `.../<split>/<kind>/.../<fine class>/<picture>`; what else the repository has (product pictures) is left out."""
    parts: dict[tuple[str, int], list[PurePosixPath]] = {}
    for picture in tree.pictures:
        for split, kind in zip(picture.parts, picture.parts[1:-2], strict=False):
            if split in _OFFICIAL_SPLITS and kind in _GROCERY_KINDS:
                parts.setdefault((picture.parent.name, _OFFICIAL_SPLITS.index(split)), []).append(picture)
    known = {name for classes in grocery_splits().values() for fine in classes.values() for name in fine}
    found = {name for name, _ in parts}
    if found != known:
        raise ValueError(
            f"{tree.origin} is not the Grocery Store data set: it lacks {len(known - found)} of the 81 classes {sorted(known - found)[:3]} "
            f"and has {len(found - known)} others {sorted(found - known)[:3]}; get it again from {GROCERY_REPOSITORY}"
        )
    return {f"{name}/{_OFFICIAL_SPLITS[split]}": tuple(sorted(parts[name, split])) for name, split in sorted(parts)}
