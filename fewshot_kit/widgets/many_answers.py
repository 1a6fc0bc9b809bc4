"""Ask about many pictures at once: a table of answers with small pictures, sorted as a person likes."""

import base64
import html
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import ipywidgets as widgets
import torch

from fewshot_kit.data.cancelling import Check
from fewshot_kit.data.images import ImageError
from fewshot_kit.demo.own_classes import GivenPicture, read_pictures, uploaded
from fewshot_kit.demo.own_task import OwnLearning
from fewshot_kit.widgets.controls import TEXT, StatusLine
from fewshot_kit.widgets.thumbnails import thumbnail_of
from fewshot_kit.widgets.upload import Upload

MOST_PICTURES = 200
TOGETHER = 32  # answered at a time
ORDERS = ("as they came", "by class", "the least certain first")
STYLE = """<style>
.fewshot-answers { border-collapse: collapse; color: var(--jp-ui-font-color1); line-height: 1.3 }
.fewshot-answers th, .fewshot-answers td { padding: 2px 12px 2px 0; text-align: left; border-bottom: 1px solid var(--jp-border-color2) }
.fewshot-answers img { width: 40px; height: 40px; background: white; border-radius: 3px; display: block }
</style>"""


@dataclass(frozen=True)
class Row:
    """One answer."""

    name: str
    thumbnail: bytes
    answer: str  # "" where it is unknown
    nearest: str  # the class, were it one of them
    probability: float


class ManyAnswers(widgets.VBox):
    """An upload box and a table. `on_pictures()` is called when there are others to answer; `answer` answers them, in a worker."""

    def __init__(self, on_pictures: Callable[[], None]):
        self._on_pictures = on_pictures
        self.pictures: list[GivenPicture] = []
        self.rows: list[Row] = []
        self.upload = Upload(self.receive, label="Choose pictures …", accept="image/*,.zip", most_files=100)
        self.upload.layout = widgets.Layout(width="224px", height="150px", margin="0 2px")
        self.order = widgets.Dropdown(options=ORDERS, description="sorted", layout=widgets.Layout(width="280px"))
        self.order.observe(lambda change: self._draw(), "value")
        self.clear_button = widgets.Button(description="Clear", icon="trash", layout=widgets.Layout(width="94px"))
        self.clear_button.on_click(lambda _: self.clear())
        self.status = StatusLine(layout=widgets.Layout(min_height="28px", width="auto"))
        self.table = widgets.HTML(layout=widgets.Layout(width="auto", max_height="420px", overflow="auto"))
        controls = widgets.VBox([widgets.HBox([self.order, self.clear_button], layout=widgets.Layout(flex_flow="row wrap")), self.status])
        top = widgets.HBox([self.upload, controls], layout=widgets.Layout(flex_flow="row wrap", grid_gap="0 20px"))
        super().__init__([widgets.HTML(STYLE, layout=widgets.Layout(display="none")), top, self.table])
        self._draw()

    def receive(self, name: str, content: bytes) -> None:
        """Take a picture, or a .zip of them, to be answered."""
        self.upload.tell()
        try:
            given = _pictures_in(name, content) if content[:4] == b"PK\x03\x04" else [GivenPicture(name, content)]
            if len(self.pictures) + len(given) > MOST_PICTURES:
                raise ValueError(f"at most {MOST_PICTURES} pictures are shown; for more, save and use python -m fewshot_kit classify")
        except ValueError as error:
            self.upload.tell(error=str(error))
            return
        self.pictures += given
        self._on_pictures()

    def clear(self) -> None:
        """Forget the pictures."""
        self.pictures, self.rows = [], []
        self.upload.tell()
        self._draw()

    def answer(self, learning: OwnLearning, least: float, check: Check) -> None:
        """Answer all pictures; those less familiar than `least` are unknown, and those that cannot be read are named."""
        pictures, good, problems = list(self.pictures), [], []
        for picture in pictures:
            check()
            try:
                pixels = picture.pixels()
                good.append((picture.name, thumbnail_of(pixels), learning.seen([pixels])))
            except ImageError as error:
                problems.append(str(error))
        rows: list[Row] = []
        for start in range(0, len(good), TOGETHER):
            check()
            rows += _answered(learning, good[start : start + TOGETHER], least)
        self.rows = rows
        self._draw()
        if problems:
            more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
            self.upload.tell(error="left out: " + "; ".join(problems[:3]) + more)

    def _draw(self) -> None:
        if not self.rows:
            self.status.say("upload pictures, or a .zip of them, to ask about all at once")
            self.table.value = ""
            return
        n_unknown = sum(not row.answer for row in self.rows)
        unknown = f", {n_unknown} unknown" if n_unknown else ""
        self.status.say(f"{len(self.rows)} pictures answered{unknown}")
        how = {ORDERS[1]: lambda row: (row.answer or "~", -row.probability), ORDERS[2]: lambda row: (bool(row.answer), row.probability)}
        rows = sorted(self.rows, key=how[self.order.value]) if self.order.value in how else self.rows
        lines = "".join(map(_line, rows))
        heads = "".join(f"<th>{head}</th>" for head in ("picture", "file", "answer", "certain"))
        self.table.value = f'<table class="fewshot-answers" style="color:{TEXT}"><tr>{heads}</tr>{lines}</table>'


def _answered(learning: OwnLearning, part: list, least: float) -> list[Row]:
    answers = learning.answer(torch.cat([seen for _, _, seen in part]))
    unknown = answers.is_unknown(least).tolist()
    best = [(learning.class_names[int(p.argmax())], p.max().item()) for p in answers.probabilities]
    return [
        Row(name, thumbnail, "" if is_unknown else answer, answer, probability)
        for (name, thumbnail, _), is_unknown, (answer, probability) in zip(part, unknown, best, strict=True)
    ]


def _line(row: Row) -> str:
    picture = f'<img alt="" src="data:image/png;base64,{base64.b64encode(row.thumbnail).decode()}">'
    answer = html.escape(row.answer) if row.answer else f"unknown (nearest: {html.escape(row.nearest)})"
    return f"<tr><td>{picture}</td><td>{html.escape(row.name[-60:])}</td><td>{answer}</td><td>{100 * row.probability:.0f} %</td></tr>"


def _pictures_in(name: str, archive: bytes) -> list[GivenPicture]:
    """Return the pictures of a .zip, as many as are shown at most."""
    with uploaded(name, archive) as path:
        return list(islice(read_pictures(path), MOST_PICTURES + 1))
