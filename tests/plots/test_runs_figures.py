"""Pictures of trainings: runs stay apart, sizes stay the same, and a dark page does not shine through."""

import io
from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from fewshot_kit import plots


def curves(n: int = 5, height: float = 0.5) -> dict[str, np.ndarray]:
    steps = np.arange(1, n + 1) * 100.0
    accuracy = height + 0.01 * np.arange(n)
    return {
        "step": steps,
        "train_loss": 30 - np.arange(n),
        "val_loss": 1 - 0.1 * np.arange(n),
        "val_loss_half_width": np.full(n, 0.02),
        "val_accuracy": accuracy,
        "val_accuracy_half_width": np.full(n, 0.02),
    }


def runs(n: int) -> list[tuple[str, dict]]:
    return [(f"protonet-omniglot_vinyals-5way-{i}shot", curves(height=0.3 + 0.05 * i)) for i in range(n)]


def legends(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def lines(figure) -> list:
    return [line for axes in figure.axes for line in axes.lines if len(line.get_xdata())]


FIGURES = {
    "curves": plots.curves_figure,
    "accuracy": plots.comparison_figure,
    "loss": lambda runs: plots.comparison_figure(runs, of="loss", with_training=True),
    "log": lambda runs: plots.comparison_figure(runs, of="loss", log=True, with_training=True),
}
every_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)


@every_figure
def test_nine_runs_have_nine_colours_markers_and_names(draw):
    figure = draw(runs(9))
    drawn = lines(figure)
    colors, markers = {line.get_color() for line in drawn}, {line.get_marker() for line in drawn}
    assert len(colors) == 9 and len(markers) == 9
    lab = [rgb2lab(np.array(to_rgb(color)).reshape(1, 1, 3)) for color in colors]
    assert min(deltaE_ciede2000(a, b).item() for a, b in combinations(lab, 2)) > 15, "far more than one can see apart"
    named = [text for text in legends(figure) if "best" in text]
    assert len(named) == len(set(named)) == 9
    texts = figure.legends[0].get_texts()
    plots.png(figure)
    boxes = [text.get_window_extent() for text in texts]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2)), "no name lies on another"
    assert all(box.x1 <= figure.bbox.x1 and box.y0 >= 0 for box in boxes), "and none is cut off"


@every_figure
def test_a_dark_style_and_a_transparent_one_leave_the_picture_readable(draw):
    style = {
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "text.color": "white",
        "legend.labelcolor": "white",
    }
    style |= {
        "xtick.color": "white",
        "ytick.color": "white",
        "axes.labelcolor": "white",
        "axes.titlecolor": "white",
        "axes.edgecolor": "white",
    }
    plain = plots.png(draw(runs(2)))
    with matplotlib.rc_context(style):
        assert plots.png(draw(runs(2))) == plain
    picture = np.asarray(Image.open(io.BytesIO(plain)))
    assert (picture[0, 0] == 255).all() and (picture[-1, -1] == 255).all()


@pytest.mark.parametrize("of", ["accuracy", "loss"])
def test_a_comparison_has_one_size_whatever_is_chosen(of):
    sizes = {Image.open(io.BytesIO(plots.png(plots.comparison_figure(runs(n), of=of)))).size for n in (0, 1, 4, 9)}
    assert len(sizes) == 1


def test_a_run_keeps_its_colour_by_its_place():
    alone = lines(plots.comparison_figure(runs(3)[2:], places=[2]))[0]
    among = lines(plots.comparison_figure(runs(3), places=[0, 1, 2]))[2]
    assert (alone.get_color(), alone.get_marker()) == (among.get_color(), among.get_marker())


def test_training_losses_are_shown_when_asked_for_and_named():
    without, with_them = (plots.comparison_figure(runs(2), of="loss", with_training=value) for value in (False, True))
    assert len(lines(with_them)) == 2 * len(lines(without)) == 4
    assert any("not comparable" in text for text in legends(with_them)) and not any("training" in text for text in legends(without))
    texts = [text.get_text() for text in plots.curves_figure(runs(1)).axes[0].get_legend().get_texts()]
    assert any("not comparable" in text for text in texts)


def test_training_losses_far_above_do_not_flatten_the_rest():
    assert plots.comparison_figure(runs(2), of="loss", with_training=True).axes[0].get_ylim()[1] < 5


def test_the_log_axis_is_of_the_loss_and_survives_zeros_and_gaps():
    strange = {**curves(), "val_loss": np.array([0.0, np.nan, 0.5, 0.01, -1.0])}
    axes = plots.comparison_figure([("run", strange)], of="loss", log=True).axes[0]
    assert axes.get_yscale() == "log" and 0 < axes.get_ylim()[0] <= 0.01 and axes.get_ylim()[1] >= 0.5
    assert plots.comparison_figure(runs(1), of="accuracy", log=True).axes[0].get_yscale() == "linear"
    nothing = {**curves(), "val_loss": np.full(5, np.nan)}
    plots.png(plots.comparison_figure([("run", nothing)], of="loss", log=True))


def test_ten_are_refused_and_none_is_a_picture():
    with pytest.raises(ValueError, match=r"at most 9 runs .* choose fewer"):
        plots.comparison_figure(runs(10))
    assert "no run yet" in plots.comparison_figure([]).get_label() and "best 34.0 %" in plots.comparison_figure(runs(1)).get_label()


def test_names_cannot_break_a_picture():
    for draw in FIGURES.values():
        plots.png(draw([("<img src=x onerror=alert(1)> $x^2 \n\x00 " + "long" * 50, curves())]))
