"""The hardest episodes are those of the evaluation, measured as it was."""

import pytest
from synthetic import noisy_images, tiny_reptile

from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.demo.hardest import hardest_episodes
from fewshot_kit.evaluate import evaluate


@pytest.mark.parametrize("transductive", [False, True])
def test_they_are_the_least_accurate_of_the_evaluation(transductive):
    learner, sampler = tiny_reptile(norm="batch"), EpisodeSampler(noisy_images(noise=0.4), 3, 1, 5)
    how = {"n_episodes": 12, "seed": 3, "transductive": transductive}
    expected = sorted(evaluate(learner, sampler, keep_episodes=True, **how).episode_accuracies)[:2]
    found = hardest_episodes(learner, sampler, n=2, **how)
    assert [round(one.accuracy, 6) for one in found] == expected
    for one in found:
        assert (one.probabilities.argmax(1) == one.episode.query.labels).float().mean().item() == pytest.approx(one.accuracy)
