"""The panel for one's own classes: what a person does, in any order, and what stands there afterwards."""

import errno
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from own_pictures import needs_weights, picture
from panels import press
from PIL import Image

from fewshot_kit.demo.own_task import PROPOSED
from fewshot_kit.networks.pretrained import RECOMMENDED
from fewshot_kit.widgets.own_classes_panel import FIRST, OwnClassesPanel
from fewshot_kit.widgets.thumbnails import MOST_SHOWN, Thumbnails

pytestmark = needs_weights
SHAPES = ([(40, 40), (150, 150)], [(40, 100), (150, 100), (150, 30)], [(100, 30), (60, 150), (140, 150), (100, 30)])


@pytest.fixture
def panel(tmp_path, monkeypatch) -> OwnClassesPanel:
    monkeypatch.chdir(tmp_path)
    return OwnClassesPanel()


def draw(pad, points) -> None:
    pad.pen_down(*points[0])
    for point in points[1:]:
        pad.pen_move(*point)
    pad.pen_up()


def draw_all(panel: OwnClassesPanel, n: int = 2) -> OwnClassesPanel:
    for number, shape in enumerate(SHAPES):
        press(panel.cards.children[number].choose)
        for i in range(n):
            draw(panel.pad, [(x + 5 * i, y - 4 * i) for x, y in shape])
            press(panel.pad.add_button)
    panel.worker.wait(60)
    return panel


def photograph(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = (np.random.default_rng(seed).random((60, 80, 3)) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_it_opens_with_empty_classes_and_says_what_is_missing(panel):
    assert len(panel.cards.children) == FIRST and "To begin: no picture yet of class 1" in panel.status.value
    assert panel.pad.add_button.disabled and panel.cards.children[0].thumbnails.more == "no picture yet"
    draw(panel.own_picture, SHAPES[0])
    assert "no picture yet of class 1" in panel.own_picture.upload.error and panel.learned is None


def test_drawings_are_learned_and_a_picture_is_answered(panel):
    draw_all(panel)
    assert "It has learned 3 classes" in panel.status.value and "of 6 right" in panel.estimate.value
    assert [len(card.thumbnails.pictures) for card in panel.cards.children] == [2, 2, 2] and not panel.pad.strokes
    draw(panel.own_picture, [(x + 3, y + 3) for x, y in SHAPES[2]])
    assert "takes it for C class 3" in panel.own_picture.answer_text.value and panel.own_picture.answer_image.value
    answer = panel.own_picture.answer_image.value
    panel.cards.children[2].name.value = "<b>zig</b>"
    panel.worker.wait(60)
    assert "takes it for C &lt;b&gt;zig" in panel.own_picture.answer_text.value and answer != panel.own_picture.answer_image.value
    assert "<b>zig" not in panel.status.value and "<b>zig" not in panel.pad.goal.value.replace("<b>&lt;", "")


def test_pictures_and_classes_are_taken_away_again(panel):
    draw_all(panel)
    panel.cards.children[0].thumbnails.hear({"kind": "remove", "place": 0, "name": "drawing 1.png"})
    panel.worker.wait(60)
    assert len(panel.classes.classes[0].pictures) == 1 and "of 4 right" in panel.estimate.value
    panel.cards.children[0].thumbnails.hear({"kind": "remove", "place": 0, "name": "drawing 1.png"})  # pressed twice: it is gone
    assert len(panel.classes.classes[0].pictures) == 1
    press(panel.cards.children[2].remove)
    panel.worker.wait(60)
    assert "It has learned 2 classes" in panel.status.value and len(panel.cards.children) == 2
    press(panel.cards.children[1].remove)
    press(panel.cards.children[0].remove)
    panel.worker.wait(60)
    assert "0 of at least 2 classes" in panel.status.value and panel.learned is None
    panel.receive("a.png", picture().content)
    assert "add a class first" in panel.pad.upload.error
    press(panel.add_class_button)
    assert panel.classes.names == ("class 1",)


@pytest.mark.parametrize("name", ["", " ", "x" * 300, "Class 2"])
def test_a_name_that_cannot_be_is_said_and_put_back(panel, name):
    panel.cards.children[0].name.value = name
    assert "Error" in panel.status.value and panel.cards.children[0].name.value == "class 1" == panel.classes.names[0]


def test_files_that_cannot_be_used_are_named_and_others_kept(panel):
    panel.receive("notes.txt", b"not a picture")
    assert "notes.txt" in panel.pad.upload.error and not panel.classes.classes[0].pictures
    panel.receive("a.png", picture().content)
    assert len(panel.classes.classes[0].pictures) == 1 and not panel.pad.upload.error
    panel.receive("again.png", picture().content)
    assert "already" in panel.pad.upload.error and len(panel.classes.classes[0].pictures) == 1


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for i, name in enumerate(names):
            packed.writestr(name, b"broken" if "broken" in name else picture(level=i).content)
    return buffer.getvalue()


def test_an_archive_of_classes_takes_their_place_and_one_of_pictures_goes_to_the_class(panel):
    panel.receive("some.zip", archive("1.png", "2.png", "broken.png"))
    assert len(panel.classes.classes[0].pictures) == 2 and "broken.png" in panel.pad.upload.error
    panel.receive("all.zip", archive("mug/1.png", "mug/2.png", "key/1.png", "key/2.png", "key/broken.png"))
    panel.worker.wait(60)
    assert panel.classes.names == ("key", "mug") and "broken.png" in panel.pad.upload.error
    assert "It has learned 2 classes: key, mug" in panel.status.value


def test_without_room_to_unpack_an_archive_that_is_told(panel, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    panel.receive("some.zip", archive("1.png"))
    panel.many.receive("many.zip", archive("1.png"))
    for upload, name in ((panel.pad.upload, "some.zip"), (panel.many.upload, "many.zip")):
        assert f"no place to unpack {name} (No space left on device); make room" in upload.error


def test_photographs_bring_their_network_unless_one_was_chosen(panel):
    press(panel.cards.children[2].remove)
    for number in (0, 1):
        press(panel.cards.children[number].choose)
        for i in range(2):
            panel.receive(f"{i}.png", photograph(10 * number + i))
    panel.worker.wait(120)
    assert panel.task.checkpoint.name == PROPOSED[True] == panel.controls.checkpoint.value and not panel.notice.value
    assert list(panel.controls.sliders) == ["scale", "views", "middle", "support_views"]
    panel.controls.sliders["views"].value = 2
    panel.worker.wait(120)
    assert panel.learned.settings == {"views": 2}
    panel.controls.checkpoint.value = "maml-quickdraw"
    panel.worker.wait(120)
    assert "These are photographs" in panel.notice.value and list(panel.controls.sliders) == ["inner_lr", "inner_steps", "views"]
    assert "It has learned 2 classes" in panel.status.value and panel.settings == {}


def test_a_network_that_cannot_be_had_is_told_and_what_there_was_goes_on(panel, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")

    def fails(**wanted):
        raise OSError("Name or service not known")

    draw_all(panel)
    before = panel.task.checkpoint.name
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    panel.controls.checkpoint.value = RECOMMENDED
    panel.worker.wait(60)
    assert "cannot be downloaded" in panel.status.value and "resnet12-mini_imagenet" in panel.status.value
    assert panel.controls.checkpoint.value == before == panel.task.checkpoint.name and panel.learned is not None
    assert "cannot be downloaded" in panel.controls.status.value, "beside what was chosen, too"
    press(panel.cards.children[2].remove)
    for number in (0, 1):
        for _ in panel.classes.classes[number].pictures:
            panel.change(lambda classes, number=number: classes.without_picture(number, 0))
        press(panel.cards.children[number].choose)
        panel.receive("0.png", photograph(number))
    panel.worker.wait(120)
    assert panel.task.checkpoint.name == PROPOSED[True], "nothing was chosen by hand: what suits photographs is taken"


def test_what_is_saved_is_opened_again(panel, tmp_path):
    press(panel.take_along.save_button)
    assert "nothing to save yet: no picture yet" in panel.take_along.status.value
    draw_all(panel)
    press(panel.take_along.save_button)
    assert "saved in" in panel.take_along.status.value and (tmp_path / "my_classes" / "config.json").is_file()
    press(panel.take_along.save_button)
    assert "holds saved classes already" in panel.take_along.status.value
    other = OwnClassesPanel()
    press(other.take_along.open_button)
    other.worker.wait(60)
    assert "It has learned 3 classes" in other.status.value and "opened" in other.take_along.status.value
    assert [p.content for _, p in other.classes.pictures()] == [p.content for _, p in panel.classes.pictures()]
    other.take_along.folder.value = "nowhere"
    press(other.take_along.open_button)
    assert "no classes were saved there" in other.take_along.status.value and len(other.classes) == 3


def test_a_download_is_the_saved_folder_in_pieces(panel, monkeypatch):
    monkeypatch.setattr("fewshot_kit.widgets.download.PIECE", 100_000)
    draw_all(panel)
    sent: list[tuple[dict, bytes]] = []
    monkeypatch.setattr(panel.take_along.download, "send", lambda message, buffers=(): sent.append((message, b"".join(buffers))))
    panel.take_along.download.hear({"kind": "make"})
    while sent[-1][0]["kind"] == "piece":
        panel.take_along.download.hear({"kind": "next", "place": len(sent)})
    assert sent[-1][0] == {"kind": "done", "name": "my_classes.zip"} and len(sent) > 3
    names = zipfile.ZipFile(io.BytesIO(b"".join(content for _, content in sent))).namelist()
    assert "my_classes/config.json" in names and "my_classes/pictures/01-class-1/001.png" in names


def test_in_an_app_no_folder_of_the_machine_is_touched(monkeypatch, tmp_path):
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5.13")
    panel = OwnClassesPanel()
    row = panel.take_along.children[0].children
    assert panel.take_along.save_button not in row and panel.take_along.folder not in row and panel.take_along.download in row


def test_a_camera_gives_pictures_and_nothing_else(panel):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photograph(1))).save(buffer, "JPEG")
    panel.pad.camera.hear({"kind": "picture"}, [memoryview(buffer.getvalue())])
    assert [p.name for _, p in panel.classes.pictures()] == ["camera 1.jpg"]
    for message, buffers in (({}, []), ({"kind": "picture"}, []), ({"kind": "picture"}, [b""]), ({"kind": "picture"}, [b"x" * 5_000_000])):
        panel.pad.camera.hear(message, buffers)
    assert sum(1 for _ in panel.classes.pictures()) == 1


def test_many_pictures_are_shown_in_part():
    thumbnails = Thumbnails(lambda place, name: None)
    thumbnails.show([b"x"] * MOST_SHOWN, ["n"] * MOST_SHOWN, "and 3 more")
    assert len(thumbnails.pictures) == MOST_SHOWN and thumbnails.more == "and 3 more"


def test_many_pictures_are_answered_in_a_table_and_again_after_every_change(panel):
    panel.many.receive("early.png", picture(level=4).content)
    assert "no picture yet" in panel.many.status.value
    panel.many.clear()
    draw_all(panel)
    for name, one in zip("abc", panel.classes.classes, strict=True):
        panel.many.receive(f"<i>{name}.png", one.pictures[0].content)
    panel.many.receive("broken.png", b"half a picture")
    panel.worker.wait(60)
    assert [row.nearest for row in panel.many.rows] == ["class 1", "class 2", "class 3"]
    assert "3 pictures answered" in panel.many.status.value and "broken.png" in panel.many.upload.error
    assert "<i>" not in panel.many.table.value and panel.many.table.value.count("<img") == 3
    panel.many.order.value = "the least certain first"
    assert panel.many.table.value.count("<img") == 3
    panel.cards.children[0].name.value = "zog"
    panel.worker.wait(60)
    assert panel.many.rows[0].nearest == "zog"
    panel.many.receive("more.zip", archive("1.png", "2.png"))
    panel.worker.wait(60)
    assert len(panel.many.rows) == 5
    press(panel.many.clear_button)
    assert not panel.many.rows and not panel.many.table.value and "upload pictures" in panel.many.status.value


def test_an_archive_of_too_many_classes_changes_nothing(panel):
    panel.receive("many.zip", archive(*(f"class {i}/1.png" for i in range(25))))
    assert "which is the most" in panel.pad.upload.error and panel.classes.names == ("class 1", "class 2", "class 3")
    assert not list(panel.classes.pictures())
    panel.receive("odd.zip", archive("../1.png"))
    assert panel.pad.upload.error.startswith("odd.zip has an entry outside itself")
    panel.many.receive("odd.zip", archive("../1.png"))
    assert panel.many.upload.error.startswith("odd.zip has an entry outside itself")
