"""Pictures of the support, and of a class."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from fewshot_kit.plots.basics import TAGS, encode, plain_tile, shorten
from fewshot_kit.plots.texts import support_text

WIDTH = 920  # pixels


def support_figure(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw the support: a column a class, headed by its letter and name, at most ten side by side.

    images (n, channels, height, width), labels (n,).
    """
    n_way, n_shot, columns = len(class_names), int(np.bincount(labels).max()), min(max(len(class_names), 5), 10)
    bands, column_width = -(-n_way // columns), WIDTH / columns
    side = min(column_width - 8, 84 if n_shot <= 2 else 56)
    band_height = 34 + (side + 5) * n_shot + 8  # pixels
    figure = Figure(figsize=(WIDTH / 100, bands * band_height / 100), dpi=100)
    figure.set_label(support_text(labels, class_names))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(bands * band_height, 0))
    axes.set_axis_off()
    for label, name in enumerate(class_names):
        middle, top = (label % columns + 0.5) * column_width, label // columns * band_height
        heading = f"{TAGS[label]}\n{shorten(name, round(column_width / 7.5))}"
        axes.text(middle, top + 18, heading, fontsize=8, color="#111827", ha="center", va="center", linespacing=1.2)
        for row, image in enumerate(images[labels == label]):
            corner = round(middle - side / 2), round(top + 34 + (side + 5) * row)
            figure.figimage(
                np.asarray(plain_tile(image, round(side))), corner[0], figure.bbox.height - corner[1] - round(side), origin="upper"
            )
    return figure


def thumbnail(image: np.ndarray) -> bytes:
    """Return one uint8 image (channels, height, width) as a small PNG; ink pictures as dark ink on white."""
    pixels = 255 - image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
    return encode(Image.fromarray(np.ascontiguousarray(pixels)).resize((64, 64), Image.Resampling.BILINEAR))
