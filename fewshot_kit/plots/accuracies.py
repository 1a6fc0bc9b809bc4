"""Pictures of measured accuracies: side by side, and over the steps."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from fewshot_kit.plots.basics import INK, PALE

CURVE_COLORS = (INK, "#b35900", "#6a4c93", "#2a7f76")
LEVEL_STYLES = ((0, (1, 2)), (0, (6, 3)), (0, (3, 3, 1, 3)))
LINE_STYLES = ("-", "--", "-.", ":")  # beside the colours: a curve is told apart without them too


def accuracy_figure(rows: Sequence[tuple[str, float, float]], what: str = "accuracy on the queries") -> Figure:
    """Draw (name, accuracy, half width of the 95 % interval) as bars, fractions as percent; `what` says what is measured."""
    figure = Figure(figsize=(6.4, 0.55 + 0.36 * len(rows)), dpi=100, layout="constrained")
    percent = [f"{name} {100 * mean:.1f} %" for name, mean, _ in rows]
    figure.set_label(f"{what[0].upper()}{what[1:]}: {', '.join(percent)}")
    axes = figure.add_subplot()
    names, means, half_widths = zip(*rows, strict=True)
    axes.barh(names, [100 * mean for mean in means], xerr=[100 * h for h in half_widths], color=[INK] + [PALE] * (len(rows) - 1), capsize=3)
    for row, (_, mean, half_width) in enumerate(rows):
        interval = f" ± {100 * half_width:.1f}" if half_width else ""
        axes.text(100 * (mean + half_width) + 1.5, row, f"{100 * mean:.1f}{interval} %", va="center", fontsize=8.5)
    axes.set(xlim=(0, 125), xlabel=f"{what}, %", xticks=range(0, 101, 20))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def accuracy_over_steps_figure(curves: Mapping[str, tuple[Sequence[int], np.ndarray, np.ndarray]], levels: Mapping[str, float]) -> Figure:
    """Draw {name: (steps, mean accuracy, half width of the 95 % interval)} as curves, {name: accuracy} as levels.

    Accuracies are fractions, shown as percent.
    """
    figure = Figure(figsize=(8.2, 3.8), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for (name, (steps, means, half_widths)), color, style in zip(curves.items(), cycle(CURVE_COLORS), cycle(LINE_STYLES), strict=False):
        means, half_widths = 100 * np.asarray(means), 100 * np.asarray(half_widths)
        axes.plot(steps, means, style, color=color, marker="o", markersize=3.5, label=f"{name}: {means[-1]:.1f} ± {half_widths[-1]:.1f} %")
        axes.fill_between(steps, means - half_widths, means + half_widths, color=color, alpha=0.15, linewidth=0)
    last = max(max(steps) for steps, _, _ in curves.values())
    for (name, level), style in zip(levels.items(), cycle(LEVEL_STYLES), strict=False):
        axes.axhline(100 * level, color="#6b7280", linewidth=1.3, linestyle=style, label=f"{name}: {100 * level:.1f} %")
    ticks = sorted({step for steps, _, _ in curves.values() for step in steps})
    last_values = [f"{name} {100 * means[-1]:.1f} %" for name, (_, means, _) in curves.items()]
    figure.set_label(f"Accuracy on the queries over the steps, after the last: {', '.join(last_values)}")
    axes.set_xscale("symlog", linthresh=5)  # the first steps, in which most happens, are given room
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, ticks)
    axes.set(xlim=(0, last * 1.04 + 0.05), ylim=(0, 104))
    axes.set_xlabel("gradient steps on the support", fontsize=9)
    axes.set_title("accuracy on the queries, % (shaded: 95 % interval; legend: after the last step)", fontsize=9.5)
    axes.tick_params(labelsize=8.5)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8.5, frameon=False)
    return figure
