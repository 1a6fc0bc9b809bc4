"""Pictures of meta-transfer learning: they render for every number of rows, and say what they are given."""

import numpy as np
import pytest
from test_learning import pixels
from test_plots_steps import size

from fewshot_kit import plots


def learned(n: int, at: float) -> dict[str, np.ndarray]:
    return {f"block {i}": at + 0.1 * np.sin(np.arange(50 * i)) for i in range(1, n + 1)}


@pytest.mark.parametrize("n", [1, 4, 16])
def test_scales_and_shifts_are_drawn(n):
    figure = plots.scale_shift_figure(learned(n, 1), learned(n, 0), {"block 1": 0.0, "block 2": 0.123})
    size(figure)
    assert "block 1 0.0 %, block 2 12.3 %" in figure.get_label()
    assert [text.get_text() for text in figure.axes[0].texts] == [f"{50 * i:,}" for i in range(1, n + 1)]


@pytest.mark.parametrize("n", [1, 6])
def test_hard_classes_are_drawn_with_both_their_pictures(n):
    red, gray = np.zeros((3, 42, 42)), np.ones((1, 28, 28))
    red[0] = 1
    names = [f"a class with a $long$ name, number {i}" for i in range(n)]
    figure = plots.hard_classes_figure([plots.HardClass(name, red, 0.25, "another", gray, 0.5) for name in names])
    size(figure)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words.count("25 %") == n and words.count("another, 50 %") == n
    assert (pixels(plots.png(figure)) == (255, 0, 0)).all(-1).sum() > 2000 * n
