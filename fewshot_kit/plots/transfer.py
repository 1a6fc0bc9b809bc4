"""Pictures of meta-transfer learning: how kernels were scaled and channels shifted, and the classes that are told worst."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from fewshot_kit.plots.basics import INK, PALE, axes_at, plain_tile, shorten
from fewshot_kit.plots.spread import draw_spread

SIDE, WIDTH = 0.52, 9.2  # inches: of a picture, of the figure


def scale_shift_figure(scales: Mapping[str, np.ndarray], shifts: Mapping[str, np.ndarray], changes: Mapping[str, float]) -> Figure:
    """Draw the learned scales and shifts {convolution: (n,)}, and how far they move the output of each layer, {layer: share of it}."""
    figure = Figure(figsize=(WIDTH, 1.0 + 0.24 * max(len(scales), 8)), dpi=100, layout="constrained")
    moved = ", ".join(f"{layer} {100 * change:.1f} %" for layer, change in changes.items())
    figure.set_label(f"The learned scales and shifts of {len(scales)} convolutions; they move the output of {moved}")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.25, 1, 0.8])
    draw_spread(left, scales, {name: f"{len(values):,}" for name, values in scales.items()}, start=1)
    left.set_title("scales of the kernels, and how many", fontsize=9)
    draw_spread(middle, shifts, dict.fromkeys(shifts, ""), start=0)
    middle.set_yticklabels([])
    middle.set_title("shifts of the channels", fontsize=9)
    bars = right.barh(list(changes), [100 * change for change in changes.values()], color=INK, height=0.55)
    right.bar_label(bars, fmt="%.1f %%", fontsize=8, padding=3)
    right.set_ylim(len(changes) - 0.5, -0.5)
    right.margins(x=0.3)
    right.set_title("a layer's output moves by", fontsize=9)
    right.tick_params(labelsize=8.5)
    right.xaxis.set_visible(False)
    right.spines[["top", "right", "bottom"]].set_visible(False)
    for axes in (left, middle):
        axes.set_xlabel("median, middle half, 5 to 95 %; dotted: the start", fontsize=8)
    return figure


@dataclass(frozen=True)
class HardClass:
    """A class that is told badly, and the one that it is most often taken for."""

    name: str
    image: np.ndarray  # (channels, height, width), 0..1, as is the other one
    accuracy: float
    other: str
    other_image: np.ndarray
    taken_for: float  # the share of its queries that were, in the episodes with both


def hard_classes_figure(rows: Sequence[HardClass]) -> Figure:
    """Draw a class a row: a picture of it, the share of its queries that are right, and what it is most often taken for."""
    height = 0.42 + (SIDE + 0.12) * len(rows)
    figure = Figure(figsize=(WIDTH, height), dpi=100)
    worst = ", ".join(f"{row.name} {100 * row.accuracy:.0f} %" for row in rows)
    figure.set_label(f"The hardest classes, by the share of their queries that are right: {worst}")
    text = axes_at(figure, 0, 0, WIDTH, height)
    text.set(xlim=(0, WIDTH), ylim=(height, 0))
    text.set_axis_off()
    for left, heading in ((0.8, "class"), (3.1, "right"), (6.3, "most often taken for")):
        text.text(left, 0.2, heading, fontsize=9, color="#4b5563", va="center")
    for row, hard in enumerate(rows):
        top = 0.42 + (SIDE + 0.12) * row
        middle = top + SIDE / 2
        for left, image in ((0.1, hard.image), (5.6, hard.other_image)):
            corner = round(100 * left), round(100 * (height - top - SIDE))
            figure.figimage(np.asarray(plain_tile(image, round(100 * SIDE))), *corner, origin="upper")
        text.text(0.8, middle, shorten(hard.name, 24), fontsize=9, va="center")
        text.barh(middle, 1.7, left=3.1, height=0.2, color=PALE)
        text.barh(middle, 1.7 * hard.accuracy, left=3.1, height=0.2, color=INK)
        text.text(4.9, middle, f"{100 * hard.accuracy:.0f} %", fontsize=9, va="center")
        text.text(6.3, middle, f"{shorten(hard.other, 24)}, {100 * hard.taken_for:.0f} %", fontsize=9, va="center")
    return figure
