"""Conv4: its size by formula, its output by hand, and whether an image's neighbours matter."""

import json
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F
from synthetic import NETWORK, SIZE, noisy_images

from fewshot_kit.data.images import to_float
from fewshot_kit.networks.build import from_config, layer_names
from fewshot_kit.networks.configs import NORMS, Conv4Config, network_config
from fewshot_kit.networks.conv4 import Conv4


def network(norm: str, seed: int = 0) -> Conv4:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return from_config(replace(NETWORK, norm=norm))


def pictures(n: int = 5, seed: int = 0):
    return to_float(noisy_images(n_classes=n, per_class=1, seed=seed).images)


def n_parameters(module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_body_of_the_omniglot_network_has_the_size_of_the_papers():
    assert n_parameters(Conv4(Conv4Config())) == 64 * 9 + 3 * 36864 + 8 * 64


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("config", [Conv4Config(width=8, size=13), Conv4Config(width=16, stride=1, channels=3, size=84)])
def test_parameter_counts_follow_the_formula(config, norm):
    width, side = config.width, config.size
    for _ in range(4):
        side = (side + 1) // 2 if config.stride == 2 else side // 2  # a padded strided convolution rounds up, pooling down
    conv4 = Conv4(replace(config, norm=norm))
    biases_or_norms = 4 * width if norm == "none" else 8 * width
    assert conv4.n_features == width * side * side
    assert n_parameters(conv4) == 9 * (config.channels * width + 3 * width * width) + biases_or_norms


def test_features_are_what_the_layers_give_by_hand():
    conv4, x = network("group"), pictures()
    expected = x
    for block in range(4):
        conv, norm = conv4.blocks[block][0], conv4.blocks[block][1]
        expected = F.conv2d(expected, conv.weight, stride=2, padding=1)
        grouped = expected.reshape(len(x), 8, -1)
        normal = (grouped - grouped.mean(-1, keepdim=True)) / (grouped.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        expected = (normal.view_as(expected) * norm.weight[:, None, None] + norm.bias[:, None, None]).clamp(min=0)
    expected = expected.flatten(1)
    torch.testing.assert_close(conv4(x), expected, rtol=1e-4, atol=1e-5)


def depends_on_neighbours(conv4: Conv4) -> bool:
    x = pictures()
    among_others = conv4(torch.cat([x[:1], pictures(seed=1)]))[:1]
    return not torch.allclose(conv4(x)[:1], among_others, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["group", "none"])
def test_these_norms_never_look_at_the_neighbours(norm):
    assert not depends_on_neighbours(network(norm).train())
    assert not depends_on_neighbours(network(norm).eval())


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_batch_norms_look_at_the_neighbours_in_training_mode_alone(norm):
    conv4 = network(norm).train()
    assert depends_on_neighbours(conv4)
    conv4(pictures())
    assert not depends_on_neighbours(conv4.eval())


def test_batch_records_the_last_batch_alone_and_running_an_average():
    for norm, momentum in (("batch", 1.0), ("running", 0.1)):
        conv4 = network(norm).train()
        before = conv4.blocks[0][1].running_mean.clone()
        for seed in (0, 1):
            x = pictures(seed=seed)
            conv4(x)
            before = (1 - momentum) * before + momentum * conv4.blocks[0][0](x).mean((0, 2, 3))
        torch.testing.assert_close(conv4.blocks[0][1].running_mean, before)


def test_a_network_has_no_head():
    conv4 = network("group")
    assert conv4(pictures()).shape == (5, conv4.n_features)
    assert all(name.startswith("blocks.") and value.numel() for name, value in conv4.state_dict().items())


def test_every_parameter_is_of_a_layer_from_the_picture_up():
    conv4 = network("group")
    assert list(conv4.layers()) == ["block 1", "block 2", "block 3", "block 4"]
    assert {name: f"block {int(name.split('.')[1]) + 1}" for name, _ in conv4.named_parameters()} == layer_names(conv4)


def test_mean_and_standard_deviation_are_taken_off_inside():
    plain, scaled = network("group"), Conv4(replace(NETWORK, mean=(0.4,), std=(0.2,)))
    scaled.load_state_dict(plain.state_dict())
    torch.testing.assert_close(scaled(pictures()), plain((pictures() - 0.4) / 0.2))


def test_a_configuration_goes_through_json_and_names_its_kind():
    config = replace(NETWORK, channels=3, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))
    values = json.loads(json.dumps(asdict(config)))
    assert values["kind"] == "conv4" and network_config(values) == config
    with pytest.raises(ValueError, match="kind 'transformer' is not known; there are conv4"):
        network_config({**values, "kind": "transformer"})


def test_preprocessing_is_that_of_the_configuration():
    assert (NETWORK.preprocessing.size, NETWORK.preprocessing.channels) == (SIZE, 1)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("norm", "layer", "group, batch, running, none, not 'layer'"),
        ("stride", 3, "stride must be 2 .* or 1 .*, not 3"),
        ("width", 12, "multiple of 8 .*, not 12"),
        ("width", 0, "multiple of 8 .*, not 0"),
        ("mean", (0.5,), "one number for each of 1"),
        ("size", 0, "size must be a whole number"),
        ("size", 10**6, "from 1 to 1024, but is 1000000"),
        ("width", 4096, "from 8 to 1024, not 4096"),
        ("width", 64.0, r"not 64\.0"),
        ("stride", True, "not True"),
    ],
)
def test_impossible_configurations_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        Conv4Config(**{field: value})


@pytest.mark.parametrize("sizes", [{"width": 1024, "size": 1024}, {"width": 64, "size": 1024, "stride": 1}])
def test_a_network_that_needs_too_much_memory_is_refused(sizes):
    with pytest.raises(ValueError, match="values a picture and block, more than the 33,554,432 allowed; take a smaller width or size"):
        Conv4Config(**sizes)


@pytest.mark.parametrize(("stride", "smallest"), [(1, 16), (2, 1)])
def test_the_smallest_pictures_leave_features(stride, smallest):
    assert Conv4(Conv4Config(width=8, size=smallest, stride=stride)).n_features == 8
    with pytest.raises(ValueError, match="size must be"):
        Conv4Config(width=8, size=smallest - 1, stride=stride)
