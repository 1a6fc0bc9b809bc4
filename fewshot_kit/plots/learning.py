"""The picture of a learning, epoch by epoch: the loss, and the queries with their probabilities, the wrong ones first."""

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw

from fewshot_kit.plots.basics import MAX_QUERIES_SHOWN, PALE, TAGS, encode, font, plain_tile
from fewshot_kit.plots.losses import LOWEST, LossCurve
from fewshot_kit.plots.verdicts import UNDECIDED, answer_to, answers, bar_colors, tally, verdict

# In pixels, from the upper left corner.
WIDTH, QUERIES_LEFT, COLUMNS = 920, 296, 5
COLUMN, PICTURE, BAR = 121, 78, 70  # BAR: how long that of probability 1 is
NO_QUERIES = "No queries: draw or upload a picture of your own below."


class LearningPicture:
    """The picture of a learning: loss curve, and each query with its probabilities, a page of queries at a time.

    matplotlib draws the loss and its axes; everything else is drawn by Pillow, ten times as fast, so that a frame takes a few milliseconds.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, n_way: int):
        """Lay out queries (n, channels, height, width), n >= 0, with their true labels (n,), MAX_QUERIES_SHOWN a page."""
        self.images, self.labels, self.n_way = images, np.asarray(labels), n_way
        self.n_pages = max(1, -(-len(labels) // MAX_QUERIES_SHOWN))
        self.bar_height = min(19, 240 // n_way)
        rows = -(-min(len(labels), MAX_QUERIES_SHOWN) // COLUMNS)
        self.height = max(30 + rows * self._row_height(), 250)
        self._frame_curve()
        self._arrange(np.zeros(len(labels), int))

    def arrange(self, probabilities: np.ndarray) -> None:
        """Put the queries that these probabilities (n, n_way) get wrong on the first pages, then the undecided, then those that are right.

        The order stays until the next call, whatever `draw` is given. Within each of the three it goes round the classes.
        """
        self._arrange(_ranks(probabilities, self.labels))

    def _arrange(self, ranks: np.ndarray) -> None:
        rounds = [int(((self.labels[:i] == label) & (ranks[:i] == ranks[i])).sum()) for i, label in enumerate(self.labels)]
        order = np.lexsort((self.labels, rounds, ranks))
        pages = [order[first : first + MAX_QUERIES_SHOWN] for first in range(0, max(len(order), 1), MAX_QUERIES_SHOWN)]
        self._pages = [page[np.lexsort((np.array(rounds, int)[page], self.labels[page], ranks[page]))].tolist() for page in pages]
        self._backgrounds: dict[int, Image.Image] = {}  # by page, made when first needed

    def queries_on(self, page: int) -> list[int]:
        """Return the queries on a page, counted from 0, in the order of their places."""
        if not 0 <= page < self.n_pages:
            raise ValueError(f"a page from 0 to {self.n_pages - 1} is wanted, but page is {page}")
        return self._pages[page]

    def draw(self, losses: Sequence[float], probabilities: np.ndarray, n_steps: int, page: int = 0) -> bytes:
        """Return the picture as PNG after len(losses) - 1 of n_steps epochs. probabilities: (n, n_way) of all queries."""
        queries = self.queries_on(page)
        picture = self._draw_curve(losses, n_steps)
        picture.paste(self._background(page), (QUERIES_LEFT, 0))
        pen = ImageDraw.Draw(picture)
        self._write_axis(pen, n_steps)
        for place, query in enumerate(queries):
            self._draw_query(pen, place, int(self.labels[query]), probabilities[query])
        pen.text((WIDTH - 8, 5), self._note(len(losses) - 1, probabilities, page), fill="#111827", font=font(12), anchor="ra")
        return encode(picture)

    def _note(self, epoch: int, probabilities: np.ndarray, page: int) -> str:
        if not len(self.labels):
            return f"epoch {epoch}"
        head, _, rest = tally(probabilities, self.labels).partition(f" of {len(self.labels)} ")
        where = [f"page {page + 1} of {self.n_pages}"] if self.n_pages > 1 else []
        ranks = _ranks(probabilities, self.labels)
        if (ranks == 0).any():
            order = np.concatenate([ranks[page] for page in self._pages])
            where.append("wrong ones first" if (np.diff(order) >= 0).all() else "order kept")
        return " · ".join([f"epoch {epoch}: {head} of {len(self.labels)} queries {rest}", *([", ".join(where)] if where else [])])

    # --- the loss ---

    def _frame_curve(self) -> None:
        self.figure = Figure(figsize=(WIDTH / 100, self.height / 100), dpi=100)
        self.canvas = FigureCanvasAgg(self.figure)
        height = min(self.height - 85, 240)
        self.loss_axes = self.figure.add_axes((46 / WIDTH, 1 - (32 + height) / self.height, 228 / WIDTH, height / self.height))
        self.curve = LossCurve(self.loss_axes, self.n_way)
        for artist in self.curve.artists:
            artist.set_animated(True)
        self.loss_axes.set_xticks([])  # they change with the number of epochs: `draw` sets them
        self.loss_axes.xaxis.labelpad = 18
        self.canvas.draw()
        self.empty = self.canvas.copy_from_bbox(self.figure.bbox)

    def _draw_curve(self, losses: Sequence[float], n_steps: int) -> Image.Image:
        self.canvas.restore_region(self.empty)
        self.loss_axes.set_xlim(0, max(n_steps, 1))
        self.curve.show(losses)
        for artist in self.curve.artists:
            self.loss_axes.draw_artist(artist)
        return Image.fromarray(np.asarray(self.canvas.buffer_rgba())).convert("RGB")

    def _write_axis(self, pen: ImageDraw.ImageDraw, n_steps: int) -> None:
        for tick in MaxNLocator(6, integer=True).tick_values(0, max(n_steps, 1)):
            if 0 <= tick <= max(n_steps, 1):
                right, up = self.loss_axes.transData.transform((tick, LOWEST))
                pen.text((right, self.height - up + 4), f"{tick:.0f}", fill="black", font=font(11), anchor="ma")

    # --- the queries ---

    def _row_height(self) -> int:
        return 130 + self.bar_height * self.n_way

    def _corner(self, place: int) -> tuple[int, int]:
        """Return where the picture of the query at a place of the page begins."""
        return QUERIES_LEFT + 22 + COLUMN * (place % COLUMNS), 50 + self._row_height() * (place // COLUMNS)

    def _background(self, page: int) -> Image.Image:
        """Return what is the same in every frame of a page: the pictures, and the letters beside the bars."""
        if page not in self._backgrounds:
            ground = Image.new("RGB", (WIDTH, self.height), "white")
            pen = ImageDraw.Draw(ground)
            for place, query in enumerate(self.queries_on(page)):
                left, top = self._corner(place)
                ground.paste(plain_tile(self.images[query], PICTURE), (left, top))
                top += PICTURE + 5
                pen.line((left, top, left, top + self.bar_height * self.n_way), fill="#4b5563")
                for label in range(self.n_way):
                    pen.text((left - 4, top + self.bar_height * (label + 0.5)), TAGS[label], fill="black", font=self._font(), anchor="rm")
            if not len(self.labels):
                pen.text((QUERIES_LEFT + 22, self.height / 2), NO_QUERIES, fill="#111827", font=font(13), anchor="lm")
            self._backgrounds[page] = ground.crop((QUERIES_LEFT, 0, WIDTH, self.height))
        return self._backgrounds[page]

    def _font(self):
        return font(10 if self.bar_height > 12 else 9)

    def _draw_query(self, pen: ImageDraw.ImageDraw, place: int, truth: int, probabilities: np.ndarray) -> None:
        left, top = self._corner(place)
        text, color = verdict(answer_to(probabilities), truth)
        pen.text((left, top - 4), text, fill=color, font=font(11), anchor="lb")
        gap = max(1, round(0.14 * self.bar_height))
        for label, color in enumerate(bar_colors(probabilities, truth, PALE)):
            y = top + PICTURE + 5 + self.bar_height * label
            share = float(np.nan_to_num(probabilities[label]))
            if round(BAR * share):
                pen.rectangle((left + 1, y + gap, left + round(BAR * share), y + self.bar_height - gap), fill=color)
            text = f"{100 * share:.0f} %"
            pen.text((left + BAR * share + 4, y + self.bar_height / 2), text, fill="black", font=self._font(), anchor="lm")


def _ranks(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return 0 for a query (n,) that is answered wrong, 1 for one that is undecided, 2 for one that is right."""
    found = answers(probabilities)
    return np.select([found == UNDECIDED, found == labels], [1, 2], 0)
