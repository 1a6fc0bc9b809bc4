"""The inner loop against torch.optim, and the stacked engine against the plain one."""

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from synthetic import NETWORK, Classifier, noisy_episodes
from torch import nn

from fewshot_kit.learners.checks import check_inner_loop
from fewshot_kit.learners.fine_tune import (
    SGD,
    Adam,
    Cancelled,
    detached,
    fine_tune,
    stack,
    stacked_gradient,
    stacked_predict,
    task_gradient,
)
from fewshot_kit.learners.fine_tune import predict as plain_predict
from fewshot_kit.networks.configs import NORMS
from fewshot_kit.networks.conv4 import Conv4

SCALES = {"head.": 5.0, "blocks.0.": 0.5}
TOLERANCE = {torch.float64: {"rtol": 1e-10, "atol": 1e-10}, torch.float32: {"rtol": 1e-5, "atol": 1e-5}}


def classifier(norm: str = "group", dtype=torch.float64) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Conv4(replace(NETWORK, norm=norm))
        return Classifier(network, nn.Linear(network.n_features, 3)).to(dtype)


def state_of(model: Classifier) -> tuple[dict, dict]:
    """The parameters by the names of the inner loop, and the buffers of the network."""
    return detached(model.parameters_by_name()), detached(dict(model.network.named_buffers()))


def tasks(n: int, dtype=torch.float64) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(episode.support.images.to(dtype), episode.support.labels) for episode in noisy_episodes(n)]


def by_torch_optim(model: Classifier, batches, make_optimizer, lr: float):
    """The same fine-tuning, as torch's users write it."""
    model = copy.deepcopy(model).train()
    named = model.parameters_by_name()
    scale = {name: math.prod(s for prefix, s in SCALES.items() if name.startswith(prefix)) for name in named}
    optimizer = make_optimizer([{"params": [p], "lr": lr * scale[name]} for name, p in named.items()])
    losses = []
    for images, labels in batches:
        optimizer.zero_grad()
        losses.append(F.cross_entropy(model(images), labels))
        losses[-1].backward()
        optimizer.step()
    return model, losses


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("rule", "lr", "make_optimizer"),
    [(SGD, 0.05, torch.optim.SGD), (Adam, 0.001, lambda groups: torch.optim.Adam(groups, betas=(0.0, 0.999)))],
)
def test_update_rules_equal_torch_optim(rule, lr, make_optimizer, norm):
    model, batches, losses = classifier(norm), tasks(5), []
    parameters, buffers = state_of(model)
    gradient = task_gradient(copy.deepcopy(model.network), buffers)
    adapted = fine_tune(gradient, parameters, batches, rule(lr, SCALES), lambda step, loss, _: losses.append(loss))
    reference, reference_losses = by_torch_optim(model, batches, make_optimizer, lr)
    torch.testing.assert_close(torch.stack(losses), torch.stack(reference_losses), **TOLERANCE[torch.float64])
    for name, p in reference.parameters_by_name().items():
        assert not torch.equal(adapted[name], parameters[name]), f"{name} has not moved: the comparison says nothing"
        torch.testing.assert_close(adapted[name], p, **TOLERANCE[torch.float64])
    for name, buffer in reference.network.named_buffers():  # batch norm recorded the same statistics
        torch.testing.assert_close(buffers[name], buffer, **TOLERANCE[torch.float64])


def perturbed_stack(model: Classifier, n_tasks: int):
    """Another starting point for every task, so that no two of them can be mixed up unnoticed."""
    parameters, buffers = (stack(state, n_tasks) for state in state_of(model))
    generator = torch.Generator().manual_seed(1)
    noise = {name: 0.01 * torch.randn(p.shape, generator=generator, dtype=p.dtype) for name, p in parameters.items()}
    return {name: p + noise[name] for name, p in parameters.items()}, buffers


def one_of(stacked: dict, task: int) -> dict:
    return {name: value[task].clone() for name, value in stacked.items()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("norm", NORMS)
def test_stacked_gradient_equals_the_plain_one_task_by_task(norm, dtype):
    model, batches = classifier(norm, dtype), tasks(3, dtype)
    parameters, buffers = perturbed_stack(model, 3)
    before = one_of(buffers, 0)
    images, labels = (torch.stack(values) for values in zip(*batches, strict=True))
    gradients, losses = stacked_gradient(model.network, buffers)(parameters, images, labels)
    for task, (task_images, task_labels) in enumerate(batches):
        task_buffers = {name: value.clone() for name, value in before.items()}
        expected, loss = task_gradient(model.network, task_buffers)(one_of(parameters, task), task_images, task_labels)
        torch.testing.assert_close(losses[task], loss, **TOLERANCE[dtype])
        torch.testing.assert_close(one_of(gradients, task), expected, **TOLERANCE[dtype])
        torch.testing.assert_close(one_of(buffers, task), task_buffers, **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("norm", NORMS)
def test_stacked_loop_and_predictions_equal_the_plain_ones(norm, dtype):
    model, batches, rule = classifier(norm, dtype), tasks(3, dtype), SGD(0.02, SCALES)
    parameters, buffers = perturbed_stack(model, 3)
    before = one_of(buffers, 0)
    stacked_batch = tuple(torch.stack(values) for values in zip(*batches, strict=True))
    adapted = fine_tune(stacked_gradient(model.network, buffers), parameters, [stacked_batch] * 3, rule)
    logits = stacked_predict(model.network, adapted, buffers, stacked_batch[0])
    for task, batch in enumerate(batches):
        task_buffers = {name: value.clone() for name, value in before.items()}
        expected = fine_tune(task_gradient(model.network, task_buffers), one_of(parameters, task), [batch] * 3, rule)
        torch.testing.assert_close(one_of(adapted, task), expected, **TOLERANCE[dtype])
        task_logits = plain_predict(model.network, expected, task_buffers, batch[0])
        scale = max(1.0, task_logits.abs().max().item())
        torch.testing.assert_close(logits[task] / scale, task_logits / scale, **TOLERANCE[dtype])


@pytest.mark.parametrize("rule", [SGD, Adam])
def test_stacked_update_rules_equal_the_plain_ones(rule):
    model, batches = classifier(), tasks(2)
    parameters, buffers = perturbed_stack(model, 2)
    images, labels = (torch.stack(values) for values in zip(*batches, strict=True))
    adapted = fine_tune(stacked_gradient(model.network, buffers), parameters, [(images, labels)] * 4, rule(0.001, SCALES))
    for task, batch in enumerate(batches):
        expected = fine_tune(task_gradient(model.network, {}), one_of(parameters, task), [batch] * 4, rule(0.001, SCALES))
        torch.testing.assert_close(one_of(adapted, task), expected, **TOLERANCE[torch.float64])


def test_no_steps_is_the_identity():
    model = classifier()
    parameters, buffers = state_of(model)
    adapted = fine_tune(task_gradient(model.network, buffers), parameters, [], Adam(0.1, {}))
    assert all(torch.equal(adapted[name], p) for name, p in model.parameters_by_name().items())


def test_fine_tuning_changes_neither_its_parameters_nor_the_network():
    model = classifier("batch")
    parameters, buffers = state_of(model)
    given, state = {name: p.clone() for name, p in parameters.items()}, copy.deepcopy(model.state_dict())
    fine_tune(task_gradient(model.network, buffers), parameters, tasks(3), SGD(0.1, {}))
    assert all(torch.equal(given[name], parameters[name]) for name in given)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_predicting_leaves_the_recorded_statistics_alone():
    model, (images, labels) = classifier("batch"), tasks(1)[0]
    parameters, buffers = state_of(model)
    task_gradient(model.network, buffers)(parameters, images, labels)
    recorded = {name: value.clone() for name, value in buffers.items()}
    together = plain_predict(model.network, parameters, buffers, images, transductive=True)
    torch.testing.assert_close(recorded, buffers, rtol=0, atol=0)
    assert not torch.allclose(together[:2], plain_predict(model.network, parameters, buffers, images[:2], transductive=True))


def test_on_step_sees_the_loss_before_each_update():
    model, batches, seen = classifier(), tasks(3), []
    parameters, buffers = state_of(model)
    fine_tune(task_gradient(model.network, buffers), parameters, batches, SGD(0.1, {}), lambda *step: seen.append(step))
    assert [step for step, _, _ in seen] == [0, 1, 2]
    for (_, loss, at), (images, labels) in zip(seen, batches, strict=True):
        torch.testing.assert_close(loss, F.cross_entropy(plain_predict(model.network, at, buffers, images), labels))


def test_cancelled_stops_between_two_steps():
    seen = []

    def cancel(step, loss, parameters):
        seen.append(step)
        if step == 2:
            raise Cancelled

    model = classifier()
    parameters, buffers = state_of(model)
    with pytest.raises(Cancelled):
        fine_tune(task_gradient(model.network, buffers), parameters, tasks(1) * 9, SGD(0.1, {}), cancel)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("lr", [0, 0.0, -0.1, math.nan, math.inf, -math.inf, "a", None, True])
def test_learning_rates_that_cannot_be_are_refused(lr):
    with pytest.raises(ValueError, match=r"learning rate.* finite number above 0.*try"):
        check_inner_loop(lr, 5)


@pytest.mark.parametrize("steps", [-1, 1.5, 5.0, True, "a", None, math.nan])
def test_numbers_of_steps_that_cannot_be_are_refused(steps):
    with pytest.raises(ValueError, match=r"epochs.* whole number, 0 or more"):
        check_inner_loop(0.01, steps)


@pytest.mark.parametrize(("lr", "steps"), [(1e-8, 0), (1, 1), (3.5, 1000)])
def test_everything_else_is_allowed(lr, steps):
    check_inner_loop(lr, steps)
