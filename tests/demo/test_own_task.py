"""Learning a person's classes: leave-one-out against a plain loop, its interval, what is unknown, and pure of side effects."""

import math
from dataclasses import replace

import pytest
import torch
from own_pictures import INK, needs_weights, own, picture
from synthetic import CONFIG, noisy_episodes

from fewshot_kit.data.cancelling import Cancelled
from fewshot_kit.demo.own_classes import OwnClasses
from fewshot_kit.demo.own_task import SHARED, Answers, Estimate, OwnLearning, OwnTask, wilson
from fewshot_kit.learners.configs import ProtoNetConfig
from fewshot_kit.learners.protonet import ProtoNet
from fewshot_kit.learners.reptile import Reptile


def learners():
    torch.manual_seed(0)
    return ProtoNet(ProtoNetConfig(network=CONFIG.network)).eval(), Reptile(replace(CONFIG, inner_steps=2)).eval()


@pytest.mark.parametrize("learner", learners(), ids=["protonet", "reptile"])
def test_leave_one_out_is_what_learning_from_the_others_answers(learner):
    support = noisy_episodes(1, n_way=3, n_shot=3)[0].support
    keep = [0, 1, 2, 3, 4, 6]  # 3, 2 and 1 of the classes
    support = replace(support, images=support.images[keep], labels=support.labels[keep])
    found = learner.leave_one_out(support)
    assert found.shape == (6, 3) and found[5].isnan().all() and not found[:5].isnan().any()
    # One of each class that has several is left out at a time: 0 with 3, 1 with 4, and 2 with 3 again, which is asked for but once.
    for i, left_out in ((0, {0, 3}), (3, {0, 3}), (1, {1, 4}), (4, {1, 4}), (2, {2, 3})):
        others = [j for j in range(6) if j not in left_out]
        predictor = learner.adapt(replace(support, images=support.images[others], labels=support.labels[others]))
        torch.testing.assert_close(found[i], predictor(support.images[i : i + 1])[0].detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("learner", learners(), ids=["protonet", "reptile"])
def test_leave_one_out_stops_when_it_is_told(learner):
    def stop() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        learner.leave_one_out(noisy_episodes(1)[0].support, stop)


@pytest.mark.parametrize("learner", learners(), ids=["protonet", "reptile"])
def test_a_predictor_comes_back_from_its_state(learner):
    episode = noisy_episodes(1)[0]
    predictor = learner.adapt(episode.support)
    state = {name: value.clone() for name, value in learner.predictor_state(predictor).items()}
    again = learner.predictor_from(state)
    torch.testing.assert_close(again(episode.query.images), predictor(episode.query.images), rtol=1e-5, atol=1e-6)


def test_wilson_by_hand_and_at_its_ends():
    low, high = wilson(8 * SHARED, 10 * SHARED)  # Wilson 1927 by hand: (0.8 + 0.19208 ± 1.96 sqrt(0.016 + 0.0096040)) / 1.38416
    assert (low, high) == pytest.approx((0.490162, 0.943318), abs=1e-5)
    assert wilson(0, 0) == (0, 1) and wilson(0, 5)[0] == 0 and wilson(5, 5)[1] == pytest.approx(1)
    for n in (1, 7, 200):
        for k in range(n + 1):
            low, high = wilson(k, n)
            assert 0 <= low <= k / n <= high <= 1
            assert wilson(n - k, n) == pytest.approx((1 - high, 1 - low))


def test_an_estimate_counts_and_names_what_is_confused():
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3])
    answers = torch.tensor([0, 1, 0, 1, 2, 2, 0])
    logits = torch.nn.functional.one_hot(answers, 4).float() * torch.arange(1.0, 8)[:, None]
    logits[6] = math.nan  # the only one of its class
    estimate = Estimate.of(logits, labels)
    assert (estimate.n, estimate.n_right, estimate.confused) == (6, 4, (0, 1, 2)) and estimate.accuracy == 4 / 6
    assert estimate.closeness.tolist() == [1, 2, 3, 4, 5, 6]
    nothing = Estimate.of(torch.full((2, 2), math.nan), torch.tensor([0, 1]))
    assert nothing.n == 0 and math.isnan(nothing.accuracy) and nothing.interval == (0, 1) and nothing.confused is None


def test_familiarity_is_a_conformal_p_value():
    """Of pictures like those left out, a share of at most `least` is unknown: here exactly, by their ranks."""
    estimate = Estimate(9, 9, None, torch.arange(9.0))
    learning = OwnLearning(None, None, ("a", "b"), estimate)
    familiarity = learning.familiarity(torch.tensor([[-1.0, -5], [0.0, -1], [8.5, 3], [3.5, 0]]))
    assert familiarity.tolist() == pytest.approx([0.1, 0.2, 1.0, 0.5])
    assert Answers(torch.zeros(4, 2), familiarity).is_unknown(0.15).tolist() == [True, False, False, False]
    unknown = OwnLearning(None, None, ("a", "b")).familiarity(torch.zeros(2, 2))
    assert unknown.isnan().all() and not Answers(torch.zeros(2, 2), unknown).is_unknown(0.5).any()


@needs_weights
def test_classes_are_learned_and_answered_the_same_every_time():
    task, classes = OwnTask(INK), own()
    before = {name: value.clone() for name, value in task.checkpoint.learner.state_dict().items()}
    learning = task.estimated(task.learn(classes), classes)
    assert learning.class_names == ("left", "right") and learning.estimate.n == 6
    seen = learning.seen([one.pixels() for _, one in classes.pictures()])
    answers = learning.answer(seen)
    assert torch.equal(answers.probabilities, OwnTask(INK).learn(classes).answer(seen).probabilities)
    torch.testing.assert_close(answers.probabilities.sum(1), torch.ones(6))
    one_by_one = torch.cat([learning.answer(seen[i : i + 1]).probabilities for i in range(6)])
    torch.testing.assert_close(one_by_one, answers.probabilities, rtol=1e-3, atol=1e-5)
    after = task.checkpoint.learner.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@needs_weights
def test_what_is_missing_or_too_much_is_said():
    task = OwnTask(INK)
    with pytest.raises(ValueError, match="no picture yet of right"):
        task.learn(own().without_picture(1, 0).without_picture(1, 0).without_picture(1, 0))
    with pytest.raises(ValueError, match="has no setting 'epochs'"):
        task.learn(own(), {"epochs": 3})
    task.use("meta_lstm-mini_imagenet-5way-5shot")
    many = OwnClasses()
    for i in range(6):
        many = many.with_class().with_picture(i, picture(f"{i}.png", i))
    with pytest.raises(ValueError, match="at most 5 classes"):
        task.learn(many)
