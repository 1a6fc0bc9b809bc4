"""Figures of several learners: all that is drawn is said too, what is not to be told apart by colour alone has a sign, and all fits."""

import numpy as np
import pytest
from test_learning import images, shares
from test_plots_embedding import texts

from fewshot_kit import plots
from fewshot_kit.plots.comparing import MOST_COLUMNS, WIDTH

NAMES = ("<b>a $x$</b>", "b" * 80, "ç")
LEARNERS = ("maml", "protonet-omniglot_vinyals-augmented", "<i>x</i>" * 20)
ROWS = [("best", 0.9, 0.02, 0.0, 0.0), ("worse", 0.7, 0.03, -0.2, 0.05), ("alike", 0.89, 0.03, -0.01, 0.02)]


def answered(n: int = 3, n_way: int = 3) -> dict[str, np.ndarray]:
    return {name: np.roll(shares(n, n_way), shift, axis=1) for shift, name in enumerate(LEARNERS)}


def everything() -> dict:
    agreement = np.array([[1, 0.5, 0.2], [0.5, 1, 0.9], [0.2, 0.9, 1]])
    one = {name: values[0] for name, values in answered().items()}
    return {
        "answers": plots.answers_figure(images(3), np.arange(3), answered(), [2, 0, 1]),
        "agreement": plots.agreement_figure(agreement, LEARNERS),
        "disputed": plots.disputed_figure(images(1)[0], one, NAMES, 1, "the query"),
        "own": plots.disputed_figure(images(1)[0], one, NAMES),
        "paired": plots.paired_figure(ROWS, "best", 200),
    }


@pytest.mark.parametrize("kind", everything())
def test_nothing_is_cut_off_and_all_are_as_wide(kind):
    figure = everything()[kind]
    plots.png(figure)
    assert figure.get_figwidth() == WIDTH and figure.get_label()
    width, height = figure.bbox.width, figure.bbox.height
    for text in (text for axes in figure.axes for text in [*axes.texts, axes.title, axes.xaxis.label]):
        box = text.get_window_extent()
        assert not text.get_text() or (box.x0 >= 0 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1), text.get_text()


def test_the_least_and_the_most_agreement_are_said():
    label = everything()["agreement"].get_label()
    assert f"least maml and {LEARNERS[2]}, 20 %" in label and f"most {LEARNERS[1]} and {LEARNERS[2]}, 90 %" in label
    assert "nothing to compare" in plots.agreement_figure(np.array([[np.nan]]), ["one"]).get_label()


def test_a_difference_is_one_only_where_its_interval_leaves_out_zero():
    figure = everything()["paired"]
    assert "worse -20.0 ± 5.0, worse; alike -1.0 ± 2.0, no difference shown" in figure.get_label()
    assert {"−20.0 ± 5.0  ▼ worse", "−1.0 ± 2.0  ≈ no difference shown", "◆ compared with"} <= set(texts(figure))
    alone = plots.paired_figure([("one", 0.9, float("nan"), 0.0, float("nan"))], "one", 1)
    assert alone.get_label() == "Accuracy above that of one on the same 1 episodes, in percentage points"


def test_of_many_queries_the_first_of_the_order_are_shown():
    n = MOST_COLUMNS + 3
    figure = plots.answers_figure(images(n), np.arange(n) % 3, answered(n), list(range(n))[::-1])
    assert f"{MOST_COLUMNS} of {n} queries, those most differed about first" in [text.get_text() for text in figure.texts]


def test_an_own_picture_is_neither_right_nor_wrong():
    assert not any(sign in text for text in texts(everything()["own"]) for sign in "✓✗")
    assert everything()["own"].get_label().startswith("Your picture is taken for ")
