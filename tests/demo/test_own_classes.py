"""A person's classes: what may be changed, what is refused and how, and what is read from a folder or archive."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from own_pictures import picture
from PIL import Image

from fewshot_kit.data.images import ImageError
from fewshot_kit.demo import own_classes
from fewshot_kit.demo.own_classes import MOST_CLASSES, GivenPicture, OwnClasses, holds_classes, read_classes, read_pictures


def two_classes() -> OwnClasses:
    classes = OwnClasses().with_class("mug").with_class("key")
    return classes.with_picture(0, picture(level=1)).with_picture(1, picture("b.png", 2))


def test_every_change_makes_new_classes():
    classes = two_classes()
    changed = classes.with_class().renamed(0, " big  mug ").without_picture(1, 0)
    assert classes.names == ("mug", "key") and changed.names == ("big mug", "key", "class 1")
    assert [len(one.pictures) for one in classes.classes] == [1, 1] and [len(one.pictures) for one in changed.classes] == [1, 0, 0]
    assert changed.without_class(0).names == ("key", "class 1")
    assert [number for number, _ in classes.pictures()] == [0, 1]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c.with_class("  "), "needs a name of at least one letter"),
        (lambda c: c.with_class("x" * 300), "at most 80 letters"),
        (lambda c: c.with_class("MUG"), "two classes would be called"),
        (lambda c: c.renamed(1, "mug"), "two classes would be called"),
        (lambda c: c.with_class("a\x00b"), "cannot be shown"),
        (lambda c: c.with_picture(0, picture("again.png", 1)), "is among the pictures of mug already"),
        (lambda c: c.with_picture(0, GivenPicture("x.png", b"no picture")), "x.png is not a picture"),
        (lambda c: c.with_picture(0, GivenPicture("x.png", b"")), "x.png is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(change, told):
    with pytest.raises(ValueError, match=told):
        change(two_classes())


def test_a_class_keeps_its_own_name_and_free_names_are_found():
    assert two_classes().renamed(0, "Mug").names == ("Mug", "key")
    classes = OwnClasses()
    for _ in range(MOST_CLASSES):
        classes = classes.with_class()
    assert len(set(classes.names)) == MOST_CLASSES
    with pytest.raises(ValueError, match="which is the most"):
        classes.with_class()


def test_there_is_an_end_to_pictures(monkeypatch):
    monkeypatch.setattr(own_classes, "MOST_PICTURES", 1)
    with pytest.raises(ValueError, match="mug has 1 pictures already"):
        two_classes().with_picture(0, picture(level=9))
    monkeypatch.setattr(own_classes, "MOST_PICTURES", 10)
    monkeypatch.setattr(own_classes, "MOST_BYTES", 300)
    with pytest.raises(ValueError, match="all pictures together"):
        two_classes().with_picture(0, picture(level=9))


def test_what_is_missing_and_what_is_shared_is_told():
    assert OwnClasses().missing() == "0 of at least 2 classes: add two"
    assert OwnClasses().with_class().missing() == "1 of at least 2 classes: add another"
    assert two_classes().with_class("pen").missing() == "no picture yet of pen" and two_classes().missing() == ""
    assert two_classes().shared() == []
    assert two_classes().with_picture(1, picture("c.png", 1)).shared() == ["c.png is in mug and in key: remove it from one of them"]


def test_photographs_are_told_from_drawings():
    assert not two_classes().are_photographs() and not OwnClasses().are_photographs()
    chance = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray((chance.random((60, 60, 3)) * 255).astype(np.uint8)).save(buffer, "PNG")
    assert OwnClasses().with_class().with_picture(0, GivenPicture("p.png", buffer.getvalue())).are_photographs()


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("key", "mug"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i in range(3):
            (tmp_path / "mine" / name / f"{i}.png").write_bytes(picture(level=i + 5 * (name == "key")).content)
    (tmp_path / "mine" / "mug" / "broken.png").write_bytes(b"half a picture")
    return tmp_path / "mine"


def test_a_folder_is_read_and_a_broken_picture_named_and_left_out(folder, tmp_path):
    archive = tmp_path / "mine.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*.png")):
            packed.write(path, path.relative_to(tmp_path))
    for place in (folder, archive):
        classes, problems = read_classes(place)
        assert classes.names == ("key", "mug") and [len(one.pictures) for one in classes.classes] == [3, 3]
        assert len(problems) == 1 and "broken.png" in problems[0]
        assert len(list(read_pictures(place))) == 7
    some, _ = read_classes(folder, only=["mug"], first=2)
    assert some.names == ("mug",) and len(some.classes[0].pictures) == 2
    with pytest.raises(ValueError, match="has no class 'pen'"):
        read_classes(folder, only=["pen"])


def test_a_folder_without_a_picture_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="has no picture in it"):
        list(read_pictures(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a/1.png", "b/1.png"], True),
        (["mine/a/1.png", "mine/b/1.png"], True),
        (["0.png", "a/1.png", "b/1.png"], True),
        (["0.png", "a/1.png"], False),  # loose pictures, some of them in a folder: of one class
        (["mine/0.png", "mine/more/1.png"], False),
        (["0.png", "1.png"], False),
        (["mine/0.png"], False),
    ],
)
def test_classes_are_several_folders_beside_one_another(paths, expected, tmp_path):
    for path in paths:
        (tmp_path / "given" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "given" / path).write_bytes(picture().content)
    assert holds_classes(tmp_path / "given") == expected
