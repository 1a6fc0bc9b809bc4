"""What a network expects of a picture; saved beside its weights."""

import math
from dataclasses import dataclass

MAX_SIZE = 1024  # pixels


@dataclass(frozen=True)
class Preprocessing:
    """The size and colours of the pictures that a network sees, and what it does to their values.

    `channels == 1` asks for ink pictures (uint8, light ink 255 on a dark background 0), `channels == 3` for RGB photographs. A network
    subtracts `mean` and divides by `std`, one number a channel, from values in 0..1; empty, it takes them as they are.
    """

    size: int = 28  # height and width, in pixels
    channels: int = 1
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self):
        if type(self.size) is not int or not 1 <= self.size <= MAX_SIZE:
            raise ValueError(f"size must be a whole number of pixels from 1 to {MAX_SIZE}, but is {self.size!r}")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 (ink pictures) or 3 (photographs), but is {self.channels!r}")
        if len(self.mean) != len(self.std) or len(self.mean) not in (0, self.channels):
            raise ValueError(f"mean and std need one number for each of {self.channels} channel(s), or none; not {self.mean}, {self.std}")
        numbers = (*self.mean, *self.std)
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in numbers) or any(value <= 0 for value in self.std):
            raise ValueError(f"mean must be a finite number a channel, and std one above 0, not {self.mean}, {self.std}")

    @property
    def form(self) -> tuple[int, int]:
        """Return (size, channels): what decoding depends on. Networks of one form share decoded pictures."""
        return self.size, self.channels
