"""RepMet: its losses, scores, background and fine-tuning against loops, hand-computed cases and other learners."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from synthetic import NETWORK, noisy_episodes, noisy_images, numbered_images

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.data.images import to_float
from fewshot_kit.evaluate import evaluate
from fewshot_kit.learners.configs import ProtoNetConfig, RepMetConfig
from fewshot_kit.learners.protonet import ProtoNet
from fewshot_kit.learners.repmet import LOSSES, RepMet, loss_v1, loss_v2

SETTINGS = {"network": NETWORK, "n_representatives": 2, "train_way": 3, "train_images": 2}
VERSIONS = [1, 2]


def tiny(dataset: ClassImages | None = None, **changes) -> RepMet:
    """A learner of width 8 in float64 with seeded weights, about to be trained on `dataset`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        learner = RepMet(RepMetConfig(**{**SETTINGS, **changes}))
    if dataset is not None:
        learner.begin_training(dataset, torch.Generator().manual_seed(0))
    return learner.double()


def points(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def on_sphere(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(points(*shape, seed=seed), dim=-1)


def one_episode(**options):
    return noisy_episodes(1, **options)[0].map_images(torch.Tensor.double)


def squared(a, b) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def loss_by_loop(features, representatives, labels, *, version: int, sigma: float, alpha: float) -> float:
    """The loss of features (n, d) under representatives (n_classes, k, d), number by number."""
    losses = []
    for feature, label in zip(features.tolist(), labels.tolist(), strict=True):
        weights = [[math.exp(-squared(feature, r) / (2 * sigma**2)) for r in of_class] for of_class in representatives.tolist()]
        others = sum(sum(of_class) for class_id, of_class in enumerate(weights) if class_id != label)
        if version == 1:
            losses.append(max(0.0, -math.log(max(weights[label]) / others) + alpha))
        else:
            losses.append(-math.log(sum(weights[label]) / (sum(weights[label]) + others)))
    return sum(losses) / len(losses)


# --- the losses ---


def test_losses_by_hand():
    """An image to whose representatives the Gaussians are 1/2 and 1/4 (first class), 1/8 and 1/8 (second class)."""
    closeness = torch.tensor([[[1 / 2, 1 / 4], [1 / 8, 1 / 8]]]).double().log()
    first, second, both = torch.tensor([0]), torch.tensor([1]), torch.tensor([0, 1])
    assert loss_v1(closeness, first, 1.0).item() == pytest.approx(1 - math.log(2))  # -log(1/2 : 1/4) + 1
    assert loss_v1(closeness, first, 0.5).item() == 0  # beyond the margin
    assert loss_v1(closeness, second, 0.5).item() == pytest.approx(math.log(6) + 0.5)  # -log(1/8 : 3/4) + 0.5
    assert loss_v1(closeness.expand(2, -1, -1), both, 0.5).item() == pytest.approx((math.log(6) + 0.5) / 2)
    assert loss_v2(closeness, first).item() == pytest.approx(math.log(4 / 3))  # -log(3/4 : 1)
    assert loss_v2(closeness, second).item() == pytest.approx(math.log(4))  # -log(1/4 : 1)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("sigma", [0.3, 0.5, 2.0])
def test_training_steps_on_the_paper_s_loss(version, alpha, sigma):
    dataset = noisy_images(5)
    learner = tiny(dataset, loss_version=version, alpha=alpha, sigma=sigma)
    (batch,) = learner.training_batches(dataset, torch.Generator().manual_seed(0))
    batch = batch.map_images(torch.Tensor.double)
    assert batch.class_ids != (0, 1, 2)  # else the labels of the episode would do
    features, representatives = learner.embed(batch.support.images), learner.training_representatives
    class_ids = torch.tensor(batch.class_ids)[batch.support.labels]
    expected = loss_by_loop(features, representatives, class_ids, version=version, sigma=sigma, alpha=alpha)
    assert expected > 0.01 and learner.accumulate_meta_grad([batch]) == pytest.approx(expected)
    got = representatives.grad[batch.class_ids[0], 0, 0].item()
    values = []
    for step in (1e-6, -1e-6):
        moved = representatives.detach().clone()
        moved[batch.class_ids[0], 0, 0] += step
        values.append(loss_by_loop(features, moved, class_ids, version=version, sigma=sigma, alpha=alpha))
    assert got == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4, abs=1e-7)
    assert all(p.grad.any() for p in learner.network.blocks.parameters())


@pytest.mark.parametrize("version", VERSIONS)
def test_gradients_of_the_losses_to_the_embedding_and_the_representatives(version):
    learner, labels = tiny(loss_version=version), torch.tensor([0, 1, 2, 1])
    features, representatives = points(4, 3), points(3, 2, 3, seed=1)

    def loss(features, representatives):
        return LOSSES[version](learner.closeness(features[None], representatives[None])[0], labels, 5.0)  # 5: not at the hinge

    assert torch.autograd.gradcheck(loss, [features.requires_grad_(), representatives.requires_grad_()])


def test_an_embedding_has_length_one():
    features = tiny().embed(one_episode().support.images)
    torch.testing.assert_close(features.square().sum(1), torch.ones(6).double())


def test_representatives_start_at_different_images_of_their_class():
    dataset = noisy_images(5)
    learner = tiny(dataset, n_representatives=8)
    features = learner.snapshot().embed_all(to_float(dataset.images).double()).view(5, 8, -1)
    for of_class, images in zip(learner.training_representatives, features, strict=True):
        nearest = torch.cdist(of_class.double(), images).argmin(1)
        assert sorted(nearest.tolist()) == list(range(8))
        torch.testing.assert_close(of_class.double(), images[nearest], rtol=1e-4, atol=1e-5)


# --- scores ---


@pytest.mark.parametrize("version", VERSIONS)
def test_one_representative_and_a_gaussian_of_one_is_a_softmax_over_prototypes(version):
    learner, episode = tiny(loss_version=version, sigma=math.sqrt(0.5)), one_episode(n_way=4)
    features, labels = learner.embed(episode.support.images).detach(), episode.support.labels
    queries = learner.embed(episode.query.images).detach()
    protonet = ProtoNet(ProtoNetConfig(network=NETWORK))
    expected = protonet.scores(queries[None], protonet.centres(features[None], labels, 4))[0].softmax(-1)
    torch.testing.assert_close(learner.adapt(episode.support)(episode.query.images).softmax(-1), expected)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("sigma", [0.1, 3.0])
def test_one_representative_at_each_class_mean_ranks_as_prototypes_do(version, sigma):
    features, labels = on_sphere(1, 10, 4), torch.arange(5).repeat_interleave(2)
    learner, protonet = tiny(loss_version=version, sigma=sigma), ProtoNet(ProtoNetConfig(network=NETWORK))
    queries = on_sphere(1, 20, 4, seed=1)
    ranks, expected = (each.scores(queries, each.centres(features, labels, 5)).argsort(-1) for each in (learner, protonet))
    assert torch.equal(ranks, expected)


def test_scores_are_of_the_nearest_representative_in_version_one_and_of_all_in_version_two():
    features, centres = points(2, 4, 3), points(2, 3, 2, 3, seed=1)
    first, second = (tiny(loss_version=version, sigma=0.8).scores(features, centres) for version in VERSIONS)
    for task in range(2):
        for i, feature in enumerate(features[task].tolist()):
            for label, of_class in enumerate(centres[task].tolist()):
                weights = [math.exp(-squared(feature, centre) / (2 * 0.8**2)) for centre in of_class]
                assert first[task, i, label].item() == pytest.approx(math.log(max(weights)))
                assert second[task, i, label].item() == pytest.approx(math.log(sum(weights)))


def test_several_representatives_at_one_place_are_as_one():
    features, centres = points(1, 4, 3), points(1, 3, 1, 3, seed=1)
    for version in VERSIONS:
        learner = tiny(loss_version=version)
        one, three = (learner.scores(features, c).softmax(-1) for c in (centres, centres.expand(-1, -1, 3, -1)))
        torch.testing.assert_close(one, three)


def test_the_background_is_what_no_representative_explains():
    learner, features, centres = tiny(sigma=0.5), on_sphere(2, 6, 3), on_sphere(2, 4, 2, 3, seed=1)
    background = learner.background(features, centres)
    for task in range(2):
        for feature, probability in zip(features[task].tolist(), background[task].tolist(), strict=True):
            nearest = min(squared(feature, centre) for of_class in centres[task].tolist() for centre in of_class)
            assert 0 <= probability <= 1 and probability == pytest.approx(1 - math.exp(-2 * nearest))
    at_representatives = learner.background(centres.flatten(1, 2), centres)
    torch.testing.assert_close(at_representatives, torch.zeros(2, 8).double(), rtol=0, atol=1e-12)
    away = torch.linspace(0, 4, 20).double().view(1, 20, 1) * torch.tensor([1.0, 0, 0]).double()
    assert (learner.background(away, torch.zeros(1, 1, 1, 3).double())[0].diff() > 0).all()


# --- fine-tuning of the support's representatives ---


def gradient_by_hand(features, labels, centres, *, version: int, sigma: float, alpha: float) -> torch.Tensor:
    """The mean over the images of (weight among those pushed off - weight among those drawn near) (feature - centre) / sigma^2."""
    gradient = torch.zeros_like(centres)
    for feature, label in zip(features, labels.tolist(), strict=True):
        offsets = feature - centres  # (n_way, k, d)
        weights = (-offsets.square().sum(-1) / (2 * sigma**2)).exp()
        own, others = torch.zeros_like(weights), weights.clone()
        own[label] = weights[label]
        if version == 1:
            others[label] = 0
            own = (own == own.max()).double()
            if (others.sum() / weights[label].max()).log() + alpha <= 0:
                continue
        gradient += (others / others.sum() - own / own.sum()).unsqueeze(-1) * offsets / sigma**2 / len(features)
    return gradient


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("k", [1, 2])
def test_a_step_on_the_support_is_gradient_descent_on_its_loss(version, k):
    settings = {"loss_version": version, "support_representatives": k, "inner_lr": 0.2}
    features, labels = on_sphere(1, 12, 4), torch.arange(3).repeat_interleave(4)
    start = tiny(**settings, inner_steps=0).place(features, labels, 3)
    if k == 1:
        torch.testing.assert_close(start, features.view(1, 3, 4, 4).mean(2, keepdim=True))
    expected = start[0]
    for steps in (1, 2):
        expected = expected - 0.2 * gradient_by_hand(features[0], labels, expected, version=version, sigma=0.5, alpha=1.0)
        placed = tiny(**settings, inner_steps=steps).place(features, labels, 3)
        assert not placed.requires_grad and (placed - start).abs().max() > 1e-3
        torch.testing.assert_close(placed[0], expected)


@pytest.mark.parametrize("version", VERSIONS)
def test_tasks_placed_together_are_placed_as_one_by_one(version):
    learner = tiny(loss_version=version, support_representatives=2, inner_lr=0.2, inner_steps=3)
    features, labels = on_sphere(3, 12, 4), torch.tensor([0, 1, 2, 0, 1, 2, 2, 2, 1, 0, 0, 1])
    with torch.no_grad():  # as in an evaluation
        together = learner.place(features, labels, 3)
    for task, placed in zip(features, together, strict=True):
        torch.testing.assert_close(learner.place(task[None], labels, 3)[0], placed)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_support_loss_falls_and_is_what_the_step_s_predictor_says(version):
    learner, episode, losses = tiny(loss_version=version, inner_lr=0.1, inner_steps=5), one_episode(n_shot=4), []

    def check(step, loss, predict):
        assert step == len(losses)
        losses.append(loss)
        assert loss == pytest.approx(F.cross_entropy(predict(episode.support.images), episode.support.labels).item())

    learner.adapt(episode.support, on_step=check)
    assert len(losses) == 6 and losses == sorted(losses, reverse=True) and losses[-1] < losses[0]


def test_the_inner_loop_can_be_another_on_the_same_weights():
    learner = tiny()
    other = learner.with_settings(inner_lr=0.3, inner_steps=4, support_representatives=2)
    assert [setting.value for setting in other.settings()] == [0.3, 4, 2]
    assert [setting.value for setting in learner.settings()] == [1.0, 0, 1] and other.network is learner.network
    with pytest.raises(ValueError, match="finite number above 0"):
        learner.with_settings(inner_lr=math.nan)


# --- the classes trained on, and bad input ---


def test_the_classes_trained_on_are_told_apart_by_their_representatives():
    dataset = noisy_images(5)
    learner = tiny(dataset)
    images = to_float(dataset.images).double()
    predict = learner.predictor_of(dataset)
    torch.testing.assert_close(predict.centres, learner.training_representatives.detach())
    expected = learner.scores(learner.embed(images)[None], learner.training_representatives[None])[0]
    torch.testing.assert_close(predict(images), expected.detach())


def test_a_loaded_checkpoint_has_no_training_classes_and_says_so():
    with pytest.raises(ValueError, match=r"predictor of the training classes .* only while it is trained"):
        tiny().predictor_of(noisy_images())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma": 0.0}, "sigma must be a number from 1e-6 to 1e6"),
        ({"sigma": math.nan}, "sigma must be a finite number"),
        ({"sigma": math.inf}, "sigma must be a finite number"),
        ({"loss_version": 3}, "loss_version must be 1 or 2, not 3"),
        ({"n_representatives": 0}, "n_representatives must be at least 1"),
        ({"support_representatives": 0}, "support_representatives must be at least 1"),
        ({"train_way": 1}, "train_way must be at least 2"),
        ({"alpha": -1.0}, "alpha must be at least 0"),
        ({"inner_lr": 0.0}, "inner_lr"),
        ({"inner_steps": -1}, "inner_steps"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        RepMetConfig(**changes)


def test_fewer_images_than_representatives_are_an_error_that_says_so():
    with pytest.raises(ValueError, match=r"4 representatives a class start at as many images, but 'b' has 3; lower n_representatives"):
        tiny(numbered_images((5, 3, 9)), n_representatives=4)
    learner, episode = tiny(support_representatives=2), one_episode(n_shot=1)
    with pytest.raises(ValueError, match=r"2 clusters or representatives a class .* but one has 1"):
        learner.adapt(episode.support)
    with pytest.raises(ValueError, match=r"2 clusters or representatives a class .* but one has 1"):
        evaluate(learner.float(), EpisodeSampler(noisy_images(), 3, 1, 2), n_episodes=2)


def test_one_class_is_an_error_that_says_so():
    with pytest.raises(ValueError, match=r"tells classes apart, but 'noisy' has 1"):
        tiny(noisy_images(1))
    with pytest.raises(ValueError, match="compares classes: at least two"):
        loss_v1(torch.zeros(2, 1, 3), torch.tensor([0, 0]), 1.0)


def test_images_that_are_the_same_are_told_apart_by_none():
    learner, episode = tiny(inner_steps=3), one_episode()
    support = replace(episode.support, images=episode.support.images[:1].expand(6, -1, -1, -1))
    torch.testing.assert_close(learner.adapt(support)(episode.query.images).softmax(-1), torch.full((9, 3), 1 / 3).double())
