"""Pictures of boxes: their size, what they say in words, and names that cannot break them."""

import io

import numpy as np
import pytest
from PIL import Image

from fewshot_kit import plots
from fewshot_kit.plots import boxes as boxes_module
from fewshot_kit.plots.tiles import color_of

SCRIPT = "<script>alert(1)</script> $x^2 \n\x00" + "long" * 40
BOX = np.array([[10.0, 12, 30, 40]])
NONE = np.empty((0, 4)), np.empty(0, dtype=int)


def found(**changes) -> tuple:
    given = {"boxes": BOX, "labels": np.array([1]), "probabilities": np.array([0.83]), "is_right": np.array([True])}
    return tuple({**given, "missed": NONE[0], "missed_labels": NONE[1], **changes}.values())


def pixels(figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(plots.png(figure))))


@pytest.mark.parametrize("n", [0, 1, 5, 6, 11])
def test_pictures_stand_in_rows_of_five(n):
    figure = plots.found_figure(np.full((n, 3, 64, 64), 0.5), [found()] * n, ("a", "b"))
    height, width, _ = pixels(figure).shape
    assert width == 920 and height == pytest.approx(max(1, -(-n // 5)) * 199, abs=1)


def test_what_was_found_is_said_in_words():
    wrong = found(is_right=np.array([False]), missed=BOX, missed_labels=np.array([0]))
    unknown, nothing = found(is_right=None), found(boxes=NONE[0], labels=NONE[1], probabilities=np.empty(0), is_right=np.empty(0, bool))
    assert [boxes_module._Found(*of).counted() for of in (found(), wrong, unknown, nothing)] == [
        "1 found", "1 wrong, 1 missed", "1 found", "nothing to find, nothing found",
    ]  # fmt: skip
    figure = plots.found_figure(np.full((2, 3, 64, 64), 0.5), [found(), wrong], ("a", "b"))
    assert figure.get_label() == "what was found of A a, B b: picture 1: 1 found; picture 2: 1 wrong, 1 missed"


def test_right_wrong_and_missed_look_different():
    images = np.full((1, 3, 64, 64), 0.5)
    nothing = {"boxes": NONE[0], "labels": NONE[1], "probabilities": np.empty(0), "is_right": np.empty(0, bool)}
    missed = found(**nothing, missed=BOX, missed_labels=np.array([1]))
    drawn = [pixels(plots.found_figure(images, [of], ("a", "b"))) for of in (found(), found(is_right=np.array([False])), missed)]
    assert all((one != other).any() for i, one in enumerate(drawn) for other in drawn[:i])


@pytest.mark.parametrize("box", [(0.0, 0, 64, 64), (63, 63, 64, 64), (0, 0, 1, 1), (60, 0, 64, 3)])
def test_a_box_at_the_edge_is_drawn(box):
    drawn = found(boxes=np.array([box]), missed=np.array([box]), missed_labels=np.array([0]))
    assert pixels(plots.found_figure(np.zeros((1, 3, 64, 64)), [drawn], ("a", "b"))).shape == (199, 920, 3)


def test_texts_of_boxes_in_one_place_do_not_cover_one_another():
    two = found(boxes=BOX.repeat(2, 0), labels=np.array([0, 1]), probabilities=np.array([0.9, 0.8]), is_right=np.array([True, True]))
    drawn = pixels(plots.found_figure(np.full((1, 3, 64, 64), 0.5), [two], ("a", "b")))[..., :3]
    for label in (0, 1):  # the frame of one covers that of the other: its text alone is left
        color = np.array([int(color_of(label)[i : i + 2], 16) for i in (1, 3, 5)])
        assert (np.abs(drawn.astype(int) - color).sum(-1) < 8).sum() > 200


def test_no_name_breaks_a_figure():
    images, names = np.full((1, 3, 64, 64), 0.5), (SCRIPT, "猫")
    curves = [(np.array([1.0, 0.5]), np.array([0.5, 0.5])), (np.empty(0), np.empty(0))]
    points = np.zeros((2, 2)), np.array([0, -1]), np.array(["support", "background"]), np.zeros((2, 1, 2))
    for figure in (
        plots.marked_figure(images, [BOX], [np.array([0])], names),
        plots.found_figure(images, [found()], names),
        plots.precision_recall_figure(curves, np.array([0.5, np.nan]), names),
        plots.box_map_figure(*points, names, SCRIPT[:20]),
    ):
        assert pixels(figure).std() > 0
    assert "nothing" not in plots.precision_recall_figure(curves, np.array([0.5, np.nan]), names).get_label()
