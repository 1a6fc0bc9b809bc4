"""Pictures that are decoded once, into a file which is then mapped into memory: a large data set costs the memory of what is looked at.

The file is safetensors: `images` (n, channels, size, size) in uint8, class 0 first, `counts` (n_classes,), and the names of the classes.
"""

import json
import logging
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import safetensors

from fewshot_kit.data.archives import PictureTree
from fewshot_kit.data.cache import cache_file
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.decoding import Classes, decode_pictures, decoded
from fewshot_kit.data.files import written_whole
from fewshot_kit.data.preprocessing import Preprocessing

logger = logging.getLogger(__name__)


def mapped_images(name: str, tree: PictureTree, classes: Classes, preprocessing: Preprocessing, progress: bool = True) -> ClassImages:
    """Return these pictures of a folder or archive, decoded before or now. Without room on the disk they are decoded into memory."""
    counts = tuple(len(pictures) for pictures in classes.values())
    origin = Path(tree.origin)
    files = [origin] if origin.is_file() else [origin / picture for pictures in classes.values() for picture in pictures]
    cache = cache_file(f"{name}-{{}}.safetensors", files, (*preprocessing.form, tuple(classes), counts))
    if cache.is_file():
        try:
            return _map(cache, name, preprocessing)
        except Exception as error:  # a file of another kind raises anything, and every damage is cured by a rebuild
            logger.warning("%s is damaged (%s) and is built anew", cache, error)
    try:
        with written_whole(cache) as file:
            _write(file, tree, classes, preprocessing, progress)
    except OSError as error:
        logger.warning("the decoded pictures could not be kept in %s (%s); they are held in memory", cache, error)
        return decode_pictures(tree, classes, "light", preprocessing, progress)
    return _map(cache, name, preprocessing)


def _write(file: BinaryIO, tree: PictureTree, classes: Classes, preprocessing: Preprocessing, progress: bool) -> None:
    counts = np.array([len(pictures) for pictures in classes.values()], dtype="<i8")
    shape = [int(counts.sum()), preprocessing.channels, preprocessing.size, preprocessing.size]
    n_picture = int(np.prod(shape[1:]))
    begin = counts.nbytes
    header = {
        "__metadata__": {"class_names": json.dumps(list(classes))},
        "counts": {"dtype": "I64", "shape": [len(counts)], "data_offsets": [0, begin]},
        "images": {"dtype": "U8", "shape": shape, "data_offsets": [begin, begin + shape[0] * n_picture]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text + counts.tobytes())
    begin += 8 + len(text)
    # Written, not mapped: a full disk is then an error of this call, and no signal that ends the process.
    for position, picture in decoded(tree, classes, "light", preprocessing, progress):
        file.seek(begin + position * n_picture)
        file.write(picture.numpy().tobytes())


def _map(cache: Path, name: str, preprocessing: Preprocessing) -> ClassImages:
    with safetensors.safe_open(cache, "pt") as file:
        names = tuple(json.loads(file.metadata()["class_names"]))
        counts = tuple(file.get_tensor("counts").tolist())
        return ClassImages(name, "all", file.get_tensor("images"), counts, names, preprocessing)
