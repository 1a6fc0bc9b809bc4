"""From the files of a data set to pictures by class: decoded one by one, kept in the cache."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fewshot_kit.data.archives import PictureTree
from fewshot_kit.data.cache import cached
from fewshot_kit.data.cancelling import Check, go_on
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.images import Ink, preprocess, read_image
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.trees import open_tree, pictures_by_class

MAX_BYTES = 16_000_000_000  # of decoded pictures

Classes = Mapping[str, Sequence[PurePosixPath]]  # the pictures of each class, in order


def decode_pictures(
    tree: PictureTree, classes: Classes, ink: Ink, preprocessing: Preprocessing, progress: bool = True, check: Check = go_on
) -> ClassImages:
    """Decode these pictures of a folder or archive; one that cannot be read is an ImageError that names it. `check` is called at each."""
    n = sum(map(len, classes.values()))
    _check_room(tree.origin, n, preprocessing)
    images = torch.empty(n, preprocessing.channels, preprocessing.size, preprocessing.size, dtype=torch.uint8)
    for position, picture in decoded(tree, classes, ink, preprocessing, progress, check):
        images[position] = picture
    counts = tuple(len(pictures) for pictures in classes.values())
    return ClassImages(Path(tree.origin).name, "all", images, counts, tuple(classes), preprocessing)


def decoded(
    tree: PictureTree, classes: Classes, ink: Ink, preprocessing: Preprocessing, progress: bool = True, check: Check = go_on
) -> Iterator[tuple[int, Tensor]]:
    """Yield the pictures (channels, size, size) one by one with their place among all, class 0 first, as they are read fastest."""
    position = {picture: i for i, picture in enumerate(picture for pictures in classes.values() for picture in pictures)}
    wanted = [picture for picture in tree.pictures if picture in position]
    for picture in tqdm(wanted, desc=f"decoding {Path(tree.origin).name}", unit="picture", disable=not progress):
        check()
        pixels = read_image(tree.read(picture), name=f"{tree.origin}/{picture}")
        yield position[picture], preprocess(pixels, preprocessing, ink)


def _check_room(origin: str, n: int, preprocessing: Preprocessing) -> None:
    n_bytes = n * preprocessing.channels * preprocessing.size**2
    if n_bytes > MAX_BYTES:
        raise ValueError(f"the {n:,} pictures of {origin} would take {n_bytes:,} bytes of memory; choose fewer, or a smaller size")


def kept_images(name: str, paths: Sequence[Path], preprocessing: Preprocessing, build: Callable[[], ClassImages]) -> ClassImages:
    """Return what `build` decodes from these files, from the cache if it is there; `name` tells apart what is made of the same files."""

    def arrays() -> dict[str, np.ndarray]:
        built = build()
        return {"images": built.images.numpy(), "counts": np.array(built.counts), "class_names": np.array(built.class_names)}

    kept = cached(name, paths, preprocessing.form, ("images", "counts", "class_names"), arrays)
    counts, names = tuple(kept["counts"].tolist()), tuple(kept["class_names"].tolist())
    return ClassImages(name, "all", torch.from_numpy(kept["images"]), counts, names, preprocessing)


def decode_tree(path: Path, ink: Ink, split: str, preprocessing: Preprocessing, progress: bool, check: Check = go_on) -> ClassImages:
    """Decode a folder or archive of one sub-folder a class."""
    with open_tree(path, check) as tree:
        return replace(decode_pictures(tree, pictures_by_class(tree, check), ink, preprocessing, progress, check), split=split)
