"""Pictures of the inner loop: they render for every number of steps and classes, and show what they are given."""

import numpy as np
import pytest
from test_learning import images, pixels, shares

from fewshot_kit import plots

CURVE = ((0, 1, 2, 5, 20), np.array([0.2, 0.7, 0.8, 0.85, 0.9]), np.full(5, 0.05))
LEVELS = {"nearest pixels": 0.5, "chance": 0.2}


def paths(n_steps: int, n: int, n_way: int) -> np.ndarray:
    return np.stack([np.full((n, n_way), 1 / n_way, np.float32), *(shares(n, n_way, step) for step in range(n_steps))])


def steps_figure(n_steps: int, n_way: int, n_query: int = 3):
    labels = np.arange(n_way).repeat(n_query)
    return plots.steps_figure(images(len(labels)), labels, paths(n_steps, len(labels), n_way))


def changes(n_steps: int) -> dict[str, np.ndarray]:
    return {f"block {i}": np.linspace(0, 0.01, n_steps) for i in range(1, 5)} | {"head": np.linspace(1, 0.1, n_steps)}


def size(figure) -> tuple[int, int]:
    picture = pixels(plots.png(figure))
    assert picture.std() > 5, "something is drawn"
    width, height = (round(inches * figure.dpi) for inches in figure.get_size_inches())
    assert abs(picture.shape[1] - width) <= 1 and abs(picture.shape[0] - height) <= 1
    return picture.shape[:2]


@pytest.mark.parametrize(("n_steps", "n_way"), [(0, 5), (1, 2), (5, 5), (50, 10)])
def test_every_number_of_steps_is_drawn(n_steps, n_way):
    size(steps_figure(n_steps, n_way))
    size(plots.layer_change_figure(changes(n_steps), paths(n_steps, 12, n_way)[..., 0]))


def row_heads(figure) -> list[list[str]]:
    """Return what stands before each row: which step it is, and how many are right."""
    return [text.get_text().split("\n", 1) for text in figure.axes[-1].texts if "\n" in text.get_text()]


def test_of_many_steps_some_are_shown_the_first_and_the_last_among_them():
    assert [head for head, _ in row_heads(steps_figure(3, 5))] == ["before", "step 1", "step 2", "step 3"]
    heads = [head for head, _ in row_heads(steps_figure(50, 5))]
    assert len(heads) == 8 and heads[0] == "before" and heads[-1] == "step 50"


def test_a_row_says_how_many_are_right_and_ties_are_counted_apart():
    labels = np.arange(3).repeat(2)
    right, one_wrong = np.eye(3, dtype=np.float32)[labels], np.eye(3, dtype=np.float32)[[1, 0, 1, 1, 2, 2]]
    one_tied = np.where(np.arange(6)[:, None] == 2, np.float32(1 / 3), right)
    figure = plots.steps_figure(images(6), labels, np.stack([np.full((6, 3), 1 / 3, np.float32), one_wrong, one_tied, right]))
    assert [verdict for _, verdict in row_heads(figure)] == [
        "6 of 6 undecided",
        "5 of 6 right",
        "5 of 6 right\n1 undecided",
        "6 of 6 right",
    ]


def test_right_and_wrong_steps_differ_in_colour():
    labels = np.arange(3)
    guess, right = np.full((3, 3), 1 / 3, np.float32), np.eye(3, dtype=np.float32)
    colours = [tuple(int(code[i : i + 2], 16) for i in (1, 3, 5)) for code in (plots.RIGHT, plots.WRONG)]
    found = []
    for answers in (guess, right, right[[1, 2, 0]]):
        picture = pixels(plots.png(plots.steps_figure(images(3), labels, answers[None])))
        found.append([bool((picture == colour).all(axis=2).any()) for colour in colours])
    assert found == [[False, False], [True, False], [False, True]]


def test_a_change_is_written_in_percent_and_no_change_as_nothing():
    figure = plots.layer_change_figure({"block 1": np.array([0, 0.0012]), "head": np.array([1, 0.25])}, paths(2, 4, 3)[..., 0])
    assert [text.get_text() for text in figure.axes[0].texts] == ["0", "0.12 %", "100 %", "25 %"]


def test_accuracies_are_drawn_beside_their_levels():
    figure = plots.accuracy_over_steps_figure({"MAML": CURVE, "from scratch": (*CURVE[:1], CURVE[1] / 2, CURVE[2])}, LEVELS)
    size(figure)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "MAML: 90.0 ± 5.0 %", "from scratch: 45.0 ± 5.0 %", "nearest pixels: 50.0 %", "chance: 20.0 %",
    ]  # fmt: skip


def test_accuracy_without_any_step_is_drawn():
    size(plots.accuracy_over_steps_figure({"MAML": ((0,), np.array([0.2]), np.array([np.nan]))}, {}))


def test_rates_are_drawn_with_and_without_images():
    rng = np.random.default_rng(0)
    rates = {f"block {i}": rng.normal(1, 1, 100) for i in range(9)} | {"head bias": np.array([-0.5])}
    figure = plots.rates_figure(rates, {"filters": rng.normal(1, 1, (60, 3, 3)), "head": np.ones((64, 2, 2))})
    size(figure)
    assert figure.axes[0].texts[-1].get_text() == "100 % < 0"
    size(plots.rates_figure(rates, {}))
    size(plots.rates_figure(rates, {"never trained": np.ones((8, 3, 3))}))


def test_a_mosaic_holds_every_image_once():
    pictures = np.arange(5 * 2 * 3).reshape(5, 2, 3) / 30
    figure = plots.rates_figure({"a": np.ones(3)}, {"five": pictures})
    shown = np.ma.filled(figure.axes[1].images[0].get_array(), np.nan)
    places = (slice(0, 4, 2), slice(0, 6, 2)), (slice(0, 4, 2), slice(7, 13, 2)), (slice(5, 9, 2), slice(0, 6, 2))  # rows of three
    assert all(np.allclose(shown[place], pictures[i]) for place, i in zip(places, (0, 1, 3), strict=True))
    values, counts = np.unique(shown[~np.isnan(shown)], return_counts=True)
    assert np.allclose(values, pictures.ravel()) and (counts == 4).all(), "two by two values a pixel"
