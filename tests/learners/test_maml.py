"""MAML and Meta-SGD: meta-gradients against finite differences, against each other, and against plain autograd."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from synthetic import NETWORK, Classifier, noisy_episodes, noisy_images
from torch.func import functional_call

from fewshot_kit.learners.configs import MAMLConfig, MetaSGDConfig
from fewshot_kit.learners.maml import MAML
from fewshot_kit.learners.meta_sgd import MetaSGD

SETTINGS = {
    "network": NETWORK,
    "train_inner_lr": 0.05,
    "train_inner_steps": 2,
    "head_lr_scale": 10.0,
    "train_way": 3,
    "train_shot": 2,
    "train_query": 3,
}


def tiny(kind: type = MAML, config: type = MAMLConfig, **changes) -> MAML:
    """A learner of width 8 in float64 with seeded weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(config(**{**SETTINGS, **changes})).double()


def episodes(n: int = 1) -> list:
    return [episode.map_images(torch.Tensor.double) for episode in noisy_episodes(n)]


def meta_gradient(learner: MAML, n_episodes: int = 1) -> dict[str, torch.Tensor]:
    learner.accumulate_meta_grad(episodes(n_episodes))
    return {name: p.grad.clone() for name, p in learner.named_parameters() if p.grad is not None}


def finite_difference(learner: MAML, parameter: torch.Tensor, index: tuple[int, ...], eps: float = 1e-6) -> float:
    values = []
    for step in (eps, -eps):
        with torch.no_grad():
            parameter[index] += step
        values.append(learner.loss(episodes()[0]).item())
        with torch.no_grad():
            parameter[index] -= step
    return (values[0] - values[1]) / (2 * eps)


@pytest.mark.parametrize(("kind", "config"), [(MAML, MAMLConfig), (MetaSGD, MetaSGDConfig)], ids=["maml", "meta_sgd"])
def test_the_meta_gradient_is_the_finite_difference_of_the_query_loss(kind, config):
    learner = tiny(kind, config)
    gradients = meta_gradient(learner)
    for name, parameter in learner.named_parameters():
        if parameter.numel():
            index = tuple(size // 2 for size in parameter.shape)
            assert finite_difference(learner, parameter, index) == pytest.approx(gradients[name][index].item(), rel=1e-4, abs=1e-7)


def by_hand(learner: MAML, parameters: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """The logits of the network and the head under these parameters."""
    of_network = {name: p for name, p in parameters.items() if not name.startswith("head.")}
    return functional_call(learner.network, of_network, (images,)) @ parameters["head.weight"].T + parameters["head.bias"]


def test_first_order_is_the_gradient_at_the_adapted_weights():
    learner = tiny(first_order=True)
    gradients, episode = meta_gradient(learner), episodes()[0]
    adapted = {name: p.detach().clone() for name, p in learner.network.named_parameters()}
    adapted |= {"head.weight": torch.zeros(3, learner.network.n_features).double(), "head.bias": torch.zeros(3).double()}
    for _ in range(SETTINGS["train_inner_steps"]):
        leaves = {name: p.requires_grad_() for name, p in adapted.items()}
        loss = F.cross_entropy(by_hand(learner, leaves, episode.support.images), episode.support.labels)
        steps = torch.autograd.grad(loss, tuple(leaves.values()))
        rates = (0.05 * (10 if name.startswith("head.") else 1) for name in leaves)
        adapted = {name: (p - rate * step).detach() for (name, p), rate, step in zip(leaves.items(), rates, steps, strict=True)}
    leaves = {name: p.requires_grad_() for name, p in adapted.items()}
    F.cross_entropy(by_hand(learner, leaves, episode.query.images), episode.query.labels).backward()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, leaves[name.removeprefix("network.")].grad, rtol=1e-10, atol=1e-12)


def test_first_and_second_order_differ():
    first, second = meta_gradient(tiny(first_order=True)), meta_gradient(tiny())
    name = "network.blocks.0.0.weight"
    assert (first[name] - second[name]).norm() > 1e-3 * second[name].norm()


def test_no_inner_step_leaves_the_supervised_gradient_of_the_queries():
    learner, episode = tiny(train_inner_steps=0, head="learned"), episodes()[0]
    loss = learner.accumulate_meta_grad([episode])
    model = Classifier(learner.network, learner.head)
    model.zero_grad()
    expected = F.cross_entropy(model(episode.query.images), episode.query.labels)
    expected.backward()
    assert loss == pytest.approx(expected.item())
    for name, p in model.named_parameters():
        assert p.grad.any()
        torch.testing.assert_close(dict(learner.named_parameters())[name].grad, p.grad, rtol=1e-10, atol=1e-13)


def test_under_a_zero_head_no_inner_step_knows_nothing_and_teaches_nothing():
    learner = tiny(train_inner_steps=0)
    assert learner.accumulate_meta_grad(episodes()) == pytest.approx(torch.tensor(3.0).log().item())
    assert all(p.grad is None or not p.grad.any() for p in learner.parameters())


@pytest.mark.parametrize("first_order", [False, True])
def test_leaving_out_what_is_exactly_zero_in_the_first_step_changes_nothing(first_order, monkeypatch):
    learner = tiny(first_order=first_order)
    short = meta_gradient(learner, 2)
    monkeypatch.setattr(MAML, "head_first", lambda self, gradient_of: gradient_of(only=self.adapted_part()))
    learner.zero_grad()
    for name, gradient in meta_gradient(learner, 2).items():
        torch.testing.assert_close(short[name], gradient, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("kind", [MAML, MetaSGD])
def test_a_learned_head_is_trained_and_serves_as_many_classes_as_it_has(kind):
    learner = tiny(kind, {MAML: MAMLConfig, MetaSGD: MetaSGDConfig}[kind], head="learned", train_way=3)
    meta_gradient(learner)
    assert learner.head.weight.grad.any() and learner.head.bias.grad.any()
    index = (1, learner.network.n_features // 2)
    assert finite_difference(learner, learner.head.weight, index) == pytest.approx(learner.head.weight.grad[index].item(), rel=1e-4)
    two = noisy_episodes(1, n_way=2)[0].map_images(torch.Tensor.double)
    assert learner.adapt(two.support)(two.query.images).shape == (6, 2)
    four = noisy_episodes(1, n_way=4)[0].map_images(torch.Tensor.double)
    with pytest.raises(ValueError, match="at most 3 classes"):
        learner.adapt(four.support)


def test_meta_sgd_with_constant_rates_is_maml():
    maml, meta_sgd = tiny(), tiny(MetaSGD, MetaSGDConfig, train_inner_lr=0.1)
    with torch.no_grad():
        for rate in meta_sgd.rates.values():
            rate.fill_(0.5)
    expected, got = meta_gradient(maml, 2), meta_gradient(meta_sgd, 2)
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-9, atol=1e-12)


def test_meta_sgd_learns_its_rates():
    learner = tiny(MetaSGD, MetaSGDConfig)
    meta_gradient(learner)
    assert all(rate.grad is not None and rate.grad.any() for rate in learner.rates.values())
    assert learner.learned_rates().keys() == learner.theta(3).keys()


def test_the_inner_lr_of_meta_sgd_multiplies_the_learned_rates():
    learner, episode = tiny(MetaSGD, MetaSGDConfig), episodes()[0]
    halved = tiny(MetaSGD, MetaSGDConfig, train_inner_lr=0.025)
    logits = learner.with_settings(inner_lr=0.5).adapt(episode.support)(episode.query.images)
    torch.testing.assert_close(logits, halved.adapt(episode.support)(episode.query.images))


def test_adapting_the_head_only_leaves_the_backbone():
    learner, episode = tiny(adapt_only="head"), episodes()[0]
    features = learner.network(episode.support.images)
    weight, bias = torch.zeros(3, features.shape[1]).double(), torch.zeros(3).double()
    for _ in range(learner.config.inner_steps):
        error = (torch.softmax(features @ weight.T + bias, 1) - F.one_hot(episode.support.labels, 3)) / len(episode.support)
        weight, bias = weight - 0.1 * error.T @ features, bias - 0.1 * error.sum(0)
    expected = learner.network(episode.query.images) @ weight.T + bias
    torch.testing.assert_close(learner.adapt(episode.support)(episode.query.images), expected.detach())


@pytest.mark.parametrize(
    ("kind", "config", "changes"), [(MAML, MAMLConfig, {}), (MAML, MAMLConfig, {"adapt_only": "head"}), (MetaSGD, MetaSGDConfig, {})]
)
def test_a_stack_of_episodes_is_answered_as_one_by_one(kind, config, changes):
    learner = tiny(kind, config, **changes)
    together, losses = learner.predict_episodes(episodes(3))
    for episode, logits, loss in zip(episodes(3), together, losses, strict=True):
        predict = learner.adapt(episode.support)
        torch.testing.assert_close(logits, predict(episode.query.images), rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(loss, F.cross_entropy(predict(episode.support.images), episode.support.labels), rtol=1e-9, atol=1e-10)


def test_training_episodes_have_the_way_and_shots_of_the_configuration():
    learner = tiny(meta_batch_size=2)
    drawn = learner.training_batches(noisy_images(), torch.Generator().manual_seed(0))
    assert [(e.n_way, len(e.support), len(e.query)) for e in drawn] == [(3, 6, 9), (3, 6, 9)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"adapt_only": "tail"}, "all or head"), ({"train_query": 0}, "train_query must be at least 1"), ({"train_inner_lr": 0}, "inner_lr")],
)
def test_a_setting_that_makes_no_sense_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        MAMLConfig(**changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MAMLConfig(network=replace(NETWORK, norm="running")), "keeps no running ones; choose norm group, batch or none"),
        (lambda: MAMLConfig(network=NETWORK, update_rule="adam"), "update_rule must stay sgd, not 'adam'"),
        (lambda: MetaSGDConfig(network=NETWORK, update_rule="adam"), "update_rule must stay sgd, not 'adam'"),
        (
            lambda: MAML(MAMLConfig(network=NETWORK, train_inner_steps=0)).begin_training(noisy_images(), torch.Generator()),
            "take 1 or more",
        ),
    ],
)
def test_settings_that_would_teach_nothing_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_card_of_anil_says_that_only_the_head_changes():
    said = [MAML(MAMLConfig(network=NETWORK, adapt_only=part)).describe() for part in ("all", "head")]
    assert said[1] == said[0] + " Only the head changes (ANIL)."


@pytest.mark.parametrize(("kind", "config"), [(MAML, MAMLConfig), (MetaSGD, MetaSGDConfig)])
def test_one_step_from_zeros_moves_the_head_alone_and_the_card_says_so(kind, config):
    (episode,) = episodes()
    moved = {}
    for steps in (1, 2):
        learner = tiny(kind, config, inner_steps=steps)
        before = {name: p.clone() for name, p in learner.network.named_parameters()}
        adapted = learner.adapt(episode.support).parameters
        moved[steps] = [name for name, p in before.items() if not torch.equal(adapted[name], p)]
        assert ("moves the head alone" in learner.describe()) == (steps == 1)
    assert moved[1] == [] and len(moved[2]) > 2
    assert "trained for one" in tiny(kind, config, inner_steps=1, train_inner_steps=1).describe()
