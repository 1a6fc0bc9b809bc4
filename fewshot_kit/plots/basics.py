"""What every figure uses: colours, PNG, pictures in axes, class names that cannot break a figure."""

import hashlib
import io
import zlib
from functools import cache
from pathlib import Path
from string import ascii_uppercase

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font
from PIL import Image, ImageFont

MAX_QUERIES_SHOWN = 10
RIGHT, WRONG, NEUTRAL, INK, PALE = "#1a7f37", "#b3261e", "#4b5563", "#24527a", "#b8c4d1"
FRAME = "#c9ced6"  # of a picture
TAGS = (*ascii_uppercase, *(a + b for a in ascii_uppercase for b in ascii_uppercase))  # one letter a class: short enough for a bar


def png(figure: Figure, *, is_kept: bool = False) -> bytes:
    """Render a figure and return it as PNG: one to be kept takes longer, and is smaller."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return encode(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]), is_kept=is_kept)


class Shown:
    """A figure as a notebook shows it: a PNG, and a line of text that says what it shows, its size, and a hash of its pixels."""

    def __init__(self, figure: Figure, text: str = ""):
        """Render the figure. `text` describes it in a sentence; without, the figure's own label does."""
        self.sentence = " ".join((text or figure.get_label() or "a figure").split())
        self.data = png(figure, is_kept=True)
        picture = Image.open(io.BytesIO(self.data))
        # Of the pixels, not of the PNG: another version of the compressor makes other bytes of the same picture.
        content = hashlib.sha256(picture.tobytes()).hexdigest()[:12]
        self.text = f"{self.sentence}, {picture.width} x {picture.height} pixels, data {content}"

    def __repr__(self) -> str:
        return self.text

    def _repr_png_(self) -> tuple[bytes, dict]:
        return self.data, {"alt": self.sentence}


def show(figure: Figure, text: str = "") -> None:
    """Display a figure below the notebook's cell, with a sentence about it: `text`, or the figure's label."""
    from IPython.display import display  # where there is no notebook there need be no IPython

    display(Shown(figure, text))


def encode(picture: Image.Image, *, is_kept: bool = False) -> bytes:
    buffer = io.BytesIO()
    how = {"compress_level": 6} if is_kept else {"compress_level": 1, "compress_type": zlib.Z_RLE}  # for flat areas: fast, and small enough
    picture.save(buffer, "PNG", **how)
    return buffer.getvalue()


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes to a figure by their place from its upper left corner, in inches."""
    full_width, full_height = figure.get_size_inches()
    return figure.add_axes((left / full_width, 1 - (top + height) / full_height, width / full_width, height / full_height))


def show_image(axes: Axes, image: np.ndarray) -> None:
    """Draw one image (channels, height, width), 0..1; ink pictures as dark ink on white, as people draw them."""
    image = np.asarray(image)
    if image.shape[0] == 1:
        axes.imshow(1 - image[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axes.imshow(image.transpose(1, 2, 0), vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(FRAME)


def plain_tile(image: np.ndarray, side: int) -> Image.Image:
    """Return one image (channels, height, width), 0..1, as a framed square of `side` pixels; ink pictures as dark ink on white."""
    pixels = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
    picture = Image.fromarray(255 - pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    # Pixels stay visible where there are few; of many, none is left out.
    how = Image.Resampling.NEAREST if max(picture.size) < side else Image.Resampling.BOX
    framed = Image.new("RGB", (side, side), FRAME)
    framed.paste(picture.resize((side - 2, side - 2), how).convert("RGB"), (1, 1))
    return framed


def shorten(name: str, length: int = 18) -> str:
    """Cut a long class name in its middle; matplotlib's $ is made harmless, and so is what its font lacks."""
    name = "".join(c if ord(c) in known_characters() else "□" for c in " ".join(name.split()))
    name = name if len(name) <= length else f"{name[: length // 2 - 1]}…{name[-length // 2 :]}"
    return name.replace("$", r"\$")


FONT = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")  # matplotlib's own, on every machine


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return matplotlib's own font, so that a frame's text looks like the rest."""
    return ImageFont.truetype(str(FONT), size)


@cache
def known_characters() -> frozenset[int]:
    return frozenset(get_font(str(FONT)).get_charmap())


def spread_over_classes(labels: np.ndarray, most: int) -> list[int]:
    """Choose up to `most` indices: the first of each class, then the second, and so on; shown class by class."""
    ranks = [int((labels[:i] == label).sum()) for i, label in enumerate(labels)]
    chosen = sorted(range(len(labels)), key=lambda i: (ranks[i], labels[i]))[:most]
    return sorted(chosen, key=lambda i: (labels[i], ranks[i]))
