"""The panel of detection without a browser: what is on show follows the controls, and a person's own boxes are found elsewhere."""

import io
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from found_by_colour import detection_session
from painted import painted_boxes
from panels import TIMEOUT, press, settle
from PIL import Image

from fewshot_kit.widgets import DetectionPanel
from fewshot_kit.widgets.own_boxes import LARGEST_SIDE, MOST_PICTURES

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def panel(monkeypatch) -> Iterator[DetectionPanel]:
    panel = DetectionPanel(detection_session(monkeypatch))
    yield panel
    panel.worker.stop()
    panel.worker.wait(TIMEOUT)


def png_of(image: torch.Tensor | np.ndarray) -> bytes:
    pixels = image.permute(1, 2, 0).numpy() if isinstance(image, torch.Tensor) else image
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def shown(panel: DetectionPanel) -> tuple[bytes, ...]:
    return tuple(image.value for image in (panel.support_image, panel.found_image, panel.curve_image, panel.map_image))


# --- the episode ---


def test_it_opens_with_what_was_found(panel):
    assert all(shown(panel)) and "3 classes, 1 picture each" in panel.status.value and "things found" in panel.status.value
    assert set(panel.sliders) == {"inner_lr", "inner_steps", "support_representatives", "rivalry"}
    assert "what was found of" in panel.found_image.tooltip and "pictures with" in panel.support_image.tooltip


def test_other_classes_and_settings_are_shown_and_the_support_stays_where_it_is_the_same(panel):
    before = shown(panel)
    panel.sliders["inner_steps"].value = 4
    settle(panel)
    after = shown(panel)
    assert after[0] == before[0] and "4 epochs" in panel.status.value and len(panel.shown.learning.epochs) == 5
    panel.ask(seed=5)
    settle(panel)
    assert shown(panel)[0] != after[0]
    panel.ask(dataset="fod_a")
    settle(panel)
    assert "fod_a, 3 classes" in panel.status.value and panel.data.dataset.value == "fod_a"


def test_the_probability_to_show_from_changes_the_boxes_alone(panel):
    before, learning = shown(panel), panel.shown.learning
    panel.threshold.value = 0.05
    settle(panel)
    after = shown(panel)
    assert panel.shown.learning is learning and after[1] != before[1] and after[2:] == before[2:]
    panel.threshold.value = panel.threshold.max
    settle(panel)
    if not sum(map(len, learning.found(panel.threshold.max))):
        assert "nothing was found" in panel.status.value


def test_without_queries_there_is_nothing_to_search_and_nothing_breaks(panel):
    panel.ask(n_query=0)
    settle(panel)
    assert "no queries to search" in panel.status.value and panel.evaluation.button.disabled


def test_classes_are_chosen_by_what_their_boxes_show(panel):
    panel.picker.buttons[4].value = panel.picker.buttons[0].value = True
    press(panel.picker.use)
    settle(panel)
    assert panel.session.episode.class_ids == (4, 0) and panel.shown.request.n_way == 2


def test_an_evaluation_says_both_protocols(panel, monkeypatch):
    monkeypatch.setattr("fewshot_kit.widgets.evaluation.EPISODES", 3)
    press(panel.evaluation.button)
    settle(panel)
    said = panel.evaluation.result.value
    assert "mAP50 <b>" in said and "every class looked for in all queries" in said and "3 episodes" in said and "seed 0" in said


# --- a person's own pictures ---


def own(panel: DetectionPanel, n_way: int = 2) -> None:
    """Upload three pictures of each of two colours, and mark the first of each."""
    dataset = painted_boxes(n_way, 3, seed=7)
    panel.own_picture.classes.value = "mug, key"
    for i in range(len(dataset)):
        panel.own_picture.receive(f"{i}.png", png_of(dataset.images[i]))
    for i, name in ((0, "mug"), (3, "key")):
        panel.own_picture.show_picture(i)
        left, top, right, bottom = dataset.boxes[i][0].tolist()
        panel.own_picture.boxes.bboxes = [{"x": left, "y": top, "width": right - left, "height": bottom - top, "label": name}]


def test_what_a_person_marks_is_found_in_their_other_pictures(panel):
    own(panel)
    assert "2 marked, 4 to be searched" in panel.own_picture.status.value
    press(panel.own_picture.find_button)
    settle(panel)
    said = panel.own_picture.status.value
    assert "Error" not in said and said.count("found") == 4 and "1.png: " in said
    assert panel.own_picture.result.value and panel.own_picture.result.tooltip.startswith("what was found of A mug, B key")
    labels = [f.labels[0].item() for f in panel.session.find_own(panel.own_picture.current.support, panel.own_picture.current.queries)]
    assert labels == [0, 0, 1, 1]
    assert [box["label"] for box in panel.own_picture.pictures[0].bboxes] == ["mug"], "boxes stay with their picture"


def test_own_pictures_are_searched_again_with_other_settings(panel):
    own(panel)
    press(panel.own_picture.find_button)
    settle(panel)
    before = panel.own_picture.result.value
    panel.threshold.value = 0.05
    settle(panel)
    assert panel.own_picture.result.value != before


def test_a_search_of_own_pictures_keeps_no_kernel_waiting_and_comes_after_the_learning(panel, monkeypatch):
    own(panel)
    threads, find = [], panel.session.find_own
    monkeypatch.setattr(panel.session, "find_own", lambda *given: threads.append(threading.current_thread()) or find(*given))
    panel.ask(n_query=1)  # a learning is under way
    press(panel.own_picture.find_button)
    settle(panel)
    assert panel.shown.request is panel.requested and panel.shown.request.n_query == 1
    assert panel.own_picture.status.value.count("found") == 4 and threads and threading.main_thread() not in threads


BOXES = {
    "of one pixel": ([{"x": 3, "y": 3, "width": 1, "height": 20, "label": "mug"}], "less than 2 pixels wide or high"),
    "of a class that is not named": ([{"x": 3, "y": 3, "width": 9, "height": 9, "label": "hat"}], "is of class 'hat', which is not among"),
    "twice on one thing": ([{"x": 3, "y": 3, "width": 20, "height": 20, "label": name} for name in ("mug", "key")], "of the same thing"),
    "outside": ([{"x": 300, "y": 3, "width": 20, "height": 20, "label": "mug"}], "is outside its picture"),
    "without a place": ([{"label": "mug"}], "has no place (x, y, width and height as numbers)"),
    "of a text": ([{"x": None, "y": 3, "width": 20, "height": 20, "label": "mug"}], "has no place (x, y, width and height as numbers)"),
    "of no number": ([{"x": float("nan"), "y": 3, "width": 20, "height": 20, "label": "mug"}], "that is no number"),
}


@pytest.mark.parametrize("kind", BOXES)
def test_a_box_that_cannot_be_is_told(panel, kind):
    own(panel)
    boxes, message = BOXES[kind]
    panel.own_picture.show_picture(0)
    panel.own_picture.boxes.bboxes = boxes
    press(panel.own_picture.find_button)
    assert message in panel.own_picture.status.value.replace("&#x27;", "'") and 'role="alert"' in panel.own_picture.status.value


def test_what_is_missing_is_told_step_by_step(panel):
    part = panel.own_picture

    def said() -> str:
        press(part.find_button)
        return part.status.value.replace("&#x27;", "'")

    assert "there are no pictures yet; upload at least two" in said()
    own(panel)
    part.classes.value = ""
    assert "names no class" in said()
    part.classes.value = "mug, Mug"
    assert "names a class twice" in said()
    part.classes.value = "mug, key, lamp"
    assert "no box marks a 'lamp'; draw one in a picture, or take the name out" in said()
    part.classes.value = "mug, key"
    for _ in range(4):
        part.show_picture(next(i for i, picture in enumerate(part.pictures) if not picture.bboxes))
        part.remove()
    assert "every picture has a box; upload one more, without a box" in said()


def test_a_huge_picture_is_shrunk_and_what_is_none_is_told(panel):
    part = panel.own_picture
    part.receive("long.png", png_of(np.zeros((30, 20_000, 3), dtype=np.uint8)))
    assert part.pictures[0].pixels.shape[1] == LARGEST_SIDE
    part.receive("notes.txt", b"no picture")
    assert "notes.txt" in part.upload.error and len(part.pictures) == 1
    part.pictures = part.pictures * MOST_PICTURES
    part.receive("one more.png", png_of(np.zeros((30, 30, 3), dtype=np.uint8)))
    assert f"there are {MOST_PICTURES} pictures already" in part.upload.error
