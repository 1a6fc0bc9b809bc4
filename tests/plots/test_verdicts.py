"""A tie of the two likeliest classes is neither right nor wrong, in every figure."""

import numpy as np
import pytest
from test_learning import images, pixels
from test_plots_embedding import scene, texts

from fewshot_kit import plots

LABELS = np.arange(3)
RIGHT = np.eye(3, dtype=np.float32)
WRONG = np.roll(RIGHT, 1, axis=1)
TIES = {
    "a guess": np.full((3, 3), 1 / 3, np.float32),
    "two of three": np.float32([[0.45, 0.45, 0.1]] * 3),
    "nearly": np.array([[0.4500002, 0.4499998, 0.1]] * 3),
    "not numbers": np.full((3, 3), np.nan, np.float32),
}

FIGURES = {
    "learning": lambda values: plots.LearningPicture(images(3), LABELS, 3).draw([1.0], values, 1),
    "steps": lambda values: plots.png(plots.steps_figure(images(3), LABELS, values[None])),
    "before and after": lambda values: plots.png(plots.before_after_figure(images(3), LABELS, values, values)),
    "answers": lambda values: plots.png(plots.answers_figure(images(3), LABELS, {"model": values})),
    "probabilities": lambda values: plots.png(plots.probabilities_figure(images(3), LABELS, {"model": values})),
}


def hues(png: bytes) -> tuple[bool, bool]:
    """Return whether a picture has the green of what is right, and the red of what is wrong."""
    red, green, blue = pixels(png).astype(int).transpose(2, 0, 1)
    return bool(((green - red > 60) & (green - blue > 40)).any()), bool((red - green > 60).any())


@pytest.mark.parametrize("kind", FIGURES)
def test_right_is_green_and_wrong_is_red(kind):
    assert [hues(FIGURES[kind](values)) for values in (RIGHT, WRONG)] == [(True, False), (False, True)]


@pytest.mark.parametrize("tie", TIES)
@pytest.mark.parametrize("kind", FIGURES)
def test_a_tie_is_neither_green_nor_red(kind, tie):
    assert hues(FIGURES[kind](TIES[tie])) == (False, False)


@pytest.mark.parametrize("kind", FIGURES)
def test_a_difference_that_can_be_seen_is_no_tie(kind):
    assert hues(FIGURES[kind](np.array([[0.4502, 0.4498, 0.1]] * 3))) == (True, True), "the first is right, the others are wrong"


def test_the_undecided_are_counted_by_themselves():
    values = np.concatenate([RIGHT[:1], WRONG[1:2], TIES["a guess"][:1]])
    assert plots.learning_text([1.0], values, LABELS).endswith("1 of 3 right, 1 undecided among the queries")
    assert plots.learning_text([1.0], TIES["a guess"], LABELS).endswith("3 of 3 undecided among the queries")
    (head,) = (axes.get_ylabel() for axes in plots.probabilities_figure(images(3), LABELS, {"model": values}).axes if axes.get_ylabel())
    assert head.splitlines() == ["model", "1 of 3 right", "1 undecided"]


def test_the_map_says_undecided_in_the_neutral_colour():
    figure = plots.embedding_figure(**{**scene(n_way=3, asked=1), "probabilities": np.full(3, 1 / 3)})
    assert "– undecided, is A" in texts(figure)
    (text,) = (text for text in figure.axes[1].texts if "undecided" in text.get_text())
    assert text.get_color() == plots.NEUTRAL


def test_an_own_picture_that_ties_has_no_answer():
    decided, tied = (plots.answer_figure(images(1)[0], values, ("a", "b", "c")) for values in (RIGHT[0], TIES["a guess"][0]))
    found = [bool((pixels(plots.png(figure)) == (0x24, 0x52, 0x7A)).all(2).any()) for figure in (decided, tied)]
    assert found == [True, False]
