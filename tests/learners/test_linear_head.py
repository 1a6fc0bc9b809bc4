"""A fine-tuned linear head: against the gradient by hand, convex as it is, and the same in a stack as alone."""

import pytest
import torch
import torch.nn.functional as F
from synthetic import NETWORK, noisy_episodes

from fewshot_kit.learners.configs import LinearHeadConfig
from fewshot_kit.training.build import make_learner


@pytest.fixture
def learner():
    made = make_learner(LinearHeadConfig(network=NETWORK, inner_lr=2.0, inner_steps=3), seed=0).eval()
    with torch.no_grad():
        made.centre.copy_(made.network(noisy_episodes(1)[0].query.images).mean(0))
    return made


def test_it_takes_the_steps_of_gradient_descent_from_zero(learner):
    support = noisy_episodes(1)[0].support
    with torch.no_grad():
        x = F.normalize(learner.network(support.images) - learner.centre, dim=-1)
    weight, bias, truth = (
        torch.zeros(support.n_way, x.shape[1]),
        torch.zeros(support.n_way),
        F.one_hot(support.labels, support.n_way).float(),
    )
    for _ in range(3):
        error = ((x @ weight.T + bias).softmax(1) - truth) / len(x)  # the gradient of softmax regression
        weight, bias = weight - 2.0 * error.T @ x, bias - 2.0 * error.sum(0)
    found = learner.adapt(support).centres[:, 0]
    torch.testing.assert_close(found, torch.cat([weight, bias[:, None]], dim=1), rtol=1e-4, atol=1e-5)


def test_every_step_is_told_and_lowers_the_loss(learner):
    losses, steps = [], []
    learner.with_settings(inner_steps=20).adapt(
        noisy_episodes(1)[0].support, on_step=lambda step, loss, _: (steps.append(step), losses.append(loss))
    )
    assert steps == list(range(21)) and losses == sorted(losses, reverse=True) and losses[-1] < losses[0]
    assert {setting.name for setting in learner.settings()} == {"inner_lr", "inner_steps", "views"}


def test_a_stack_of_tasks_is_each_alone(learner):
    episodes = noisy_episodes(3)
    features = torch.stack([learner.network(episode.support.images) for episode in episodes]).detach()
    together = learner.place(features, episodes[0].support.labels, episodes[0].n_way)
    for rows, one in zip(together, features, strict=True):
        torch.testing.assert_close(rows, learner.place(one.unsqueeze(0), episodes[0].support.labels, episodes[0].n_way)[0])
