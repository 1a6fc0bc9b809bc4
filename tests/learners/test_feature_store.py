"""Features kept on the disk: each picture asks the network once, whoever measures, and damage costs time alone."""

import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tiny_models import saved

from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.evaluate import evaluate
from fewshot_kit.learners import feature_store
from fewshot_kit.learners.feature_store import FeatureStore
from fewshot_kit.networks.pretrained import describe_model
from fewshot_kit.training.build import on_network_of
from fewshot_kit.training.checkpoints import load_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_store, "cache_folder", lambda: tmp_path)
    return FeatureStore(describe_model(str(saved("resnet"))), (1, 1.0))


class Counting:
    """An embedding that counts the pictures it is asked for."""

    def __init__(self, n_features):
        self.n, self.n_features = 0, n_features

    def __call__(self, images):
        self.n += len(images)
        return images.float().flatten(1)[:, : self.n_features]


def pictures(n, seed=0):
    return torch.randint(0, 256, (n, 3, 32, 32), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_a_picture_asks_the_network_once(store):
    embed, images = Counting(store.n_features), pictures(6)
    first = store.embed(embed, images[[0, 1, 2, 0]])
    assert embed.n == 3 and torch.equal(first, embed(images[[0, 1, 2, 0]])), "twice the same picture is one"
    embed.n = 0
    assert torch.equal(store.embed(embed, images), images.float().flatten(1)[:, : store.n_features]) and embed.n == 3
    other = FeatureStore(describe_model(str(saved("resnet"))), (2, 1.0))
    store.embed(embed, images)
    assert embed.n == 3 and other.path != store.path, "looked at otherwise, they are others"
    other.embed(embed, images)
    assert embed.n == 9


def test_pictures_of_one_content_and_another_shape_differ(store):
    embed = Counting(store.n_features)
    store.embed(embed, torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    store.embed(embed, torch.zeros(1, 3, 16, 64, dtype=torch.uint8))
    assert embed.n == 2


@pytest.mark.parametrize("how", ["no base", "short rows", "not finite", "no room"])
def test_damage_costs_time_alone(store, how, caplog):
    embed, images = Counting(store.n_features), pictures(4)
    expected = store.embed(embed, images)
    if how == "no base":
        store.path.write_bytes(b"no base at all" * 100)
    elif how == "no room":
        store.path.unlink()
        store.path.mkdir()  # nothing can be written there
    else:
        value = b"abc" if how == "short rows" else torch.full((store.n_features,), torch.inf).numpy().tobytes()
        with sqlite3.connect(store.path) as base:
            base.execute("UPDATE features SET value = ?", (value,))
        base.close()
    with caplog.at_level(logging.WARNING):
        assert torch.equal(store.embed(embed, images), expected)
    assert embed.n == 8 and bool(caplog.records) == (how in ("no base", "no room"))


def test_many_at_once_keep_all(store):
    embed, images = Counting(store.n_features), pictures(60)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda start: store.embed(embed, images[start : start + 20]), [0, 10, 20, 30, 40, 5]))
    embed.n = 0
    store.embed(embed, images)
    assert embed.n == 0


def test_an_evaluation_costs_one_pass_and_says_the_same_again(store, monkeypatch):
    from synthetic import coloured_images

    dataset, learner = coloured_images(), load_checkpoint(f"hf:{saved('resnet')}").learner
    asked, passes = [], type(learner.network).forward
    monkeypatch.setattr(type(learner.network), "forward", lambda self, images: asked.append(len(images)) or passes(self, images))
    sampler = EpisodeSampler(dataset, 3, 1, 2)
    first = evaluate(learner, sampler, n_episodes=40)
    n_passes = sum(asked)
    assert 0 < n_passes <= len(dataset.images)
    again = evaluate(on_network_of(learner, "linear_head"), sampler, n_episodes=40)
    assert sum(asked) == n_passes, "another learner on the same network asks it for nothing"
    assert evaluate(learner, sampler, n_episodes=40).metrics == first.metrics and again.metrics != first.metrics


def test_what_a_full_disk_left_is_written_to_as_new(store, caplog):
    store.path.parent.mkdir(parents=True)
    store.path.touch()
    embed, images = Counting(store.n_features), pictures(3)
    store.embed(embed, images)
    assert torch.equal(store.embed(embed, images), embed(images)) and embed.n == 6 and not caplog.records
