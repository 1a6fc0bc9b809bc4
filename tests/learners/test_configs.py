"""Every number of every configuration is checked where it is made, and an error names the setting that is wrong."""

import dataclasses
import math
from typing import get_args, get_type_hints

import pytest

from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.learners.configs import CONFIGS
from fewshot_kit.networks.configs import Conv4Config
from fewshot_kit.training.config import MeasureConfig, TrainConfig

MEASURE = {"n_way": 3, "n_shot": 1, "n_query": 1, "episodes": 10, "seed": 0, "device": "cpu"}
KINDS = [*CONFIGS.values(), TrainConfig, MeasureConfig]
NAMES = [(kind, field.name) for kind in KINDS for field in dataclasses.fields(kind)]


def numbers_of(wanted: type) -> list:
    return [(kind, name) for kind, name in NAMES if wanted in ((hint := get_type_hints(kind)[name]), *get_args(hint))]


def make(kind: type, **values):
    return kind(**(MEASURE if kind is MeasureConfig else {}) | values)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, True, "1", None])
@pytest.mark.parametrize(("kind", "name"), numbers_of(float))
def test_a_number_is_finite_and_the_error_names_it(kind, name, value):
    if value is None and type(None) in get_args(get_type_hints(kind)[name]):
        assert getattr(make(kind, **{name: None}), name) is None
        return
    with pytest.raises(ValueError, match=rf"^{name}\b.* must be a finite number"):
        make(kind, **{name: value})


@pytest.mark.parametrize("value", [math.nan, 2.5, 4.0, True, "4", 2**64, -(2**64)])
@pytest.mark.parametrize(("kind", "name"), numbers_of(int))
def test_a_whole_number_is_whole_and_bounded(kind, name, value):
    with pytest.raises(ValueError, match=rf"^{name}\b.* must be "):
        make(kind, **{name: value})


def test_the_numbers_of_the_network_and_of_the_source_are_checked_too():
    with pytest.raises(ValueError, match="mean must be a finite number"):
        CONFIGS["protonet"](network=Conv4Config(mean=(math.nan,), std=(1.0,)))
    with pytest.raises(ValueError, match="augment_strength must be a finite number"):
        TrainConfig(source=TaskSource(augment_strength=math.inf))
    with pytest.raises(ValueError, match="samples_per_class must be a whole number"):
        TrainConfig(source=TaskSource(samples_per_class=2.5))


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63 - 1])
def test_any_seed_that_a_generator_takes_is_allowed(seed):
    assert TrainConfig(seed=seed).seed == make(MeasureConfig, seed=seed).seed == seed


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_devices_of_the_kit_are_allowed(device):
    assert TrainConfig(device=device).device == device


@pytest.mark.parametrize("device", ["", "mps", "meta", "warp", "cuda:", "cuda:-1", "cpu:0", "CPU", "cuda\n"])
def test_other_devices_are_refused(device):
    with pytest.raises(ValueError, match="device must be auto, cpu or cuda, not"):
        make(MeasureConfig, device=device)


@pytest.mark.parametrize("sigma", [1e-200, 1e-7, 1e7, 1e200, 0, -1])
def test_a_sigma_whose_square_is_none_is_refused(sigma):
    with pytest.raises(ValueError, match="sigma must be"):
        CONFIGS["repmet"](sigma=sigma)
