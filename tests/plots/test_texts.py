"""What a figure says of itself: a sentence for those who do not see it, its size, and a hash of its pixels."""

import hashlib
import re

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from test_learning import images, pixels, shares
from test_plots_embedding import scene
from test_runs_figure import curves

from fewshot_kit import plots

NAMES = ("<b>ä</b>", "two\nlines", "c" * 60)


def shown(figure, **text) -> dict:
    """Return what a notebook stores of a figure."""
    kept = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("IPython.display.display", kept.append)
        plots.show(figure, **text)
    (it,) = kept
    bundle, metadata = DisplayFormatter().format(it)
    return bundle | {"metadata": metadata}


def test_a_shown_figure_says_what_it_is_how_large_and_which_pixels():
    figure = plots.support_figure(images(3), np.arange(3), NAMES)
    bundle = shown(figure)
    picture = pixels(bundle["image/png"])
    content = hashlib.sha256(picture.tobytes()).hexdigest()[:12]
    sentence = plots.support_text(np.arange(3), NAMES)
    assert bundle["text/plain"] == f"{sentence}, {picture.shape[1]} x {picture.shape[0]} pixels, data {content}"
    assert bundle["metadata"]["image/png"]["alt"] == sentence and "\n" not in bundle["text/plain"]
    assert shown(figure, text="three classes")["text/plain"].startswith("three classes, 920 x ")


def test_the_same_arrays_give_the_same_bytes_and_other_arrays_others():
    makers = (
        lambda shift: plots.support_figure(np.clip(images(3) + shift, 0, 1), np.arange(3), NAMES),
        lambda shift: plots.loss_figure([1.0, 0.5 - shift]),
        lambda shift: plots.accuracy_figure([("a", 0.5 + shift, 0.1)]),
        lambda shift: plots.embedding_figure(**{**scene(), "places": scene()["places"] * (1 - shift)}),
    )
    for make in makers:
        assert plots.png(make(0)) == plots.png(make(0)) != plots.png(make(0.2))
        first, again, other = (re.search("data ([0-9a-f]{12})$", shown(make(shift))["text/plain"])[1] for shift in (0, 0, 0.2))
        assert first == again != other


def test_every_figure_has_a_sentence_of_its_own():
    labels, values = np.arange(3), shares(3, 3)
    figures = [
        plots.support_figure(images(3), labels, NAMES),
        plots.loss_figure([1.0, 0.5]),
        plots.answer_figure(images(1)[0], values[0], NAMES),
        plots.before_after_figure(images(3), labels, values, values),
        plots.probabilities_figure(images(3), labels, {"model": values}),
        plots.steps_figure(images(3), labels, values[None]),
        plots.background_figure(values[0], values[1], images(3), images(3)),
        plots.accuracy_figure([("a", 0.5, 0.1)]),
        plots.accuracy_over_steps_figure({"a": ((0, 1), np.array([0.2, 0.5]), np.array([0.1, 0.1]))}, {}),
        plots.embedding_figure(**scene()),
        plots.moments_figure([("step 0", scene(asked=None))]),
        plots.layer_change_figure({"head": np.ones(1)}, np.ones((2, 3))),
        plots.rates_figure({"head": np.ones(3)}, {}),
    ]
    assert len({figure.get_label() for figure in figures}) == len(figures)
    assert all(len(figure.get_label()) > 15 for figure in figures)


def test_the_sentences_say_what_the_pictures_show():
    assert plots.support_text(np.array([0, 0, 1, 1]), ("cat", "dog")) == "The support: 2 classes with 2 pictures each: A cat, B dog"
    assert plots.support_text(np.array([0, 1]), ("cat", "dog")) == "The support: 2 classes with 1 picture each: A cat, B dog"
    assert "1 to 2 pictures each" in plots.support_text(np.array([0, 1, 1]), ("cat", "dog"))
    answer = plots.answer_text(np.array([0.1, 0.9]), ("cat", "dog"))
    assert answer.endswith("B dog, 90 %")
    assert "undecided" in plots.answer_text(np.array([0.5, 0.5]), ("cat", "dog"))
    assert plots.loss_text([1.1, 0.5, 0.003]) == "The loss on the support fell from 1.1 to 0.003 in 2 epochs"
    assert "rose from 1.1 to 4" in plots.loss_text([1.1, 4.0]) and "rose from 1.1 to" in plots.loss_text([1.1, float("nan")])
    assert plots.loss_text([1.1]) == "The loss on the support is 1.1 before learning"
    assert "no queries" in plots.learning_text([1.1, 0.1], np.zeros((0, 2)), np.zeros(0, int))
    assert "no run" in plots.curves_text([]) and "best 90.0 % at step 100" in plots.curves_text(
        [("run", {**curves(2), "val_accuracy": np.array([0.9, 0.2])}), ("new", curves(0))]
    )


def test_the_sentence_of_a_map_counts_what_is_wrong():
    arrays = scene(n_way=3, asked=1)
    arrays["probabilities"], wrong = np.array([0.2, 0.7, 0.1]), np.zeros(len(arrays["labels"]), bool)
    assert "wrong: B, is A" in plots.embedding_text(**arrays) and "answer" not in plots.embedding_text(**arrays)
    wrong[[1, 2]] = True
    assert "2 answers wrong" in plots.embedding_text(**arrays, wrong=wrong)


def test_the_ground_is_white_where_nothing_is_drawn():
    labels, values = np.arange(3), shares(3, 3)
    figures = (
        plots.support_figure(images(3), labels, NAMES),
        plots.answer_figure(images(1)[0], values[0], NAMES),
        plots.loss_figure([1.0]),
    )
    for picture in (
        *(pixels(plots.png(figure)) for figure in figures),
        pixels(plots.LearningPicture(images(3), labels, 3).draw([1], values, 1)),
    ):
        assert (picture[[0, -1], [0, -1]] == 255).all() and (picture == 255).all(2).mean() > 0.3
