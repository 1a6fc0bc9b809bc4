"""Pictures of a sweep's results: who is ahead of whom, and what an accuracy costs in time and parameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from fewshot_kit.plots.basics import axes_at, font, shorten
from fewshot_kit.plots.runs import COLORS, INK, MARKERS, PAPER

WIDTH = 9.2  # inches, at 100 dots each
AHEAD, BEHIND, LEVEL, UNKNOWN = "#cfe8f7", "#fbdcc4", "#f3f4f6", "white"  # told apart by their signs too
LONGEST_NAME, POINTS = 40, 8  # of a name, letters and their size
LEGEND = "▲ the row is ahead of the column, ▼ behind, = no significant difference, ? not paired"
EQUALS = Path(
    [(-1, -0.6), (1, -0.6), (1, -0.3), (-1, -0.3), (-1, -0.6), (-1, 0.3), (1, 0.3), (1, 0.6), (-1, 0.6), (-1, 0.3)], [1, 2, 2, 2, 79] * 2
)
MOST_WITH_NUMBERS = 7  # models, up to which a cell has room for a difference with its interval


@dataclass(frozen=True)
class Model:
    """A model under one protocol, the means as fractions; `look` gives it its colour and marker, which it keeps."""

    name: str
    accuracy: float
    half_width: float  # NaN for a single episode
    seconds: float  # an episode; NaN where it is not known
    n_parameters: float  # NaN where it is not known
    look: int


@dataclass(frozen=True)
class Board:
    """The models under one protocol, the best first, and how far the first of each pair is ahead of the second: NaN where unknown."""

    title: str
    models: Sequence[Model]
    differences: np.ndarray  # (n_models, n_models), fractions, row minus column
    half_widths: np.ndarray  # (n_models, n_models)
    verdicts: np.ndarray  # (n_models, n_models): 1 row ahead, -1 behind, 0 neither


def ahead_figure(boards: Sequence[Board]) -> Figure:
    """Draw for every two models whether the one in the row is ahead of the one in the column, by how many percent points."""
    boards = [board for board in boards if len(board.models) > 1]
    heights = [0.72 + _side(board)[1] * len(board.models) for board in boards]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.32 if boards else 0.4), dpi=100, facecolor=PAPER)
    top = 0.0
    for board, height in zip(boards, heights, strict=True):
        _draw_matrix(figure, board, top)
        top += height
    has_numbers = any(len(board.models) <= MOST_WITH_NUMBERS for board in boards)
    units = "; in percentage points, with 95 % intervals" * has_numbers
    _note(figure, LEGEND + units if boards else "no two models to compare: choose other filters")
    figure.set_label(_ahead_text(boards))
    return figure


def cost_figure(boards: Sequence[Board]) -> Figure:
    """Draw accuracies with their 95 % intervals over seconds an episode and over parameters; the names stand at their height."""
    heights = [max(2.3, 0.85 + 0.2 * len(board.models)) for board in boards]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.1 if boards else 0.4), dpi=100, facecolor=PAPER)
    top = 0.0
    for board, height in zip(boards, heights, strict=True):
        _draw_cost(figure, board, top, height)
        top += height
    if not boards:
        _note(figure, "nothing to draw: choose other filters")
    figure.set_label(_cost_text(boards))
    return figure


def _note(figure: Figure, text: str) -> None:
    figure.text(0.14 / WIDTH, 0.1 / figure.get_size_inches()[1], text, fontsize=8, color=INK, va="bottom")


def _title(figure: Figure, title: str, top: float) -> None:
    height = figure.get_size_inches()[1]
    figure.text(0.14 / WIDTH, 1 - (top + 0.1) / height, shorten(title, 130), fontsize=9, weight="bold", color=INK, va="top")


def fitted(name: str, inches: float) -> str:
    """Shorten a name to what fits."""
    return next((cut for length in range(LONGEST_NAME, 4, -2) if _inches(cut := shorten(name, length)) <= inches), "…")


def _inches(text: str) -> float:
    return font(100).getlength(text) / 100 * POINTS / 72


# --- who is ahead ---


def _side(board: Board) -> tuple[float, float]:
    """Return width and height of a cell, in inches."""
    n = len(board.models)
    return min(1.05, 5.6 / n), 0.3 if n <= MOST_WITH_NUMBERS else 0.21


def _draw_matrix(figure: Figure, board: Board, top: float) -> None:
    n, (width, height) = len(board.models), _side(board)
    _title(figure, board.title, top)
    axes = axes_at(figure, 3.4, top + 0.56, n * width, n * height)
    axes.set(xlim=(0, n), ylim=(n, 0))
    _fill(axes, board)
    (_draw_numbers if n <= MOST_WITH_NUMBERS else _draw_signs)(axes, board)
    axes.set_xticks(np.arange(n) + 0.5, [str(place + 1) for place in range(n)])
    axes.set_yticks(np.arange(n) + 0.5, [f"{fitted(model.name, 2.9)}  {place + 1}" for place, model in enumerate(board.models)])
    axes.tick_params(labelsize=8 if n <= 20 else 7, colors=INK, length=0, top=False, labeltop=True, bottom=False, labelbottom=False, pad=3)
    axes.spines[:].set_visible(False)


def _fill(axes: Axes, board: Board) -> None:
    n = len(board.models)
    colors = np.full((n, n, 3), to_rgb(UNKNOWN))
    for verdict, color in ((1, AHEAD), (-1, BEHIND), (0, LEVEL)):
        colors[board.verdicts == verdict] = to_rgb(color)
    axes.imshow(colors, extent=(0, n, n, 0), aspect="auto", interpolation="nearest")
    axes.vlines(np.arange(n + 1), 0, n, color=PAPER, linewidth=1.5)
    axes.hlines(np.arange(n + 1), 0, n, color=PAPER, linewidth=1.5)


def _draw_numbers(axes: Axes, board: Board) -> None:
    for row, column in np.argwhere(~np.eye(len(board.models), dtype=bool)):
        verdict, difference, half_width = (of[row, column] for of in (board.verdicts, board.differences, board.half_widths))
        sign = {1: "▲", -1: "▼", 0: "="}[int(verdict)] if np.isfinite(verdict) else "?"
        numbers = f" {_signed(100 * difference)} ± {100 * half_width:.1f}" if np.isfinite(verdict) else ""
        axes.text(column + 0.5, row + 0.5, f"{sign}{numbers}", ha="center", va="center", fontsize=8, color=INK)


def _signed(points: float) -> str:
    return "0.0" if abs(points) < 0.05 else f"{points:+.1f}".replace("-", "−")


def _draw_signs(axes: Axes, board: Board) -> None:
    is_other = ~np.eye(len(board.models), dtype=bool)
    is_unknown = ~np.isfinite(board.verdicts) & is_other
    for where, marker in ((board.verdicts == 1, "^"), (board.verdicts == -1, "v"), (board.verdicts == 0, EQUALS), (is_unknown, "$?$")):
        rows, columns = np.nonzero(where & is_other)
        axes.scatter(columns + 0.5, rows + 0.5, marker=marker, s=22 if len(board.models) <= 20 else 15, color=INK, linewidths=0)


def _ahead_text(boards: Sequence[Board]) -> str:
    told = []
    for board in boards:
        names = [model.name for model in board.models]
        ahead = [f"{names[row]} ahead of {names[column]}" for row, column in np.argwhere(board.verdicts == 1)]
        told.append(f"{board.title}: {', '.join(ahead) or 'nobody significantly ahead of another'}")
    return f"Who is ahead of whom. {'; '.join(told) or 'Nothing to compare'}"[:1000]


# --- what it costs ---


def _draw_cost(figure: Figure, board: Board, top: float, height: float) -> None:
    _title(figure, board.title, top)
    seconds, parameters = (axes_at(figure, left, top + 0.36, 2.55, height - 0.86) for left in (0.65, 3.45))
    limits = _limits(board.models)
    for axes, words, cost in (
        (seconds, "seconds an episode", lambda model: model.seconds),
        (parameters, "parameters", lambda model: model.n_parameters),
    ):
        _draw_points(axes, board.models, cost)
        axes.set_ylim(limits)
        _frame(axes, words)
    seconds.set_ylabel("accuracy, %", fontsize=8.5, color=INK)
    parameters.tick_params(labelleft=False)
    _draw_names(figure, board.models, parameters, limits)


def _draw_points(axes: Axes, models: Sequence[Model], cost: Callable[[Model], float]) -> None:
    known = [model for model in models if np.isfinite(cost(model)) and cost(model) > 0]
    for model in known:
        color, marker = _look(model)
        interval = np.nan_to_num(100 * model.half_width)
        axes.errorbar(cost(model), 100 * model.accuracy, yerr=interval, color=color, marker=marker, markersize=5.5, capsize=3, elinewidth=1)
    if not known:
        axes.text(0.5, 0.5, "not known", transform=axes.transAxes, ha="center", va="center", fontsize=9, color="#6b7280")
        return
    values = [cost(model) for model in known]
    axes.set_xscale("log")
    middle, spread = (min(values) * max(values)) ** 0.5, max(1.2 * (max(values) / min(values)) ** 0.6, 2.2)
    axes.set_xlim(middle / spread, middle * spread)  # never so narrow that the axis has no tick


def _look(model: Model) -> tuple[str, str]:
    turn, color = divmod(model.look, len(COLORS))
    return COLORS[color], MARKERS[(color + turn) % len(MARKERS)]


def _limits(models: Sequence[Model]) -> tuple[float, float]:
    half_widths = [np.nan_to_num(model.half_width) for model in models]
    low = min(100 * (model.accuracy - half) for model, half in zip(models, half_widths, strict=True))
    high = max(100 * (model.accuracy + half) for model, half in zip(models, half_widths, strict=True))
    room = max(0.08 * (high - low), 0.5)
    return max(low - room, -2), min(high + room, 102)


def _frame(axes: Axes, words: str) -> None:
    axes.set_xlabel(f"{words}, logarithmic", fontsize=8.5, color=INK)
    if axes.get_xscale() == "log":
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 12 * low else (1, 3) if high < 300 * low else (1,), numticks=8))
        axes.xaxis.set_major_formatter(lambda value, _: _short(value))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xticks([])
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(which="both", labelsize=8, colors=INK)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _short(value: float) -> str:
    """Write 111680 as "112k"."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _draw_names(figure: Figure, models: Sequence[Model], beside: Axes, limits: tuple[float, float]) -> None:
    """Write each name at the height of its points, moved up or down where two would overlap, and joined to that height by a line."""
    box = beside.get_position()
    axes = figure.add_axes((box.x1, box.y0, 1 - box.x1, box.height), facecolor="none")
    width = (1 - box.x1) * WIDTH
    room = width - 0.5  # inches of a label
    axes.set(xlim=(0, width), ylim=limits)
    axes.axis("off")
    inches = box.height * figure.get_size_inches()[1]
    heights = spread_out([100 * model.accuracy for model in models], 0.18 * (limits[1] - limits[0]) / inches, limits)
    for model, height in zip(models, heights, strict=True):
        color, marker = _look(model)
        axes.plot([0.03, 0.22], [100 * model.accuracy, height], color="#9ca3af", linewidth=0.7, clip_on=False)
        axes.plot(0.32, height, color=color, marker=marker, markersize=5.5, clip_on=False)
        interval = f" ± {100 * model.half_width:.1f}" if np.isfinite(model.half_width) else ""
        numbers = f"{100 * model.accuracy:.1f}{interval}  "
        axes.text(0.42, height, numbers + fitted(model.name, room - _inches(numbers)), fontsize=POINTS, va="center", color=INK)


def spread_out(wanted: Sequence[float], distance: float, limits: tuple[float, float]) -> list[float]:
    """Return heights as near as may be to those wanted, in their order, `distance` apart or more, and inside the limits where they fit."""
    order = sorted(range(len(wanted)), key=lambda index: -wanted[index])
    groups: list[list[float]] = []  # of neighbours that push one another, as raised by their places, so that a group is of one height
    for place, index in enumerate(order):
        groups.append([wanted[index] + distance * place])
        while len(groups) > 1 and np.mean(groups[-2]) < np.mean(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    low, high = limits[0] + distance * (len(order) - 1), limits[1]
    raised = [min(max(float(np.mean(group)), low), max(high, low)) for group in groups for _ in group]
    found = [0.0] * len(wanted)
    for place, index in enumerate(order):
        found[index] = raised[place] - distance * place
    return found


def _cost_text(boards: Sequence[Board]) -> str:
    told = []
    for board in boards:
        models = [
            f"{model.name} {100 * model.accuracy:.1f} % in {model.seconds:.2g} seconds an episode, {_short(model.n_parameters)} parameters"
            for model in board.models
        ]
        told.append(f"{board.title}: {', '.join(models)}")
    return f"Accuracy, time and parameters. {'; '.join(told) or 'Nothing to draw'}"[:1000]
