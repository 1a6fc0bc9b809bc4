"""Prototypical Networks against the paper's formulas, written out directly."""

import copy
from dataclasses import replace

import pytest
import torch
from synthetic import NETWORK, noisy_episodes, noisy_images, numbered_images

from fewshot_kit.data.episodes import LabelledImages
from fewshot_kit.learners.configs import ProtoNetConfig
from fewshot_kit.learners.embedding import squared_distances
from fewshot_kit.learners.nearest_prototype import NearestPrototype
from fewshot_kit.learners.protonet import ProtoNet


def tiny(**changes) -> ProtoNet:
    """A learner of width 8 in float64 with seeded weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ProtoNet(ProtoNetConfig(**{"network": NETWORK, **changes})).double()


def episodes(n: int = 1, **options) -> list:
    return [episode.map_images(torch.Tensor.double) for episode in noisy_episodes(n, **options)]


def query_loss(network, episode) -> torch.Tensor:
    """The mean over the queries of d(query, own prototype) + log of the sum over the prototypes of exp(-d), d the squared distance."""
    features = network(torch.cat([episode.support.images, episode.query.images]))  # together: batch norm makes it one batch
    support, query = features[: len(episode.support)], features[len(episode.support) :]
    prototypes = [support[episode.support.labels == label].mean(0) for label in range(episode.n_way)]
    losses = []
    for image, label in zip(query, episode.query.labels.tolist(), strict=True):
        distances = torch.stack([(image - prototype).square().sum() for prototype in prototypes])
        losses.append(distances[label] + (-distances).exp().sum().log())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_the_meta_gradient_is_that_of_the_paper_s_loss(norm):
    learner, tasks = tiny(network=type(NETWORK)(width=8, size=NETWORK.size, norm=norm)), episodes(2)
    network = copy.deepcopy(learner.network).train()
    expected = sum(query_loss(network, task) for task in tasks) / 2
    expected.backward()
    assert learner.accumulate_meta_grad(tasks) == pytest.approx(expected.item())
    for theta, p in zip(learner.network.parameters(), network.parameters(), strict=True):
        assert p.grad.abs().max() > 1e-9
        torch.testing.assert_close(theta.grad, p.grad, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(("n_shot", "n_query", "n_turns"), [(1, 2, 3), (2, 4, 3), (3, 3, 2)])
def test_taking_turns_is_the_mean_of_the_tasks_in_which_each_image_is_support_once(n_shot, n_query, n_turns):
    learner, (task,) = tiny(train_shot=n_shot, train_query=n_query, take_turns=True), episodes(n_way=4, n_shot=n_shot, n_query=n_query)
    images = [part.images.unflatten(0, (4, -1)) for part in (task.support, task.query)]
    images, network = torch.cat(images, dim=1), copy.deepcopy(learner.network)
    in_support, losses = [], []
    for turn in range(n_turns):
        support = range(n_shot * turn, n_shot * (turn + 1))
        query = [i for i in range(n_shot + n_query) if i not in support]
        in_support += support
        parts = (replace(part, images=images[:, i].flatten(0, 1)) for part, i in ((task.support, list(support)), (task.query, query)))
        losses.append(query_loss(network, replace(task, **dict(zip(("support", "query"), parts, strict=True)))))
    assert in_support == list(range(n_shot + n_query))
    expected = sum(losses) / n_turns
    expected.backward()
    assert learner.accumulate_meta_grad([task]) == pytest.approx(expected.item())
    for theta, p in zip(learner.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(theta.grad, p.grad, rtol=1e-7, atol=1e-12)


def test_turns_that_do_not_come_out_even_are_an_error():
    with pytest.raises(ValueError, match=r"train_query must be a multiple of train_shot \(3 is not a multiple of 2\)"):
        ProtoNetConfig(train_shot=2, train_query=3, take_turns=True)


def test_meta_gradients_add_up_to_what_is_there_already():
    learner, tasks = tiny(), episodes(2)
    both = copy.deepcopy(learner)
    both.accumulate_meta_grad(tasks)
    for task in tasks:
        learner.accumulate_meta_grad([task])
    for p, mean in zip(learner.network.blocks.parameters(), both.network.blocks.parameters(), strict=True):
        torch.testing.assert_close(p.grad, 2 * mean.grad)


def test_prototypes_are_the_class_means_of_however_many_images():
    learner, task = tiny(), episodes(n_shot=4)[0]
    keep = [0, 4, 5, 8, 9, 10, 11]  # one of the first class, two of the second, four of the third
    support = LabelledImages(task.support.images[keep], task.support.labels[keep], task.support.class_names)
    features = learner.network(support.images).detach()
    expected = torch.stack([features[0], (features[1] + features[2]) / 2, (features[3] + features[4] + features[5] + features[6]) / 4])
    torch.testing.assert_close(learner.adapt(support).centres, expected.unsqueeze(1))


def test_scores_by_hand():
    """Prototypes at 1 and 4; the query 2 is 1 and 2 away from them, squared 1 and 4, the query 5 is 4 and 1 away, squared 16 and 1."""
    learner = tiny()
    features, labels = torch.tensor([[[0.0], [2.0], [4.0]]]).double(), torch.tensor([0, 0, 1])
    centres = learner.centres(features, labels, 2)
    assert centres.tolist() == [[[[1.0]], [[4.0]]]]
    queries = torch.tensor([[[2.0], [5.0]]]).double()
    torch.testing.assert_close(learner.scores(queries, centres), torch.tensor([[[-1.0, -4.0], [-16.0, -1.0]]]).double())


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_squared_distances_are_those_of_the_differences_wherever_the_points_lie(offset):
    generator = torch.Generator().manual_seed(0)
    features, points = (offset + torch.randn(2, n, 5, generator=generator) for n in (7, 4))
    expected = (features.double().unsqueeze(2) - points.double().unsqueeze(1)).square().sum(-1)
    torch.testing.assert_close(squared_distances(features, points).double(), expected, rtol=1e-5, atol=1e-5)


def test_gradients_of_squared_distances():
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(2, n, 3, dtype=torch.float64, generator=generator).requires_grad_() for n in (4, 3)]
    assert torch.autograd.gradcheck(squared_distances, parts)


def test_it_is_the_nearest_prototype_in_the_features_of_its_network():
    learner, task = tiny(), episodes(n_way=5, n_query=6)[0]
    expected = NearestPrototype(learner.network).adapt(task.support)(task.query.images)
    torch.testing.assert_close(learner.adapt(task.support)(task.query.images), expected, rtol=1e-6, atol=1e-9)


def test_training_episodes_are_those_of_the_configuration():
    learner = tiny(train_way=4, train_shot=2, train_query=3, meta_batch_size=2)
    drawn = learner.training_batches(noisy_images(), torch.Generator().manual_seed(0))
    assert [(e.n_way, len(e.support), len(e.query)) for e in drawn] == [(4, 8, 12)] * 2


def test_training_on_too_little_is_an_error_that_says_so():
    generator = torch.Generator()
    with pytest.raises(ValueError, match=r"60 ways are needed, but 'noisy' has 10 classes"):
        tiny().training_batches(noisy_images(), generator)
    with pytest.raises(ValueError, match=r"1 \+ 5 images a class are needed, but 'b' has 3"):
        tiny(train_way=2).training_batches(numbered_images((8, 3)), generator)


@pytest.mark.parametrize("name", ["train_shot", "train_query", "meta_batch_size"])
def test_a_setting_that_makes_no_sense_is_named(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
        ProtoNetConfig(**{name: 0})
    with pytest.raises(ValueError, match="train_way must be at least 2, not 1"):
        ProtoNetConfig(train_way=1)
