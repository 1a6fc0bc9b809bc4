"""Handwritten digits: the test images of MNIST, and the small ones that scikit-learn brings along."""

import gzip
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.decoding import kept_images
from fewshot_kit.data.images import preprocess
from fewshot_kit.data.opening import open_regular
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.sources import RemoteFile

_MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist"
MNIST_IMAGES = RemoteFile("mnist/t10k-images-idx3-ubyte.gz", f"{_MNIST_URL}/t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3")
MNIST_LABELS = RemoteFile("mnist/t10k-labels-idx1-ubyte.gz", f"{_MNIST_URL}/t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c")
_MAX_BYTES = 200_000_000  # unpacked; the 60,000 pictures of training, should they lie here, have 47,040,016


def load_mnist(split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    paths = [file.fetch(progress) for file in (MNIST_IMAGES, MNIST_LABELS)]

    def build() -> ClassImages:
        pictures, labels = _read_idx(paths[0], 3), _read_idx(paths[1], 1)
        _check_labels(paths, pictures, labels)
        return _sort_by_label(pictures, labels, preprocessing)

    return kept_images("t10k-images-idx3-ubyte", paths, preprocessing, build)


def _check_labels(paths: Sequence[Path], pictures: np.ndarray, labels: np.ndarray) -> None:
    if len(labels) != len(pictures):
        both = f"{paths[0]} has {len(pictures)} pictures and {paths[1]} {len(labels)} labels"
        raise ValueError(f"{both}, but each picture needs one; delete both and load again")
    if set(labels.tolist()) != set(range(10)):
        raise ValueError(f"{paths[1]} has the labels {sorted(set(labels.tolist()))[:12]}, not each of 0 to 9; delete it and load again")


def load_small_digits(split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    from sklearn.datasets import load_digits  # takes a second to import, and nothing else needs it

    digits = load_digits()
    return _sort_by_label(digits.images / 16, digits.target, preprocessing)  # 0..16, light ink


def _sort_by_label(pictures: np.ndarray, labels: np.ndarray, preprocessing: Preprocessing) -> ClassImages:
    """Turn light-ink pictures `(n, h, w)` of digits into classes "0" to "9", each in the order of the file."""
    order = np.argsort(labels, kind="stable")
    images = torch.stack([preprocess(picture, preprocessing, "light") for picture in pictures[order]])
    counts = tuple(np.bincount(labels, minlength=10).tolist())
    return ClassImages("digits", "test", images, counts, tuple("0123456789"), preprocessing)


def _read_idx(path: Path, n_dims: int) -> np.ndarray:
    """Read MNIST's format: 0, 0, type 8 (uint8), the number of dimensions, big-endian sizes, values."""
    try:
        with open_regular(path) as file, gzip.GzipFile(fileobj=file) as unpacked:
            content = unpacked.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ValueError(f"it unpacks to more than {_MAX_BYTES:,} bytes")
        magic, *shape = struct.unpack_from(f">{1 + n_dims}I", content)
        if magic != 0x800 + n_dims:
            raise ValueError(f"it starts with {magic:#x}, not {0x800 + n_dims:#x}")
        return np.frombuffer(content, dtype=np.uint8, offset=4 * (1 + n_dims)).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise ValueError(f"{path} is damaged or not an MNIST file ({error}); delete it and load again") from error
