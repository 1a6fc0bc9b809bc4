"""The sliders of a panel are what the learner says can be turned: names, ranges, values."""

from pathlib import Path

import ipywidgets as widgets
import pytest
import torch
from synthetic import NETWORK

from fewshot_kit.demo.session import DemoSession
from fewshot_kit.learners.configs import MAMLConfig, MetaSGDConfig, ProtoNetConfig, RepMetConfig, ReptileConfig
from fewshot_kit.learners.maml import MAML
from fewshot_kit.learners.meta_sgd import MetaSGD
from fewshot_kit.learners.protonet import ProtoNet
from fewshot_kit.learners.repmet import RepMet
from fewshot_kit.learners.reptile import Reptile
from fewshot_kit.training.checkpoints import Checkpoint
from fewshot_kit.widgets import EmbeddingPanel, FewShotPanel

pytestmark = pytest.mark.usefixtures("own_cache")


def panel(learner, **settings) -> FewShotPanel:
    return FewShotPanel(DemoSession(Checkpoint("tiny", Path("nowhere"), learner, {}, ""), "drawings", device="cpu"), **settings)


@pytest.mark.parametrize(
    ("learner", "label", "low", "high"),
    [(MAML(MAMLConfig(network=NETWORK)), "learning rate", 1e-4, 1), (MetaSGD(MetaSGDConfig(network=NETWORK)), "learned rates ×", 0.01, 10)],
    ids=["maml", "meta_sgd"],
)
def test_the_slider_says_what_it_is_and_has_a_range_that_suits(learner, label, low, high):
    shown = panel(learner, settings={"inner_lr": 0.25, "inner_steps": 2})
    slider = shown.sliders["inner_lr"]
    assert slider.description == label and f", {label} 0.25, 2 epochs;" in shown.status.value
    assert (slider.base**slider.min, slider.base**slider.max) == pytest.approx((low, high))
    for value in (low, high):
        slider.value = value
        shown.worker.wait(60)
        assert slider.value == pytest.approx(value) and f"{label} {value:.3g}" in shown.status.value
        expected = shown.session.learn({"inner_lr": value, "inner_steps": 2}).epochs[-1].probabilities
        assert torch.equal(shown.shown.learning.epochs[-1].probabilities, expected)
    number = shown.setting_boxes[0].children[1]
    assert isinstance(number, widgets.BoundedFloatText) and (number.min, number.max) == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("name", "value"), [("inner_steps", 100), ("inner_lr", 3.0), ("inner_lr", 2e-6), ("inner_steps", 50), ("inner_lr", 1e-4)]
)
def test_a_value_beyond_the_range_of_a_slider_widens_it(name, value):
    shown = panel(Reptile(ReptileConfig(network=NETWORK)), settings={"inner_steps": 1, name: value})
    slider, number = next(row for row in shown.setting_boxes if row.children[0] is shown.sliders[name]).children
    assert slider.value == number.value == value == shown.shown.request.values()[name]
    shown.data.seed.value = 7
    shown.worker.wait(60)
    assert slider.value == value == shown.shown.request.values()[name]


@pytest.mark.parametrize("config", [RepMetConfig(network=NETWORK), ProtoNetConfig(network=NETWORK)], ids=["repmet", "protonet"])
def test_there_is_a_slider_for_every_setting_and_no_other(config):
    learner = RepMet(config) if isinstance(config, RepMetConfig) else ProtoNet(config)
    shown = EmbeddingPanel(DemoSession(Checkpoint("tiny", Path("nowhere"), learner, {}, ""), "drawings", device="cpu", n_shot=5))
    assert [slider.description for slider in shown.sliders.values()] == [setting.label for setting in learner.settings()]
    for setting in learner.settings():
        moved = setting.low if setting.value != setting.low else setting.high
        shown.sliders[setting.name].value = moved
        shown.worker.wait(60)
        assert "Error" not in shown.status.value and shown.shown.request.values()[setting.name] == moved


def test_a_setting_that_the_learner_has_not_is_an_error():
    with pytest.raises(ValueError, match="has no setting 'heat'"):
        panel(Reptile(ReptileConfig(network=NETWORK)), settings={"heat": 3})
