"""Meta-Transfer Learning: what scale and shift do, what stays frozen, the head's inner loop against the one through the whole network."""

import pytest
import torch
import torch.nn.functional as F
from synthetic import COLOUR_NETWORK, MTL_CONFIG, coloured_images, same_state, scaled_at_random, tiny_mtl
from torch import nn
from torch.func import functional_call

from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.learners.configs import MTLConfig
from fewshot_kit.learners.fine_tune import SGD, fine_tune, task_gradient
from fewshot_kit.learners.heads import HEAD, apply_head
from fewshot_kit.learners.mtl import MTL, NONE
from fewshot_kit.networks.build import from_config


def episode(seed: int = 0, n_way: int = 3):
    return EpisodeSampler(coloured_images(), n_way, 2, 4).sample(torch.Generator().manual_seed(seed))


def test_scales_of_one_and_shifts_of_zero_leave_the_network_as_it_was():
    learner, images = tiny_mtl(), episode().query.images
    assert torch.equal(learner.embed(images), learner.network(images))
    torch.testing.assert_close(learner.snapshot().embed_all(images), learner.network(images), rtol=1e-4, atol=1e-5)


def test_scale_and_shift_are_a_convolution_with_scaled_kernels_and_shifted_biases():
    learner, images = scaled_at_random(tiny_mtl()), episode().query.images
    conv = learner.network.blocks[0].convs[0]
    assert conv.bias is None
    whole = from_config(COLOUR_NETWORK).eval()
    whole.load_state_dict(learner.network.state_dict())
    for name, module in whole.named_modules():
        if isinstance(module, nn.Conv2d):
            path = name.replace(".", "/")
            module.weight.data *= learner.scales[path]
            module.register_forward_hook(lambda m, i, out, shift=learner.shifts[path]: out + shift.view(1, -1, 1, 1))
    assert torch.allclose(learner.embed(images), whole(images), atol=1e-5)
    assert torch.allclose(learner.snapshot().embed_all(images), learner.embed(images), atol=1e-5)
    assert not torch.allclose(learner.embed(images), learner.network(images), atol=1e-2)


def test_the_number_of_meta_parameters_is_the_one_counted_by_hand():
    """A block from a to b channels has convolutions of b x a, b x b, b x b and b x a kernels, and four times b channels."""
    learner = MTL(MTLConfig())
    blocks = [(3, 32), (32, 64), (64, 128), (128, 256)]
    by_hand = sum(2 * a * b + 2 * b * b + 4 * b for a, b in blocks) + 256 * 5 + 5
    assert by_hand == 263_493
    assert sum(p.numel() for p in learner.trainable_parameters()) == by_hand
    frozen = {id(p) for p in learner.network.parameters()}
    assert not frozen & {id(p) for p in learner.trainable_parameters()} and not any(p.requires_grad for p in learner.network.parameters())


def test_training_moves_scales_shifts_and_head_but_nothing_that_is_frozen():
    learner = tiny_mtl()
    learner.begin_training(coloured_images(), torch.Generator())
    before = {name: value.clone() for name, value in learner.network.state_dict().items()}
    moved = [p.detach().clone() for p in learner.trainable_parameters()]
    optimizer, generator, losses = torch.optim.Adam(learner.trainable_parameters(), lr=0.02), torch.Generator().manual_seed(0), []
    for _ in range(40):
        optimizer.zero_grad()
        losses.append(learner.accumulate_meta_grad(learner.training_batches(coloured_images(), generator)))
        optimizer.step()
    assert same_state(before, learner.network.state_dict())
    assert not learner.train().network.training
    assert all(not torch.equal(a, b) for a, b in zip(moved, learner.trainable_parameters(), strict=True))
    assert sum(losses[-8:]) < 0.8 * sum(losses[:8])


@pytest.mark.parametrize("normalised", [False, True])
def test_the_heads_inner_loop_on_features_is_the_one_through_the_whole_network(normalised):
    learner, task = scaled_at_random(tiny_mtl(normalised=normalised)), episode()
    if normalised:
        learner.centre.copy_(learner.embed(episode(seed=5).query.images).mean(0).detach())
    steps = [(task.support.images, task.support.labels)] * MTL_CONFIG.inner_steps
    network = learner.snapshot().network
    start = {**dict(network.named_parameters()), **learner.theta(3)}

    class InEvaluationMode(nn.Module):
        """The loop runs its network in training mode, which would move the statistics of batch norm."""

        def forward(self, images):
            features = functional_call(network.eval(), {}, (images,))
            return F.normalize(features - learner.centre, dim=1) if normalised else features

    gradient = task_gradient(InEvaluationMode(), {}, only=HEAD)
    phi = fine_tune(gradient, {name: start[name] for name in start if name.startswith(HEAD)}, steps, SGD(MTL_CONFIG.inner_lr, {}))
    expected = apply_head(phi, InEvaluationMode()(task.query.images))
    assert torch.allclose(learner.adapt(task.support)(task.query.images), expected, atol=1e-4)


def test_the_mean_feature_is_that_of_the_first_batch_and_then_follows_slowly_and_is_released():
    learner, (first, second) = tiny_mtl(normalised=True), (episode(seed) for seed in (0, 1))
    learner.begin_training(coloured_images(), torch.Generator())
    means = [learner.embed(torch.cat([e.support.images, e.query.images])).mean(0).detach() for e in (first, second)]
    learner.loss(first)
    torch.testing.assert_close(learner.centre, means[0])
    learner.loss(second)
    torch.testing.assert_close(learner.centre, 0.99 * means[0] + 0.01 * means[1])
    assert "centre" in learner.released_state() and "centre" not in tiny_mtl().released_state()


@pytest.mark.parametrize(("first_order", "normalised"), [(False, False), (True, False), (False, True)])
def test_the_meta_gradient_is_that_of_finite_differences(first_order, normalised, monkeypatch):
    monkeypatch.setattr("fewshot_kit.learners.mtl.MOMENTUM", 0.0)  # one and the same mean feature in all of them
    learner = scaled_at_random(tiny_mtl(first_order=first_order, normalised=normalised)).double()
    task = episode().map_images(torch.Tensor.double)
    learner.begin_training(coloured_images(), torch.Generator())
    loss = learner.loss(task)
    loss.backward()
    if first_order:  # the gradients are constants: not the derivative of anything that can be measured by differences
        assert all(p.grad.isfinite().all() for p in learner.trainable_parameters())
        return
    for parameter in (learner.head.weight, learner.scales["blocks/1/convs/1"], learner.shifts["blocks/3/shortcut/0"]):
        direction = torch.randn(parameter.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        values = []
        for sign in (1, -1):
            parameter.data.add_(sign * 1e-5 * direction)
            values.append(learner.loss(task).item())
            parameter.data.sub_(sign * 1e-5 * direction)
        assert (values[0] - values[1]) / 2e-5 == pytest.approx((parameter.grad * direction).sum().item(), rel=1e-4, abs=1e-8)


def test_hard_tasks_are_drawn_from_the_classes_that_tasks_were_worst_at():
    learner, data = tiny_mtl(), coloured_images()
    learner.begin_training(data, torch.Generator())
    task = episode()
    logits = F.one_hot(task.query.labels, 3).float()
    logits[task.query.labels == 1] = torch.tensor([1.0, 0.0, 0.0])  # class 1 is taken for class 0
    learner.collect(task, logits)
    assert learner.training_worst.tolist() == [task.class_ids[1], NONE, NONE]
    learner.collect(task, logits)
    assert learner.training_worst.tolist() == [task.class_ids[1], NONE, NONE], "a class is collected once"
    others = [i for i in range(len(data)) if i != task.class_ids[1]][:2]
    learner.training_worst[1:] = torch.tensor(others)
    hard = learner.training_batches(data, torch.Generator().manual_seed(0))
    assert all(set(batch.class_ids) == {task.class_ids[1], *others} for batch in hard)
    assert learner.training_worst.tolist() == [NONE] * 3
    plain = tiny_mtl(hard_tasks=False)
    plain.begin_training(data, torch.Generator())
    plain.collect(task, logits)
    assert plain.training_worst.tolist() == []
    assert len(plain.training_batches(data, torch.Generator().manual_seed(0))) == MTL_CONFIG.meta_batch_size


def test_an_evaluation_of_many_episodes_is_that_of_each_by_itself():
    learner, sampler = scaled_at_random(tiny_mtl()), EpisodeSampler(coloured_images(), 3, 2, 4)
    generator = torch.Generator().manual_seed(3)
    drawn = [sampler.draw(generator) for _ in range(4)]
    together = torch.cat([logits for logits, _ in learner.predict_drawn(sampler, drawn)])
    alone = torch.stack([learner.adapt(sampler.gather(d).support)(sampler.gather(d).query.images) for d in drawn])
    assert torch.allclose(together, alone, rtol=1e-3, atol=1e-2)


def test_more_classes_than_the_head_has_are_refused():
    with pytest.raises(ValueError, match="at most 3 classes"):
        tiny_mtl().adapt(episode(n_way=4).support)
