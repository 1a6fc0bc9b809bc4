"""Pictures and classes of a person, for tests."""

import io

import numpy as np
import pytest
from PIL import Image

from fewshot_kit.demo.own_classes import GivenPicture, OwnClasses
from fewshot_kit.training.checkpoint_folder import PRETRAINED

INK = "protonet-omniglot_vinyals-augmented"
needs_weights = pytest.mark.skipif(not (PRETRAINED / INK).is_dir(), reason=f"there is no {INK} in pretrained/")


def picture(name: str = "a.png", level: int = 0, colour: bool = False) -> GivenPicture:
    pixels = np.full((20, 30, 3), 255, np.uint8)
    pixels[5:15, 5 + level % 15 : 8 + level % 15] = (250, 20, level % 256) if colour else 0
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return GivenPicture(name, buffer.getvalue())


def own(colour: bool = False) -> OwnClasses:
    classes = OwnClasses().with_class("left").with_class("right")
    for level in range(3):
        left, right = picture(f"l{level}.png", level, colour), picture(f"r{level}.png", 10 + level, colour)
        classes = classes.with_picture(0, left).with_picture(1, right)
    return classes
