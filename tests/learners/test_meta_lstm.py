"""Meta-LSTM against independent oracles: SGD where its gates are forced, finite differences, a plain loop of its equations, a stack."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from synthetic import NETWORK, force_gates, noisy_episodes

from fewshot_kit.learners.configs import MetaLSTMConfig
from fewshot_kit.learners.fine_tune import SGD, fine_tune
from fewshot_kit.learners.meta_lstm import LearnedOptimiser, MetaLSTM, P, preprocessed

CONFIG = MetaLSTMConfig(network=NETWORK, hidden=4, inner_steps=3, train_inner_steps=3, train_way=3, train_shot=2, train_query=3)


def tiny(**changes) -> MetaLSTM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MetaLSTM(replace(CONFIG, **changes))


def test_forced_gates_are_gradient_descent_step_for_step():
    optimiser, minimum = LearnedOptimiser(4).double(), torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    force_gates(optimiser, 0.05)

    def gradient(parameters, images, labels):
        return {"x": 2 * (parameters["x"] - minimum)}, (parameters["x"] - minimum).square().sum()

    start, paths = {"x": torch.zeros(3, dtype=torch.float64)}, []
    for rule in (SGD(0.05, {}), optimiser):
        path = []
        fine_tune(gradient, start, [(None, None)] * 8, rule, lambda step, loss, p, path=path: path.append(p["x"].detach()))
        paths.append(torch.stack(path))
    assert torch.allclose(*paths, atol=1e-12) and paths[0][-1].norm() > 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.0, (0.0, 1.0)), (-math.e, (0.1, -1.0)), (0.0, (-1.0, 0.0)), (math.exp(-P) / 2, (-1.0, 0.5)), (-math.exp(-P), (-1.0, -1.0))],
)
def test_preprocessing_is_that_of_the_paper(value, expected):
    size, sign = preprocessed(torch.tensor(value, dtype=torch.float64))
    assert (size.item(), sign.item()) == pytest.approx(expected)


def test_a_step_is_the_equations_of_the_paper_for_each_weight_by_itself():
    torch.manual_seed(1)
    optimiser = LearnedOptimiser(3).double()
    with torch.no_grad():
        for parameter in optimiser.parameters():
            parameter.normal_()
    theta = {"a": torch.randn(2, 2, dtype=torch.float64), "b": torch.randn(3, dtype=torch.float64)}
    steps = [({n: torch.randn_like(p) * 10.0**-k for n, p in theta.items()}, torch.tensor(0.7 / k).double()) for k in (1, 2)]
    found, state = theta, optimiser.start(theta)
    for gradients, loss in steps:
        found, state = optimiser.step(found, gradients, loss, state)
    for name in theta:
        for index in range(theta[name].numel()):
            value, f, i, hidden = theta[name].flatten()[index], torch.zeros(1).double(), torch.zeros(1).double(), None
            for gradients, loss in steps:
                g = gradients[name].flatten()[index]
                x = torch.stack([*preprocessed(g), *preprocessed(loss)])
                hidden = optimiser.lstm(x.unsqueeze(0), None if hidden is None else hidden)
                f = optimiser.forget_gate(torch.cat([hidden[0][0], value.view(1), f])).sigmoid()
                i = optimiser.input_gate(torch.cat([hidden[0][0], value.view(1), i])).sigmoid()
                value = (f * value - i * g).squeeze()
            assert found[name].flatten()[index].item() == pytest.approx(value.item(), rel=1e-9)


def test_the_meta_gradient_is_that_of_finite_differences_with_the_gradients_held_constant(monkeypatch):
    """The gradients and losses of the first run are kept, and given to every other run: to the meta-learner they are constants."""
    learner, episode = tiny(network=replace(NETWORK, norm="none")).double(), noisy_episodes(1)[0]
    episode = episode.map_images(torch.Tensor.double)
    with torch.no_grad():
        learner.head.weight.mul_(3)  # so that there is something to see
        learner.optimiser.input_gate.bias.fill_(-2.0)
    kept, plain = [], learner.head_first

    def recording(gradient_of):
        gradient = plain(gradient_of)

        def constant(parameters, images, labels):
            place = constant.calls = constant.calls + 1
            if len(kept) <= place:
                kept.append(gradient(parameters, images, labels))
            return kept[place]

        constant.calls = -1
        return constant

    monkeypatch.setattr(learner, "head_first", recording)
    learner.loss(episode).backward()
    for name, parameter in learner.named_parameters():
        direction = torch.randn(parameter.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(name)))
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(sign * 1e-5 * direction)
                losses.append(learner.loss(episode).item())
                parameter.sub_(sign * 1e-5 * direction)
        expected = (parameter.grad * direction).sum().item()
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(expected, rel=1e-4, abs=1e-9), name


def test_a_stack_of_tasks_is_the_tasks_one_by_one():
    learner = tiny().eval()
    episodes = noisy_episodes(3)
    one_by_one = torch.stack([learner.predict_episode(episode)[0] for episode in episodes])
    stacked, _ = learner.predict_stack(episodes)
    assert torch.allclose(one_by_one, stacked, atol=1e-4)


def test_in_16_bits_the_gates_keep_their_digits():
    learner, episode = tiny(), noisy_episodes(1)[0]
    with torch.autocast("cpu", torch.bfloat16):
        loss = learner.loss(episode)
    assert loss.item() == pytest.approx(learner.loss(episode).item(), rel=0.05)
    optimiser, p = LearnedOptimiser(4), {"x": torch.full((5,), 0.123456)}
    force_gates(optimiser, 1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        stepped, _ = optimiser.step(p, {"x": torch.zeros(5)}, torch.tensor(1.0), None)
    assert torch.allclose(stepped["x"], p["x"], atol=1e-7)


def test_training_makes_it_learn_and_leaves_no_setting_but_epochs():
    learner = tiny()
    assert [setting.name for setting in learner.settings()] == ["inner_steps"]
    with pytest.raises(ValueError, match="inner_lr"):
        learner.with_settings(inner_lr=0.1)
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    losses = []
    for episode in noisy_episodes(60):
        optimizer.zero_grad()
        losses.append(learner.accumulate_meta_grad([episode]))
        optimizer.step()
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_more_classes_than_its_head_has_are_refused_and_adapt_is_pure():
    learner, episode = tiny(), noisy_episodes(1, n_way=4)[0]
    with pytest.raises(ValueError, match="at most 3 classes"):
        learner.adapt(episode.support)
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    episode = noisy_episodes(1)[0]
    predictor = learner.adapt(episode.support)
    logits = predictor(episode.query.images)
    assert torch.allclose(logits[:1], predictor(episode.query.images[:1]), atol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in learner.state_dict().items())
    assert F.cross_entropy(logits, episode.query.labels).isfinite()


def test_the_cell_is_that_of_the_module():
    torch.manual_seed(0)
    optimiser = LearnedOptimiser(5).double()
    inputs, before = torch.randn(3, 7, 4, dtype=torch.float64), None
    state = None
    for x in inputs:
        before, state = optimiser.cell(x.T, before), optimiser.lstm(x, state)
        for one, other in zip(before, state, strict=True):
            torch.testing.assert_close(one.T, other)
