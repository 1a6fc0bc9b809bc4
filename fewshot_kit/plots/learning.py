"""Pictures of a learning: the support, the loss, the queries with their probabilities, a person's own picture."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw

from fewshot_kit.plots.basics import (
    INK,
    MAX_QUERIES_SHOWN,
    PALE,
    RIGHT,
    TAGS,
    WRONG,
    encode,
    font,
    shorten,
    show_image,
    spread_over_classes,
)


def support_figure(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw the support: a column a class, headed by its letter and name. images (n, channels, height, width), labels (n,)."""
    n_way, n_shot = len(class_names), int(np.bincount(labels).max())
    figure = Figure(figsize=(9.2, 0.45 + 0.85 * n_shot + 0.1), dpi=100)
    columns = max(n_way, 5)
    grid = figure.add_gridspec(n_shot, columns, left=0.01, right=0.99, top=1 - 0.42 / figure.get_figheight(), bottom=0.02, hspace=0.06)
    for label, name in enumerate(class_names):
        for row, image in enumerate(images[labels == label]):
            axes = figure.add_subplot(grid[row, label])
            show_image(axes, image)
            if row == 0:
                axes.set_title(f"{TAGS[label]}\n{shorten(name, max(8, 100 // columns))}", fontsize=8, color="#111827", pad=3)
    return figure


def loss_figure(losses: Sequence[float]) -> Figure:
    """Draw the support loss after 0, 1, ... steps."""
    figure = Figure(figsize=(5, 2.6), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    _frame_loss(axes)
    axes.set_xlim(0, max(len(losses) - 1, 1))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.plot(range(len(losses)), losses, color=INK, marker="o", markersize=3)
    axes.set_ylim(0, 1.05 * max(losses))
    return figure


def _frame_loss(axes: Axes) -> None:
    axes.set_xlabel("epoch", fontsize=9)
    axes.set_title("loss on the support", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


class LearningPicture:
    """The picture of a learning: loss curve, and each query with its probabilities.

    What stays is drawn once; `draw` adds curve, bars and verdicts. Text of a frame is set by Pillow, ten times as fast as matplotlib's,
    so that a frame takes a few milliseconds.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, n_way: int):
        """Lay out queries (n, channels, height, width) with their true labels (n,), class by class, at most MAX_QUERIES_SHOWN."""
        self.shown = spread_over_classes(labels, MAX_QUERIES_SHOWN)
        self.labels, self.n_way, self.n_total = labels, n_way, len(labels)
        columns = min(5, len(self.shown))
        rows = -(-len(self.shown) // columns)
        self.size = (9.2, max(0.3 + rows * self._row_height(), 2.5))  # inches
        self.figure = Figure(figsize=self.size, dpi=100)
        self.canvas = FigureCanvasAgg(self.figure)
        self._frame_curve()
        self.panels = [self._frame_query(images[query], i // columns, i % columns) for i, query in enumerate(self.shown)]
        self.canvas.draw()
        self.background = self.canvas.copy_from_bbox(self.figure.bbox)

    def _row_height(self) -> float:
        return 1.3 + 0.19 * self.n_way

    def _axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes by their place from the upper left corner, in inches."""
        full_width, full_height = self.size
        return self.figure.add_axes((left / full_width, 1 - (top + height) / full_height, width / full_width, height / full_height))

    def _frame_curve(self) -> None:
        self.loss_axes = self._axes(0.42, 0.32, 2.3, min(self.size[1] - 0.85, 2.4))
        _frame_loss(self.loss_axes)
        self.loss_axes.set_xticks([])  # they change with the number of epochs: `draw` sets them
        self.loss_axes.xaxis.labelpad = 18
        # A fixed scale: from zero to what an untrained model has, ln n_way, so that two learnings can be compared by eye.
        self.loss_axes.set_ylim(0, 1.1 * np.log(self.n_way))
        (self.curve,) = self.loss_axes.plot([], [], color=INK, marker="o", markersize=3, animated=True)

    def _frame_query(self, image: np.ndarray, row: int, column: int) -> tuple[Axes, Axes]:
        left, top = 3.1 + 1.22 * column, 0.5 + row * self._row_height()
        picture, bars = self._axes(left + 0.1, top, 0.78, 0.78), self._axes(left + 0.1, top + 0.83, 1.05, 0.19 * self.n_way)
        show_image(picture, image)
        bars.set(xlim=(0, 1.5), ylim=(self.n_way - 0.5, -0.5), xticks=[], yticks=range(self.n_way))
        bars.set_yticklabels(TAGS[: self.n_way], fontsize=8)
        bars.tick_params(length=0, pad=2)
        bars.spines[["top", "right", "bottom"]].set_visible(False)
        bars.barh(range(self.n_way), [0] * self.n_way, height=0.72, animated=True)
        return picture, bars

    def draw(self, losses: Sequence[float], probabilities: np.ndarray, n_steps: int) -> bytes:
        """Return the picture as PNG after len(losses) - 1 of n_steps steps. probabilities: (n, n_way) of all queries."""
        self.canvas.restore_region(self.background)
        self.loss_axes.set_xlim(0, max(n_steps, 1))
        self.curve.set_data(range(len(losses)), losses)
        self.loss_axes.draw_artist(self.curve)
        for (_, bars), query in zip(self.panels, self.shown, strict=True):
            self._draw_bars(bars, int(self.labels[query]), probabilities[query])
        picture = Image.fromarray(np.asarray(self.canvas.buffer_rgba())[..., :3])
        pen = ImageDraw.Draw(picture)
        self._write_axis(pen, n_steps)
        for (image, bars), query in zip(self.panels, self.shown, strict=True):
            self._write_query(pen, image, bars, int(self.labels[query]), probabilities[query])
        n_right = int((probabilities.argmax(1) == self.labels).sum())
        more = f" ({len(self.shown)} shown)" if self.n_total > len(self.shown) else ""
        note = f"epoch {len(losses) - 1}: {n_right} of {self.n_total} queries right{more}"
        pen.text((picture.width - 8, 5), note, fill="#111827", font=font(12), anchor="ra")
        return encode(picture)

    def _draw_bars(self, bars: Axes, truth: int, probabilities: np.ndarray) -> None:
        answer = int(probabilities.argmax())
        for label, bar in enumerate(bars.patches):
            bar.set_width(probabilities[label])
            bar.set_facecolor((RIGHT if answer == truth else WRONG) if label == answer else PALE)
            bars.draw_artist(bar)

    def _write_axis(self, pen: ImageDraw.ImageDraw, n_steps: int) -> None:
        for tick in MaxNLocator(6, integer=True).tick_values(0, max(n_steps, 1)):
            if 0 <= tick <= max(n_steps, 1):
                pen.text(self._pixel(self.loss_axes, tick, 0, below=4), f"{tick:.0f}", fill="black", font=font(11), anchor="ma")

    def _write_query(self, pen: ImageDraw.ImageDraw, image: Axes, bars: Axes, truth: int, probabilities: np.ndarray) -> None:
        answer = int(probabilities.argmax())
        verdict = f"✓ right: {TAGS[answer]}" if answer == truth else f"✗ wrong: {TAGS[answer]}, is {TAGS[truth]}"
        place = self._pixel(image, image.get_xlim()[0], image.get_ylim()[1], below=-4)
        pen.text(place, verdict, fill=RIGHT if answer == truth else WRONG, font=font(11), anchor="lb")
        for label, probability in enumerate(probabilities):
            place = self._pixel(bars, probability + 0.04, label)
            pen.text(place, f"{100 * probability:.0f} %", fill="black", font=font(10), anchor="lm")

    def _pixel(self, axes: Axes, x: float, y: float, below: int = 0) -> tuple[float, float]:
        """Turn a place in the axes' data into a pixel of the picture, counted from its upper left corner."""
        right, up = axes.transData.transform((x, y))
        return right, self.canvas.get_width_height()[1] - up + below


def thumbnail(image: np.ndarray) -> bytes:
    """Return one uint8 image (channels, height, width) as a small PNG; ink pictures as dark ink on white."""
    pixels = 255 - image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
    return encode(Image.fromarray(np.ascontiguousarray(pixels)).resize((64, 64), Image.Resampling.BILINEAR))


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


def accuracy_figure(rows: Sequence[tuple[str, float, float]]) -> Figure:
    """Draw (name, accuracy, half width of the 95 % interval) as bars, fractions as percent."""
    figure = Figure(figsize=(6.4, 0.55 + 0.36 * len(rows)), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    names, means, half_widths = zip(*rows, strict=True)
    axes.barh(names, [100 * mean for mean in means], xerr=[100 * h for h in half_widths], color=[INK] + [PALE] * (len(rows) - 1), capsize=3)
    for row, (_, mean, half_width) in enumerate(rows):
        interval = f" ± {100 * half_width:.1f}" if half_width else ""
        axes.text(100 * (mean + half_width) + 1.5, row, f"{100 * mean:.1f}{interval} %", va="center", fontsize=8.5)
    axes.set(xlim=(0, 125), xlabel="accuracy on the queries, %", xticks=range(0, 101, 20))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure
