"""What a person, a folder or a file supplies is text in every panel: no tag of it reaches the page, and no attribute."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import ipywidgets as widgets
import pytest
from hostile import ATTRIBUTES, PANEL_TAGS, TEXTS, Seen, words
from panels import settle, tree
from sessions import demo_session, write_pictures
from synthetic import CONFIG

from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.demo.request import Limits, Request, title
from fewshot_kit.demo.training import TrainingSession
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.widgets import FewShotPanel, RunsPanel, TrainPanel
from fewshot_kit.widgets.controls import StatusLine
from fewshot_kit.widgets.data_controls import DataControls
from fewshot_kit.widgets.own_picture import OwnPicture

INTERVAL = {"mean": 0.5, "half_width": 0.01}
RESULT = {"accuracy": INTERVAL, "loss": INTERVAL, "n_way": 5, "n_shot": 1, "n_episodes": 600, "transductive": False}


def name_of(text: str) -> str:
    """Return a text as a file's name may be: all but the slash."""
    return text.replace("/", "\N{DIVISION SLASH}")


@contextmanager
def checked(made: widgets.Widget) -> Iterator[list[Seen]]:
    """See everything that a widget, and all in it, gives the page to read as HTML, then and later: it is of the kit's tags alone."""
    values = []
    for widget in tree(made):
        assert not getattr(widget, "description_allow_html", False) and not getattr(widget, "tooltip_allow_html", False)
        if isinstance(widget, (widgets.HTML, widgets.HTMLMath)):
            values.append(widget.value)
            widget.observe(lambda change: values.append(change["new"]), "value")
    pages: list[Seen] = []
    yield pages
    pages += map(Seen, values)
    for page in pages:
        assert page.tags <= PANEL_TAGS and page.attributes <= ATTRIBUTES, (page.tags, page.attributes)


def is_shown(text: str, pages: list[Seen]) -> bool:
    return any(words(text) in words(page.text) for page in pages)


@pytest.mark.parametrize("text", TEXTS)
def test_an_error_and_an_answer_are_text(text):
    status, own = StatusLine(), OwnPicture(lambda picture: None)
    with checked(status) as pages:
        status.show_error(ValueError(text))
    assert is_shown(text, pages)
    with checked(own):
        own.show_error(ValueError(text))
        own.receive(text, text.encode())
        own.show(b"", text)


@pytest.mark.parametrize("text", TEXTS)
def test_the_name_of_a_data_set_is_text(text):
    session = demo_session("characters", n_way=3, n_shot=1, n_query=1)
    request = Request(dataset=f"folder:{text}", n_way=3, n_shot=1, n_query=1, seed=0)
    controls = DataControls(session.shelf, lambda: request, lambda **changes: None, lambda path: None, most_classes=5)
    with checked(controls) as pages:
        controls.show(request, session.dataset, Limits.of(session.dataset, None))
    assert is_shown(title(request.dataset), pages)


@pytest.mark.parametrize("text", TEXTS)
def test_all_that_a_run_says_of_itself_is_text(text, tmp_path):
    run, broken = tmp_path / name_of(text), tmp_path / f"broken {name_of(text)}"
    for folder in (run, broken):
        folder.mkdir()
        (folder / "log.jsonl").write_text("", encoding="utf-8")
        (folder / "config.json").write_text("{", encoding="utf-8")
    training = {"dataset": text, "n_way": 5, "n_shot": 1, "samples_per_class": text}
    results = [{**RESULT, "dataset": text, "split": text, "settings": {text: text}}]
    (run / "config.json").write_text(json.dumps({"learner": text, "training": training, "results": results}), encoding="utf-8")
    row = {"step": 1, "train_loss": 1.0, "val_accuracy": INTERVAL, "val_loss": INTERVAL}
    (run / "log.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    panel = RunsPanel([tmp_path])
    with checked(panel) as pages:
        panel.of.value, panel.training.value = "loss", True
    assert is_shown(text, pages) and is_shown(name_of(text), pages) and is_shown(f"broken {name_of(text)}", pages)


@pytest.mark.parametrize("text", TEXTS)
def test_the_folder_the_data_set_and_the_error_of_a_training_are_text(text, tmp_path):
    folder = tmp_path / name_of(text)
    panel = TrainPanel(TrainingSession(folder, CONFIG, TrainConfig(source=TaskSource(text), outer_steps=2)))
    with checked(panel) as pages:
        panel.settings.mark(dict.fromkeys(panel.settings.notes, text))
        panel.start()
        panel.worker.wait(60)
    assert panel.error is not None
    assert is_shown(name_of(text), pages) and is_shown(text, pages)


def test_names_of_classes_are_text(tmp_path):
    names = [name_of(text)[:80] for text in TEXTS if len(name_of(text)) > 12]
    panel = FewShotPanel(demo_session("characters", n_way=3, n_shot=1, n_query=1))
    settle(panel)
    with checked(panel) as pages:
        panel.load(f"folder:{write_pictures(tmp_path / name_of(TEXTS[1]), dict.fromkeys(names, 2))}")
        settle(panel)
        panel.choose(panel.shown.images, list(range(10)))
        settle(panel)
        panel.load(f"folder:{tmp_path / name_of(TEXTS[0])}")
        panel.worker.wait(60)
    assert is_shown(title(panel.shown.request.dataset), pages) and is_shown(name_of(TEXTS[0]), pages)
    assert {name.strip() for name in panel.shown.images.class_names} <= {name.strip() for name in names}
