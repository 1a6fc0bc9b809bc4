"""Answers to compare: of several models to the same queries, and the background probability of known classes and of unknown ones."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fewshot_kit.plots.basics import (
    INK,
    MAX_QUERIES_SHOWN,
    NEUTRAL,
    PALE,
    TAGS,
    WRONG,
    axes_at,
    shorten,
    show_image,
    spread_over_classes,
)
from fewshot_kit.plots.texts import answer_text
from fewshot_kit.plots.verdicts import UNDECIDED, answer_to, bar_colors, mark, tally, verdict

MAX_SHOWN = 8  # pictures of each kind


def answer_figure(image: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw a person's own picture as the network sees it (channels, height, width), beside its probabilities (n_way,)."""
    n_way, answer = len(class_names), answer_to(probabilities)
    height = max(1.96, 0.2 + 0.14 * n_way)
    figure = Figure(figsize=(4.2, height), dpi=100)
    figure.set_label(answer_text(probabilities, class_names))
    picture, bars = axes_at(figure, 0.04, 0.24, 1.41, 1.41), axes_at(figure, 2.77, 0.1, 1.34, min(height - 0.2, 0.45 * n_way))
    show_image(picture, image)
    picture.set_title("what the model sees", fontsize=8)
    bars.barh(range(n_way), np.nan_to_num(probabilities), color=[INK if label == answer else PALE for label in range(n_way)])
    names = [f"{TAGS[label]} {shorten(name, 14)}" for label, name in enumerate(class_names)]
    bars.set(xlim=(0, 1.35), ylim=(n_way - 0.5, -0.5), xticks=[], yticks=range(n_way))
    bars.set_yticklabels(names, fontsize=7.5)
    bars.spines[["top", "right", "bottom"]].set_visible(False)
    for label, probability in enumerate(np.nan_to_num(probabilities)):
        bars.text(probability + 0.03, label, f"{100 * probability:.0f} %", va="center", fontsize=7.5)
    if answer == UNDECIDED:
        picture.set_xlabel("– undecided", fontsize=8, color=NEUTRAL, labelpad=3)
    return figure


def before_after_figure(images: np.ndarray, labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> Figure:
    """Draw queries (n, channels, height, width) with their probabilities (n, n_way) before and after learning."""
    shown, n_way = spread_over_classes(labels, MAX_QUERIES_SHOWN), before.shape[1]
    bars, column_width = 0.15 + 0.115 * n_way, 0.85  # inches
    figure = Figure(figsize=(0.8 + column_width * max(len(shown), 3), 1.34 + 2 * bars), dpi=100)
    figure.set_label(f"Queries before and after learning: before, {tally(before, labels)}; after, {tally(after, labels)}")
    for column, query in enumerate(shown):
        left, truth = 0.72 + column_width * column, int(labels[query])
        picture = axes_at(figure, left, 0.4, 0.78, 0.78)
        show_image(picture, images[query])
        text, color = verdict(answer_to(after[query]), truth)
        picture.set_title(f"is {TAGS[truth]}\n{text.partition(', ')[0]}", fontsize=8, color=color, pad=3)
        for row, (when, probabilities) in enumerate((("before", before[query]), ("after", after[query]))):
            axes = axes_at(figure, left, 1.22 + (bars + 0.06) * row, 0.78, bars)
            _draw_bars(axes, probabilities, [INK if label == truth else PALE for label in range(n_way)])
            if column == 0:
                axes.set_ylabel(when, rotation=0, ha="right", va="center", labelpad=14, fontsize=8.5)
                axes.set_yticks(range(n_way), TAGS[:n_way], fontsize=7)
    return figure


def probabilities_figure(images: np.ndarray, labels: np.ndarray, probabilities: Mapping[str, np.ndarray]) -> Figure:
    """Draw queries (n, channels, height, width) with their true labels (n,): a column a query, a row a model's probabilities (n, n_way)."""
    shown, n_way = spread_over_classes(labels, MAX_QUERIES_SHOWN), next(iter(probabilities.values())).shape[1]
    bars, column_width = 0.2 + 0.11 * n_way, 0.8  # inches
    bars = max(bars, 0.55)  # room for three lines at the left
    figure = Figure(figsize=(1.93 + column_width * max(len(shown), 3), 1.12 + (bars + 0.12) * len(probabilities)), dpi=100)
    figure.set_label("; ".join(f"{name}: {tally(values, labels)}" for name, values in probabilities.items()))
    for column, query in enumerate(shown):
        left, truth = 1.85 + column_width * column, int(labels[query])
        picture = axes_at(figure, left, 0.28, 0.72, 0.72)
        show_image(picture, images[query])
        picture.set_title(f"is {TAGS[truth]}", fontsize=8.5, pad=3)
        for row, (name, values) in enumerate(probabilities.items()):
            axes = axes_at(figure, left, 1.1 + (bars + 0.12) * row, 0.72, bars)
            _draw_bars(axes, values[query], bar_colors(values[query], truth, PALE))
            sign, color = mark(answer_to(values[query]), truth)
            axes.text(0.99, 0.03, sign, transform=axes.transAxes, ha="right", fontsize=8, color=color)
            if column == 0:
                count = tally(values, labels).replace(", ", "\n")
                axes.set_ylabel(f"{shorten(name, 23)}\n{count}", rotation=0, ha="right", va="center", labelpad=14, fontsize=8.5)
                axes.set_yticks(range(n_way), TAGS[:n_way], fontsize=7)
    return figure


def _draw_bars(axes: Axes, probabilities: np.ndarray, colors: Sequence[str]) -> None:
    axes.barh(range(len(probabilities)), np.nan_to_num(probabilities), height=0.75, color=colors)
    axes.set(xlim=(0, 1), ylim=(len(probabilities) - 0.5, -0.5), xticks=[], yticks=[])
    axes.tick_params(length=0, pad=2)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def background_figure(known: np.ndarray, unknown: np.ndarray, known_images: np.ndarray, unknown_images: np.ndarray) -> Figure:
    """Draw the background probabilities (n,) of pictures of the support's classes and of others, and some of the pictures themselves."""
    figure = Figure(figsize=(9.2, 4.4), dpi=100)
    medians = [f"{100 * np.median(values):.0f} %" for values in (known, unknown)]
    figure.set_label(f"Probability of the background: median {medians[0]} for pictures of the support's classes, {medians[1]} for others")
    kinds = (("classes of the support", known, known_images, INK, "o"), ("classes it was not shown", unknown, unknown_images, WRONG, "^"))
    for row, (title, values, images, color, _) in enumerate(kinds):
        for i, shown in enumerate(np.unique(np.linspace(0, len(values) - 1, MAX_SHOWN).round().astype(int))):
            axes = figure.add_axes((0.025 + 0.121 * i, 0.72 - 0.27 * row, 0.1, 0.17))
            show_image(axes, images[shown])
            axes.set_xlabel(f"{100 * values[shown]:.0f} %", fontsize=8.5, color=color, labelpad=2)
        figure.text(0.025, 0.915 - 0.27 * row, f"{title}: probability of the background", fontsize=9, color=color)
    axes = figure.add_axes((0.16, 0.12, 0.81, 0.2))
    for row, (_, values, _, color, marker) in enumerate(kinds):
        heights = row + np.linspace(-0.25, 0.25, len(values)) if len(values) > 1 else np.array([row])
        axes.scatter(100 * values, heights, s=16, c=color, marker=marker, alpha=0.6, linewidths=0)
        axes.vlines(100 * np.median(values), row - 0.4, row + 0.4, color=color, linewidth=2.5)
    axes.set_yticks(range(2), [f"{name}: {median}" for name, median in zip(("known", "unknown"), medians, strict=True)])
    axes.set(xlim=(-2, 102), ylim=(1.6, -0.6))
    axes.set_xlabel("probability of the background, % (a mark a picture; bar, and number at the left: median)", fontsize=8.5)
    axes.tick_params(labelsize=8.5)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
