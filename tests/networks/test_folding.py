"""Batch norm folded into convolutions: the same answers, and no batch norm left to compute."""

import pytest
import torch
from torch import nn

from fewshot_kit.networks.build import from_config
from fewshot_kit.networks.configs import Conv4Config, PyramidConfig, ResNet12Config, ResNetPyramidConfig
from fewshot_kit.networks.folding import fold_batch_norm

NETWORKS = (
    Conv4Config(width=8, norm="running", channels=3),
    Conv4Config(width=8, norm="batch", stride=2, channels=3),
    ResNet12Config(widths=(8, 8, 16, 16), size=32),
    PyramidConfig(widths=(8, 8, 8, 16, 16), map_channels=8, size=64),
    ResNetPyramidConfig(widths=(8, 8, 16, 16), map_channels=8, size=64),
)


def trained_a_little(config) -> nn.Module:
    """Return a network in double precision whose batch norms have statistics, scales and shifts of their own."""
    network = from_config(config).double()
    network.train()
    network(torch.rand(6, 3, config.size, config.size, dtype=torch.float64))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.uniform_(module.bias, -1, 1)
    return network.eval()


def answers(network, images):
    given = network(images)
    return given if isinstance(given, list) else [given]


@pytest.mark.parametrize("config", NETWORKS, ids=lambda config: f"{config.kind}-{getattr(config, 'norm', '')}")
def test_a_folded_network_answers_as_before(config):
    torch.manual_seed(0)
    network = trained_a_little(config)
    images = torch.rand(3, 3, config.size, config.size, dtype=torch.float64)
    before = answers(network, images)
    fold_batch_norm(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    for one, other in zip(before, answers(network, images), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_group_norm_is_left_as_it_is():
    network = from_config(Conv4Config(width=8, norm="group")).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fold_batch_norm(network)
    assert network.state_dict().keys() == before.keys() and all(torch.equal(network.state_dict()[name], before[name]) for name in before)
