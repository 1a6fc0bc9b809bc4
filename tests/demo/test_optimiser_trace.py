"""What is shown of a learned optimiser: it is plain SGD where its gates are forced, and the gates shown are those that were forced."""

from dataclasses import replace

import pytest
import torch
from synthetic import NETWORK, force_gates, noisy_episodes, same_state

from fewshot_kit.demo import optimiser_trace
from fewshot_kit.learners.configs import MetaLSTMConfig
from fewshot_kit.learners.fine_tune import SGD, Adam
from fewshot_kit.learners.meta_lstm import MetaLSTM

LR = 0.05


@pytest.fixture
def learner() -> MetaLSTM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = replace(NETWORK, norm="batch")
        return MetaLSTM(MetaLSTMConfig(network=network, hidden=4, inner_steps=3, train_way=3, train_shot=2, train_query=3))


def test_with_forced_gates_its_curves_are_those_of_sgd(learner):
    force_gates(learner.optimiser, LR)
    rules = {"learned": learner.optimiser, "sgd": SGD(LR, {}), "adam": Adam(LR, {})}
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    found = optimiser_trace.compare_rules(learner, noisy_episodes(4), rules, steps=3)
    assert same_state(before, learner.state_dict()) and learner.network.training
    for values in found.values():
        assert all(part.shape == (4, 4) for part in values)
    for learned, sgd, adam in zip(*found.values(), strict=True):
        assert torch.allclose(learned, sgd, atol=1e-4) and not torch.allclose(adam, sgd, atol=1e-4)
    assert (found["sgd"][0][:, -1] < found["sgd"][0][:, 0]).all()


def test_the_curves_end_where_the_learner_does(learner):
    episodes = noisy_episodes(3)
    losses, right = optimiser_trace.compare_rules(learner, episodes, {"learned": learner.optimiser}, steps=3)["learned"]
    for episode, loss, share in zip(episodes, losses, right, strict=True):
        seen: list[float] = []
        predictor = learner.adapt(episode.support, on_step=lambda step, loss, predictor, seen=seen: seen.append(loss))
        assert loss.tolist() == pytest.approx(seen, rel=1e-4)
        assert share[-1] == (predictor(episode.query.images).argmax(1) == episode.query.labels).float().mean()


def test_the_gates_shown_are_those_forced(learner):
    force_gates(learner.optimiser, LR)
    forget, take = optimiser_trace.gates_by_layer(learner, noisy_episodes(1)[0].support)
    assert list(forget) == list(take) == ["block 1", "block 2", "block 3", "block 4", "head"]
    assert all(torch.equal(values, torch.ones(3)) for values in forget.values())
    assert all(torch.allclose(values, torch.full((3,), LR)) for values in take.values())


def test_a_first_step_is_that_of_the_rule():
    gradients = torch.tensor([1e-6, 1e-2, 1.0])
    assert torch.allclose(optimiser_trace.first_steps(SGD(0.1, {}), gradients, 1.6), -0.1 * gradients)
    assert torch.allclose(optimiser_trace.first_steps(Adam(0.1, {}), gradients, 1.6), torch.full((3,), -0.1), rtol=0.02)
