"""mini-ImageNet (Vinyals et al. 2016) in the split of Ravi and Larochelle 2017: 64 / 16 / 20 classes of 600 photographs, 84 x 84.

There is no official download, and ImageNet's terms allow research only. Read from `mini_imagenet/` below the data folder or the cache:
`train.zip`, `val.zip` and `test.zip` (or folders of these names, or .tar.gz archives), each with one folder a class that is named by its
WordNet id. What is given is checked against the published split.
"""

import json
from functools import cache
from pathlib import Path, PurePosixPath

from fewshot_kit.data.archives import PictureTree
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.decoding import Classes
from fewshot_kit.data.mapped import mapped_images
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.sources import cache_folder, data_folder
from fewshot_kit.data.trees import open_tree

IMAGES_A_CLASS = 600
_SPLITS = Path(__file__).parent / "splits" / "mini_imagenet.json"
_FORMS = ("{}", "{}.zip", "{}.tar.gz", "{}.tar")


@cache
def class_names() -> dict[str, dict[str, str]]:
    """Name the classes of each split: `{split: {WordNet id: name}}`."""
    return json.loads(_SPLITS.read_text(encoding="utf-8"))


def load_mini_imagenet(split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    """Load the classes of a split, 600 photographs each. Raises ValueError where what is given is not that split."""
    path = _find(split)
    if path is None:
        raise FileNotFoundError(
            f"mini-ImageNet's {split} classes are not on this machine, and there is no official download. Make them from ImageNet with the "
            f"lists of Ravi and Larochelle (github.com/twitter-research/meta-learning-lstm), one folder a class, and save them as "
            f"{cache_folder() / 'mini_imagenet' / split}.zip; or use photo_patches, which is bundled, or cifar_fs, which is downloaded"
        )
    with open_tree(path) as tree:
        return mapped_images(f"mini_imagenet-{split}", tree, _checked(tree, split), preprocessing, progress)


def mini_imagenet_is_here() -> bool:
    return all(_find(split) for split in class_names())


def _find(split: str) -> Path | None:
    roots = [folder / "mini_imagenet" for folder in (data_folder(), cache_folder()) if folder]
    return next((root / form.format(split) for root in roots for form in _FORMS if (root / form.format(split)).exists()), None)


def _checked(tree: PictureTree, split: str) -> Classes:
    """Group the pictures by class, by name. Raises ValueError where classes or pictures are missing, or others are there."""
    found: dict[str, list[PurePosixPath]] = {}
    for picture in tree.pictures:
        found.setdefault(picture.parent.name, []).append(picture)
    wanted = class_names()[split]
    get = "get the data set again, or correct its folders"
    for other, classes in class_names().items():
        if other != split and (wrong := sorted(found.keys() & classes.keys())):
            raise ValueError(f"{tree.origin} has {wrong[0]} ({classes[wrong[0]]}), a class of the {other} split, among {split}; {get}")
    if missing := sorted(wanted.keys() - found.keys()):
        has = f"{len(wanted) - len(missing)} of the {len(wanted)} {split} classes"
        raise ValueError(f"{tree.origin} has {has}: {missing[0]} ({wanted[missing[0]]}) is missing; {get}")
    if unknown := sorted(found.keys() - wanted.keys()):
        raise ValueError(f"{tree.origin} has pictures in {unknown[0]!r}, which is no class of mini-ImageNet; {get}")
    for wnid, pictures in found.items():
        if len(pictures) != IMAGES_A_CLASS:
            raise ValueError(f"{tree.origin} has {len(pictures)} pictures of {wnid} ({wanted[wnid]}), not {IMAGES_A_CLASS}; {get}")
    return {wanted[wnid]: tuple(sorted(found[wnid])) for wnid in wanted}
