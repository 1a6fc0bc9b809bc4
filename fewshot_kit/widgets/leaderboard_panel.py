"""The panel of a sweep's results: filters, and what they leave as tables and pictures."""

from typing import Any

import ipywidgets as widgets
import pandas

from fewshot_kit import plots
from fewshot_kit.batch.leaderboard import chosen, standings
from fewshot_kit.batch.pairs import paired_differences
from fewshot_kit.batch.results_file import AGAIN, DONE, FAILED, PROTOCOL, UNUSABLE
from fewshot_kit.widgets.boards import MOST_MODELS, boards
from fewshot_kit.widgets.controls import Picture, StatusLine, counted, styles, text
from fewshot_kit.widgets.leaderboard_tables import pairs_html, standings_html, trouble_html

ALL = ""  # the value of a filter that lets everything through


class LeaderboardPanel(widgets.VBox):
    """Filter the cells of a sweep (`read_results`); the tables and the pictures show what is left.

    Pairs are compared once, over all cells: no verdict changes by looking at fewer.
    """

    def __init__(self, cells: pandas.DataFrame):
        self.cells, self.standings, self.pairs = cells, standings(cells), paired_differences(cells)
        self._looks = {model: place for place, model in enumerate(sorted(set(self.standings["model"])))}
        self._make_controls()
        self.ahead_image, self.cost_image = (Picture(min_width="720px") for _ in range(2))  # on a narrow page they scroll, and can be read
        self.status, self.table, self.pair_table, self.trouble = StatusLine(layout=widgets.Layout(width="auto")), text(), text(), text()
        filters = widgets.VBox([self.dataset, self.way, self.shot, self.mode])
        choosing = widgets.HBox([filters, self.models], layout=widgets.Layout(flex_flow="row wrap"))
        ahead, cost = _scrolling(self.ahead_image), _scrolling(self.cost_image)
        parts = [styles(), choosing, self.status, self.table, ahead, self.pair_table, cost, self.trouble]
        super().__init__(parts, layout=widgets.Layout(width="100%", max_width="960px", overflow="hidden"))
        for name in ("status", "table", "pair_table", "trouble", "ahead_image", "cost_image", "models"):
            getattr(self, name).add_class(f"fewshot-{name.replace('_', '-')}")  # for styles, and to find it in the page
        self.trouble.value = trouble_html(cells)
        self._show()

    def _make_controls(self) -> None:
        placed = self.cells[self.cells["dataset"] != ""]
        self.dataset = _filter("data set", sorted(set(placed["dataset"])))
        self.way, self.shot = (
            _filter(words, sorted(set(map(int, self.cells[name].dropna()))))
            for words, name in (("classes (way)", "n_way"), ("pictures each (shot)", "n_shot"))
        )
        modes = (("one at a time (inductive)", False), ("all together (transductive)", True))
        self.mode = _filter("queries answered", [mode for mode in modes if mode[1] in set(self.cells["transductive"])])
        names = sorted(set(self.cells["model"]))
        layout = widgets.Layout(width="540px", max_width="calc(100% - 4px)")
        self.models = widgets.SelectMultiple(
            description="models", rows=6, options=names, layout=layout, style={"description_width": "60px"}
        )
        for control in (self.dataset, self.way, self.shot, self.mode, self.models):
            control.observe(lambda _: self._show(), "value")

    def fitting(self, rows: pandas.DataFrame) -> pandas.DataFrame:
        """Return the cells, standings or pairs that the filters leave."""
        return chosen(
            rows, dataset=_value(self.dataset), n_way=_value(self.way), n_shot=_value(self.shot), transductive=_value(self.mode),
            models=self.models.value or None,
        )  # fmt: skip

    def _show(self) -> None:
        standing, pairs = self.fitting(self.standings), self.fitting(self.pairs)
        drawn = boards(standing, pairs, self._looks)
        self.table.value = standings_html(standing, pairs) if len(standing) else ""
        self.pair_table.value = pairs_html(pairs, int(self.pairs["p"].notna().sum())) if len(standing) else ""
        self.ahead_image.show_figure(plots.ahead_figure(drawn))
        self.cost_image.show_figure(plots.cost_figure(drawn))
        self.status.say(self._said(standing, len(drawn)))

    def _said(self, standing: pandas.DataFrame, n_drawn: int) -> str:
        """Say how many cells there are, how many of them are in sight, and what was left out of the pictures."""
        counts = self.cells["status"].value_counts()
        words = {DONE: "done", FAILED: "failed", UNUSABLE: "cannot be used", AGAIN: "measured again and counted once"}
        told = f"{counted(len(self.cells), 'cells')}: " + ", ".join(
            f"{counts[state]:,} {said}" for state, said in words.items() if state in counts
        )
        if not len(standing):
            return f"{told}. No cell that is done fits: choose other filters" if DONE in counts else f"{told}. There is nothing to compare"
        sizes = standing.groupby(list(PROTOCOL)).size()
        n_protocols = len(sizes)
        told += f". In sight: {counted(standing['model'].nunique(), 'models')} under {counted(n_protocols, 'protocols')}"
        left = [f"{n_drawn} of the protocols"] * (n_protocols > n_drawn) + [f"the {MOST_MODELS} best models"] * bool(
            max(sizes) > MOST_MODELS
        )
        return f"{told}; the pictures show {' and '.join(left)}" if left else told


def _filter(description: str, values: list) -> widgets.Dropdown:
    layout = widgets.Layout(width="380px", max_width="calc(100% - 4px)")
    options = [("all", ALL), *(value if isinstance(value, tuple) else (str(value), value) for value in values)]
    return widgets.Dropdown(description=description, options=options, value=ALL, layout=layout, style={"description_width": "140px"})


def _scrolling(picture: Picture) -> widgets.Box:
    box = widgets.Box([picture], layout=widgets.Layout(width="100%", overflow="auto", margin="4px 0"))
    box.add_class("fewshot-picture-box")
    return box


def _value(control: widgets.Dropdown) -> Any:
    return None if control.value == ALL else control.value
