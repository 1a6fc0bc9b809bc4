"""The pictures of a leaderboard: any number of models, labels that do not overlap, inside the picture."""

import itertools

import numpy as np
import pytest
from test_learning import AWKWARD, pixels

from fewshot_kit import plots
from fewshot_kit.plots.leaderboard import Board, Model, spread_out


def board(n: int, names=None, alike: bool = False) -> Board:
    rng = np.random.default_rng(n)
    accuracies = np.full(n, 0.95) if alike else np.sort(0.85 + 0.1 * rng.random(n))[::-1]
    names = names or [f"model {place}" for place in range(n)]
    models = [Model(names[i], accuracies[i], 0.01, 0.01 * 10 ** rng.random(), 10.0 ** (5 + i % 3), i) for i in range(n)]
    differences = accuracies[:, None] - accuracies
    verdicts = np.where(abs(differences) > 0.01, np.sign(differences), 0.0)
    np.fill_diagonal(verdicts, np.nan)
    return Board("characters test, 5-way 1-shot", models, differences, np.full((n, n), 0.01), verdicts)


@pytest.mark.parametrize("numbers", [(), (1,), (2,), (3, 4), (12,), (30,)])
def test_pictures_have_the_size_they_say_and_one_width(numbers):
    boards = [board(n) for n in numbers]
    for figure in (plots.ahead_figure(boards), plots.cost_figure(boards)):
        picture = pixels(plots.png(figure))
        assert picture.shape[1] == 920 and abs(picture.shape[0] - 100 * figure.get_size_inches()[1]) <= 1 and picture.std() > 3


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("n", [2, 9, 30])
def test_no_label_overlaps_another_or_leaves_the_picture(n, alike):
    figure = plots.cost_figure([board(n, [f"protonet-omniglot_vinyals-WIDE{i} {'w' * 300}" for i in range(n)], alike)])
    plots.png(figure)
    boxes = [text.get_window_extent() for text in figure.axes[-1].texts]
    assert len(boxes) == n and all(box.x0 >= 0 and box.x1 <= 920 and box.y0 >= 0 and box.y1 <= figure.bbox.y1 for box in boxes)
    assert all(first.y0 >= second.y1 - 1 for first, second in itertools.pairwise(boxes)), "the best is above"


@pytest.mark.parametrize("n", [3, 12])
def test_names_of_the_rows_are_inside_the_picture(n):
    figure = plots.ahead_figure([board(n, ["W" * 300 + str(i) for i in range(n)])])
    plots.png(figure)
    assert all(label.get_window_extent().x0 >= 0 for label in figure.axes[0].get_yticklabels())


def test_a_cell_says_who_is_ahead_without_colour():
    shown = board(2)
    shown.verdicts[:] = [[np.nan, 1], [-1, np.nan]]
    texts = [text.get_text() for text in plots.ahead_figure([shown]).axes[0].texts]
    points = 100 * shown.differences[0, 1]
    assert texts == [f"▲ +{points:.1f} ± 1.0", f"▼ −{points:.1f} ± 1.0"]
    shown.verdicts[:] = np.nan
    assert [text.get_text() for text in plots.ahead_figure([shown]).axes[0].texts] == ["?", "?"]
    assert "▲" in plots.leaderboard.LEGEND and "nobody significantly ahead" in plots.ahead_figure([shown]).get_label()


def test_many_models_have_a_sign_in_every_cell_but_their_own():
    signs = plots.ahead_figure([board(12)]).axes[0].collections
    assert sum(len(sign.get_offsets()) for sign in signs if hasattr(sign, "get_sizes") and len(sign.get_sizes())) == 12 * 11


def test_intervals_are_drawn_and_what_is_not_known_is_said():
    shown = board(2)
    seconds, parameters, _ = plots.cost_figure([shown]).axes
    assert seconds.get_xscale() == parameters.get_xscale() == "log" and len(seconds.containers) == 2
    unknown = [Model(model.name, model.accuracy, np.nan, np.nan, 0.0, 0) for model in shown.models]
    figure = plots.cost_figure([Board("x", unknown, shown.differences, shown.half_widths, shown.verdicts)])
    assert [axes.texts[0].get_text() for axes in figure.axes[:2]] == ["not known", "not known"] and pixels(plots.png(figure)).std() > 3


def test_no_name_breaks_a_picture():
    for shown in (board(len(AWKWARD), list(AWKWARD)), Board("$x" * 200, *list(vars(board(2)).values())[1:])):
        assert pixels(plots.png(plots.ahead_figure([shown]))).shape[1] == pixels(plots.png(plots.cost_figure([shown]))).shape[1] == 920


def test_labels_stay_where_they_are_if_there_is_room_and_in_the_middle_if_not():
    assert spread_out([9, 1, 5], 1, (0, 10)) == [9, 1, 5]
    assert spread_out([5, 5, 5], 1, (0, 10)) == [6, 5, 4]
    assert spread_out([10, 10], 1, (0, 10)) == [10, 9] and spread_out([0, 0], 1, (0, 10)) == [1, 0]
