"""Pictures of the support, and of a class."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from fewshot_kit.plots.basics import TAGS, encode, shorten, show_image


def support_figure(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw the support: a column a class, headed by its letter and name. images (n, channels, height, width), labels (n,)."""
    n_way, n_shot = len(class_names), int(np.bincount(labels).max())
    figure = Figure(figsize=(9.2, 0.45 + 0.85 * n_shot + 0.1), dpi=100)
    columns = max(n_way, 5)
    grid = figure.add_gridspec(n_shot, columns, left=0.01, right=0.99, top=1 - 0.42 / figure.get_figheight(), bottom=0.02, hspace=0.06)
    for label, name in enumerate(class_names):
        for row, image in enumerate(images[labels == label]):
            axes = figure.add_subplot(grid[row, label])
            show_image(axes, image)
            if row == 0:
                axes.set_title(f"{TAGS[label]}\n{shorten(name, max(8, 100 // columns))}", fontsize=8, color="#111827", pad=3)
    return figure


def thumbnail(image: np.ndarray) -> bytes:
    """Return one uint8 image (channels, height, width) as a small PNG; ink pictures as dark ink on white."""
    pixels = 255 - image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
    return encode(Image.fromarray(np.ascontiguousarray(pixels)).resize((64, 64), Image.Resampling.BILINEAR))
