"""The loss on the support over the epochs, on a logarithmic axis that stays where it is."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from fewshot_kit.plots.basics import INK
from fewshot_kit.plots.texts import loss_text

LOWEST = 1e-4
TICKS = {0.001: "0.001", 0.01: "0.01", 0.1: "0.1", 1: "1"}
INSET = 1.35  # a mark of a value beyond the axis stands this factor inside its edge


class LossCurve:
    """A loss curve in its axes. They end at twice the loss of a guess among n_way classes; what lies beyond is marked at the edge."""

    def __init__(self, axes: Axes, n_way: int | None, highest: float | None = None):
        """Frame the axes. Without n_way there is no level of a guess, and `highest` says where they end."""
        guess = np.log(max(n_way, 2)) if n_way else None
        self.highest = highest if guess is None else 2 * guess
        axes.set_xlabel("epoch", fontsize=9)
        axes.set_title("loss on the support, log scale", fontsize=9)
        axes.set_yscale("log")
        axes.set_ylim(LOWEST, self.highest)
        axes.yaxis.set_major_locator(FixedLocator(list(TICKS)))
        axes.yaxis.set_major_formatter(FixedFormatter(list(TICKS.values())))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if guess is not None:
            axes.axhline(guess, color="#6b7280", linewidth=0.8, linestyle=(0, (4, 3)))
            axes.text(0.99, 0.93 * guess, f"a guess: {guess:.2f}", transform=axes.get_yaxis_transform(), ha="right", va="top", fontsize=7.5)
        (self.line,) = axes.plot([], [], color=INK, marker="o", markersize=3, clip_on=False)
        (self.above,) = axes.plot([], [], "^", color=INK, markersize=6, clip_on=False)
        (self.below,) = axes.plot([], [], "v", color=INK, markersize=6, clip_on=False)

    @property
    def artists(self) -> tuple[Artist, ...]:
        return self.line, self.above, self.below

    def show(self, losses: Sequence[float]) -> None:
        """Put the losses after 0, 1, ... epochs into the axes."""
        losses = np.nan_to_num(np.asarray(losses, float), nan=np.inf)  # a loss that is no number has run away
        above, below = _ends(losses > self.highest), _ends(losses < LOWEST)
        inside = np.flatnonzero((losses >= LOWEST) & (losses <= self.highest))
        self.line.set_data(range(len(losses)), losses.clip(LOWEST, self.highest))
        self.line.set_markevery(inside.tolist())
        self.above.set_data(above, np.full(len(above), self.highest / INSET))
        self.below.set_data(below, np.full(len(below), LOWEST * INSET))


def _ends(beyond: np.ndarray) -> np.ndarray:
    """Return where runs of values beyond the axis begin, and the last value if it is one: a mark each would be a thick line."""
    before = np.concatenate([[False], beyond[:-1]])
    return np.flatnonzero(beyond & (~before | (np.arange(len(beyond)) == len(beyond) - 1)))


def loss_figure(losses: Sequence[float], n_way: int | None = None) -> Figure:
    """Draw the support loss after 0, 1, ... epochs; with n_way, beside the loss of a guess."""
    figure = Figure(figsize=(5, 2.6), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    first = float(losses[0]) if np.isfinite(losses[0]) else 1.0
    curve = LossCurve(axes, n_way, highest=2 * max(first, 1.0))
    curve.show(losses)
    figure.set_label(loss_text(losses))
    axes.set_xlim(0, max(len(losses) - 1, 1))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return figure
