"""Pictures of the inner loop, step by step: the queries' probabilities, the layers that move, the accuracy, the rates they learn at."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from fewshot_kit.plots.basics import INK, MAX_QUERIES_SHOWN, PALE, RIGHT, TAGS, WRONG, show_image, spread_over_classes
from fewshot_kit.plots.spread import draw_spread
from fewshot_kit.plots.verdicts import answer_to, bar_colors, mark, tally

MAX_STEPS_SHOWN = 8
BARS = 0.86  # of a row's height; the rest keeps the rows apart


def steps_figure(images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> Figure:
    """Draw queries with their probabilities after step 0, 1, ... (steps + 1, n, n_way): a column a query, a row a step.

    images (n, channels, height, width), labels (n,). Of many steps only some are shown, the first and the last among them.
    """
    shown, n_way = spread_over_classes(labels, MAX_QUERIES_SHOWN), probabilities.shape[2]
    steps = np.unique(np.linspace(0, len(probabilities) - 1, min(len(probabilities), MAX_STEPS_SHOWN)).round().astype(int))
    row_height, column_width = max(0.3 + 0.075 * n_way, 0.52), 0.78  # inches
    width, height = max(1.75 + column_width * len(shown), 3.6), 1.15 + row_height * len(steps)
    figure = Figure(figsize=(width, height), dpi=100)
    figure.set_label(f"Queries step by step: before, {tally(probabilities[0], labels)}; at the end, {tally(probabilities[-1], labels)}")
    for column, query in enumerate(shown):
        picture = figure.add_axes(((1.65 + column_width * column) / width, 1 - 0.98 / height, 0.7 / width, 0.7 / height))
        show_image(picture, images[query])
        picture.set_title(f"is {TAGS[labels[query]]}", fontsize=8.5, pad=3)
    # One axes for all the bars, a query wide and a step high: an axes for each would take seconds.
    axes = figure.add_axes((1.65 / width, 0.05 / height, column_width * len(shown) / width, row_height * len(steps) / height))
    axes.set(xlim=(0, len(shown)), ylim=(len(steps), 0))
    axes.set_axis_off()
    for row, step in enumerate(steps):
        _head_row(axes, row, step, probabilities[step], labels)
        _draw_row(axes, row, probabilities[step, shown], labels[shown])
    return figure


def _places(row: int, n_way: int) -> np.ndarray:
    """Return the heights of the bars of a row."""
    return row + BARS * (np.arange(n_way) + 0.5) / n_way


def _head_row(axes: Axes, row: int, step: int, probabilities: np.ndarray, labels: np.ndarray) -> None:
    n_way, head = probabilities.shape[1], "before" if step == 0 else f"step {step}"
    count = tally(probabilities, labels).replace(", ", "\n")
    axes.text(-0.25, row + BARS / 2, f"{head}\n{count}", ha="right", va="center", fontsize=8.5)
    for place, tag in zip(_places(row, n_way), TAGS, strict=False):
        axes.text(-0.04, place, tag, ha="right", va="center", fontsize=6.5)


def _draw_row(axes: Axes, row: int, probabilities: np.ndarray, labels: np.ndarray) -> None:
    n_shown, n_way = probabilities.shape
    colors = []
    for column, (values, truth) in enumerate(zip(probabilities, labels.tolist(), strict=True)):
        colors += bar_colors(values, truth, PALE)
        sign, color = mark(answer_to(values), truth)
        axes.text(column + 0.9, row + BARS, sign, ha="right", va="bottom", fontsize=8, color=color)
    places, lefts = np.tile(_places(row, n_way), n_shown), np.arange(n_shown).repeat(n_way)
    axes.barh(places, 0.78 * np.nan_to_num(probabilities).ravel(), height=0.75 * BARS / n_way, left=lefts, color=colors)
    axes.vlines(range(n_shown), row, row + BARS, color="black", linewidth=0.8, clip_on=False)


def layer_change_figure(changes: Mapping[str, np.ndarray], true_probabilities: np.ndarray) -> Figure:
    """Draw how far each step moved each layer, {layer: (steps,)}, beside what it did to the queries.

    true_probabilities (steps + 1, n_queries): that of each query's true class after 0, 1, ... steps.
    """
    n_steps = len(true_probabilities) - 1
    figure = Figure(figsize=(9.2, 0.9 + 0.42 * max(len(changes), 5)), dpi=100, layout="constrained")
    figure.set_label(f"How far {n_steps} steps moved each of {len(changes)} layers, and what they did to the queries' probabilities")
    table, queries = figure.subplots(1, 2, width_ratios=(1, 1))
    if n_steps == 0:
        figure.suptitle("no step was taken: nothing has changed", y=0.5, fontsize=9)
        for axes in (table, queries):
            axes.set_axis_off()
        return figure
    _draw_changes(table, changes)
    differences = 100 * np.diff(true_probabilities, axis=0)  # (steps, n_queries)
    offsets = np.linspace(-0.22, 0.22, differences.shape[1]) if differences.shape[1] > 1 else np.zeros(1)
    for step, values in enumerate(differences, start=1):
        colors = [RIGHT if value >= 0 else WRONG for value in values]
        queries.scatter(step + offsets, values, s=12, c=colors, alpha=0.75, linewidths=0)
        queries.hlines(values.mean(), step - 0.32, step + 0.32, color=INK, linewidth=2.2)
    queries.axhline(0, color="#6b7280", linewidth=0.8)
    queries.set(xlim=(0.5, n_steps + 0.5), xticks=range(1, n_steps + 1), xlabel="step")
    queries.xaxis.label.set_size(9)
    queries.set_title("change of each query's probability of its true class,\npercentage points (a dot a query; bar: mean)", fontsize=9)
    queries.tick_params(labelsize=8)
    queries.grid(axis="y", alpha=0.25)
    queries.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_changes(axes: Axes, changes: Mapping[str, np.ndarray]) -> None:
    percent = 100 * np.stack(list(changes.values()))  # (layers, steps)
    # Logarithmic shade: between the layers lie powers of ten.
    shade = (np.log10(np.clip(percent, 1e-3, 100)) + 3) / 5
    axes.imshow(shade, cmap="Blues", vmin=0, vmax=1.35, aspect="auto")
    for (row, column), value in np.ndenumerate(percent):
        text = "0" if value == 0 else f"{value:.2g} %" if value < 99.5 else f"{value:.0f} %"
        axes.text(column, row, text, ha="center", va="center", fontsize=8.5)
    axes.set_xticks(range(percent.shape[1]), range(1, percent.shape[1] + 1), fontsize=8)
    axes.set_yticks(range(len(changes)), list(changes), fontsize=8.5)
    axes.set_xlabel("step", fontsize=9)
    axes.set_title("how far each step moved each layer,\nas a share of the layer's weights after it", fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def rates_figure(rates: Mapping[str, np.ndarray], pictures: Mapping[str, np.ndarray]) -> Figure:
    """Draw the learned rates {layer: (n,)} in units of where they started, and some of them as small images {title: (n, height, width)}."""
    figure = Figure(figsize=(10, 0.9 + 0.33 * max(len(rates), 8)), dpi=100, layout="constrained")
    figure.set_label(f"The learned rates of {len(rates)} layers, in units of where they started")
    spread, *mosaics = figure.subplots(1, 1 + len(pictures), squeeze=False, width_ratios=[1.5] + [1] * len(pictures))[0]
    below = {name: f"{100 * np.mean(np.asarray(values) < 0):.0f} % < 0" for name, values in rates.items()}
    draw_spread(spread, rates, below, start=1)
    spread.set_xlabel("rate, in units of where it started (dotted: 1)", fontsize=8.5)
    spread.set_title("median, middle half, 5 to 95 %; share below zero", fontsize=9)
    norm = _around_one([picture.ravel() for picture in pictures.values()])
    for axes, (title, images) in zip(mosaics, pictures.items(), strict=True):
        shown = axes.imshow(_mosaic(images), cmap="PuOr_r", norm=norm, interpolation="nearest")
        axes.set_title(f"{title}: {len(images)} of {images.shape[1]} × {images.shape[2]}", fontsize=9)
        axes.set_axis_off()
    if mosaics:
        bar = figure.colorbar(shown, ax=mosaics, location="bottom", shrink=0.6, pad=0.03, aspect=30)
        bar.set_label("rate, in units of where it started", fontsize=8.5)
        bar.ax.tick_params(labelsize=8)
    return figure


def _around_one(values: Sequence[np.ndarray]) -> TwoSlopeNorm:
    """Return a scale of colours with 1 in its middle that holds all the values."""
    reach = max([1e-3, *(float(np.abs(part - 1).max()) for part in values)])
    return TwoSlopeNorm(1, 1 - reach, 1 + reach)


def _mosaic(images: np.ndarray) -> np.ndarray:
    """Lay images (n, height, width) out in a square, two values a pixel, with gaps of NaN one value wide."""
    n, columns = len(images), int(np.ceil(np.sqrt(len(images))))
    rows, height, width = -(-n // columns), 2 * images.shape[1] + 1, 2 * images.shape[2] + 1
    cells = np.full((rows * columns, height, width), np.nan)
    cells[:n, :-1, :-1] = images.repeat(2, axis=1).repeat(2, axis=2)
    return cells.reshape(rows, columns, height, width).transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
