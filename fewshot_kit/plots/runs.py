"""Pictures of meta-trainings: loss and validation accuracy over the outer steps, one or several runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fewshot_kit.plots.basics import shorten

# Told apart by the colour-blind (Okabe and Ito 2008; without their yellow, too pale on white), and by the marker.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#56b4e9", "#e69f00", "#7f7f7f")
MARKERS = "osD^vP*X<"  # one more than colours: the ninth run has the first colour and another marker
MAX_MARKERS = 30  # a curve
Curves = Mapping[str, np.ndarray]


def curves_figure(runs: Sequence[tuple[str, Curves]], n_steps: int | None = None) -> Figure:
    """Draw (name, curves) of each run: training and validation loss, and validation accuracy with its 95 % interval.

    Curves are arrays (n_validations,), NaN where there is no value: step, train_loss, val_loss, val_accuracy (a fraction) and
    val_accuracy_half_width. `n_steps` fixes the end of the horizontal axis. Of as many runs, every picture has the same size. Of several,
    training losses far above all validation losses are cut off: learners measure theirs on tasks of their own.
    """
    legend_height = 0.18 * max(1, -(-len(runs) // 2)) + 0.08  # two columns
    height = 3.1 + legend_height
    figure = Figure(figsize=(9.2, height), dpi=100)
    loss, accuracy = (
        figure.add_axes((left / 9.2, (legend_height + 0.52) / height, 3.85 / 9.2, 2.2 / height), xlabel="outer step") for left in (0.5, 5.1)
    )
    loss.set_title("Loss (cross entropy)", loc="left", fontsize=9.5, weight="bold")
    accuracy.set_title("Validation accuracy, %, and its 95 % interval", loc="left", fontsize=9.5, weight="bold")
    handles = []
    for (name, curves), color, marker in zip(runs, cycle(COLORS), cycle(MARKERS), strict=False):
        style = {"color": color, "marker": marker, "markersize": 4, "markevery": max(1, len(curves["step"]) // MAX_MARKERS)}
        _draw_losses(loss, curves, style)
        _draw_accuracy(accuracy, curves, style)
        handles.append(Line2D([], [], **style, label=f"{shorten(name, 28)}: {_best(curves)}"))
    kinds = [Line2D([], [], color="#374151", linestyle=line, label=label) for line, label in (("-", "validation"), ("--", "training"))]
    loss.legend(handles=kinds, loc="lower right", bbox_to_anchor=(1.02, 0.99), ncols=2, fontsize=8, frameon=False, borderpad=0.3)
    _frame(loss, max(n_steps or 1, *_last_steps(runs)), _loss_limits(runs))
    _frame(accuracy, max(n_steps or 1, *_last_steps(runs)), _limits(runs, _accuracies, 10))
    if handles:
        figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.3 / 9.2, 0), ncols=2, fontsize=8, frameon=False, borderpad=0.1)
    return figure


def _draw_losses(axes: Axes, curves: Curves, style: dict) -> None:
    axes.plot(curves["step"], curves["val_loss"], **style)
    axes.plot(curves["step"], curves["train_loss"], **{**style, "markersize": 2.5}, linestyle="--", linewidth=1, alpha=0.8)


def _draw_accuracy(axes: Axes, curves: Curves, style: dict) -> None:
    mean, half_width = 100 * curves["val_accuracy"], 100 * curves["val_accuracy_half_width"]
    axes.plot(curves["step"], mean, **style)
    if len(mean) == 1:  # a band needs two
        axes.errorbar(curves["step"], mean, yerr=np.nan_to_num(half_width), color=style["color"], capsize=4)
    else:
        axes.fill_between(curves["step"], mean - half_width, mean + half_width, color=style["color"], alpha=0.15, linewidth=0)


def _frame(axes: Axes, last_step: float, limits: tuple[float, float]) -> None:
    axes.set(xlim=(0, 1.02 * last_step), ylim=limits)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.label.set_size(9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if not any(len(line.get_xdata()) for line in axes.lines):
        axes.text(0.5, 0.5, "no validation yet", transform=axes.transAxes, ha="center", va="center", fontsize=9, color="#6b7280")


def _last_steps(runs: Sequence[tuple[str, Curves]]) -> list[float]:
    return [0.0, *(float(curves["step"][-1]) for _, curves in runs if len(curves["step"]))]


def _loss_limits(runs: Sequence[tuple[str, Curves]]) -> tuple[float, float]:
    low, high = _limits(runs, _losses, 0.25)
    validation = _limits(runs, lambda curves: iter([curves["val_loss"]]), 0.25)
    return low, high if len(runs) < 2 else min(high, 2.5 * validation[1])


def _losses(curves: Curves) -> Iterator[np.ndarray]:
    yield from (curves["train_loss"], curves["val_loss"])


def _accuracies(curves: Curves) -> Iterator[np.ndarray]:
    half_width = np.nan_to_num(curves["val_accuracy_half_width"])
    yield from (100 * (curves["val_accuracy"] - half_width), 100 * (curves["val_accuracy"] + half_width))


def _limits(runs: Sequence[tuple[str, Curves]], values: Callable[[Curves], Iterator[np.ndarray]], grain: float) -> tuple[float, float]:
    """Return limits in whole grains: the axes of a live picture move seldom."""
    everything = np.concatenate([np.zeros(0), *(part for _, curves in runs for part in values(curves))])
    everything = everything[np.isfinite(everything)]
    if not len(everything):
        return 0.0, 10 * grain
    low, high = float(np.floor(everything.min() / grain)), float(np.ceil(everything.max() / grain))
    return grain * low, grain * max(high, low + 1)


def _best(curves: Curves) -> str:
    if not np.isfinite(curves["val_accuracy"]).any():
        return "no validation yet"
    best = int(np.nanargmax(curves["val_accuracy"]))
    half_width = 100 * curves["val_accuracy_half_width"][best]
    interval = f" ± {half_width:.1f}" if np.isfinite(half_width) else ""
    return f"best {100 * curves['val_accuracy'][best]:.1f}{interval} % at step {curves['step'][best]:.0f}"
