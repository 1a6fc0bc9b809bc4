"""Figures: they render, in the size they promise, and no class name breaks them."""

import io

import numpy as np
import pytest
from PIL import Image

from fewshot_kit import plots

AWKWARD = ("$x^2", "a $ b $ c", r"\$\alpha", "<script>alert(1)</script>", "long " * 40, "ä%_{}^", "猫", "a\nb", "")


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def images(n: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).random((n, channels, 28, 28), dtype=np.float32)


def shares(n: int, n_way: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(n_way), n).astype(np.float32)


def names(n_way: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(n_way))


def learning_picture(n_way: int = 3, n_query: int = 2, channels: int = 1) -> plots.LearningPicture:
    labels = np.arange(n_way).repeat(n_query)
    return plots.LearningPicture(images(len(labels), channels), labels, n_way)


FIGURES = {
    "support": lambda n_way, names: plots.support_figure(images(2 * n_way), np.arange(n_way).repeat(2), names),
    "photographs": lambda n_way, names: plots.support_figure(images(n_way, channels=3), np.arange(n_way), names),
    "loss": lambda n_way, names: plots.loss_figure([np.log(n_way), 0.5, 0.1]),
    "loss of no epochs": lambda n_way, names: plots.loss_figure([np.log(n_way)]),
    "answer": lambda n_way, names: plots.answer_figure(images(1)[0], shares(1, n_way)[0], names),
    "before and after": lambda n_way, names: plots.before_after_figure(
        images(3 * n_way), np.arange(n_way).repeat(3), shares(3 * n_way, n_way), shares(3 * n_way, n_way, 1)
    ),
    "accuracy": lambda n_way, names: plots.accuracy_figure(
        [("Reptile", 0.9, 0.01), ("nearest pixels", 0.6, 0.02), ("chance", 1 / n_way, 0)]
    ),
}


@pytest.mark.parametrize("n_way", [2, 5, 10])
@pytest.mark.parametrize("kind", FIGURES)
def test_a_figure_is_a_picture_of_the_size_it_says(kind, n_way):
    figure = FIGURES[kind](n_way, names(n_way))
    picture = pixels(plots.png(figure))
    width, height = (round(inches * figure.dpi) for inches in figure.get_size_inches())
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert abs(picture.shape[1] - width) <= 1 and abs(picture.shape[0] - height) <= 1
    assert picture.std() > 5, "something is drawn"


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("kind", ["support", "answer"])
def test_no_class_name_breaks_a_figure(kind, name):
    plain, awkward = (plots.png(FIGURES[kind](3, (first, "b", "c"))) for first in ("a", name))
    assert pixels(plain).shape == pixels(awkward).shape


def test_a_long_name_is_cut_in_its_middle():
    short = plots.shorten("Aurek-Besh/character01", 12)
    assert len(short) <= 12 and short.startswith("Aurek") and short.endswith("cter01") and "…" in short
    assert plots.shorten("character01", 12) == "character01"


def test_ink_is_shown_dark_on_white_and_a_photograph_as_it_is():
    ink, red = np.zeros((1, 28, 28), np.uint8), np.zeros((3, 28, 28), np.uint8)
    ink[0, :, 14:], red[0] = 255, 255
    shown = pixels(plots.thumbnail(ink))
    assert shown.shape == (64, 64) and shown[:, 0].min() == 255 and shown[:, -1].max() == 0
    assert (pixels(plots.thumbnail(red)) == (255, 0, 0)).all()


@pytest.mark.parametrize(("n_way", "n_query"), [(2, 1), (3, 1), (5, 2), (10, 1), (10, 10)])
def test_every_frame_of_a_learning_has_the_same_size(n_way, n_query):
    picture = learning_picture(n_way, n_query)
    frames = [pixels(picture.draw([1.0] * (i + 1), shares(n_way * n_query, n_way, i), 3)) for i in range(4)]
    assert len({frame.shape for frame in frames}) == 1
    assert abs(frames[0].shape[1] - 920) <= 1


def test_a_frame_shows_its_probabilities_and_nothing_of_the_frame_before():
    picture = learning_picture()
    guess, sure = np.full((6, 3), 1 / 3, np.float32), np.eye(3, dtype=np.float32).repeat(2, axis=0)
    first, second = picture.draw([1.0], guess, 5), picture.draw([1.0], sure, 5)
    assert first != second
    assert picture.draw([1.0], guess, 5) == first
    assert learning_picture().draw([1.0], sure, 5) == second


def test_a_frame_shows_its_losses_and_its_epoch():
    picture, probabilities = learning_picture(), shares(6, 3)
    assert len({picture.draw(losses, probabilities, 5) for losses in ([1.0], [1.0, 0.5], [1.0, 0.2])}) == 3


def test_right_and_wrong_answers_differ_in_color():
    picture, right = learning_picture(), np.eye(3, dtype=np.float32).repeat(2, axis=0)
    shown = [pixels(picture.draw([1.0], probabilities, 1)) for probabilities in (right, np.roll(right, 1, axis=1))]
    colors = [tuple(int(code[i : i + 2], 16) for i in (1, 3, 5)) for code in (plots.RIGHT, plots.WRONG)]
    found = [[bool((frame == color).all(axis=2).any()) for color in colors] for frame in shown]
    assert found == [[True, False], [False, True]]


# --- which queries, in which order ---


def certain(answers: np.ndarray, n_way: int) -> np.ndarray:
    return np.eye(n_way, dtype=np.float32)[answers]


def all_pages(picture: plots.LearningPicture) -> list[int]:
    return [query for page in range(picture.n_pages) for query in picture.queries_on(page)]


@pytest.mark.parametrize(("n_way", "n_query"), [(2, 1), (3, 10), (5, 20), (10, 1), (20, 3)])
def test_the_pages_show_every_query_once_before_and_after_they_are_arranged(n_way, n_query):
    n, picture = n_way * n_query, learning_picture(n_way, n_query)
    for probabilities in (None, shares(n, n_way), np.full((n, n_way), 1 / n_way)):
        if probabilities is not None:
            picture.arrange(probabilities)
        assert sorted(all_pages(picture)) == list(range(n)) and picture.n_pages == -(-n // 10)
        assert max(len(picture.queries_on(page)) for page in range(picture.n_pages)) <= plots.MAX_QUERIES_SHOWN


def test_wrong_queries_come_first_then_the_undecided_then_the_right():
    labels = np.arange(3).repeat(10)
    probabilities = certain(labels, 3)
    probabilities[[9, 19, 29]] = certain((labels[[9, 19, 29]] + 1) % 3, 3)
    probabilities[[5, 25]] = 1 / 3
    picture = learning_picture(3, 10)
    assert not {9, 19, 29} & set(picture.queries_on(0)), "else the test shows nothing"
    picture.arrange(probabilities)
    assert picture.queries_on(0)[:5] == [9, 19, 29, 5, 25]


def test_every_class_is_among_the_queries_of_the_first_page():
    labels = np.arange(10).repeat(3)
    picture = plots.LearningPicture(images(30), labels, 10)
    assert sorted(labels[picture.queries_on(0)]) == list(range(10))
    picture.arrange(certain((labels + 1) % 10, 10))
    assert sorted(labels[picture.queries_on(0)]) == list(range(10))


def test_the_order_stays_while_other_epochs_are_looked_at():
    picture, last = learning_picture(3, 10), shares(30, 3)
    picture.arrange(last)
    order = all_pages(picture)
    frame = picture.draw([1.0], last, 5, page=1)
    picture.draw([1.0], shares(30, 3, seed=1), 5, page=1)
    assert all_pages(picture) == order and picture.draw([1.0], last, 5, page=1) == frame


def test_arranging_again_shows_the_other_queries():
    picture, labels = learning_picture(3, 10), np.arange(3).repeat(10)
    probabilities = certain(labels, 3)
    before = picture.draw([1.0], probabilities, 5)
    wrong = probabilities.copy()
    wrong[[9, 19, 29]] = certain((labels[[9, 19, 29]] + 1) % 3, 3)
    picture.arrange(wrong)
    after = pixels(picture.draw([1.0], probabilities, 5))
    assert (pixels(before)[50:120] != after[50:120]).any(), "other pictures"


@pytest.mark.parametrize(("n_way", "n_query"), [(3, 7), (2, 6), (20, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_page_has_the_same_size_and_shows_other_queries(n_way, n_query, channels):
    picture, n = learning_picture(n_way, n_query, channels), n_way * n_query
    pages = [pixels(picture.draw([1.0], np.full((n, n_way), 1 / n_way), 1, page)) for page in range(picture.n_pages)]
    assert len({page.shape for page in pages}) == 1 and abs(pages[0].shape[1] - 920) <= 1
    tops = {page[30:].tobytes() for page in pages}
    assert len(tops) == picture.n_pages > 1


@pytest.mark.parametrize("page", [-1, 3])
def test_a_page_that_does_not_exist_is_an_error(page):
    with pytest.raises(ValueError, match=f"from 0 to 2.*{page}"):
        learning_picture(3, 10).draw([1.0], shares(30, 3), 1, page)


def test_without_queries_a_picture_of_the_same_kind_says_so():
    picture = plots.LearningPicture(images(0), np.zeros(0, int), 3)
    nothing = np.zeros((0, 3), np.float32)
    picture.arrange(nothing)
    first, later = (pixels(picture.draw(losses, nothing, 2)) for losses in ([1.1], [1.1, 0.1]))
    assert picture.n_pages == 1 and picture.queries_on(0) == []
    assert first.shape == later.shape and abs(first.shape[1] - 920) <= 1 and (first != later).any()
    assert (first[30:, 310:].reshape(-1, 3).max(1) < 80).any(), "a dark sentence in place of the queries"


def test_a_photograph_is_shown_as_it_is_and_ink_dark_on_white():
    red, ink = np.zeros((1, 3, 28, 28), np.float32), np.zeros((1, 1, 28, 28), np.float32)
    red[:, 0], ink[..., 14:] = 1, 1
    frames = [pixels(plots.LearningPicture(image, np.zeros(1, int), 2).draw([1.0], shares(1, 2), 1)) for image in (red, ink)]
    assert (frames[0] == (255, 0, 0)).all(2).sum() > 70**2
    black = (frames[1][55:120, 310:400] == 0).all(2)
    assert black.sum() > 35 * 60 and np.nonzero(black)[1].min() > 40, "the right half"


# --- the loss ---


def marks(losses: list[float], n_way: int | None) -> dict[str, list[float]]:
    """Return the epochs at which a loss figure marks a loss beyond its axis, and check that the marks lie within it."""
    (axes,) = plots.loss_figure(losses, n_way).axes
    low, high = axes.get_ylim()
    for line in axes.lines:
        assert ((np.asarray(line.get_ydata()) >= low) & (np.asarray(line.get_ydata()) <= high)).all()
    return {line.get_marker(): np.asarray(line.get_xdata()).tolist() for line in axes.lines if line.get_marker() in "^v"}


def test_the_axis_of_the_loss_is_logarithmic_and_stays_where_it_is():
    axes = [plots.loss_figure(losses, 5).axes[0] for losses in ([1.6], [1.6, 0.01], [1.6, 40.0, 1e-9], [1.6, float("nan")])]
    assert {ax.get_yscale() for ax in axes} == {"log"} and len({ax.get_ylim() for ax in axes}) == 1
    low, high = axes[0].get_ylim()
    assert low <= 1e-3 and high == pytest.approx(2 * np.log(5))
    plots.png(axes[0].figure)
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["0.001", "0.01", "0.1", "1"]
    assert any(np.allclose(line.get_ydata(), np.log(5)) for line in axes[0].lines) and "1.61" in axes[0].texts[0].get_text()


@pytest.mark.parametrize("n_way", [2, 5, None])
def test_a_loss_beyond_the_axis_is_marked_at_its_edge(n_way):
    assert marks([0.6, 0.5, 0.1], n_way) == {"^": [], "v": []}
    assert marks([0.6, 50.0, 0.1], n_way) == {"^": [1], "v": []}
    assert marks([0.6, 0.1, 1e-7, 1e-9, 1e-9], n_way) == {"^": [], "v": [2, 4]}, "where it leaves, and the last"
    assert marks([0.6, float("nan"), 0.1, float("inf")], n_way) == {"^": [1, 3], "v": []}


def test_a_frame_marks_a_loss_beyond_the_axis_inside_the_frame_of_the_curve():
    picture, guess = learning_picture(), np.full((6, 3), 1 / 3, np.float32)
    edge, beyond, further = (pixels(picture.draw([1.0, loss, 0.5], guess, 2)) for loss in (2 * np.log(3), 50.0, 5000.0))
    assert np.array_equal(beyond, further)
    rows, columns = np.nonzero((edge != beyond).any(2))
    marked = [(row, column) for row, column in zip(rows, columns, strict=True) if tuple(beyond[row, column]) == (0x24, 0x52, 0x7A)]
    assert len(marked) > 10, "a mark"
    axes = edge[:, :290].min(2) < 90  # the dark spine at the left tells where the frame begins and ends
    spine = np.flatnonzero(axes[:, 46])
    assert all(spine.min() - 1 <= row <= spine.max() and 46 <= column <= 276 for row, column in marked)
