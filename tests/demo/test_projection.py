"""Two dimensions for a picture: PCA against scikit-learn's, t-SNE's neighbourhoods, steadiness, and where an episode's images lie."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sessions import demo_session
from sklearn.decomposition import PCA
from synthetic import NETWORK, noisy_images

from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.demo.embedding_map import EmbeddingMap, episode_pool, map_embedding
from fewshot_kit.demo.projection import METHODS, Plane, laid_on, project
from fewshot_kit.learners.configs import MagnetConfig, ProtoNetConfig, RepMetConfig
from fewshot_kit.learners.magnet import Magnet
from fewshot_kit.learners.protonet import ProtoNet
from fewshot_kit.learners.repmet import RepMet

pytestmark = pytest.mark.usefixtures("own_cache")
DATASET = noisy_images(n_classes=6, per_class=8)
LEARNERS = {
    "protonet": (ProtoNet, ProtoNetConfig(network=NETWORK)),
    "magnet": (Magnet, MagnetConfig(network=NETWORK)),
    "repmet": (RepMet, RepMetConfig(network=NETWORK, inner_lr=0.5, inner_steps=3)),
    "magnet, two clusters": (Magnet, MagnetConfig(network=NETWORK, support_clusters=2)),
}
every_method = pytest.mark.parametrize("method", METHODS)


def groups(n_groups: int, n_each: int, d: int = 40, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    means = 2 * rng.normal(size=(n_groups, 1, d))
    labels = np.arange(n_groups).repeat(n_each)
    return (means + spread * rng.normal(size=(n_groups, n_each, d))).reshape(-1, d), labels


def learner(name: str = "protonet"):
    torch.manual_seed(0)
    learner_class, config = LEARNERS[name]
    return learner_class(config).eval()


def mapped(n_shot: int = 2, method: str = "pca", before: EmbeddingMap | None = None, name: str = "protonet") -> EmbeddingMap:
    settings = {"n_way": 4, "n_shot": n_shot, "n_query": 2}
    episode = EpisodeSampler(DATASET, **settings).sample(torch.Generator().manual_seed(3))
    return map_embedding(learner(name).adapt(episode.support), episode_pool(DATASET, **settings, seed=3), method, before=before)


# --- the projection ---


def test_pca_is_scikit_learns_up_to_the_sign_of_an_axis():
    features, _ = groups(5, 12)
    expected = PCA(2)
    places, ours = expected.fit_transform(features), Plane.through(features)
    assert np.allclose(np.abs(project(features)), np.abs(places)) and np.allclose(ours(features), project(features))
    assert ours.share == pytest.approx(expected.explained_variance_ratio_.sum())


def test_pca_of_the_same_points_in_another_order_is_the_same_picture():
    features, _ = groups(4, 9)
    order = np.random.default_rng(1).permutation(len(features))
    assert np.allclose(project(features)[order], project(features[order]))


def test_a_plane_places_other_points_as_part_of_the_same_picture():
    features, labels = groups(3, 8)
    means = np.stack([features[labels == label].mean(0) for label in range(3)])
    places, plane = project(features), Plane.through(features)
    assert np.allclose(plane(means), [places[labels == label].mean(0) for label in range(3)]), "the mean stays in the middle"
    assert plane(means.reshape(3, 1, -1)).shape == (3, 1, 2)


def test_tsne_keeps_neighbours_together():
    features, labels = groups(6, 15)
    places = project(features, "tsne")
    distances = np.linalg.norm(places[:, None] - places, axis=-1) + 1e9 * np.eye(len(places))
    assert (labels[distances.argmin(1)] == labels).mean() > 0.95


@every_method
def test_the_same_seed_gives_the_same_places(method):
    features, _ = groups(3, 10)
    assert np.array_equal(project(features, method, seed=4), project(features, method, seed=4))


@every_method
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7])
def test_few_points_have_places(method, n):
    places = project(groups(1, n)[0], method)
    assert places.shape == (n, 2) and np.isfinite(places).all()


@every_method
def test_points_that_are_all_the_same_have_places(method):
    places = project(np.ones((12, 6)), method)
    assert places.shape == (12, 2) and np.isfinite(places).all()


@every_method
def test_one_dimension_is_enough(method):
    assert np.isfinite(project(np.arange(9.0).reshape(9, 1), method)).all()


@every_method
def test_the_size_of_the_features_does_not_change_the_picture(method):
    features, _ = groups(3, 10)
    small, large = project(1e-6 * features, method), project(1e6 * features, method)
    assert np.allclose(small / small.std(), large / large.std(), atol=1e-2)


@every_method
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_an_error_that_says_so(method, bad):
    features, _ = groups(2, 5)
    features[3, 7] = bad
    with pytest.raises(ValueError, match="1 of the features are not finite"):
        project(features, method)


def test_nothing_and_an_unknown_method_are_errors():
    with pytest.raises(ValueError, match="nothing to project"):
        project(np.empty((0, 4)))
    with pytest.raises(ValueError, match="method must be one of pca, tsne"):
        project(np.ones((4, 4)), "umap")


def test_an_earlier_tsne_is_gone_on_with():
    features, _ = groups(5, 12)
    before = project(features, "tsne")
    moved = features.copy()
    moved[0] = features[-1]
    after = project(moved, "tsne", start=before)
    size = np.ptp(before, axis=0).max()
    assert np.linalg.norm(after - before, axis=1)[1:].mean() < 0.05 * size, "the others stay"
    assert np.linalg.norm(after[0] - before[-1]) < 0.1 * size, "and the one that moved goes to its new neighbours"


def test_a_turned_picture_is_turned_back():
    places = groups(3, 6, d=2)[0]
    turn = np.array([[0.6, -0.8], [-0.8, -0.6]])  # with a reflection
    assert np.allclose(laid_on(places @ turn + [3, 4], places), places)


def test_a_plane_is_turned_to_look_like_an_earlier_picture():
    features, _ = groups(4, 9)
    plane, turn = Plane.through(features), np.array([[0.0, 1.0], [-1.0, 0.0]])
    turned = plane.turned(features, 7 * plane(features) @ turn + 2)
    assert np.allclose(turned(features), plane(features) @ turn) and turned.share == plane.share


# --- the images of an episode ---


@pytest.mark.parametrize("class_ids", [None, (5, 2, 9)])
def test_the_pool_holds_the_episode_of_the_session(class_ids):
    session = demo_session(n_way=3, n_shot=2, n_query=4, seed=7)
    episode = session.choose(class_ids) if class_ids else session.episode
    pool = episode_pool(session.dataset, n_way=3, n_shot=2, n_query=4, seed=7, class_ids=class_ids)
    for role, part in (("support", episode.support), ("query", episode.query)):
        assert torch.equal(pool.images[torch.from_numpy(pool.roles == role)], part.images)
        assert np.array_equal(pool.labels[pool.roles == role], part.labels.numpy())
    assert pool.class_names == episode.support.class_names and len(pool.labels) == 3 * 20


def test_with_other_shots_the_images_stay_and_their_roles_change():
    pools = [episode_pool(DATASET, n_way=4, n_shot=n_shot, n_query=2, seed=0) for n_shot in (1, 5)]
    assert torch.equal(pools[0].images, pools[1].images)
    assert [(pool.roles == "support").sum() for pool in pools] == [4, 20]


def test_a_pool_has_about_as_many_images_as_wanted():
    assert len(episode_pool(DATASET, n_way=3, n_shot=1, n_query=1, seed=0, most=12).labels) == 12
    assert len(episode_pool(DATASET, n_way=3, n_shot=3, n_query=3, seed=0, most=5).labels) == 18, "those of the episode at least"


@pytest.mark.parametrize("name", LEARNERS)
@every_method
def test_a_map_says_what_the_predictor_says(name, method):
    found = mapped(method=method, name=name)
    settings = {"n_way": 4, "n_shot": 2, "n_query": 2}
    episode = EpisodeSampler(DATASET, **settings).sample(torch.Generator().manual_seed(3))
    predictor = learner(name).adapt(episode.support)
    expected = predictor(episode.query.images).softmax(1).numpy()
    assert np.allclose(found.probabilities[found.queries], expected, atol=1e-5)
    assert found.accuracy() == pytest.approx((expected.argmax(1) == episode.query.labels.numpy()).mean())
    first = predictor.embed(episode.query.images)[0] - predictor.centres
    assert np.allclose(found.distances[found.queries[0]], first.norm(dim=-1).numpy(), atol=1e-4)
    assert found.centres.shape == (*predictor.centres.shape[:2], 2) and np.isfinite(found.places).all()


def test_with_more_shots_prototypes_move_and_images_stay():
    before = mapped(n_shot=1)
    after = mapped(n_shot=3, before=before)
    assert np.array_equal(after.places, before.places) and after.window == before.window and after.plane is before.plane
    assert (np.linalg.norm(after.centres - before.centres, axis=-1) > 0).all()
    support = (after.pool.roles == "support") & (after.pool.labels == 2)
    assert np.allclose(after.centres[2, 0], after.places[support].mean(0)), "in the plane too, it is the mean of its support"


def test_with_more_shots_a_tsne_picture_moves_little():
    before = mapped(n_shot=1, method="tsne")
    after = mapped(n_shot=3, method="tsne", before=before)
    anew = mapped(n_shot=3, method="tsne")
    drift, size = np.linalg.norm(after.places - before.places, axis=1).mean(), np.ptp(before.places, axis=0).max()
    assert drift < 0.25 * size and drift < np.linalg.norm(anew.places - before.places, axis=1).mean()


def test_the_same_tsne_is_not_computed_again():
    before = mapped(method="tsne")
    assert np.array_equal(mapped(method="tsne", before=before).places, before.places)


def test_a_map_of_other_classes_begins_anew():
    before = mapped()
    settings = {"n_way": 3, "n_shot": 1, "n_query": 1}
    episode = EpisodeSampler(DATASET, **settings).sample(torch.Generator().manual_seed(5))
    other = map_embedding(learner().adapt(episode.support), episode_pool(DATASET, **settings, seed=5), before=before)
    assert other.plane is not before.plane and len(other.places) == 24


def test_neighbours_of_well_parted_classes_are_alike():
    found = mapped()
    apart = replace(found, features=found.features + 1e3 * np.abs(found.features).max() * found.pool.labels[:, None])
    mixed = replace(found, features=np.random.default_rng(0).normal(size=found.features.shape))
    assert apart.neighbours_alike() == 1 and mixed.neighbours_alike() < 0.6


def test_centres_that_leave_the_window_widen_it():
    before = mapped()
    predictor = learner().adapt(EpisodeSampler(DATASET, 4, 2, 2).sample(torch.Generator().manual_seed(3)).support)
    predictor.centres.mul_(5)
    after = map_embedding(predictor, before.pool, before=before)
    for (low, high), places in zip(after.window, after.centres.reshape(-1, 2).T, strict=True):
        assert low <= places.min() and places.max() <= high
    assert after.window != before.window
