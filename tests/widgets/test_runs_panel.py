"""The panel of runs without a browser: what is listed, what is drawn, and that no name or file can do harm."""

import io
import json
import re
from pathlib import Path

import ipywidgets as widgets
import pytest
from panels import press, tree
from PIL import Image

from fewshot_kit.training.runs import read_run
from fewshot_kit.widgets import RunsPanel
from fewshot_kit.widgets.runs_panel import first_look

HOSTILE = "<img src=x onerror=alert(1)>"


def write_run(folder: Path, *, learner="maml", dataset="omniglot", best=0.5, n=3, way=5, measured=()) -> Path:
    """Write the folder of a run as a training leaves it."""
    folder.mkdir(parents=True)
    training = {"dataset": dataset, "n_way": way, "n_shot": 1}
    results = [{**RESULT, **changes} for changes in measured]
    (folder / "config.json").write_text(json.dumps({"learner": learner, "training": training, "results": results}), encoding="utf-8")
    (folder / "log.jsonl").write_text("".join(json.dumps(row(step, best)) + "\n" for step in range(1, n + 1)), encoding="utf-8")
    return folder


def row(step: int, accuracy: float) -> dict:
    interval = {"mean": accuracy, "half_width": 0.01}
    return {"step": step, "train_loss": 3.0, "val_accuracy": interval, "val_loss": interval}


RESULT = {
    "accuracy": {"mean": 0.812, "half_width": 0.01}, "loss": {"mean": 0.5, "half_width": 0.01}, "dataset": "omniglot", "split": "test",
    "n_way": 5, "n_shot": 1, "n_episodes": 600, "transductive": False, "settings": {"inner_lr": 0.25},
}  # fmt: skip


@pytest.fixture
def place(tmp_path) -> Path:
    """Return a folder of five runs: four of one task, of three learners."""
    write_run(tmp_path / "maml-a", best=0.6, measured=[{}])
    write_run(tmp_path / "maml-b", best=0.7)
    write_run(tmp_path / "protonet", learner="protonet", best=0.9)
    write_run(tmp_path / "reptile", learner="reptile", best=0.8)
    write_run(tmp_path / "quick", learner="meta_sgd", dataset="quickdraw", best=0.99)
    return tmp_path


@pytest.fixture
def panel(place) -> RunsPanel:
    return RunsPanel([place])


def names(panel: RunsPanel) -> list[str]:
    return [record.name for record in panel.chosen]


def listed(panel: RunsPanel) -> list[str]:
    return [label.split(" · ")[0] for label, _ in panel.runs.options]


def test_at_first_it_shows_each_learners_best_of_the_commonest_task(panel):
    assert listed(panel) == ["maml-a", "maml-b", "protonet", "quick", "reptile"]
    assert names(panel) == ["maml-b", "protonet", "reptile"], "of maml the better one; quick was validated on other pictures"
    assert "3 of 5 runs chosen" in panel.status.value
    assert all(name in panel.comparison_image.tooltip for name in names(panel)) and "quick" not in panel.comparison_image.tooltip


def test_at_most_three_are_shown_at_first(place):
    for index in range(4):
        write_run(place / f"more-{index}", learner=f"learner{index}", best=0.1)
    records = [read_run(folder) for folder in sorted(place.iterdir())]
    assert [record.name for record in first_look(records)] == ["protonet", "reptile", "maml-b"] and first_look([]) == []


def test_what_a_person_chooses_is_drawn_and_its_measurements_are_below(panel):
    before = panel.comparison_image.value
    panel.runs.index = (0, 3)
    assert names(panel) == ["maml-a", "quick"] and panel.comparison_image.value != before
    assert "81.2 ± 1.0 %" in panel.table.value and "learning rate 0.25" in panel.table.value
    panel.runs.index = (1,)
    assert "nothing was measured" in panel.table.value
    panel.runs.index = ()
    assert "choose runs in the list" in panel.status.value and names(panel) == []


def test_filters_leave_what_fits_and_choose_among_it(panel):
    panel.learner.value = "maml"
    assert listed(panel) == ["maml-a", "maml-b"] and names(panel) == ["maml-b"]
    panel.dataset.value = "quickdraw"
    assert listed(panel) == [] and "no run fits" in panel.status.value
    panel.learner.value = ""
    assert listed(panel) == names(panel) == ["quick"]


def test_loss_scale_and_training_loss_change_the_picture(panel):
    assert panel.scale.disabled and panel.training.disabled, "they are of the loss"
    pictures = {panel.comparison_image.value}
    for control, value in ((panel.of, "loss"), (panel.scale, "log"), (panel.training, True), (panel.scale, "linear")):
        assert not control.disabled
        control.value = value
        pictures.add(panel.comparison_image.value)
    assert len(pictures) == 5 and len({Image.open(io.BytesIO(picture)).size for picture in pictures}) == 1
    assert "maml: cross entropy on the queries" in panel.table.value and "not comparable" in panel.table.value
    panel.of.value = "accuracy"
    assert "Dashed" not in panel.table.value


def test_a_run_keeps_its_colour_while_others_come_and_go(panel):
    drawn = []
    original = panel.comparison_image.show_figure
    panel.comparison_image.show_figure = lambda figure: (drawn.append(figure), original(figure))
    for index in ((1, 2), (2,), (0, 2), (0, 1, 2)):
        panel.runs.index = index
    colors = [
        {text.get_text().split("\n")[0]: handle.get_color() for text, handle in zip(*legend(figure), strict=True)} for figure in drawn
    ]
    assert len({found["protonet"] for found in colors}) == 1
    assert len(set(colors[-1].values())) == 3


def legend(figure) -> tuple:
    return figure.legends[0].get_texts(), figure.legends[0].legend_handles


def test_more_than_nine_are_told_and_the_first_drawn(tmp_path):
    for index in range(11):
        write_run(tmp_path / f"run-{index:02d}")
    panel = RunsPanel([tmp_path])
    panel.runs.index = tuple(range(11))
    assert "11 of 11 runs chosen" in panel.status.value and "the first 9 are drawn" in panel.status.value
    assert "run-08" in panel.comparison_image.tooltip and "run-09" not in panel.comparison_image.tooltip


def test_reading_again_finds_new_validations_and_keeps_the_choice(panel, place):
    panel.runs.index = (0, 1)
    panel.learner.value = "maml"
    assert names(panel) == ["maml-b"]
    panel.runs.index = (0,)
    with open(place / "maml-a" / "log.jsonl", "a", encoding="utf-8") as log:
        log.write(json.dumps(row(4, 0.95)) + "\n")
    write_run(place / "aaa")
    press(panel.read_button)
    assert listed(panel) == ["aaa", "maml-a", "maml-b"] and names(panel) == ["maml-a"]
    assert "best 95.0 % at step 4" in panel.comparison_image.tooltip and panel.learner.value == "maml"


def test_bad_folders_are_named_and_the_others_shown(place):
    (place / "bad").mkdir()
    (place / "bad" / "config.json").write_text("{", encoding="utf-8")
    (place / "bad" / "log.jsonl").write_text("", encoding="utf-8")
    (place / "maml-a" / "result.json").write_text("[]", encoding="utf-8")
    panel = RunsPanel([place, place / "missing"])
    assert len(panel.records) == 5 and len(panel.problems) == 3
    assert all(name in panel.trouble.value for name in ("bad/config.json", "maml-a/result.json", "missing is no folder"))


def test_nothing_there_is_said(tmp_path):
    panel = RunsPanel([tmp_path])
    assert "no run is here" in panel.status.value and panel.trouble.value == "" and names(panel) == []


def test_hostile_names_are_text_everywhere(tmp_path):
    name = HOSTILE.replace("/", "")
    write_run(tmp_path / name, learner=HOSTILE, dataset=HOSTILE, measured=[{"dataset": HOSTILE, "settings": {HOSTILE: HOSTILE}}])
    (tmp_path / "bad<b>").mkdir()
    (tmp_path / "bad<b>" / "config.json").write_text("{", encoding="utf-8")
    (tmp_path / "bad<b>" / "log.jsonl").write_text("", encoding="utf-8")
    panel = RunsPanel([tmp_path])
    panel.of.value, panel.training.value = "loss", True
    texts = [widget.value for widget in tree(panel) if isinstance(widget, widgets.HTML)]
    assert any(HOSTILE.replace("<", "&lt;").replace(">", "&gt;") in text for text in texts)
    assert not any(re.search(r"<img|<b>", text) for text in texts)
    assert not any(getattr(widget, "description_allow_html", False) for widget in tree(panel))


def test_nothing_captures_output_and_everything_has_a_name(panel):
    assert not [widget for widget in tree(panel) if isinstance(widget, widgets.Output)]
    controls = [widget for widget in tree(panel) if isinstance(widget, (widgets.Dropdown, widgets.SelectMultiple, widgets.Checkbox))]
    assert len(controls) == 6 and all(control.description for control in controls)
    assert not re.search("n_way|n_shot", " ".join(label for label, _ in panel.runs.options))
