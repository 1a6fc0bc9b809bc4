"""The inner loop step by step: against the learner itself, and against a network trained by torch's own optimiser."""

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sessions import demo_session
from synthetic import NETWORK, Classifier, noisy_episodes, same_state, tiny_reptile
from torch import nn

from fewshot_kit.demo import trace
from fewshot_kit.evaluate import evaluate
from fewshot_kit.learners.configs import MAMLConfig, MetaSGDConfig
from fewshot_kit.learners.fine_tune import predict
from fewshot_kit.learners.gradient import GradientLearner
from fewshot_kit.learners.maml import MAML
from fewshot_kit.learners.meta_sgd import MetaSGD

SETTINGS = {"network": NETWORK, "inner_steps": 4, "head_lr_scale": 5.0, "train_way": 3, "train_inner_lr": 0.05}


def seeded(kind: type, config: MAMLConfig) -> GradientLearner:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return kind(config)


def tiny_meta_sgd() -> MetaSGD:
    """A Meta-SGD whose rates differ, some of them negative."""
    learner, generator = seeded(MetaSGD, MetaSGDConfig(**SETTINGS, inner_lr=2.0)), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for rate in learner.rates.values():
            rate.copy_(0.8 + torch.randn(rate.shape, generator=generator))
    return learner


LEARNERS = {
    "reptile": lambda: tiny_reptile(inner_steps=4),
    "adam and batch norm": lambda: tiny_reptile("batch", update_rule="adam", inner_lr=0.01, inner_steps=4),
    "maml": lambda: seeded(MAML, MAMLConfig(**SETTINGS, inner_lr=0.1)),
    "anil": lambda: seeded(MAML, MAMLConfig(**SETTINGS, inner_lr=0.1, adapt_only="head")),
    "meta_sgd": tiny_meta_sgd,
}
every_learner = pytest.mark.parametrize("learner", [make() for make in LEARNERS.values()], ids=list(LEARNERS))


def accuracy_after(learner: GradientLearner, steps: int, episodes: list) -> torch.Tensor:
    logits, _ = learner.with_settings(inner_steps=steps).predict_episodes(episodes)
    return (logits.argmax(-1) == torch.stack([episode.query.labels for episode in episodes])).float().mean(1)


@every_learner
def test_the_accuracy_of_each_step_is_that_of_a_learner_with_so_many(learner):
    episodes = noisy_episodes(5)
    found = trace.accuracy_by_step(learner, episodes)
    assert found.shape == (5, 5)
    assert torch.allclose(found[:, 0], torch.tensor(1 / 3)), "before the first step all classes are equal"
    for step in range(5):
        assert torch.allclose(found[:, step], accuracy_after(learner, step, episodes))
    assert len(found.unique(dim=1).T) > 1, "the steps differ, or this says nothing"


@every_learner
def test_some_steps_are_columns_of_all(learner):
    episodes = noisy_episodes(3)
    every = trace.accuracy_by_step(learner, episodes, range(7))
    assert torch.equal(trace.accuracy_by_step(learner, episodes, (0, 2, 6)), every[:, [0, 2, 6]])
    assert torch.equal(trace.accuracy_by_step(learner, episodes, [3]), every[:, [3]])


@every_learner
def test_the_weights_of_each_step_give_the_answers_of_each_step(learner):
    (episode,) = noisy_episodes(1)
    answers, network = [], copy.deepcopy(learner.network)
    learner.adapt(episode.support, on_step=lambda step, loss, predictor: answers.append(predictor(episode.query.images)))
    path = trace.parameters_by_step(learner, episode.support)
    assert len(path) == len(answers) == learner.config.inner_steps + 1
    if learner.config.network.norm == "batch":
        return  # its answers depend on recorded statistics too, which are no weights
    for phi, answer in zip(path, answers, strict=True):
        assert torch.allclose(predict(network, phi, {}, episode.query.images), answer, atol=1e-5)


def walk_by_torch(learner: GradientLearner, support, n_steps: int) -> list[dict[str, torch.Tensor]]:
    """Fine-tune a copy by torch.optim.SGD and return, after 0, 1, ... steps, one vector a layer."""
    network = Classifier(learner.network, nn.Linear(learner.network.n_features, support.n_way))
    nn.init.zeros_(network.head.weight)
    nn.init.zeros_(network.head.bias)
    lr = learner.config.inner_lr
    groups = [{"params": network.network.parameters()}, {"params": network.head.parameters(), "lr": lr * learner.config.head_lr_scale}]
    optimiser = torch.optim.SGD(groups, lr=lr)
    layers = {**{f"block {i + 1}": network.network.blocks[i] for i in range(4)}, "head": network.head}
    path = []
    for step in range(n_steps + 1):
        path.append({name: torch.cat([p.detach().flatten() for p in layer.parameters()]) for name, layer in layers.items()})
        if step < n_steps:
            optimiser.zero_grad()
            F.cross_entropy(network(support.images), support.labels).backward()
            optimiser.step()
    return path


@pytest.mark.parametrize("kind", ["reptile", "maml"])
def test_the_change_of_a_layer_is_what_torchs_optimiser_makes_of_it(kind):
    learner, support = LEARNERS[kind](), noisy_episodes(1)[0].support
    changes, path = trace.layer_changes(learner, support), walk_by_torch(learner, support, 4)
    assert list(changes) == ["block 1", "block 2", "block 3", "block 4", "head"]
    for layer, found in changes.items():
        expected = [(after[layer] - before[layer]).norm() / after[layer].norm() for before, after in pairwise(path)]
        assert torch.allclose(found, torch.stack(expected), rtol=1e-3, atol=1e-7)


@every_learner
def test_the_first_step_changes_the_head_alone(learner):
    changes = trace.layer_changes(learner, noisy_episodes(1)[0].support)
    assert changes.pop("head")[0] == pytest.approx(1)
    assert all(change[0] == 0 for change in changes.values())
    stays = getattr(learner.config, "adapt_only", "all") == "head"
    assert all((change[1:] == 0).all() if stays else (change[1:] > 0).all() for change in changes.values())


def test_no_steps_change_nothing():
    learner, support = tiny_reptile(inner_steps=0), noisy_episodes(1)[0].support
    assert all(change.shape == (0,) for change in trace.layer_changes(learner, support).values())
    assert len(trace.parameters_by_step(learner, support)) == 1


@every_learner
def test_looking_on_changes_no_learner_and_no_randomness(learner):
    state, config, random = copy.deepcopy(learner.eval().state_dict()), learner.config, torch.get_rng_state()
    episodes = noisy_episodes(2)
    trace.accuracy_by_step(learner, episodes)
    trace.layer_changes(learner, episodes[0].support)
    trace.best_inner_lr(learner, episodes, (0.1, 1.0))
    trace.from_scratch(learner, 5)
    assert same_state(state, learner.state_dict()) and learner.config == config
    assert not any(module.training for module in learner.modules())
    assert torch.equal(torch.get_rng_state(), random)


@every_learner
def test_from_scratch_is_the_same_learner_on_random_weights(learner):
    first, again, other = (trace.from_scratch(learner, seed) for seed in (3, 3, 4))
    assert type(first) is type(learner) and first.config == learner.config
    assert same_state(first.state_dict(), again.state_dict())
    weights = [found.network.blocks[0][0].weight for found in (first, other, learner)]
    assert not any(torch.equal(a, b) for a, b in ((weights[0], weights[1]), (weights[0], weights[2])))
    assert trace.from_scratch(learner, 3, head_lr_scale=1.0).config == replace(learner.config, head_lr_scale=1.0)


def test_the_best_learning_rate_is_that_of_the_most_right_answers():
    learner, episodes = LEARNERS["maml"](), noisy_episodes(6)
    rates = (1e-6, 0.05, 1000.0)
    right = {rate: trace.accuracy_by_step(learner.with_settings(inner_lr=rate), episodes)[:, -1].mean().item() for rate in rates}
    assert len(set(right.values())) > 1
    assert right[trace.best_inner_lr(learner, episodes, rates)] == pytest.approx(max(right.values()))
    assert trace.best_inner_lr(learner, episodes, rates[::-1]) == trace.best_inner_lr(learner, episodes, rates)


def test_a_mean_comes_with_its_95_percent_interval():
    values = torch.rand(30, 4, generator=torch.Generator().manual_seed(0))
    means, half_widths = trace.mean_and_half_width(values)
    assert np.allclose(means, values.numpy().mean(0))
    assert np.allclose(half_widths, 1.96 * values.numpy().std(0, ddof=1) / np.sqrt(30))


@pytest.mark.usefixtures("own_cache")
def test_the_episodes_drawn_are_those_an_evaluation_measures():
    session = demo_session(n_query=2)
    drawn = trace.accuracy_by_step(session.learner, session.draw_episodes(7))[:, -1]
    assert session.evaluate(7).accuracy.mean == pytest.approx(drawn.mean().item())
    assert evaluate(session.learner, session.sampler(), n_episodes=7, seed=9).accuracy.mean == pytest.approx(
        trace.accuracy_by_step(session.learner, session.draw_episodes(7, 9))[:, -1].mean().item()
    )


# --- learned rates ---


def test_rates_that_were_never_trained_are_one():
    found = trace.relative_rates(seeded(MetaSGD, MetaSGDConfig(**SETTINGS)))
    assert all((rates == 1).all() for rates in found.values())
    blocks = [f"block {i} {part}" for i in range(1, 5) for part in ("filters", "norm")]
    assert list(found) == [*blocks, "head weight", "head bias"]


def test_relative_rates_are_the_learned_rates_by_where_they_started():
    learner = tiny_meta_sgd()
    found, learned = trace.relative_rates(learner), {name: rate.detach() for name, rate in learner.learned_rates().items()}
    assert torch.allclose(found["block 2 filters"], learned["blocks.1.0.weight"].flatten() / 0.05)
    assert torch.allclose(found["head weight"], learned["head.weight"].flatten() / (0.05 * 5))
    norm = torch.cat([learned["blocks.3.1.weight"], learned["blocks.3.1.bias"]]) / 0.05
    assert torch.allclose(found["block 4 norm"].sort().values, norm.sort().values)
    assert sum(map(len, found.values())) == sum(rate.numel() for rate in learned.values())


def test_rates_are_seen_as_images_of_the_filters_and_of_the_heads_feature_maps():
    learner = tiny_meta_sgd()
    pictures = trace.rate_images(learner)
    assert torch.equal(pictures["first filters"], learner.rates["blocks/0/0/weight"][:, 0])
    side = learner.network.blocks(torch.zeros(1, 1, NETWORK.size, NETWORK.size)).shape[-1]
    assert torch.equal(pictures["head weights"], learner.rates["head/weight"].reshape(NETWORK.width, side, side))
