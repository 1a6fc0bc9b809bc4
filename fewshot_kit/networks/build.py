"""From a configuration to its network.

A network is an `nn.Module` from float images `(n, channels, height, width)` in 0..1 to features `(n, n_features)`. It knows its
`config`, which names its kind, its `preprocessing`, `n_features`, and its `layers()` by name from the picture up. It has no head. A
pyramid gives maps `(n, channels, h, w)` in place of features, as its `config.maps` says: detection looks where things are.
"""

from torch import nn

from fewshot_kit.networks.configs import NetworkConfig
from fewshot_kit.networks.conv4 import Conv4
from fewshot_kit.networks.pretrained import Pretrained
from fewshot_kit.networks.pyramid import Pyramid, ResNetPyramid
from fewshot_kit.networks.resnet12 import ResNet12

_CLASSES = {"conv4": Conv4, "resnet12": ResNet12, "pyramid": Pyramid, "resnet12_pyramid": ResNetPyramid, "pretrained": Pretrained}


def from_config(config: NetworkConfig) -> nn.Module:
    """Make the network of a configuration, with random weights by torch's global seed, or those that others trained."""
    return _CLASSES[config.kind](config)


def layer_names(network: nn.Module) -> dict[str, str]:
    """Return the layer that each of a network's parameters belongs to, by the parameter's name."""
    owner = {id(p): layer for layer, module in network.layers().items() for p in module.parameters()}
    return {name: owner[id(p)] for name, p in network.named_parameters()}
