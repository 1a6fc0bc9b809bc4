"""Evaluation: its numbers by hand, its intervals, its reproducibility and what it writes."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from synthetic import noisy_images, tiny_reptile

from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.evaluate import evaluate, sample_episodes
from fewshot_kit.learners.base import EPISODES_TOGETHER as TOGETHER
from fewshot_kit.learners.base import Learner
from fewshot_kit.learners.nearest_prototype import NearestPrototype
from fewshot_kit.results import Evaluation, Interval, describe_result

SAMPLER = EpisodeSampler(noisy_images(noise=0.4), n_way=3, n_shot=1, n_query=2)


class Guesser(Learner):
    """Answers at random, from a seed of its own."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def adapt(self, support, *, on_step=None, transductive=False):
        return lambda images: torch.randn(len(images), support.n_way, generator=self.generator)

    def describe(self):
        return "It guesses."


def without_seconds(result: Evaluation) -> Evaluation:
    return dataclasses.replace(result, seconds=0.0)


@pytest.mark.parametrize("n", [2, 5, 600])
def test_an_interval_is_that_of_numpy(n):
    values = np.random.default_rng(0).random(n).astype(np.float32)
    interval = Interval.of(torch.from_numpy(values))
    assert interval.mean == pytest.approx(values.mean(), rel=1e-5)
    assert interval.half_width == pytest.approx(1.96 * values.std(ddof=1) / np.sqrt(n), rel=1e-5)


def test_an_interval_reads_as_percent_and_as_it_is():
    assert Interval(0.9712, 0.0044).percent() == "97.1 ± 0.4 %"
    assert str(Interval(0.9712, 0.0044)) == "0.971 ± 0.004"


def test_an_evaluation_equals_a_loop_by_hand():
    n_episodes, learner = TOGETHER + 5, NearestPrototype()  # one full chunk and a part of one
    accuracies, losses, support_losses = [], [], []
    for episode in sample_episodes(SAMPLER, n_episodes, seed=3):
        predict = learner.adapt(episode.support)
        for part, kept in ((episode.query, losses), (episode.support, support_losses)):
            p = predict(part.images).double().softmax(-1).numpy()
            kept.append(np.mean([-math.log(p[i, label]) for i, label in enumerate(part.labels)]))
        answers = predict(episode.query.images).numpy().argmax(1)
        accuracies.append((answers == episode.query.labels.numpy()).mean())
    result = evaluate(learner, SAMPLER, n_episodes=n_episodes, seed=3)
    for interval, values in ((result.accuracy, accuracies), (result.loss, losses)):
        assert interval.mean == pytest.approx(np.mean(values), rel=1e-4)
        assert interval.half_width == pytest.approx(1.96 * np.std(values, ddof=1) / math.sqrt(n_episodes), rel=1e-4)
    assert result.support_loss == pytest.approx(np.mean(support_losses), rel=1e-3, abs=1e-6)
    assert (result.n_episodes, result.n_way, result.n_shot, result.n_query, result.seed) == (n_episodes, 3, 1, 2, 3)


@pytest.mark.parametrize("n_way", [2, 5])
def test_guessing_is_right_one_time_in_n_way(n_way):
    result = evaluate(Guesser(), EpisodeSampler(noisy_images(), n_way, 1, 5), n_episodes=300)
    assert abs(result.accuracy.mean - 1 / n_way) < 1.5 * result.accuracy.half_width  # three standard errors
    assert result.accuracy.half_width < 0.03


def test_the_same_seed_gives_the_same_numbers_and_another_others():
    learner = tiny_reptile()
    first, again, other = (evaluate(learner, SAMPLER, n_episodes=40, seed=seed) for seed in (1, 1, 2))
    assert without_seconds(first) == without_seconds(again) and first.loss != other.loss


def test_the_random_state_and_the_weights_are_left_alone():
    learner, before = tiny_reptile("batch"), torch.get_rng_state()
    state = {name: value.clone() for name, value in learner.state_dict().items()}
    evaluate(learner, SAMPLER, n_episodes=2)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(state[name], value) for name, value in learner.state_dict().items())


def test_progress_grows_to_the_end_with_the_accuracy_so_far():
    seen = []
    result = evaluate(NearestPrototype(), SAMPLER, n_episodes=2 * TOGETHER + 1, on_progress=lambda *progress: seen.append(progress))
    assert [done for done, _ in seen] == [TOGETHER, 2 * TOGETHER, 2 * TOGETHER + 1]
    assert seen[0][1] == evaluate(NearestPrototype(), SAMPLER, n_episodes=TOGETHER).accuracy and seen[-1][1] == result.accuracy


def test_raising_in_the_callback_ends_the_evaluation():
    seen = []

    def stop(done, accuracy):
        seen.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(NearestPrototype(), SAMPLER, n_episodes=10 * TOGETHER, on_progress=stop)
    assert seen == [TOGETHER]


def test_transductive_is_passed_on_and_said():
    learner = tiny_reptile("batch")
    inductive, transductive = (evaluate(learner, SAMPLER, n_episodes=5, transductive=mode) for mode in (False, True))
    assert inductive.loss != transductive.loss
    assert (inductive.transductive, transductive.transductive) == (False, True) and "transductive" in str(transductive)


def test_an_evaluation_needs_episodes_and_queries():
    with pytest.raises(ValueError, match="n_episodes must be at least 1, not 0"):
        evaluate(NearestPrototype(), SAMPLER, n_episodes=0)
    with pytest.raises(ValueError, match="n_query must be at least 1"):
        evaluate(NearestPrototype(), EpisodeSampler(noisy_images(), 3, 1, 0))


def test_the_accuracy_of_every_episode_is_kept_where_it_is_asked_for():
    kept = evaluate(tiny_reptile(), SAMPLER, n_episodes=5, seed=7, keep_episodes=True)
    assert Interval.of(torch.tensor(kept.episode_accuracies)).mean == pytest.approx(kept.accuracy.mean, abs=1e-6)
    assert len(kept.episode_accuracies) == 5 == len(json.loads(kept.to_json())["episode_accuracies"])
    fewer = evaluate(tiny_reptile(), SAMPLER, n_episodes=3, seed=7, keep_episodes=True)
    assert fewer.episode_accuracies == kept.episode_accuracies[:3], "the same seed, the same episodes"
    assert Evaluation.from_dict(json.loads(kept.to_json())).n_episodes == 5


def test_json_has_the_fields_that_are_promised():
    result = dataclasses.replace(evaluate(tiny_reptile(), SAMPLER, n_episodes=3, seed=7), checkpoint="tiny")
    written = json.loads(result.to_json())
    promised = {"accuracy", "loss", "support_loss", "n_episodes", "n_way", "n_shot", "n_query", "seed", "transductive"}
    promised |= {"dataset", "split", "checkpoint", "seconds"}
    assert written.keys() == promised | {"settings", "primary", "within_group", "learner", "size", "n_parameters"}
    assert written["accuracy"].keys() == written["loss"].keys() == {"mean", "half_width"}
    assert (written["dataset"], written["split"], written["checkpoint"], written["seed"]) == ("noisy", "test", "tiny", 7)
    assert written["settings"] == {"inner_lr": 0.1, "inner_steps": 3, "views": 1}
    assert written["primary"] == "accuracy" and 0 <= written["accuracy"]["mean"] <= 1


def from_json(text: str) -> Evaluation:
    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    return Evaluation.from_dict(json.loads(text, parse_constant=refuse))


def test_json_goes_round():
    result = evaluate(NearestPrototype(), SAMPLER, n_episodes=3)
    assert from_json(result.to_json()) == result


def test_another_primary_metric_is_what_the_best_is_chosen_by_and_is_written_first():
    metrics = {"loss": Interval(0.5, 0.1), "map50": Interval(0.25, 0.01)}
    result = dataclasses.replace(evaluate(NearestPrototype(), SAMPLER, n_episodes=3), metrics=metrics, primary="map50")
    said = describe_result(result.to_dict())
    assert result.best_by == 0.25 and said.startswith("mAP50 25.0 ± 1.0 % strict, cross entropy 0.500 ± 0.100 (3 episodes")
    assert from_json(result.to_json()) == result


def test_one_episode_has_no_interval_and_its_json_is_valid():
    result = from_json(evaluate(NearestPrototype(), SAMPLER, n_episodes=1).to_json())
    assert math.isnan(result.accuracy.half_width) and math.isnan(result.loss.half_width) and math.isfinite(result.loss.mean)


def test_a_loss_that_is_not_finite_makes_valid_json_too():
    result = evaluate(NearestPrototype(), SAMPLER, n_episodes=2)
    assert math.isnan(
        from_json(dataclasses.replace(result, metrics={**result.metrics, "loss": Interval(math.inf, math.nan)}).to_json()).loss.mean
    )


def test_what_diverges_is_an_error_that_says_what_to_lower():
    with pytest.raises(FloatingPointError, match=r"not finite in 40 of 40 episodes: lower inner_lr \(learning rate\), which is 1e\+06"):
        evaluate(tiny_reptile("none", inner_lr=1e6, inner_steps=20), SAMPLER, n_episodes=40)


class Sometimes(Guesser):
    """Has no answer now and then."""

    def adapt(self, support, *, on_step=None, transductive=False):
        answer, value = super().adapt(support), math.nan if torch.rand((), generator=self.generator) < 0.2 else 0.0
        return lambda images: answer(images) + value


def test_one_episode_without_an_answer_is_enough_and_they_are_counted():
    with pytest.raises(FloatingPointError, match=r"not finite in \d+ of 50 episodes: its weights are of no use") as caught:
        evaluate(Sometimes(), SAMPLER, n_episodes=50)
    assert 1 <= int(str(caught.value).split(" of ")[0].split()[-1]) < 30
