"""The curves of meta-trainings: any number of runs, told apart, inside the picture."""

import numpy as np
import pytest
from test_learning import AWKWARD, names, pixels

from fewshot_kit import plots


def curves(n: int, every: int = 100, seed: int = 0) -> dict[str, np.ndarray]:
    columns = ("train_loss", "val_loss", "val_loss_half_width", "val_accuracy", "val_accuracy_half_width")
    values = dict(zip(columns, np.random.default_rng(seed).random((len(columns), n)), strict=True))
    return {"step": every * np.arange(1.0, n + 1), **values}


@pytest.mark.parametrize(("n_runs", "n_validations"), [(0, 0), (1, 0), (1, 1), (8, 12), (11, 1)])
def test_curves_are_drawn_of_any_number_of_runs_and_validations(n_runs, n_validations):
    figure = plots.curves_figure([(name, curves(n_validations)) for name in names(n_runs)])
    picture = pixels(plots.png(figure))
    width, height = (round(inches * figure.dpi) for inches in figure.get_size_inches())
    assert width == 920 and abs(picture.shape[1] - width) <= 1 and abs(picture.shape[0] - height) <= 1 and picture.std() > 5


def test_a_live_picture_keeps_its_size_its_steps_and_its_axes():
    figures = [plots.curves_figure([("run", curves(n))] if n is not None else [], 1000) for n in (None, 0, 1, 10)]
    assert len({pixels(plots.png(figure)).shape for figure in figures}) == 1
    for axes in zip(*(figure.axes for figure in figures), strict=True):
        assert len({ax.get_xlim() for ax in axes}) == 1 and len({ax.get_position().bounds for ax in axes}) == 1


def test_curves_show_the_losses_the_accuracy_and_its_interval():
    given = curves(12)
    loss, accuracy = plots.curves_figure([("run", given)]).axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [given["val_loss"].tolist(), given["train_loss"].tolist()]
    assert [line.get_linestyle() for line in loss.lines] == ["-", "--"]
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), 100 * given["val_accuracy"])
    (band,) = accuracy.collections
    middle, half = 100 * given["val_accuracy"], 100 * given["val_accuracy_half_width"]
    edges = np.round(band.get_paths()[0].vertices[:, 1], 6)
    assert {*np.round(middle - half, 6), *np.round(middle + half, 6)} <= set(edges)


def test_the_legend_names_each_run_with_its_best_validation_beside_the_axes_not_on_them():
    runs = [("first", {**curves(3), "val_accuracy": np.array([0.2, 0.9, 0.5])}), ("second", curves(0))]
    runs[0][1]["val_accuracy_half_width"] = np.array([0.1, 0.02, 0.1])
    figure = plots.curves_figure(runs)
    plots.png(figure)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["first: best 90.0 ± 2.0 % at step 200", "second: no validation yet"]
    outside = legend.get_window_extent()
    assert not any(outside.overlaps(axes.get_tightbbox()) for axes in figure.axes)
    assert outside.x0 >= 0 and outside.x1 <= figure.bbox.x1 and outside.y0 >= 0


def test_eight_runs_differ_in_color_and_in_marker():
    lines = plots.curves_figure([(name, curves(3, seed=i)) for i, name in enumerate(names(8))]).axes[1].lines
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 8


def test_many_runs_of_long_names_differ_and_their_legend_stays_in_the_picture():
    runs = [(f"protonet-omniglot_vinyals-5way-1shot-WIDE{i}", curves(3, every=100_000, seed=i)) for i in range(20)]
    figure = plots.curves_figure(runs)
    plots.png(figure)
    assert len({(line.get_color(), line.get_marker()) for line in figure.axes[1].lines}) == 20
    outside = figure.legends[0].get_window_extent()
    assert outside.x0 >= 0 and outside.x1 <= figure.bbox.x1 and outside.y0 >= 0


def test_the_training_loss_of_one_run_does_not_flatten_the_validation_losses_of_several():
    high = {**curves(3), "train_loss": np.array([50.0, 40.0, 30.0])}
    tops = [plots.curves_figure(runs).axes[0].get_ylim()[1] for runs in ([("high", high)], [("high", high), ("run", curves(3))])]
    assert tops[0] == 50 and 1 <= tops[1] <= 2.5


def test_values_that_are_missing_leave_a_gap():
    given = {**curves(3), "val_accuracy_half_width": np.full(3, np.nan), "val_loss": np.array([1.0, np.nan, 0.5])}
    nothing = {**curves(2), "val_accuracy": np.full(2, np.nan)}
    figure = plots.curves_figure([("run", given), ("nothing", nothing)])
    assert pixels(plots.png(figure)).std() > 5
    assert "±" not in figure.legends[0].get_texts()[0].get_text()


def test_no_name_breaks_the_curves():
    awkward, plain = (plots.curves_figure([(name, curves(3)) for name in given]) for given in (AWKWARD, names(len(AWKWARD))))
    assert pixels(plots.png(awkward)).shape == pixels(plots.png(plain)).shape
    assert awkward.legends[0].get_window_extent().x1 <= awkward.bbox.x1


@pytest.mark.parametrize("loss", [1e20, 1e299])
def test_a_loss_beyond_all_measure_is_drawn(loss):
    figure = plots.curves_figure([("diverged", {**curves(3), "val_loss": np.full(3, loss), "train_loss": np.full(3, loss)})])
    assert figure.axes[0].get_ylim()[1] > figure.axes[0].get_ylim()[0] > 0
