"""Pictures of meta-trainings: loss and validation accuracy over the outer steps, one or several runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from fewshot_kit.plots.basics import shorten
from fewshot_kit.plots.texts import curves_text

# Told apart by the colour-blind (Okabe and Ito 2008; without their yellow, too pale on white, and with a gray and a wine red), and by
# the marker: as many of the one as of the other.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#56b4e9", "#e69f00", "#8f8f8f", "#7a1f4d")
MARKERS = "osD^vP*X<"
MAX_MARKERS = 30  # a curve
INK, PAPER = "#1f2937", "white"
VALIDATION, TRAINING = "validation", "training: own tasks, not comparable"
Curves = Mapping[str, np.ndarray]
Runs = Sequence[tuple[str, Curves]]


def curves_figure(runs: Runs, n_steps: int | None = None) -> Figure:
    """Draw (name, curves) of each run: training and validation loss, and validation accuracy with its 95 % interval.

    Curves are arrays (n_validations,), NaN where there is no value: step, train_loss, val_loss, val_accuracy (a fraction) and
    val_accuracy_half_width. `n_steps` fixes the end of the horizontal axis. Of as many runs, every picture has the same size. Of several,
    training losses far above all validation losses are cut off: learners measure theirs on tasks of their own.
    """
    legend_height = 0.18 * max(1, -(-len(runs) // 2)) + 0.08  # two columns
    height = 3.1 + legend_height
    figure = Figure(figsize=(9.2, height), dpi=100, facecolor=PAPER)
    loss, accuracy = (
        figure.add_axes((left / 9.2, (legend_height + 0.52) / height, 3.85 / 9.2, 2.2 / height), facecolor=PAPER) for left in (0.5, 5.1)
    )
    _title(loss, "Loss")
    _title(accuracy, "Validation accuracy, %, and its 95 % interval")
    for (_, curves), style in zip(runs, _styles(runs, None), strict=True):
        _draw_losses(loss, curves, style, with_training=True)
        _draw_accuracy(accuracy, curves, style)
    loss.legend(handles=_kinds(), loc="lower right", bbox_to_anchor=(1.02, 0.99), ncols=2, columnspacing=1, **_LEGEND)
    last_step = max(n_steps or 1, *_last_steps(runs))
    _frame(loss, last_step, _loss_limits(runs))
    _frame(accuracy, last_step, _limits(runs, _accuracies, 10))
    if runs:
        handles = [Line2D([], [], **style, label=f"{shorten(name, 28)}: {_best(curves)}") for name, curves, style in _styled(runs)]
        figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.3 / 9.2, 0), ncols=2, **_LEGEND)
    figure.set_label(curves_text(runs))
    return figure


def comparison_figure(
    runs: Runs, *, of: str = "accuracy", log: bool = False, with_training: bool = False, places: Sequence[int] | None = None
) -> Figure:
    """Draw the validation accuracy of several runs, or their loss, in one picture of one size; beside it who is who.

    `log` and `with_training` are of the loss: a logarithmic axis, and the training losses. `places` gives each run its colour and marker,
    0 to 8, so that a run keeps them while others come and go.
    """
    if len(runs) > len(COLORS):
        raise ValueError(f"at most {len(COLORS)} runs can be told apart in one picture, not {len(runs)}; choose fewer")
    figure = Figure(figsize=(9.2, 4.5), dpi=100, facecolor=PAPER)
    axes = figure.add_axes((0.6 / 9.2, 0.55 / 4.5, 5.3 / 9.2, 3.5 / 4.5), facecolor=PAPER)
    is_loss = of == "loss"
    loss_title = "Loss" if with_training else "Validation loss (cross entropy)"
    _title(axes, loss_title if is_loss else "Validation accuracy, %, and its 95 % interval")
    for _, curves, style in _styled(runs, places):
        if is_loss:
            _draw_losses(axes, curves, style, with_training=with_training)
        else:
            _draw_accuracy(axes, curves, style)
    _frame(axes, max(1, *_last_steps(runs)), _loss_limits(runs, with_training) if is_loss else _limits(runs, _accuracies, 2))
    if is_loss and log and runs:
        _log_scale(axes, runs, with_training)
    _who_is_who(figure, _styled(runs, places), _kinds() if is_loss and with_training else [])
    figure.set_label(curves_text(runs))
    return figure


_LEGEND = {"fontsize": 8, "frameon": False, "borderpad": 0.1, "labelcolor": INK}


def _styles(runs: Runs, places: Sequence[int] | None) -> list[dict]:
    """Return colour and marker of each run, by its place."""
    styles = []
    for place, (_, curves) in zip(range(len(runs)) if places is None else places, runs, strict=True):
        turn, color = divmod(place, len(COLORS))  # the tenth run has the first colour and another marker
        look = {"color": COLORS[color], "marker": MARKERS[(color + turn) % len(MARKERS)], "markersize": 4}
        styles.append({**look, "markevery": max(1, len(curves["step"]) // MAX_MARKERS)})
    return styles


def _styled(runs: Runs, places: Sequence[int] | None = None) -> list[tuple[str, Curves, dict]]:
    return [(name, curves, style) for (name, curves), style in zip(runs, _styles(runs, places), strict=True)]


def _kinds() -> list[Line2D]:
    return [Line2D([], [], color="#374151", linestyle=line, label=label) for line, label in (("-", VALIDATION), ("--", TRAINING))]


def _who_is_who(figure: Figure, styled: list[tuple[str, Curves, dict]], kinds: list[Line2D]) -> None:
    handles = [Line2D([], [], **style, label=f"{shorten(name, 40)}\n{_best(curves)}") for name, curves, style in styled]
    place = {"loc": "upper left", "bbox_to_anchor": (6.0 / 9.2, 4.15 / 4.5)}
    if handles:
        figure.legend(handles=handles, **place, labelspacing=0.6, **_LEGEND)
    if kinds:
        figure.legend(handles=kinds, loc="lower left", bbox_to_anchor=(6.0 / 9.2, 0), **_LEGEND)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=9.5, weight="bold", color=INK)
    axes.set_xlabel("outer step", fontsize=9, color=INK)


def _draw_losses(axes: Axes, curves: Curves, style: dict, *, with_training: bool) -> None:
    axes.plot(curves["step"], curves["val_loss"], **style)
    if with_training:
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
    axes.tick_params(which="both", labelsize=8, colors=INK)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    if not any(len(line.get_xdata()) for line in axes.lines):
        axes.text(0.5, 0.5, "no validation yet", transform=axes.transAxes, ha="center", va="center", fontsize=9, color="#6b7280")


def _log_scale(axes: Axes, runs: Runs, with_training: bool) -> None:
    values = _finite(runs, _losses if with_training else _validation_losses)
    values = values[values > 0]
    if len(values):
        axes.set_yscale("log", nonpositive="mask")
        axes.set_ylim(0.8 * values.min(), 1.25 * values.max())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())


def _last_steps(runs: Runs) -> list[float]:
    return [0.0, *(float(curves["step"][-1]) for _, curves in runs if len(curves["step"]))]


def _loss_limits(runs: Runs, with_training: bool = True) -> tuple[float, float]:
    validation = _limits(runs, _validation_losses, 0.25)
    if not with_training:
        return validation
    low, high = _limits(runs, _losses, 0.25)
    return low, high if len(runs) < 2 else min(high, 2.5 * validation[1])


def _losses(curves: Curves) -> Iterator[np.ndarray]:
    yield from (curves["train_loss"], curves["val_loss"])


def _validation_losses(curves: Curves) -> Iterator[np.ndarray]:
    yield curves["val_loss"]


def _accuracies(curves: Curves) -> Iterator[np.ndarray]:
    half_width = np.nan_to_num(curves["val_accuracy_half_width"])
    yield from (100 * (curves["val_accuracy"] - half_width), 100 * (curves["val_accuracy"] + half_width))


def _finite(runs: Runs, values: Callable[[Curves], Iterator[np.ndarray]]) -> np.ndarray:
    everything = np.concatenate([np.zeros(0), *(part for _, curves in runs for part in values(curves))])
    return everything[np.isfinite(everything)]


def _limits(runs: Runs, values: Callable[[Curves], Iterator[np.ndarray]], grain: float) -> tuple[float, float]:
    """Return limits in whole grains: the axes of a live picture move seldom."""
    everything = _finite(runs, values)
    if not len(everything):
        return 0.0, 10 * grain
    low, high = float(np.floor(everything.min() / grain)), float(np.ceil(everything.max() / grain))
    return grain * low, grain * max(high, low + max(1, abs(low) / 1000))  # of a huge number, one more is the same number


def _best(curves: Curves) -> str:
    """Say what the best validation was."""
    if not np.isfinite(curves["val_accuracy"]).any():
        return "no validation yet"
    best = int(np.nanargmax(curves["val_accuracy"]))
    half_width = 100 * curves["val_accuracy_half_width"][best]
    interval = f" ± {half_width:.1f}" if np.isfinite(half_width) else ""
    return f"best {100 * curves['val_accuracy'][best]:.1f}{interval} % at step {curves['step'][best]:.0f}"
