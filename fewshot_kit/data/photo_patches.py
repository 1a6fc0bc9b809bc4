"""Patches of the photographs that scikit-image carries: colour to look at, and to try things on, without any download.

A class is a photograph, cut into 5 x 4 patches that do not overlap; its pictures are 20 views of one thing in one light. So the figures
measured here are not those of photographs of many things: compare nothing with them.
"""

from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import skimage
import torch

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.images import preprocess, read_image
from fewshot_kit.data.preprocessing import Preprocessing

COLUMNS, ROWS = 5, 4

# The photographs of each split, by the name of their class.
PHOTOGRAPHS = {
    "train": {
        "grass": "grass.png", "gravel": "gravel.png", "moon": "moon.png", "printed page": "page.png", "tissue": "ihc.png",
        "galaxies": "hubble_deep_field.jpg", "coins": "coins.png",
    },
    "val": {
        "brick wall": "brick.png", "cells": "cell.png", "handwriting": "text.png", "photographer": "camera.png",
        "clock": "clock_motion.png",
    },
    "test": {
        "astronaut": "astronaut.png", "cat": "chelsea.png", "coffee": "coffee.png", "motorcycle": "motorcycle_left.png",
        "rocket": "rocket.jpg", "retina": "retina.jpg",
    },
}  # fmt: skip


def load_photo_patches(split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    """Cut the photographs of a split into patches, row by row."""
    cut = partial(preprocess, preprocessing=preprocessing, ink="light")
    images = [cut(patch) for file in PHOTOGRAPHS[split].values() for patch in patches(file)]
    counts = (COLUMNS * ROWS,) * len(PHOTOGRAPHS[split])
    return ClassImages("photo_patches", split, torch.stack(images), counts, tuple(PHOTOGRAPHS[split]), preprocessing)


def patches(file: str) -> list[np.ndarray]:
    """Return the patches (h, w) or (h, w, 3) of one photograph."""
    photograph = read_image(Path(skimage.__file__).parent / "data" / file)
    height, width = photograph.shape[0] // ROWS, photograph.shape[1] // COLUMNS
    corners = product(range(0, ROWS * height, height), range(0, COLUMNS * width, width))
    return [photograph[top : top + height, left : left + width] for top, left in corners]
