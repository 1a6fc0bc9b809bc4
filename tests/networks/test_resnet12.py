"""ResNet-12: its shape, what the papers count, pictures of any size, DropBlock that can be repeated."""

import pytest
import torch
import torch.nn.functional as F

from fewshot_kit.networks.build import from_config, layer_names
from fewshot_kit.networks.configs import ResNet12Config, network_config
from fewshot_kit.networks.resnet12 import DropBlock

SMALL = ResNet12Config(widths=(8, 16, 16, 24), size=32)


def test_it_has_the_weights_that_are_counted_by_hand():
    """A block from a to b channels: 9ab + 2 * 9bb + ab weights in convolutions, 4 * 2b in batch norm."""
    for widths in ((32, 64, 128, 256), (64, 128, 256, 512)):
        network = from_config(ResNet12Config(widths=widths))
        by_hand = sum(10 * a * b + 18 * b * b + 8 * b for a, b in zip((3, *widths), widths, strict=False))
        assert sum(p.numel() for p in network.parameters()) == by_hand
    assert by_hand == 7_996_800  # 64 to 512, as in MTL


@pytest.mark.parametrize("size", [16, 32, 42, 84])
def test_pictures_of_any_size_give_features_of_one_length(size):
    network = from_config(SMALL).eval()
    assert network(torch.rand(2, 3, size, size)).shape == (2, 24) == (2, network.n_features)


@pytest.mark.parametrize("norm", ["running", "group"])
def test_a_picture_in_evaluation_mode_does_not_depend_on_its_neighbours(norm):
    network, images = from_config(ResNet12Config(widths=SMALL.widths, norm=norm)).eval(), torch.rand(4, 3, 42, 42)
    assert torch.allclose(network(images)[:1], network(images[:1]), atol=1e-6)


def test_every_weight_belongs_to_a_block_and_mean_and_std_are_inside():
    network = from_config(SMALL)
    assert set(layer_names(network).values()) == {"block 1", "block 2", "block 3", "block 4"}
    normed = from_config(ResNet12Config(widths=SMALL.widths, size=32, mean=(0.2, 0.4, 0.6), std=(0.5, 0.25, 2.0))).eval()
    normed.load_state_dict(network.state_dict())
    images = torch.rand(2, 3, 32, 32)
    by_hand = (images - torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1)) / torch.tensor([0.5, 0.25, 2.0]).view(3, 1, 1)
    assert torch.allclose(normed(images), network.eval()(by_hand), atol=1e-5)


def test_dropblock_hides_squares_keeps_the_mean_and_can_be_repeated():
    drop, x = DropBlock(0.2), torch.ones(200, 8, 10, 10)
    first, second = drop(x), drop(x)
    assert not torch.equal(first, second)
    again = DropBlock(0.2)
    assert torch.equal(again(x), first)
    resumed = DropBlock(0.2)
    resumed.load_state_dict({"n_seen": torch.tensor(1)})
    assert torch.equal(resumed(x), second)
    hidden = (first == 0).float()
    assert 0.15 < hidden.mean() < 0.22 and first.mean().item() == pytest.approx(1, abs=1e-4)
    eroded = -F.max_pool2d(-hidden, 5, stride=1)
    assert torch.equal(F.max_pool2d(F.pad(eroded, [4] * 4), 5, stride=1), hidden), "what is hidden is made of squares of 5 x 5"
    assert torch.equal(drop.eval()(x), x)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"widths": (32, 64, 128)}, "four multiples of 8"),
        ({"widths": (32, 64, 128, 4096)}, "from 8 to 1024"),
        ({"widths": (33, 64, 128, 256)}, "multiples of 8"),
        ({"norm": "batch"}, "running or group"),
        ({"drop_block": 0.9}, "below 0.5"),
        ({"drop_block": float("nan")}, "below 0.5"),
        ({"size": 8}, "at least 16"),
        ({"widths": (1024, 64, 128, 256), "size": 1024}, "values a picture"),
        ({"channels": 2}, "channels must be 1"),
    ],
)
def test_shapes_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ResNet12Config(**wrong)


def test_a_configuration_comes_back_from_json():
    assert network_config({"kind": "resnet12", "widths": [8, 16, 16, 24], "size": 32}) == SMALL
