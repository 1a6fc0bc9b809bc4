"""Conv4: its size by formula, its output by hand, and whether an image's neighbours matter."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from synthetic import NETWORK, SIZE, noisy_images

from fewshot_kit.data.images import to_float
from fewshot_kit.networks.conv4 import NORMS, SMALL, Conv4, Conv4Config


def network(norm: str, n_out: int = 3, seed: int = 0) -> Conv4:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Conv4(replace(NETWORK, norm=norm), n_out)


def pictures(n: int = 5, seed: int = 0):
    return to_float(noisy_images(n_classes=n, per_class=1, seed=seed).images)


def n_parameters(module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_body_of_the_omniglot_network_has_the_size_of_the_papers():
    assert n_parameters(Conv4(Conv4Config(), 5).backbone) == 64 * 9 + 3 * 36864 + 8 * 64


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("config", [Conv4Config(width=8, size=13), Conv4Config(width=16, stride=1, channels=3, size=84)])
def test_parameter_counts_follow_the_formula(config, norm):
    width, side = config.width, config.size
    for _ in range(4):
        side = (side + 1) // 2 if config.stride == 2 else side // 2  # a padded strided convolution rounds up, pooling down
    conv4 = Conv4(replace(config, norm=norm), 7)
    biases_or_norms = 4 * width if norm == "none" else 8 * width
    assert conv4.n_features == width * side * side
    assert n_parameters(conv4.backbone) == 9 * (config.channels * width + 3 * width * width) + biases_or_norms
    assert n_parameters(conv4.head) == 7 * (conv4.n_features + 1)


def test_logits_are_what_the_layers_give_by_hand():
    conv4, x = network("group"), pictures()
    expected = x
    for block in range(4):
        conv, norm = conv4.backbone[block][0], conv4.backbone[block][1]
        expected = F.conv2d(expected, conv.weight, stride=2, padding=1)
        grouped = expected.reshape(len(x), 8, -1)
        normal = (grouped - grouped.mean(-1, keepdim=True)) / (grouped.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        expected = (normal.view_as(expected) * norm.weight[:, None, None] + norm.bias[:, None, None]).clamp(min=0)
    expected = expected.flatten(1)
    torch.testing.assert_close(conv4.features(x), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(conv4(x), expected @ conv4.head.weight.T + conv4.head.bias, rtol=1e-4, atol=1e-5)


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
        before = conv4.backbone[0][1].running_mean.clone()
        for seed in (0, 1):
            x = pictures(seed=seed)
            conv4(x)
            before = (1 - momentum) * before + momentum * conv4.backbone[0][0](x).mean((0, 2, 3))
        torch.testing.assert_close(conv4.backbone[0][1].running_mean, before)


def test_no_outputs_is_a_head_without_rows():
    conv4 = network("group", n_out=0)
    assert conv4(pictures()).shape == (5, 0)
    assert conv4.head.weight.shape == (0, conv4.n_features) and conv4.head.weight.requires_grad
    assert {"head.weight", "head.bias"} <= conv4.state_dict().keys()


def test_preprocessing_is_that_of_the_configuration():
    assert (NETWORK.preprocessing.size, NETWORK.preprocessing.channels) == (SIZE, 1)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("norm", "layer", "group, batch, running, none, not 'layer'"),
        ("stride", 3, "stride must be 2 .* or 1 .*, not 3"),
        ("width", 12, "multiple of 8 .*, not 12"),
        ("width", 0, "multiple of 8 .*, not 0"),
    ],
)
def test_impossible_configurations_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        Conv4Config(**{field: value})


def test_the_small_network_has_the_parameters_of_the_web_demo():
    assert sum(p.numel() for p in Conv4(SMALL, 3).parameters()) == 16_251
