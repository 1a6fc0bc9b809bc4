"""Fit a picture of any shape into a square without stretching it, and take boxes there and back."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

MARGIN = 128  # the gray beside what is not square


@dataclass(frozen=True)
class Letterbox:
    """Where a picture lies in a square of `size` pixels: scaled until its longer side fills it, and centred."""

    width: int  # of the picture, in its own pixels
    height: int
    size: int

    @property
    def fitted(self) -> tuple[int, int]:
        """Return width and height of the picture in the square."""
        scale = self.size / max(self.width, self.height)
        return max(1, round(self.width * scale)), max(1, round(self.height * scale))

    @property
    def corner(self) -> tuple[int, int]:
        """Return the left and the top of the picture in the square."""
        width, height = self.fitted
        return (self.size - width) // 2, (self.size - height) // 2

    def into(self, boxes: Tensor) -> Tensor:
        """Take boxes (n, 4) from the picture's own pixels into the square's."""
        scale, shift = self._map(boxes)
        return boxes * scale + shift

    def back(self, boxes: Tensor) -> Tensor:
        """Take boxes (n, 4) from the square's pixels into the picture's own."""
        scale, shift = self._map(boxes)
        return (boxes - shift) / scale

    def _map(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        (width, height), corner = self.fitted, self.corner
        return boxes.new_tensor([width / self.width, height / self.height] * 2), boxes.new_tensor(corner * 2)


def letterboxed(pixels: np.ndarray, size: int) -> tuple[Tensor, Letterbox]:
    """Return a picture of `read_image`, (h, w) or (h, w, 3), as uint8 (3, size, size), and where it lies in that."""
    letterbox = Letterbox(pixels.shape[1], pixels.shape[0], size)
    picture = Image.fromarray(pixels).convert("RGB")
    if picture.size != letterbox.fitted:
        picture = picture.resize(letterbox.fitted, Image.Resampling.LANCZOS)
    square = np.full((size, size, 3), MARGIN, dtype=np.uint8)
    (left, top), (width, height) = letterbox.corner, letterbox.fitted
    square[top : top + height, left : left + width] = np.asarray(picture)
    return torch.from_numpy(square).permute(2, 0, 1).contiguous(), letterbox
