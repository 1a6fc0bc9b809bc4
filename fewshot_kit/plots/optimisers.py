"""Pictures of a learned optimiser: where it leads beside other rules, its gates over the steps, its steps at large and small gradients."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fewshot_kit.plots.basics import INK, NEUTRAL, RIGHT, WRONG

_STYLES = ((INK, "o"), (WRONG, "s"), (RIGHT, "^"), (NEUTRAL, "D"))
LOWEST, HIGHEST = 1e-3, 20  # of a loss that is drawn


def rules_figure(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], n_way: int) -> Figure:
    """Draw {rule: (support losses, shares of right queries)}, (episodes, steps + 1) both: their means after 0, 1, ... steps."""
    figure = Figure(figsize=(9.2, 3.2), dpi=100, layout="constrained")
    ends = ", ".join(f"{name} {100 * right[:, -1].mean():.0f} % of the queries" for name, (_, right) in curves.items())
    figure.set_label(f"Support loss and answers over the steps of {len(curves)} rules; right at the end: {ends}")
    left, right_axes = figure.subplots(1, 2)
    for (name, (losses, right)), (color, marker) in zip(curves.items(), _STYLES, strict=False):
        style = {"color": color, "marker": marker, "markersize": 4, "label": name, "clip_on": False}
        shown = np.nan_to_num(losses, nan=np.inf).clip(LOWEST, HIGHEST)  # a loss that is no number has run away
        left.plot(range(losses.shape[1]), np.exp(np.log(shown).mean(0)), **style)
        right_axes.plot(range(right.shape[1]), right.mean(0), **style)
    left.set(yscale="log")
    left.set_title("loss on the support (geometric mean)", fontsize=9)
    right_axes.set_title("share of the queries that are right", fontsize=9)
    right_axes.set_ylim(0, 1)
    for axes, guess in ((left, np.log(n_way)), (right_axes, 1 / n_way)):
        axes.axhline(guess, color="#6b7280", linewidth=0.8, linestyle=(0, (4, 3)), label=f"a guess: {guess:.2f}")
        axes.set_xlabel("step (epoch)", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=8, frameon=False)
        _tidy(axes)
    return figure


def gates_figure(forget: Mapping[str, np.ndarray], take: Mapping[str, np.ndarray]) -> Figure:
    """Draw the mean gates of each layer over the steps, {layer: (steps,)}: the share of a weight that is forgotten, and the step's size."""
    steps = len(next(iter(take.values())))
    figure = Figure(figsize=(9.6, 0.9 + 0.42 * max(len(take), 4)), dpi=100, layout="constrained")
    figure.set_label(f"The gates of the learned optimiser in {len(take)} layers over {steps} steps")
    left, right = figure.subplots(1, 2)
    _draw_table(left, {layer: 1 - values for layer, values in forget.items()}, "1 - f: the share of a weight that a step forgets")
    _draw_table(right, take, "i: the learning rate of a step")
    return figure


def _draw_table(axes: Axes, rows: Mapping[str, np.ndarray], title: str) -> None:
    values = np.stack(list(rows.values()))
    shade = np.log10(np.clip(values, 1e-8, None))
    lightest, darkest = shade.min() - 0.5, max(shade.max(), shade.min() + 1) + 0.7  # numbers stay readable on the darkest
    axes.imshow(shade, cmap="Blues", vmin=lightest, vmax=darkest, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        axes.text(column, row, _short(value), ha="center", va="center", fontsize=7.5)
    axes.set_xticks(range(values.shape[1]), range(1, values.shape[1] + 1), fontsize=8)
    axes.set_yticks(range(len(rows)), list(rows), fontsize=8.5)
    axes.set_xlabel("step (epoch)", fontsize=9)
    axes.set_title(title, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _short(value: float) -> str:
    return f"{value:.0e}".replace("e-0", "e-") if value < 1e-3 else f"{value:.3f}"


def first_steps_figure(gradients: np.ndarray, steps: Mapping[str, np.ndarray]) -> Figure:
    """Draw how far a first step moves a weight at each gradient (n,), {rule: (n,)}, both on logarithmic axes."""
    figure = Figure(figsize=(6.4, 3.2), dpi=100, layout="constrained")
    figure.set_label(f"The first step of {len(steps)} rules at gradients from {gradients.min():.0e} to {gradients.max():.0e}")
    axes = figure.add_subplot()
    for (name, values), (color, marker) in zip(steps.items(), _STYLES, strict=False):
        axes.plot(gradients, np.abs(values), color=color, marker=marker, markersize=3.5, label=name)
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel("gradient", fontsize=9)
    axes.set_title("how far the first step moves a weight", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    _tidy(axes)
    return figure


def _tidy(axes: Axes) -> None:
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
