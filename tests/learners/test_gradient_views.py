"""Drawings as other hands might have drawn them, before a learner that fine-tunes: it learns from all, and answers by the mean of all."""

from dataclasses import replace

import pytest
import torch
from synthetic import NETWORK, noisy_episodes, noisy_images, same_state

from fewshot_kit.data.episodes import LabelledImages
from fewshot_kit.learners.checks import MOST_HANDS
from fewshot_kit.learners.configs import GradientConfig, MAMLConfig, MetaLSTMConfig, MetaSGDConfig, ReptileConfig
from fewshot_kit.learners.gradient import STACKED_SUPPORT
from fewshot_kit.learners.views import ink_views_of
from fewshot_kit.networks.configs import Conv4Config
from fewshot_kit.training.build import make_learner

CONFIGS = [config(network=NETWORK, inner_lr=0.1, inner_steps=3, head_lr_scale=5.0) for config in (ReptileConfig, MAMLConfig)]
CONFIGS.append(MetaSGDConfig(network=NETWORK, inner_steps=3, head_lr_scale=5.0))


@pytest.fixture(params=CONFIGS, ids=lambda config: type(config).__name__)
def config(request) -> GradientConfig:
    return request.param


def by_hand(config: GradientConfig, support: LabelledImages, images: torch.Tensor, views: int) -> torch.Tensor:
    """Return logits by a learner that knows of no views, from a support that has them, for each view of the images, averaged."""
    copies = torch.cat(list(ink_views_of(support.images, views)))
    predict = make_learner(config, seed=0).adapt(LabelledImages(copies, support.labels.repeat(views), support.class_names))
    return torch.stack([predict(view) for view in ink_views_of(images, views)]).mean(0)


def test_it_learns_from_all_views_and_answers_by_their_mean(config):
    episode = noisy_episodes(1)[0]
    learner, plain = make_learner(config, seed=0).with_settings(views=3), make_learner(config, seed=0)
    logits = learner.adapt(episode.support)(episode.query.images)
    torch.testing.assert_close(logits, by_hand(config, episode.support, episode.query.images, 3), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(logits, plain.adapt(episode.support)(episode.query.images), atol=1e-3)


@pytest.mark.parametrize("n_way", [2, 4])
def test_many_episodes_at_once_are_those_one_by_one(config, n_way):
    """Both ways on a CPU: as a stack, and, of more than `STACKED_SUPPORT` images, one by one in threads."""
    episodes, learner = noisy_episodes(3, n_way=n_way, n_shot=1), make_learner(config, seed=0).with_settings(views=3)
    assert (3 * len(episodes[0].support) > STACKED_SUPPORT) == (n_way == 4)
    logits, losses = learner.predict_episodes(episodes)
    for episode, found, loss in zip(episodes, logits, losses, strict=True):
        reports = []
        predict = learner.adapt(episode.support, on_step=lambda step, loss, predictor, reports=reports: reports.append(loss))
        torch.testing.assert_close(found, predict(episode.query.images), rtol=1e-3, atol=1e-4)
        assert loss.item() == pytest.approx(reports[-1], abs=1e-4)


@pytest.mark.parametrize("n_way", [3, 10])
def test_more_classes_than_it_can_tell_apart_are_refused(config, n_way):
    learner = make_learner(replace(config, head="learned", train_way=2), seed=0).with_settings(views=2)
    with pytest.raises(ValueError, match="at most 2 classes"):
        learner.predict_episodes(noisy_episodes(2, n_way=n_way, n_shot=1))


def test_an_answer_does_not_depend_on_what_is_asked_beside_it(config):
    episode = noisy_episodes(1)[0]
    predict = make_learner(config, seed=0).with_settings(views=4).adapt(episode.support)
    together, alone = predict(episode.query.images), [predict(image[None]) for image in episode.query.images]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_a_saved_predictor_answers_with_the_same_views(config):
    episode = noisy_episodes(1)[0]
    learner = make_learner(config, seed=0).with_settings(views=3)
    predict = learner.adapt(episode.support)
    again = make_learner(config, seed=0).with_settings(views=3).predictor_from(learner.predictor_state(predict))
    assert torch.equal(predict(episode.query.images), again(episode.query.images))


def test_training_does_not_look_twice(config):
    states = []
    for views in (1, 5):
        learner = make_learner(replace(config, views=views, train_way=3), seed=0)
        learner.accumulate_meta_grad(learner.training_batches(noisy_images(), torch.Generator().manual_seed(0)))
        states.append({name: p.grad for name, p in learner.named_parameters() if p.grad is not None})
    assert same_state(*states)


def test_views_are_of_drawings_alone_and_in_number(config):
    learner = make_learner(config, seed=0)
    (setting,) = (setting for setting in learner.settings() if setting.name == "views")
    assert (setting.label, setting.value, setting.high) == ("views a drawing", 1, MOST_HANDS) and setting.is_neutral
    assert "2 other hands" in learner.with_settings(views=3).describe() and "hands" not in learner.describe()
    for wrong in (0, MOST_HANDS + 1, 2.5):
        with pytest.raises(ValueError, match="views"):
            learner.with_settings(views=wrong)
    photographs = replace(config, network=Conv4Config(channels=3, width=8, size=16))
    assert "views" not in [setting.name for setting in make_learner(photographs, seed=0).settings()]
    with pytest.raises(ValueError, match="views"):
        replace(photographs, views=2)


def test_the_learned_optimiser_has_no_views():
    learner = make_learner(MetaLSTMConfig(network=replace(NETWORK, norm="batch")), seed=0)
    with pytest.raises(ValueError, match="no setting 'views'"):
        learner.with_settings(views=2)
