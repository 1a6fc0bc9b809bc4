"""Pictures of a learned optimiser: they render for every size, and say what they are given."""

import numpy as np
import pytest
from test_plots_steps import size

from fewshot_kit import plots


@pytest.mark.parametrize("n_steps", [0, 1, 8, 50])
def test_rules_are_drawn_even_where_a_loss_has_run_away(n_steps):
    losses = np.geomspace(2, 1e-6, n_steps + 1)[None].repeat(3, 0)
    lost = np.where(np.arange(n_steps + 1) > n_steps // 2, np.nan, losses)
    right = np.linspace(0.2, 0.9, n_steps + 1)[None].repeat(3, 0)
    figure = plots.rules_figure({"learned": (losses, right), "SGD": (lost, right)}, n_way=5)
    size(figure)
    assert f"learned {100 * right[0, -1]:.0f} % of the queries" in figure.get_label()


@pytest.mark.parametrize("n_steps", [1, 8, 20])
def test_every_gate_is_written_down(n_steps):
    forget = {f"block {i}": np.full(n_steps, 0.999) for i in (1, 2, 3, 4)} | {"head": np.full(n_steps, 1 - 2e-5)}
    figure = plots.gates_figure(forget, {layer: np.full(n_steps, 0.01) for layer in forget})
    size(figure)
    left, right = ([text.get_text() for text in axes.texts] for axes in figure.axes)
    assert left == ["1e-3" if np.float64(1 - 0.999) < 1e-3 else "0.001"] * 4 * n_steps + ["2e-5"] * n_steps
    assert right == ["0.010"] * 5 * n_steps


def test_first_steps_are_drawn_with_their_size():
    gradients = np.geomspace(1e-8, 1, 9)
    figure = plots.first_steps_figure(gradients, {"SGD": -0.1 * gradients, "Adam": np.full(9, -0.1)})
    size(figure)
    assert [line.get_label() for line in figure.axes[0].lines] == ["SGD", "Adam"]
    assert np.allclose(figure.axes[0].lines[0].get_ydata(), 0.1 * gradients)
