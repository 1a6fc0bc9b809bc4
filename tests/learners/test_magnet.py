"""Magnet: its loss against loops and hand-computed cases, its clusters and neighbourhoods against brute force."""

import math
from dataclasses import replace

import pytest
import torch
from synthetic import NETWORK, identities, noisy_episodes, noisy_images

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.learners.clusters import k_means
from fewshot_kit.learners.configs import MagnetConfig
from fewshot_kit.learners.magnet import Magnet, magnet_losses

SETTINGS = {"network": NETWORK, "n_clusters": 2, "train_clusters": 4, "train_images": 3}


def tiny(**changes) -> Magnet:
    """A learner of width 8 with seeded weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Magnet(MagnetConfig(**{**SETTINGS, **changes}))


def stamped_images(n_classes: int = 5) -> ClassImages:
    """Noisy images that say in their first two pixels which class they are of, and which of its images."""
    dataset = noisy_images(n_classes)
    for position, image in enumerate(dataset.images):
        image[0, 0, :2] = torch.tensor(divmod(position, 8))
    return dataset


def in_training(dataset: ClassImages, **changes) -> Magnet:
    learner = tiny(**changes)
    learner.begin_training(dataset, torch.Generator().manual_seed(0))
    return learner


def with_the_same_images(dataset: ClassImages, classes: tuple[int, ...]) -> ClassImages:
    """All images of each of these classes become its first."""
    images = dataset.images.clone()
    for class_id in classes:
        images[8 * class_id : 8 * class_id + 8] = images[8 * class_id]
    return replace(dataset, images=images)


def squared(a, b) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def mean_of(points: list) -> list[float]:
    return [sum(values) / len(points) for values in zip(*points, strict=True)]


def losses_by_loop(features: torch.Tensor, classes: list[int], alpha: float) -> tuple[list[list[float]], float]:
    """Equations 4 and 5 of the paper, number by number."""
    clusters = features.tolist()
    means = [mean_of(cluster) for cluster in clusters]
    scatter = sum(squared(r, mean) for cluster, mean in zip(clusters, means, strict=True) for r in cluster)
    variance = scatter / (sum(len(cluster) for cluster in clusters) - 1)
    losses = []
    for m, cluster in enumerate(clusters):
        losses.append([])
        for r in cluster:
            numerator = math.exp(-squared(r, means[m]) / (2 * variance) - alpha)
            others = [k for k in range(len(clusters)) if classes[k] != classes[m]]
            denominator = sum(math.exp(-squared(r, means[k]) / (2 * variance)) for k in others)
            losses[-1].append(max(0.0, -math.log(numerator / denominator)))
    return losses, variance


# --- the loss ---


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (7.0, [[1.75, 4.75], [6.25, 0.25]]),  # 0.15 + 7 - 5.4, 0.15 + 7 - 2.4, 0.6 + 7 - 1.35, 0.6 + 7 - 7.35
        (1.0, [[0.0, 0.0], [0.25, 0.0]]),  # six less, and not below zero
    ],
)
def test_losses_by_hand(alpha, expected):
    """Clusters {0, 2} and {4, 8} have the means 1 and 6, and s^2 = (1 + 1 + 4 + 4) / 3, so that 1 / (2 s^2) = 0.15."""
    losses, variance = magnet_losses(torch.tensor([[[0.0], [2.0]], [[4.0], [8.0]]]).double(), torch.tensor([0, 1]), alpha)
    assert variance.item() == pytest.approx(10 / 3)
    torch.testing.assert_close(losses, torch.tensor(expected).double())


@pytest.mark.parametrize("classes", [[0, 1], [0, 0, 1], [2, 0, 2, 1], [0, 1, 2, 3, 4]])
@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_losses_equal_the_paper_s_formula(classes, spread):
    features = spread * torch.randn(len(classes), 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    features += torch.arange(len(classes)).double().view(-1, 1, 1)  # some images are beyond the margin, others are not
    losses, variance = magnet_losses(features, torch.tensor(classes), 1.0)
    expected, expected_variance = losses_by_loop(features, classes, 1.0)
    assert variance.item() == pytest.approx(expected_variance)
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64))


def test_the_loss_does_not_change_with_the_scale_of_the_embedding():
    features, classes = torch.randn(3, 4, 2, dtype=torch.float64), torch.tensor([0, 1, 1])
    torch.testing.assert_close(magnet_losses(features, classes, 1.0)[0], magnet_losses(10 * features, classes, 1.0)[0])


def test_gradients_of_the_loss():
    features = torch.randn(4, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    classes = torch.tensor([0, 0, 1, 2])
    assert (magnet_losses(features, classes, 1.0)[0] > 0.01).all()  # not at the hinge
    assert torch.autograd.gradcheck(lambda features: magnet_losses(features, classes, 1.0)[0], [features])


def test_the_gradient_of_training_is_that_of_the_mean_loss():
    dataset = noisy_images(5)
    learner = in_training(dataset)
    (episode,) = learner.training_batches(dataset, torch.Generator().manual_seed(0))
    learner, episode = learner.double(), episode.map_images(torch.Tensor.double)
    features = learner.network(episode.support.images).view(4, 3, -1)
    classes = [cluster // 2 for cluster in episode.class_ids]
    losses, _ = magnet_losses(features, torch.tensor(classes), 1.0)
    losses.mean().backward()
    expected = [p.grad.clone() for p in learner.network.blocks.parameters()]
    learner.zero_grad()
    before = learner.training_losses.clone()
    assert learner.accumulate_meta_grad([episode]) == pytest.approx(losses.mean().item())
    for p, gradient in zip(learner.network.blocks.parameters(), expected, strict=True):
        assert gradient.any()
        torch.testing.assert_close(p.grad, gradient)
    by_loop, variance_by_loop = losses_by_loop(features, classes, 1.0)
    for cluster, values in zip(episode.class_ids, by_loop, strict=True):
        before[cluster] = sum(values) / 3
    torch.testing.assert_close(learner.training_losses, before)
    assert learner.variance.item() == pytest.approx(0.95 * 1 + 0.05 * variance_by_loop)


# --- predictions ---


@pytest.mark.parametrize("nearest", [1, 2, 5, 11, 12, 50])
def test_classification_is_a_search_for_the_nearest_clusters(nearest):
    learner = tiny(nearest_clusters=nearest).double()
    learner.variance.fill_(0.7)
    generator = torch.Generator().manual_seed(nearest)
    features, centres = torch.randn(2, 9, 3, generator=generator).double(), torch.randn(2, 4, 3, 3, generator=generator).double()
    scores = learner.scores(features, centres)
    for task in range(2):
        for image, row in zip(features[task].tolist(), scores[task].tolist(), strict=True):
            distances = [(squared(image, centre), label) for label, of_class in enumerate(centres[task].tolist()) for centre in of_class]
            sums = [0.0] * 4
            for distance, label in sorted(distances)[:nearest]:
                sums[label] += math.exp(-distance / (2 * 0.7))
            near = [label for label in range(4) if sums[label] > 0]
            assert [row[label] for label in near] == pytest.approx([math.log(sums[label]) for label in near], abs=1e-9)
            assert all(math.isfinite(row[label]) and row[label] < min(row[i] for i in near) for label in range(4) if label not in near)


def test_one_cluster_a_class_ranks_as_the_distances_do():
    learner, episode = tiny().double(), noisy_episodes(1)[0].map_images(torch.Tensor.double)
    learner.variance.fill_(0.3)
    predict = learner.adapt(episode.support)
    distances = torch.cdist(learner.network(episode.query.images), predict.centres.squeeze(1)).square()
    torch.testing.assert_close(predict(episode.query.images), -distances.detach() / 0.6)


def test_several_clusters_of_a_support_are_means_of_its_images():
    features = torch.tensor([[0.0], [1.0], [10.0], [11.0], [5.0], [5.5], [20.0], [21.0]]).double()
    labels = torch.arange(2).repeat_interleave(4)
    centres = tiny(support_clusters=2).centres(torch.stack([features, features.flip(0)]), labels, 2)
    assert [sorted(of_class.flatten().tolist()) for of_class in centres[0]] == [[0.5, 10.5], [5.25, 20.5]]
    assert [sorted(of_class.flatten().tolist()) for of_class in centres[1]] == [[5.25, 20.5], [0.5, 10.5]]


# --- clusters and neighbourhoods ---


def test_every_image_is_in_a_cluster_of_its_own_class_and_cluster_means_are_means():
    dataset = noisy_images(5)
    learner = in_training(dataset, n_clusters=3)
    learner.refresh_clusters(dataset, seed=0)
    assert (learner.training_members // 3).tolist() == [class_id for class_id in range(5) for _ in range(8)]
    features = learner.snapshot().embed_all(dataset.images)
    for cluster in range(15):
        members = [features[i] for i in range(40) if learner.training_members[i] == cluster]
        torch.testing.assert_close(learner.training_means[cluster], torch.stack(members).mean(0))


def test_no_image_is_nearer_to_another_cluster_of_its_class():
    features = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    means, members = k_means(features, 4, seed=0)
    assert torch.equal(torch.cdist(features, means).argmin(1), members)


@pytest.mark.parametrize("n_different", [1, 2, 3])
def test_clusters_that_no_image_is_left_for_are_the_last_and_infinitely_far(n_different):
    features = torch.arange(n_different).float().repeat(4).unsqueeze(1)
    for seed in range(5):
        means, members = k_means(features, 4, seed)
        assert members.unique().tolist() == list(range(n_different))
        assert torch.equal(means[members], features) and means[n_different:].isposinf().all()


@pytest.mark.parametrize("train_clusters", [2, 4, 50])
def test_impostors_are_the_nearest_clusters_of_other_classes_with_their_images(train_clusters):
    dataset, generator = stamped_images(), torch.Generator().manual_seed(0)
    learner, seeds = in_training(dataset, train_clusters=train_clusters), set()
    for _ in range(30):
        (episode,) = learner.training_batches(dataset, generator)
        seed, *impostors = episode.class_ids
        means = learner.training_means.tolist()
        others = sorted((squared(means[seed], means[k]), k) for k in range(10) if k // 2 != seed // 2)
        assert impostors == [k for _, k in others[: train_clusters - 1]]
        owners = [cluster for cluster in episode.class_ids for _ in range(3)]
        for (class_id, place), cluster in zip(identities(episode.support.images), owners, strict=True):
            assert class_id == cluster // 2 and learner.training_members[8 * class_id + place] == cluster
        seeds.add(seed)
    assert len(seeds) > 5


def test_a_neighbourhood_s_seed_is_drawn_in_proportion_to_its_loss():
    dataset, generator = noisy_images(3), torch.Generator().manual_seed(0)
    learner = in_training(dataset, train_clusters=2, train_images=2, refresh_every=10_000)
    learner.training_batches(dataset, generator)
    learner.training_losses.copy_(torch.tensor([0.5, 0.0, 2.0, 1.0, 0.0, 1.5]))
    n, counts = 600, [0] * 6
    for _ in range(n):
        counts[learner.training_batches(dataset, generator)[0].class_ids[0]] += 1
    for count, chance in zip(counts, [0.1, 0.0, 0.4, 0.2, 0.0, 0.3], strict=True):
        assert abs(count - n * chance) <= 4 * math.sqrt(n * chance * (1 - chance))


def test_when_no_cluster_has_a_loss_any_is_drawn():
    dataset, generator = noisy_images(3), torch.Generator().manual_seed(0)
    learner = in_training(dataset, refresh_every=10_000)
    learner.training_batches(dataset, generator)
    learner.training_losses.zero_()
    assert {learner.training_batches(dataset, generator)[0].class_ids[0] for _ in range(60)} == set(range(6))


def test_clusters_are_made_anew_every_so_many_steps(monkeypatch):
    dataset, refreshed, generator = noisy_images(3), [], torch.Generator().manual_seed(0)
    learner, refresh = in_training(dataset, refresh_every=3), Magnet.refresh_clusters

    def note_and_refresh(self, dataset, seed):
        refreshed.append((int(self.training_step), seed))
        refresh(self, dataset, seed)

    monkeypatch.setattr(Magnet, "refresh_clusters", note_and_refresh)
    for _ in range(7):
        learner.training_batches(dataset, generator)
    assert [step for step, _ in refreshed] == [0, 3, 6] and len({seed for _, seed in refreshed}) == 3


# --- images that are the same, and too few of them ---


@pytest.mark.parametrize("classes", [(1,), (0, 1, 2)])
def test_a_class_of_one_image_over_and_over_loses_clusters_and_training_goes_on(classes):
    dataset = with_the_same_images(noisy_images(3), classes)
    learner, generator = in_training(dataset, train_clusters=6, refresh_every=2), torch.Generator().manual_seed(0)
    for _ in range(12):
        (episode,) = learner.training_batches(dataset, generator)
        assert math.isfinite(learner.accumulate_meta_grad([episode]))
        full = set(learner.training_members.tolist())
        assert set(episode.class_ids) <= full and sum(cluster // 2 in classes for cluster in full) == len(classes)
    assert learner.variance.isfinite() and all(p.grad.isfinite().all() for p in learner.network.blocks.parameters())


def test_without_any_variance_losses_and_logits_are_finite():
    features = torch.ones(2, 3, 4).requires_grad_()  # not even the classes differ
    losses, variance = magnet_losses(features, torch.tensor([0, 1]), 1.0)
    losses.mean().backward()
    assert losses.tolist() == [[1.0] * 3] * 2 and variance > 0 and features.grad.isfinite().all()
    learner, episode = tiny(), noisy_episodes(1)[0]
    learner.variance.zero_()
    assert learner.adapt(episode.support)(episode.query.images).isfinite().all()


def test_a_neighbourhood_of_one_class_is_an_error_that_says_so():
    with pytest.raises(ValueError, match=r"of two classes at least; train on more classes"):
        magnet_losses(torch.randn(2, 3, 4), torch.tensor([1, 1]), 1.0)
    with pytest.raises(ValueError, match=r"tells classes apart, but 'noisy' has 1"):
        in_training(noisy_images(1))


def test_fewer_images_than_clusters_are_an_error_that_says_so():
    with pytest.raises(ValueError, match=r"9 clusters a class are wanted, but 'a' has 8 images; lower n_clusters"):
        in_training(noisy_images(3), n_clusters=9)
    episode = noisy_episodes(1)[0]
    with pytest.raises(ValueError, match=r"3 clusters or representatives a class .* but one has 2; .* ask for fewer"):
        tiny(support_clusters=3).adapt(episode.support)
    same = replace(episode.support, images=episode.support.images[:1].expand(6, -1, -1, -1))
    with pytest.raises(ValueError, match="as many different pictures, but some are the same"):
        tiny(support_clusters=2).adapt(same)


@pytest.mark.parametrize(
    ("setting", "least"),
    [("n_clusters", 1), ("train_clusters", 2), ("train_images", 2), ("alpha", 0), ("nearest_clusters", 1), ("support_clusters", 1)],
)
def test_a_setting_that_makes_no_sense_is_named(setting, least):
    with pytest.raises(ValueError, match=f"{setting} must be at least {least}, not {least - 1}"):
        tiny(**{setting: least - 1})
