"""The panel of a learner with learned rates: the slider is a factor on them, and says so."""

from pathlib import Path

import ipywidgets as widgets
import pytest
import torch
from synthetic import NETWORK

from fewshot_kit.demo.session import DemoSession
from fewshot_kit.learners import MAML, MAMLConfig, MetaSGD, MetaSGDConfig
from fewshot_kit.training.checkpoints import Checkpoint
from fewshot_kit.widgets import FewShotPanel

pytestmark = pytest.mark.usefixtures("own_cache")


def panel(learner, **settings) -> FewShotPanel:
    return FewShotPanel(DemoSession(Checkpoint("tiny", Path("nowhere"), learner, {}, ""), "drawings", device="cpu"), **settings)


@pytest.mark.parametrize(
    ("learner", "label", "low", "high"),
    [(MAML(MAMLConfig(network=NETWORK)), "learning rate", 1e-4, 1), (MetaSGD(MetaSGDConfig(network=NETWORK)), "learned rates ×", 0.01, 10)],
    ids=["maml", "meta_sgd"],
)
def test_the_slider_says_what_it_is_and_has_a_range_that_suits(learner, label, low, high):
    shown = panel(learner, inner_lr=0.25, inner_steps=2)
    slider = shown.learning_rate
    assert slider.description == label and f", {label} 0.25, 2 epochs;" in shown.status.value
    assert (slider.base**slider.min, slider.base**slider.max) == pytest.approx((low, high))
    for value in (low, high):
        slider.value = value
        shown.worker.wait(60)
        assert slider.value == pytest.approx(value) and f"{label} {value:.3g}" in shown.status.value
        expected = shown.session.learn(value, 2).epochs[-1].probabilities
        assert torch.equal(shown.learning.epochs[-1].probabilities, expected)
    _, number = shown.rate_box.children
    assert isinstance(number, widgets.BoundedFloatText) and (number.min, number.max) == pytest.approx((low, high))
