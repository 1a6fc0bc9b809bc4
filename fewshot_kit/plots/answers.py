"""Answers to compare: of several models to the same queries, and the background probability of known classes and of unknown ones."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fewshot_kit.plots.basics import INK, MAX_QUERIES_SHOWN, PALE, RIGHT, TAGS, WRONG, shorten, show_image, spread_over_classes

MAX_SHOWN = 8  # pictures of each kind


def answer_figure(image: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw a person's own picture as the network sees it (channels, height, width), beside its probabilities (n_way,)."""
    figure = Figure(figsize=(4.2, 1.96), dpi=100)
    picture, bars = figure.add_axes((0.01, 0.12, 0.34, 0.72)), figure.add_axes((0.66, 0.06, 0.32, 0.84))
    show_image(picture, image)
    picture.set_title("what the model sees", fontsize=8)
    answer = int(probabilities.argmax())
    colors = [INK if label == answer else PALE for label in range(len(class_names))]
    bars.barh(range(len(class_names)), probabilities, color=colors)
    names = [f"{TAGS[label]} {shorten(name, 14)}" for label, name in enumerate(class_names)]
    bars.set(xlim=(0, 1.35), ylim=(len(class_names) - 0.5, -0.5), xticks=[], yticks=range(len(class_names)))
    bars.set_yticklabels(names, fontsize=7.5)
    bars.spines[["top", "right", "bottom"]].set_visible(False)
    for label, probability in enumerate(probabilities):
        bars.text(probability + 0.03, label, f"{100 * probability:.0f} %", va="center", fontsize=7.5)
    return figure


def before_after_figure(images: np.ndarray, labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> Figure:
    """Draw queries (n, channels, height, width) with their probabilities (n, n_way) before and after learning."""
    shown, n_way = spread_over_classes(labels, MAX_QUERIES_SHOWN), before.shape[1]
    figure = Figure(figsize=(max(0.92 * len(shown) + 0.9, 3.6), 1.3 + 0.3 * n_way), dpi=100)
    grid = figure.add_gridspec(3, len(shown), height_ratios=[0.8, 0.15 * n_way, 0.15 * n_way], top=0.88, bottom=0.04, left=0.12, right=0.99)
    for column, query in enumerate(shown):
        truth, answer = labels[query], int(after[query].argmax())
        picture = figure.add_subplot(grid[0, column])
        show_image(picture, images[query])
        verdict, color = ("✓ right", RIGHT) if answer == truth else ("✗ wrong", WRONG)
        picture.set_title(f"is {TAGS[truth]}: {verdict}", fontsize=7.5, color=color, pad=3)
        for row, (when, probabilities) in enumerate((("before", before[query]), ("after", after[query])), start=1):
            axes = figure.add_subplot(grid[row, column])
            axes.barh(range(n_way), probabilities, height=0.75, color=[INK if label == truth else PALE for label in range(n_way)])
            axes.set(xlim=(0, 1), ylim=(n_way - 0.5, -0.5), xticks=[], yticks=range(n_way))
            axes.set_yticklabels(TAGS[:n_way] if column == 0 else [""] * n_way, fontsize=7)
            axes.tick_params(length=0, pad=2)
            if column == 0:
                axes.set_ylabel(when, fontsize=8)
    return figure


def probabilities_figure(images: np.ndarray, labels: np.ndarray, probabilities: Mapping[str, np.ndarray]) -> Figure:
    """Draw queries (n, channels, height, width) with their true labels (n,): a column a query, a row a model's probabilities (n, n_way)."""
    shown, n_way = spread_over_classes(labels, MAX_QUERIES_SHOWN), next(iter(probabilities.values())).shape[1]
    bars = 0.2 + 0.11 * n_way  # inches
    size = 1.5 + 0.8 * max(len(shown), 3), 1.1 + (bars + 0.12) * len(probabilities)
    figure = Figure(figsize=size, dpi=100)
    grid = figure.add_gridspec(
        len(probabilities) + 1, len(shown), height_ratios=[0.78] + [bars] * len(probabilities), hspace=0.15, wspace=0.12,
        left=1.4 / size[0], right=1 - 0.08 / size[0], top=1 - 0.28 / size[1], bottom=0.08 / size[1],
    )  # fmt: skip
    for column, query in enumerate(shown):
        picture = figure.add_subplot(grid[0, column])
        show_image(picture, images[query])
        picture.set_title(f"is {TAGS[labels[query]]}", fontsize=8.5, pad=3)
        for row, (name, values) in enumerate(probabilities.items(), start=1):
            axes = figure.add_subplot(grid[row, column])
            _draw_bars(axes, values[query], int(labels[query]))
            if column == 0:
                n_right = int((values.argmax(1) == labels).sum())
                axes.set_ylabel(f"{name}\n{n_right} of {len(labels)} right", rotation=0, ha="right", va="center", labelpad=16, fontsize=8.5)
                axes.set_yticks(range(n_way), TAGS[:n_way], fontsize=7)
    return figure


def _draw_bars(axes: Axes, probabilities: np.ndarray, truth: int) -> None:
    answer = int(probabilities.argmax())
    color = RIGHT if answer == truth else WRONG
    axes.barh(
        range(len(probabilities)), probabilities, height=0.75, color=[color if k == answer else PALE for k in range(len(probabilities))]
    )
    axes.set(xlim=(0, 1), ylim=(len(probabilities) - 0.5, -0.5), xticks=[], yticks=[])
    axes.tick_params(length=0, pad=2)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.text(0.99, 0.03, "✓" if answer == truth else "✗", transform=axes.transAxes, ha="right", fontsize=8, color=color)


def background_figure(known: np.ndarray, unknown: np.ndarray, known_images: np.ndarray, unknown_images: np.ndarray) -> Figure:
    """Draw the background probabilities (n,) of pictures of the support's classes and of others, and some of the pictures themselves."""
    figure = Figure(figsize=(9.2, 4.4), dpi=100)
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
    axes.set_yticks(range(2), [f"{name}: {100 * np.median(values):.0f} %" for name, values in (("known", known), ("unknown", unknown))])
    axes.set(xlim=(-2, 102), ylim=(1.6, -0.6))
    axes.set_xlabel("probability of the background, % (a mark a picture; bar, and number at the left: median)", fontsize=8.5)
    axes.tick_params(labelsize=8.5)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
