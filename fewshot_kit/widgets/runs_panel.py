"""The panel of trainings side by side: choose runs, and look at their curves and at what was measured of them."""

import html
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import ipywidgets as widgets

from fewshot_kit import plots
from fewshot_kit.results import Interval
from fewshot_kit.training.runs import OWN_TASKS, TRAINING_LOSSES, RunRecord, read_runs, score_of
from fewshot_kit.training.tables import results_table, table_texts
from fewshot_kit.widgets.controls import ALARM, TEXT, Picture, StatusLine, styles, text

MOST_DRAWN = 9  # as many as have a colour and a marker of their own
MOST_AT_FIRST = 3
ALL = ""  # the value of a filter that lets everything through


class RunsPanel(widgets.VBox):
    """Choose among the runs and checkpoints of some folders; the chosen are drawn together, with a table of their measurements."""

    def __init__(self, places: Iterable[str | Path]):
        self.folders = list(places)
        self._is_setting = False  # the controls by what there is; else it is a person who moves them
        self._places: dict[Path, int] = {}  # of the runs on show: colour and marker
        self._make_controls()
        self.comparison_image = Picture()
        self.status, self.table, self.trouble = StatusLine(layout=widgets.Layout(width="auto")), text(), text()
        controls = widgets.VBox([self.learner, self.dataset, self.of, self.scale, self.training])
        choosing = widgets.HBox([controls, widgets.VBox([self.runs, self.read_button])], layout=widgets.Layout(flex_flow="row wrap"))
        layout = widgets.Layout(width="100%", max_width="960px", overflow="hidden")
        super().__init__([styles(), choosing, self.status, self.comparison_image, self.table, self.trouble], layout=layout)
        for name in ("runs", "status", "table", "trouble", "comparison_image"):
            getattr(self, name).add_class(f"fewshot-{name.replace('_', '-')}")  # for styles, and to find it in the page
        self.read()

    def _make_controls(self) -> None:
        narrow, style = widgets.Layout(width="330px"), {"description_width": "80px"}
        self.learner = widgets.Dropdown(description="learner", layout=narrow, style=style)
        self.dataset = widgets.Dropdown(description="trained on", layout=narrow, style=style)
        self.read_button = widgets.Button(description="Read again", icon="refresh", layout=widgets.Layout(margin="2px 2px 2px 66px"))
        self.runs = widgets.SelectMultiple(
            description="runs", rows=9, layout=widgets.Layout(width="600px", max_width="100%"), style={"description_width": "60px"}
        )
        self.of = widgets.Dropdown(description="show", options=["accuracy", "loss"], layout=narrow, style=style)
        self.scale = widgets.Dropdown(description="loss axis", options=["linear", "log"], layout=narrow, style=style)
        self.training = widgets.Checkbox(description="training loss too", layout=narrow, style=style)
        self.read_button.on_click(lambda _: self.read())
        for control in (self.learner, self.dataset):
            control.observe(lambda _: None if self._is_setting else self._filter(), "value")
        for control in (self.runs, self.of, self.scale, self.training):
            control.observe(lambda _: None if self._is_setting else self._show(), "value")

    # What a person does.

    def read(self) -> None:
        """Read the folders anew: a run under way has new validations. What was chosen stays chosen, where it is still there."""
        chosen = [record.folder for record in self.chosen]
        self.records, self.problems = read_runs(self.folders)
        self.trouble.value = _trouble(self.problems)
        self._set_filters()
        self._filter(chosen)

    def choose(self, folders: Iterable[Path]) -> None:
        """Show the runs of these folders, those that the filters let through."""
        wanted = set(folders)
        self.runs.index = [place for place, record in enumerate(self._listed) if record.folder in wanted]

    @property
    def chosen(self) -> list[RunRecord]:
        """The runs on show, in the order of the list."""
        return [self._listed[place] for place in sorted(self.runs.index)] if hasattr(self, "_listed") else []

    # What follows from it.

    def _set_filters(self) -> None:
        self._is_setting = True
        for control, values in ((self.learner, {r.learner for r in self.records}), (self.dataset, {r.dataset for r in self.records})):
            before = control.value
            control.options = [("all", ALL), *((value, value) for value in sorted(values - {ALL}))]
            control.value = before if before in values else ALL
        self._is_setting = False

    def _filter(self, chosen: Sequence[Path] = ()) -> None:
        """List the runs that the filters let through, and choose among them: the given ones, or else a few that can be compared."""
        learner, dataset = self.learner.value, self.dataset.value
        listed = [r for r in self.records if learner in (ALL, r.learner) and dataset in (ALL, r.dataset)]
        wanted = [record.folder for record in listed if record.folder in set(chosen)] or [record.folder for record in first_look(listed)]
        self._is_setting = True
        self._listed = listed
        self.runs.index = ()  # before the options are fewer: the page would look for one that is not there
        self.runs.options = [(_label(record), place) for place, record in enumerate(listed)]
        self.choose(wanted)
        self._is_setting = False
        self._show()

    def _show(self) -> None:
        chosen = [record for record in self.chosen if record.rows]
        self.scale.disabled = self.training.disabled = self.of.value != "loss"
        self._say(len(chosen))
        chosen = chosen[:MOST_DRAWN]
        self._keep_places(chosen)
        figure = plots.comparison_figure(
            [(record.name, record.curves()) for record in chosen], of=self.of.value, log=self.scale.value == "log",
            with_training=self.training.value, places=[self._places[record.folder] for record in chosen],
        )  # fmt: skip
        self.comparison_image.show_figure(figure)
        self.table.value = _training_losses(chosen) * (self.of.value == "loss" and self.training.value) + _html_table(self.chosen)

    def _keep_places(self, shown: list[RunRecord]) -> None:
        """Leave a run its colour while others come and go."""
        kept = {record.folder: self._places[record.folder] for record in shown if record.folder in self._places}
        free = (place for place in range(MOST_DRAWN) if place not in kept.values())
        self._places = {record.folder: kept[record.folder] if record.folder in kept else next(free) for record in shown}

    def _say(self, n_logged: int) -> None:
        n_chosen = len(self.runs.index)
        if not self._listed:
            text = "no run is here: train one, or give other folders" if not self.records else "no run fits: choose other filters"
        elif not n_chosen:
            text = "choose runs in the list: hold Ctrl (⌘) or Shift for several"
        else:
            text = f"{n_chosen} of {len(self._listed)} runs chosen: hold Ctrl (⌘) or Shift for several"
            text += f"; the first {MOST_DRAWN} are drawn" if n_logged > MOST_DRAWN else ""
            text += f"; {n_chosen - n_logged} without a curve" if n_logged < n_chosen else ""
        self.status.say(text)


def first_look(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Choose at most three runs that can be compared: each learner's best, of the task that most learners were validated on."""
    by_task: dict[tuple, dict[str, RunRecord]] = defaultdict(dict)
    for record in records:
        best, of_task = record.best(), by_task[record.validated_on]
        if best is not None and (record.learner not in of_task or _accuracy(record) > _accuracy(of_task[record.learner])):
            of_task[record.learner] = record
    most = max(by_task.values(), key=len, default={})
    return sorted(most.values(), key=_accuracy, reverse=True)[:MOST_AT_FIRST]


def _accuracy(record: RunRecord) -> float:
    return score_of(record.best())["mean"]


def _label(record: RunRecord) -> str:
    """Write a run's line of the list; an option's text is never read as HTML."""
    best = record.best()
    _, n_way, n_shot = record.validated_on
    task = f" of {n_way} classes, {n_shot} each" if n_way and n_shot else ""
    measure = "mAP50 " if best and best.get("primary") == "map50" else ""
    said = f"best {measure}{Interval(**score_of(best)).percent()}{task}" if best else "no curve"
    return f"{' '.join(record.name.split())} · {said}"


def _training_losses(records: list[RunRecord]) -> str:
    """Say what each dashed line is, for learners mean different things by it."""
    meanings = [f"{learner}: {TRAINING_LOSSES.get(learner, OWN_TASKS)}" for learner in sorted({record.learner for record in records})]
    lines = "".join(f"<li>{html.escape(meaning)}</li>" for meaning in meanings)
    return f'Dashed, the training loss, not comparable with the validation\'s:<ul style="margin:0">{lines}</ul>'


def _html_table(records: list[RunRecord]) -> str:
    """Write what was measured of these runs, every text escaped."""
    head, *rows = table_texts(results_table(records))
    if not rows:
        return "<p>nothing was measured of them yet</p>"
    style = f"border-collapse:collapse;overflow-wrap:break-word;width:100%;font-size:12px;line-height:1.4;color:{TEXT}"
    lines = [_html_row("th", head), *(_html_row("td", row) for row in rows)]
    return f'<div style="overflow-x:auto;contain:inline-size"><table style="{style}">{"".join(lines)}</table></div>'


def _html_row(tag: str, texts: list[str]) -> str:
    style = "padding:2px 6px;text-align:left;border-bottom:1px solid var(--jp-border-color2)"
    return "<tr>" + "".join(f'<{tag} style="{style}">{html.escape(text)}</{tag}>' for text in texts) + "</tr>"


def _trouble(problems: list[str]) -> str:
    if not problems:
        return ""
    lines = "".join(f"<li>{html.escape(problem)}</li>" for problem in problems)
    return f'<div role="alert" style="color:{ALARM}">⚠ left out:<ul style="margin:0">{lines}</ul></div>'
