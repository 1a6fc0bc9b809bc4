"""Several views of a picture, whose features are averaged: as it is and mirrored, then the same of ever smaller crops around its middle.

Training crops at random, so that things are larger in training than in a whole picture; crops before a person make up for that (Touvron
et al. 2019, "Fixing the train-test resolution discrepancy").
"""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

from fewshot_kit.data.augment import other_hand

CROPS = (1, 7 / 8, 4 / 5, 7 / 10)  # of width and height; all but the first are a first choice. MOST_VIEWS of checks.py is twice as many
INK_STRENGTH = 0.7  # of the changes of training; chosen on the validation alphabets of Omniglot
WIDER = 1.2  # how much more of a picture, in width and height, each further look at one that is learned from takes in


def views_of(images: Tensor, n: int, middle: float = 1.0) -> Iterator[Tensor]:
    """Yield the first `n` views of pictures (m, c, h, w), floats: as they are, mirrored, cropped, cropped and mirrored, and so on.

    Of the pictures, only the `middle` is looked at, this share of width and height.
    """
    images = _middle(images, middle)
    for number in range(n):
        view = _cropped(images, CROPS[number // 2])
        yield view.flip(-1) if number % 2 else view


def wider_views_of(images: Tensor, n: int, middle: float) -> Iterator[Tensor]:
    """Yield `n` views that show ever more around the `middle` of pictures (m, c, h, w), every other one mirrored, the first too."""
    for number in range(1, n + 1):
        view = _middle(images, min(1, middle * WIDER**number))
        yield view.flip(-1) if number % 2 else view


def ink_views_of(images: Tensor, n: int) -> Iterator[Tensor]:
    """Yield `n` views of drawings (m, 1, h, w): as they are, then as other hands might have drawn them."""
    yield images
    for number in range(1, n):
        yield other_hand(images, number, INK_STRENGTH)


def said_of_hands(views: int) -> str:
    """Return a sentence on the views of drawings, after a blank; nothing where there is one."""
    return f" It sees each drawing also as {views - 1} other hands might have drawn it." if views > 1 else ""


def _middle(images: Tensor, share: float) -> Tensor:
    """Return this share of width and height around the middle."""
    height, width = images.shape[-2:]
    h, w = max(1, round(share * height)), max(1, round(share * width))
    top, left = (height - h) // 2, (width - w) // 2
    return images[..., top : top + h, left : left + w]


def _cropped(images: Tensor, share: float) -> Tensor:
    """Return the middle made as large as the whole."""
    part = _middle(images, share)
    return part if share == 1 else F.interpolate(part, size=images.shape[-2:], mode="bilinear", align_corners=False)
