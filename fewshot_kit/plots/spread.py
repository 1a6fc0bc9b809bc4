"""Many numbers as a row each: the median, the middle half, and where all but a tenth of them lie."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from fewshot_kit.plots.basics import INK, PALE


def draw_spread(axes: Axes, rows: Mapping[str, np.ndarray], notes: Mapping[str, str], start: float) -> None:
    """Draw {name: (n,)}, a row a name, a note at its end; a dotted line at where the numbers started; one at zero where some are below."""
    for row, (name, values) in enumerate(rows.items()):
        low, quarter, median, three_quarters, high = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
        axes.hlines(row, low, high, color=PALE, linewidth=3)
        axes.hlines(row, quarter, three_quarters, color=INK, linewidth=7)
        axes.plot(median, row, "o", color="white", markeredgecolor=INK, markersize=5.5)
        axes.text(1.02, row, notes[name], transform=axes.get_yaxis_transform(), va="center", fontsize=8, color="#4b5563")
    axes.axvline(start, color="#6b7280", linewidth=1, linestyle=":")
    if start and any((values < 0).any() for values in rows.values()):
        axes.axvline(0, color="#6b7280", linewidth=0.8)
    axes.set_yticks(range(len(rows)), list(rows), fontsize=8.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(labelsize=8.5)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
