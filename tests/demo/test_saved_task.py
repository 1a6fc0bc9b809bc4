"""Classes on the disk: what is saved is what comes back; what was changed, is missing or from elsewhere is named and refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from own_pictures import INK, needs_weights, own

from fewshot_kit.demo.own_task import OwnTask
from fewshot_kit.demo.saved_task import load_predictor, open_task, save_task
from fewshot_kit.demo.task_config import SavedTaskError

pytestmark = needs_weights

OUTSIDE = {"file": "../../x.png", "name": "x", "sha256": ""}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Save two classes once, with hostile names."""
    task, classes = OwnTask(INK), own().renamed(0, "<script>alert(1)</script> | # `left`")
    learning = task.estimated(task.learn(classes), classes)
    folder = save_task(tmp_path_factory.mktemp("saved") / "mine", classes, learning, task.checkpoint, {})
    return folder, classes, learning


@pytest.fixture
def folder(made, tmp_path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "mine"))


def changed(folder: Path, **changes) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


def test_what_is_saved_comes_back(made, folder):
    _, classes, learning = made
    saved, seen = open_task(folder), learning.seen([one.pixels() for _, one in classes.pictures()])
    assert saved.classes.names == classes.names and saved.checkpoint == INK and saved.settings == {}
    assert [(n, p.name, p.content) for n, p in saved.classes.pictures()] == [(n, p.name, p.content) for n, p in classes.pictures()]
    for again in (saved.learning, load_predictor(folder, device="cpu").learning):
        torch.testing.assert_close(again.answer(seen).probabilities, learning.answer(seen).probabilities)
        torch.testing.assert_close(again.answer(seen).familiarity, learning.answer(seen).familiarity)
    files = [path.write_bytes(one.content) and path for (_, one), path in zip(classes.pictures(), _paths(folder), strict=True)]
    torch.testing.assert_close(load_predictor(folder, device="cpu")(files).probabilities, learning.answer(seen).probabilities)


def _paths(folder: Path) -> list[Path]:
    return [folder.parent / f"given {i}.png" for i in range(6)]


def test_the_card_shows_names_as_they_are(folder):
    card = (folder / "README.md").read_text()
    assert "<script>" not in card and "6 of 6 right" in card and "python -m fewshot_kit classify mine" in card


def test_file_names_are_plain_and_inside(folder):
    names = sorted(str(path.relative_to(folder)) for path in (folder / "pictures").rglob("*.png"))
    assert names[0] == "pictures/01-script-alert-1-script-left/001.png" and len(names) == 6


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: (f / "config.json").unlink(), "holds no config.json: no classes were saved there"),
        (lambda f: (f / "config.json").write_text("{"), "is not valid JSON"),
        (lambda f: changed(f, format_version=99), "format_version 99, but this kit reads 2; upgrade"),
        (lambda f: changed(f, format_version="2"), "format_version '2'"),
        (lambda f: changed(f, kind="checkpoint"), "holds no classes that were saved"),
        (lambda f: changed(f, more=1), "keys that this kit does not know: more"),
        (lambda f: changed(f, learner="reptile"), "cannot|does not fit|does not know|wants"),
        (lambda f: changed(f, classes=[]), "has classes that cannot be"),
        (lambda f: changed(f, classes=[1, 2]), "has a row that is no object"),
        (lambda f: changed(f, classes=[{"name": "a", "pictures": [OUTSIDE]}] * 2), "cannot be in it"),
        (lambda f: changed(f, estimate={"n": 5, "n_right": 9, "closeness": []}), "has an estimate that cannot be"),
        (lambda f: (f / "model.safetensors").unlink(), "is missing"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x"), "does not match the sha256"),
        (lambda f: next((f / "pictures").rglob("002.png")).unlink(), "is missing, but config.json names it"),
        (lambda f: next((f / "pictures").rglob("002.png")).write_bytes(b"other"), "is another picture than was saved"),
    ],
)  # fmt: skip
def test_what_was_changed_is_named(folder, spoil, told):
    spoil(folder)
    with pytest.raises(SavedTaskError, match=told):
        open_task(folder)


def test_a_predictor_of_more_classes_than_are_named_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    third = {"name": "third", "pictures": []}
    with pytest.raises(SavedTaskError, match=r"a predictor of 2 classes, but config\.json names 3"):
        open_task(changed(folder, classes=[*config["classes"], third]))


def test_a_predictor_does_not_need_the_pictures(folder):
    shutil.rmtree(folder / "pictures")
    assert load_predictor(folder, device="cpu").class_names[1] == "right"


def test_only_such_a_folder_is_replaced_and_only_when_asked(made, folder, tmp_path):
    _, classes, learning = made
    checkpoint = OwnTask(INK).checkpoint
    with pytest.raises(FileExistsError, match="holds saved classes already"):
        save_task(folder, classes, learning, checkpoint, {})
    before = (folder / "config.json").read_text()
    save_task(folder, classes.renamed(1, "other"), learning, checkpoint, {}, replace=True)
    assert open_task(folder).classes.names[1] == "other" and before != (folder / "config.json").read_text()
    (folder / "diary.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds diary.txt beside the classes"):
        save_task(folder, classes, learning, checkpoint, {}, replace=True)
    (tmp_path / "other").mkdir()
    with pytest.raises(FileExistsError, match="holds no classes that were saved"):
        save_task(tmp_path / "other", classes, learning, checkpoint, {}, replace=True)
    with pytest.raises(ValueError, match="name"):
        save_task(tmp_path / ".hidden", classes, learning, checkpoint, {})


def test_a_failed_save_leaves_what_was_there(made, folder, monkeypatch):
    _, classes, learning = made
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr("fewshot_kit.demo.saved_task.write_text", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="the disk is full"):
        save_task(folder, classes, learning, OwnTask(INK).checkpoint, {}, replace=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


def test_a_save_that_was_killed_between_its_renames_is_finished(folder):
    away = folder.parent / ".mine.old.abcdefgh"
    away.mkdir()
    folder.rename(away / "mine")
    assert open_task(folder).classes.names[1] == "right" and folder.is_dir() and not away.exists()
