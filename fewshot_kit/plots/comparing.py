"""Several learners and the same pictures: their answers side by side, how far they agree, and by how much one is better."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fewshot_kit.plots.basics import INK, NEUTRAL, PALE, RIGHT, TAGS, WRONG, axes_at, shorten, show_image
from fewshot_kit.plots.verdicts import UNDECIDED, answer_to, bar_colors, tally, verdict

MOST_COLUMNS = 12  # queries in a figure
LONGEST_NAME = 35  # of a learner
WIDTH = 9.4  # inches
GROUNDS = {RIGHT: "#e6f4ea", WRONG: "#fbe4e1", NEUTRAL: "#eceef1"}  # of an answer, by the colour of its verdict
BARS_ACROSS = 3  # learners side by side


def answers_figure(
    images: np.ndarray, labels: np.ndarray, probabilities: Mapping[str, np.ndarray], order: Sequence[int] | None = None
) -> Figure:
    """Draw queries (n, channels, height, width) and what each learner answers to them: probabilities (n, n_way) by learner.

    A column a query, in this order, and no more than there is room for; a row a learner.
    """
    shown = list(range(len(labels)) if order is None else order)[:MOST_COLUMNS]
    row_height, column_width, left, top = 0.42, 0.53, 2.95, 1.08  # inches
    figure = Figure(figsize=(WIDTH, top + row_height * len(probabilities) + 0.08), dpi=100)
    figure.set_label("Answers to the queries: " + "; ".join(f"{name}, {tally(values, labels)}" for name, values in probabilities.items()))
    which = f"{len(shown)} of {len(labels)} queries" if len(shown) < len(labels) else f"all {len(shown)} queries"
    title = f"{which}{', those most differed about first' if order is not None else ''}"
    figure.text(left / WIDTH, 1 - 0.16 / figure.get_figheight(), title, fontsize=8.5, color=NEUTRAL, va="center")
    for column, query in enumerate(shown):
        picture = axes_at(figure, left + column_width * column, 0.46, 0.5, 0.5)
        show_image(picture, images[query])
        picture.set_title(f"is {TAGS[labels[query]]}", fontsize=8, pad=2)
    table = axes_at(figure, 0, top, WIDTH, row_height * len(probabilities))
    table.set(xlim=(0, WIDTH), ylim=(row_height * len(probabilities), 0))
    table.set_axis_off()
    for row, (name, values) in enumerate(probabilities.items()):
        middle = row_height * (row + 0.5)
        table.text(left - 0.12, middle - 0.085, shorten(name, LONGEST_NAME), fontsize=8.5, ha="right", va="center")
        table.text(left - 0.12, middle + 0.1, tally(values, labels), fontsize=8, ha="right", va="center", color=NEUTRAL)
        for column, query in enumerate(shown):
            _draw_answer(table, left + column_width * column, row_height * row, values[query], int(labels[query]))
    return figure


def _draw_answer(table: Axes, x: float, y: float, probabilities: np.ndarray, truth: int) -> None:
    """Draw an answer into its cell: its sign, its letter, and below how sure it is."""
    answer = answer_to(probabilities)
    text, color = verdict(answer, truth)
    table.add_patch(Rectangle((x, y + 0.02), 0.5, 0.38, facecolor=GROUNDS[color], edgecolor="none"))
    letter = "" if answer == UNDECIDED else TAGS[answer]
    weight = "bold" if color == WRONG else "normal"
    table.text(x + 0.25, y + 0.135, f"{text[0]}{letter}", fontsize=9, ha="center", va="center", color=color, weight=weight)
    table.text(
        x + 0.25, y + 0.3, f"{100 * np.nan_to_num(probabilities).max():.0f} %", fontsize=7, ha="center", va="center", color="#374151"
    )


def agreement_figure(agreement: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw the share of the queries that two learners answer alike, (learners, learners), with the number in each cell."""
    n, left, top = len(names), 3.05, 0.42  # inches
    cell = min(0.62, (WIDTH - left - 0.1) / n)
    figure = Figure(figsize=(WIDTH, top + 0.4 * n + 0.1), dpi=100)
    figure.set_label(_agreement_text(agreement, names))
    axes = axes_at(figure, left, top, cell * n, 0.4 * n)
    axes.imshow(np.nan_to_num(agreement), cmap="Blues", vmin=0, vmax=1.25, aspect="auto")  # the darkest blue still bears letters
    for i in range(n):
        for j in range(n):
            text = "–" if not np.isfinite(agreement[i, j]) else f"{100 * agreement[i, j]:.0f}"
            color = "white" if np.nan_to_num(agreement[i, j]) > 0.75 else "#111827"
            axes.text(j, i, text, ha="center", va="center", fontsize=8.5, color=color)
    axes.set_yticks(range(n), [f"{shorten(name, LONGEST_NAME)}  {i + 1}" for i, name in enumerate(names)], fontsize=8.5)
    axes.set_xticks(range(n), [str(i + 1) for i in range(n)], fontsize=8.5)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.text(0.12 / figure.get_figwidth(), 1 - 0.2 / figure.get_figheight(), "queries answered alike, %", fontsize=9, va="center")
    return figure


def _agreement_text(agreement: np.ndarray, names: Sequence[str]) -> str:
    n = len(names)
    pairs = [(agreement[i, j], names[i], names[j]) for i in range(n) for j in range(i) if np.isfinite(agreement[i, j])]
    if not pairs:
        return "How often two learners answer alike: there is nothing to compare"
    (least, *fewest), (most, *closest) = min(pairs), max(pairs)
    return (
        f"How often two learners answer alike: least {fewest[1]} and {fewest[0]}, {100 * least:.0f} % of the queries; "
        f"most {closest[1]} and {closest[0]}, {100 * most:.0f} %"
    )


def disputed_figure(
    image: np.ndarray, probabilities: Mapping[str, np.ndarray], class_names: Sequence[str], truth: int | None = None, title: str = ""
) -> Figure:
    """Draw one picture (channels, height, width) beside the probabilities (n_way,) that each learner gives it.

    Without a `truth`, of a person's own picture, no answer is marked as right or wrong.
    """
    n_way, rows, left = len(class_names), -(-len(probabilities) // BARS_ACROSS), 1.75  # inches
    bars, width = max(0.145 * n_way, 0.45), (WIDTH - left) / BARS_ACROSS
    figure = Figure(figsize=(WIDTH, max(0.1 + (bars + 0.46) * rows, 2.25)), dpi=100)
    figure.set_label(_disputed_text(probabilities, class_names, truth, title))
    picture = axes_at(figure, 0.12, 0.42, 1.41, 1.41)
    show_image(picture, image)
    picture.set_title(title or "your picture", fontsize=8.5)
    picture.set_xlabel("as the first one sees it" if truth is None else f"is {TAGS[truth]} {shorten(class_names[truth], 16)}", fontsize=8.5)
    for place, (name, values) in enumerate(probabilities.items()):
        row, column = divmod(place, BARS_ACROSS)
        axes = axes_at(figure, left + 0.3 + width * column, 0.36 + (bars + 0.46) * row, width - 0.85, bars)
        _draw_bars(axes, name, values, truth)
    return figure


def _draw_bars(axes: Axes, name: str, probabilities: np.ndarray, truth: int | None) -> None:
    n_way, answer = len(probabilities), answer_to(probabilities)
    own = [INK if label == answer else PALE for label in range(n_way)]
    axes.barh(
        range(n_way), np.nan_to_num(probabilities), height=0.75, color=own if truth is None else bar_colors(probabilities, truth, PALE)
    )
    axes.set(xlim=(0, 1), ylim=(n_way - 0.5, -0.5), xticks=[])
    axes.set_yticks(range(n_way), TAGS[:n_way], fontsize=8)
    axes.tick_params(length=0, pad=3)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    said, color = verdict(answer, answer if truth is None else truth)
    if truth is None:
        said, color = (f"{TAGS[answer]}" if answer != UNDECIDED else "– undecided"), INK
    said = f"{said.split(', is')[0]}{'' if answer == UNDECIDED else f', {100 * probabilities[answer]:.0f} %'}"
    axes.text(-0.13, 1.0, shorten(name, LONGEST_NAME), transform=axes.transAxes, fontsize=8, va="bottom", linespacing=1.1)
    axes.text(1.0, 0.5, said.replace(": ", "\n").replace(", ", "\n"), transform=axes.transAxes, fontsize=8, color=color, va="center")


def _disputed_text(probabilities: Mapping[str, np.ndarray], class_names: Sequence[str], truth: int | None, title: str) -> str:
    takers: dict[str, list[str]] = {}
    for name, values in probabilities.items():
        answer = answer_to(values)
        takers.setdefault("undecided" if answer == UNDECIDED else f"{TAGS[answer]} {' '.join(class_names[answer].split())}", []).append(
            name
        )
    said = "; ".join(f"{taken}: {', '.join(names)}" for taken, names in takers.items())
    what = f"{title or 'The picture'}, {TAGS[truth]} {' '.join(class_names[truth].split())}," if truth is not None else "Your picture"
    return f"{what} is taken for {said}"


def paired_figure(rows: Sequence[tuple[str, float, float, float, float]], reference: str, n_episodes: int) -> Figure:
    """Draw how much better than the `reference` each learner is on the same episodes, as points with their 95 % intervals.

    A row is (name, accuracy, half width, difference, half width), all fractions, shown as percent and percentage points.
    """
    figure = Figure(figsize=(WIDTH, 1.0 + 0.36 * len(rows)), dpi=100)
    figure.set_label(_paired_text(rows, reference, n_episodes))
    axes = axes_at(figure, 3.05, 0.42, 3.6, 0.36 * len(rows))
    axes.axvline(0, color=NEUTRAL, linewidth=1.2, linestyle=(0, (4, 3)))
    for row, (name, mean, half_width, difference, uncertainty) in enumerate(rows):
        is_reference, sign, color = name == reference, *_judged(difference, uncertainty)
        if is_reference:
            axes.plot(0, row, marker="D", color=INK, markersize=7)
        else:
            error = 100 * np.nan_to_num(uncertainty)
            axes.errorbar(100 * difference, row, xerr=error, fmt="o", color=color, capsize=4, markersize=5.5, linewidth=1.6)
        words = "◆ compared with" if is_reference else f"{100 * difference:+.1f}{_plus_minus(uncertainty)}  {sign}".replace("-", "−")
        axes.text(1.03, row, words, transform=axes.get_yaxis_transform(), fontsize=8.5, va="center", color=INK if is_reference else color)
        axes.text(
            -0.03, row - 0.2, shorten(name, LONGEST_NAME), transform=axes.get_yaxis_transform(), fontsize=8.5, ha="right", va="center"
        )
        accuracy = f"{100 * mean:.1f}{_plus_minus(half_width)} %"
        axes.text(-0.03, row + 0.24, accuracy, transform=axes.get_yaxis_transform(), fontsize=8, ha="right", va="center", color=NEUTRAL)
    reach = max(1.0, *(100 * (abs(row[3]) + np.nan_to_num(row[4])) for row in rows)) * 1.12
    axes.set(xlim=(-reach, reach), ylim=(len(rows) - 0.5, -0.5), yticks=[])
    axes.set_xlabel("accuracy above that of the one compared with, percentage points (bars: 95 % interval)", fontsize=8.5)
    axes.set_title(f"the same {n_episodes} episodes, difference episode by episode", fontsize=9)
    axes.tick_params(labelsize=8.5)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def _judged(difference: float, uncertainty: float) -> tuple[str, str]:
    """Say whether a difference is one: in words, and as a colour."""
    if not np.isfinite(uncertainty) or abs(difference) <= uncertainty:
        return "≈ no difference shown", NEUTRAL
    return ("▲ better", RIGHT) if difference > 0 else ("▼ worse", WRONG)


def _plus_minus(half_width: float) -> str:
    return f" ± {100 * half_width:.1f}" if np.isfinite(half_width) else ""


def _paired_text(rows: Sequence[tuple[str, float, float, float, float]], reference: str, n_episodes: int) -> str:
    others = [
        f"{name} {100 * difference:+.1f}{_plus_minus(uncertainty)}, {_judged(difference, uncertainty)[0][2:]}"
        for name, _, _, difference, uncertainty in rows
        if name != reference
    ]
    said = f": {'; '.join(others)}" if others else ""
    return f"Accuracy above that of {reference} on the same {n_episodes} episodes, in percentage points{said}"
