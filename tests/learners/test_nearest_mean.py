"""The nearest mean of centred features of length 1, and logistic regression on them: against independent computation, on any network."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from synthetic import NETWORK, coloured_images, noisy_episodes, noisy_images, tiny_mtl, tiny_reptile

from fewshot_kit.data.augment import other_hand
from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.learners.base import left_out_in_turn
from fewshot_kit.learners.checks import MOST_HANDS, MOST_VIEWS, MOST_WIDER
from fewshot_kit.learners.configs import LinearHeadConfig, LogisticConfig, NearestMeanConfig, ProtoNetConfig, SoftmaxConfig
from fewshot_kit.learners.views import CROPS, ink_views_of, views_of, wider_views_of
from fewshot_kit.networks.configs import Conv4Config, ResNet12Config
from fewshot_kit.training.build import make_learner, on_network_of

TYPES = {"nearest_mean": NearestMeanConfig, "logistic": LogisticConfig, "linear_head": LinearHeadConfig}
CONFIGS = {"nearest_mean": NearestMeanConfig(network=NETWORK), "logistic": LogisticConfig(network=NETWORK)}


@pytest.fixture(params=CONFIGS)
def learner(request):
    made = make_learner(CONFIGS[request.param], seed=0).eval()
    with torch.no_grad():
        made.centre.copy_(made.network(noisy_episodes(1)[0].query.images).mean(0))
    return made


def features_of(learner, images):
    with torch.no_grad():
        features = learner.network(images).double() - learner.centre.double()
    return (features / features.norm(dim=1, keepdim=True)).numpy()


def test_nearest_mean_is_the_distance_to_the_class_means_of_centred_features_of_length_1():
    learner, episode = make_learner(CONFIGS["nearest_mean"], seed=0).eval(), noisy_episodes(1)[0]
    with torch.no_grad():
        learner.centre.fill_(0.1)
    support, query = (features_of(learner, part.images) for part in (episode.support, episode.query))
    means = np.stack([support[episode.support.labels.numpy() == label].mean(0) for label in range(3)])
    expected = -10 * ((query[:, None] - means[None]) ** 2).sum(2)
    np.testing.assert_allclose(learner.adapt(episode.support)(episode.query.images).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("n_way", [2, 3])
def test_logistic_is_scikit_learns_regression_on_each_support(n_way):
    learner, episode = make_learner(CONFIGS["logistic"], seed=0).eval(), noisy_episodes(1, n_way=n_way)[0]
    regression = LogisticRegression(C=1.0, max_iter=1000).fit(features_of(learner, episode.support.images), episode.support.labels)
    expected = regression.predict_proba(features_of(learner, episode.query.images))
    found = learner.adapt(episode.support)(episode.query.images).softmax(1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["nearest_mean", "logistic", "mtl"])
def test_two_views_average_a_picture_with_its_mirror_image(name):
    made = make_learner(CONFIGS[name], seed=0).eval() if name in CONFIGS else tiny_mtl()
    images = noisy_episodes(1)[0].query.images if name in CONFIGS else coloured_images().images[:9].float() / 255
    plain, two = made.snapshot(), made.with_settings(views=2).snapshot()
    expected = (plain.embed_all(images) + plain.embed_all(images.flip(-1))) / 2
    torch.testing.assert_close(two.embed_all(images), expected)
    torch.testing.assert_close(two.embed_all(images.flip(-1)), expected)
    assert (expected - plain.embed_all(images)).abs().max() > 1e-4
    for wrong in (0, MOST_VIEWS + 1, 1.5):
        with pytest.raises(ValueError, match="views"):
            made.with_settings(views=wrong)


def test_more_views_are_crops_around_the_middle_made_as_large_as_the_whole():
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    whole, mirrored, crop, crop_mirrored, smaller, _, smallest, _ = views_of(images, MOST_VIEWS)
    assert torch.equal(whole, images) and torch.equal(mirrored, images.flip(-1)) and 2 * len(CROPS) == MOST_VIEWS
    expected = F.interpolate(images[..., 2:37, 2:37], size=(40, 40), mode="bilinear", align_corners=False)
    assert torch.equal(crop, expected) and torch.equal(crop_mirrored, expected.flip(-1))
    assert torch.equal(smaller, F.interpolate(images[..., 4:36, 4:36], size=(40, 40), mode="bilinear", align_corners=False))
    assert torch.equal(smallest, F.interpolate(images[..., 6:34, 6:34], size=(40, 40), mode="bilinear", align_corners=False))
    made = make_learner(CONFIGS["nearest_mean"], seed=0).eval()
    means = torch.stack([made.snapshot().embed_all(view) for view in views_of(noisy_episodes(1)[0].query.images, 5)]).mean(0)
    torch.testing.assert_close(made.with_settings(views=5).snapshot().embed_all(noisy_episodes(1)[0].query.images), means)


def test_the_middle_of_a_picture_is_looked_at_as_it_is():
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    (middle,) = views_of(images, 1, 0.6)
    assert torch.equal(middle, images[..., 8:32, 8:32])
    assert torch.equal(list(views_of(images, 2, 0.6))[1], middle.flip(-1)) and next(views_of(images, 1, 1.0)).shape == images.shape
    config = NearestMeanConfig(network=ResNet12Config(widths=(8, 8, 8, 8), size=40))
    made = make_learner(config, seed=0).eval()
    looked = made.with_settings(middle=0.6)
    torch.testing.assert_close(looked.snapshot().embed_all(images), made.snapshot().embed_all(middle))
    assert torch.equal(looked.looked_at(images), middle) and torch.equal(made.looked_at(images), images)
    changed = images.clone()
    changed[..., :8, :] = 0
    assert torch.equal(looked.snapshot().embed_all(changed), looked.snapshot().embed_all(images)), "the edge is not looked at"
    for wrong in (0.3, 1.1, math.nan, -1):
        with pytest.raises(ValueError, match="middle"):
            made.with_settings(middle=wrong)
    with pytest.raises(ValueError, match="one size alone"):
        NearestMeanConfig(network=NETWORK, middle=0.6)
    assert "middle" not in {setting.name for setting in make_learner(NearestMeanConfig(network=NETWORK), seed=0).settings()}


@pytest.mark.parametrize("name", ["nearest_mean", "logistic", "linear_head"])
def test_a_picture_that_is_learned_from_is_looked_at_again_and_wider(name):
    learner = make_learner(TYPES[name](network=ResNet12Config(widths=(8, 8, 8, 8), size=40), middle=0.5), seed=0).eval()
    more, asked = learner.with_settings(support_views=2), torch.rand(7, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    narrow, wide, wider = asked[..., 10:30, 10:30], asked[..., 8:32, 8:32].flip(-1), asked[..., 5:34, 5:34]
    assert [tuple(view.shape) for view in wider_views_of(asked, 4, 0.8)] == [(7, 3, 38, 38), *[(7, 3, 40, 40)] * 3], "no wider than it is"
    whole = learner.with_settings(middle=1.0).snapshot()
    torch.testing.assert_close(more.snapshot().embed_support(asked), torch.stack(list(map(whole.embed_all, (narrow, wide, wider)))).mean(0))
    assert torch.equal(more.snapshot().embed_all(asked), learner.snapshot().embed_all(asked)), "a picture that is asked about, once"
    assert torch.equal(learner.snapshot().embed_support(asked), learner.snapshot().embed_all(asked))
    for wrong in (-1, MOST_WIDER + 1, 1.5):
        with pytest.raises(ValueError, match="support_views"):
            learner.with_settings(support_views=wrong)
    with pytest.raises(ValueError, match="support_views"):
        TYPES[name](network=NETWORK, support_views=1)


@pytest.mark.parametrize("support_views", [0, 2])
def test_evaluation_and_estimate_learn_and_ask_as_a_person_does(support_views):
    config = NearestMeanConfig(network=ResNet12Config(widths=(8, 8, 8, 8), size=32), middle=0.6, support_views=support_views)
    small = coloured_images()
    large = replace(small, images=small.images.repeat_interleave(2, 2).repeat_interleave(2, 3), preprocessing=config.network.preprocessing)
    learner, sampler = make_learner(config, seed=0).eval(), EpisodeSampler(large, 3, 2, 3)
    drawn = [sampler.draw(torch.Generator().manual_seed(seed)) for seed in range(4)]
    found = torch.cat([logits for logits, _ in learner.predict_drawn(sampler, drawn)])
    for one, logits in zip(drawn, found, strict=True):
        episode = sampler.gather(one)
        torch.testing.assert_close(learner.adapt(episode.support)(episode.query.images), logits, atol=1e-4, rtol=1e-4)
    others, (left_out, asked) = torch.ones(6, dtype=torch.bool), next(left_out_in_turn(episode.support.labels))
    others[left_out] = False
    rest = replace(episode.support, images=episode.support.images[others], labels=episode.support.labels[others])
    expected = learner.adapt(rest)(episode.support.images[asked])
    torch.testing.assert_close(learner.leave_one_out(episode.support)[asked], expected, atol=1e-4, rtol=1e-4)


def test_an_answer_depends_on_the_picture_alone_and_permuted_classes_permute_it(learner):
    episode = noisy_episodes(1)[0]
    predictor = learner.adapt(episode.support)
    logits = predictor(episode.query.images)
    assert torch.allclose(predictor(episode.query.images[2:3]), logits[2:3], atol=1e-4)
    order = torch.tensor([2, 0, 1])
    permuted = replace(episode.support, labels=order[episode.support.labels])
    assert torch.allclose(learner.adapt(permuted)(episode.query.images)[:, order].softmax(1), logits.softmax(1), atol=1e-3)


def test_pre_training_learns_the_classes_and_keeps_their_mean_feature(learner):
    data, generator = noisy_images(), torch.Generator().manual_seed(0)
    learner.begin_training(data, generator)
    optimizer, losses = torch.optim.SGD(learner.trainable_parameters(), lr=0.05, momentum=0.9), []
    with torch.no_grad():
        learner.centre.zero_()
    for _ in range(60):
        optimizer.zero_grad()
        losses.append(learner.accumulate_meta_grad(learner.training_batches(data, generator)))
        optimizer.step()
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert F.cosine_similarity(learner.centre, learner.network(data.images.float() / 255).mean(0), dim=0) > 0.8
    assert not any(name.startswith("training_") for name in learner.released_state())


def test_settings_and_values_beyond_use(learner):
    assert [setting.name for setting in learner.settings()] in (["scale", "views"], ["inverse_regularisation", "views"])
    for wrong in ({"label_smoothing": 1.0}, {"scale": 0.0}, {"train_way": 1}, {"scale": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            replace(learner.config, **wrong)
    with pytest.raises(ValueError, match="inverse_regularisation"):
        LogisticConfig(network=NETWORK, inverse_regularisation=-1.0)


@pytest.mark.parametrize("name", CONFIGS)
def test_either_works_on_the_network_of_any_learner(name):
    reptile, episode = tiny_reptile(), noisy_episodes(1)[0]
    other = on_network_of(reptile, name)
    assert torch.equal(other.network(episode.query.images), reptile.eval().network(episode.query.images))
    assert other.adapt(episode.support)(episode.query.images).shape == (len(episode.query), 3)
    assert on_network_of(reptile, None) is reptile


def test_a_network_that_takes_any_size_is_given_another_and_one_that_does_not_refuses():
    learner = make_learner(NearestMeanConfig(network=ResNet12Config(widths=(8, 8, 8, 8), size=32)), seed=0).eval()
    larger = on_network_of(learner, None, 48)
    assert larger.preprocessing.size == 48 and larger.config.network.size == 48
    images = torch.rand(2, 3, 48, 48)
    assert torch.equal(larger.network(images), learner.network(images))
    with pytest.raises(ValueError, match="pictures of 18 pixels alone"):
        on_network_of(tiny_reptile(), "nearest_mean", 28)
    with pytest.raises(ValueError, match="nearest_mean, logistic, linear_head"):
        on_network_of(learner, "maml")


def test_an_evaluation_is_that_of_each_episode_by_itself(learner):
    sampler, generator = EpisodeSampler(noisy_images(), 3, 2, 3), torch.Generator().manual_seed(0)
    drawn = [sampler.draw(generator) for _ in range(5)]
    together = torch.cat([logits for logits, _ in learner.predict_drawn(sampler, drawn)])
    alone = torch.stack([learner.adapt(sampler.gather(d).support)(sampler.gather(d).query.images) for d in drawn])
    assert torch.allclose(together, alone, atol=1e-3)


@pytest.mark.parametrize("config", [ProtoNetConfig(network=NETWORK), SoftmaxConfig(network=NETWORK)])
def test_a_drawing_is_looked_at_as_other_hands_might_have_drawn_it(config):
    learner, images = make_learner(config, seed=0).eval(), noisy_episodes(1)[0].query.images
    views = list(ink_views_of(images, 4))
    assert torch.equal(views[0], images) and len({float(view.sum()) for view in views}) == 4
    for number, view in enumerate(views[1:], start=1):
        assert torch.equal(other_hand(images[2:3], number, 0.7), view[2:3]), "a picture's views are its own, whatever is beside it"
    four = learner.with_settings(views=4).snapshot()
    torch.testing.assert_close(four.embed_all(images), torch.stack(list(map(learner.snapshot().embed_all, views))).mean(0))
    for wrong in (0, MOST_HANDS + 1, 2.5):
        with pytest.raises(ValueError, match="views"):
            learner.with_settings(views=wrong)
    photographs = make_learner(replace(config, network=Conv4Config(channels=3, width=8, size=16)), seed=0)
    assert photographs.settings() == ()
    with pytest.raises(ValueError, match="views"):
        replace(photographs.config, views=2)
