"""The softmax baseline: cross entropy over the classes of the data set while it is trained, nearest means of its features after."""

import copy

import pytest
import torch
import torch.nn.functional as F
from synthetic import NETWORK, noisy_episodes, noisy_images, same_state

from fewshot_kit.data.images import to_float
from fewshot_kit.learners.configs import ProtoNetConfig, SoftmaxConfig
from fewshot_kit.learners.protonet import ProtoNet
from fewshot_kit.learners.softmax import Softmax


def tiny(**changes) -> Softmax:
    """A learner of width 8 in float64 with seeded weights, about to be trained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        learner = Softmax(SoftmaxConfig(**{"network": NETWORK, "train_way": 3, "train_images": 2, **changes}))
    learner.begin_training(noisy_images(), torch.Generator().manual_seed(0))
    return learner.double()


def test_the_meta_gradient_is_that_of_the_cross_entropy_over_all_classes_of_the_data_set():
    learner = tiny()
    (drawn,) = learner.training_batches(noisy_images(), torch.Generator().manual_seed(0))
    assert drawn.class_ids != (0, 1, 2)  # else the labels of the episode would do
    batch, twin = drawn.map_images(torch.Tensor.double), copy.deepcopy(learner)
    class_ids = [drawn.class_ids[label] for label in batch.support.labels.tolist()]
    logits = twin.network(batch.support.images) @ twin.training_head.weight.T + twin.training_head.bias
    expected = torch.stack([row.exp().sum().log() - row[true] for row, true in zip(logits, class_ids, strict=True)]).mean()
    expected.backward()
    assert logits.shape == (6, 10) and learner.accumulate_meta_grad([batch]) == pytest.approx(expected.item())
    for p, q in zip(learner.parameters(), twin.parameters(), strict=True):
        assert p.grad is q.grad is None or torch.allclose(p.grad, q.grad, rtol=1e-8, atol=1e-12)
    assert learner.training_head.weight.grad.any() and learner.network.blocks[0][0].weight.grad.any()


def test_new_classes_are_told_apart_as_by_a_prototypical_network():
    learner, protonet = tiny(), ProtoNet(ProtoNetConfig(network=NETWORK)).double()
    protonet.load_state_dict(learner.released_state())
    episode = noisy_episodes(1)[0].map_images(torch.Tensor.double)
    assert torch.equal(learner.adapt(episode.support)(episode.query.images), protonet.adapt(episode.support)(episode.query.images))


def test_the_classes_trained_on_are_told_apart_by_the_classifier():
    learner, dataset = tiny(), noisy_images()
    images = to_float(dataset.images).double()
    expected = F.linear(learner.network(images), learner.training_head.weight, learner.training_head.bias)
    torch.testing.assert_close(learner.predictor_of(dataset)(images), expected.detach())


def test_the_classifier_starts_the_same_every_time_and_leaves_the_random_state():
    state = torch.get_rng_state()
    first, second = tiny(), tiny()
    assert same_state(first.state_dict(), second.state_dict()) and torch.equal(state, torch.get_rng_state())


def test_a_loaded_checkpoint_has_no_classifier_and_says_so():
    with pytest.raises(ValueError, match=r"predictor of the training classes .* only while it is trained"):
        Softmax(SoftmaxConfig(network=NETWORK)).predictor_of(noisy_images())


def test_training_on_one_class_is_an_error_that_says_so():
    with pytest.raises(ValueError, match=r"tells classes apart, but 'noisy' has 1"):
        tiny().begin_training(noisy_images(n_classes=1), torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("setting", "least"), [("train_way", 2), ("train_images", 1)])
def test_a_setting_that_makes_no_sense_is_named(setting, least):
    with pytest.raises(ValueError, match=f"{setting} must be at least {least}, not {least - 1}"):
        SoftmaxConfig(**{setting: least - 1})
