"""Episodes: what is drawn, from whom, in which order, and what is refused."""

from collections import Counter
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import identities, numbered_images

from fewshot_kit.data.episodes import Episode, EpisodeSampler, LabelledImages

DATASET = numbered_images((6, 5, 7, 6, 9))


def draw(seed: int = 0, n_way: int = 3, n_shot: int = 2, n_query: int = 2, class_ids=None) -> Episode:
    return EpisodeSampler(DATASET, n_way, n_shot, n_query).sample(torch.Generator().manual_seed(seed), class_ids)


def some_images(n: int = 2, labels=(0, 1), class_names=("a", "b")) -> LabelledImages:
    return LabelledImages(torch.zeros(n, 1, 4, 4), torch.tensor(labels), class_names)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), n_way=st.integers(2, 5), n_shot=st.integers(1, 3), n_query=st.integers(0, 2))
def test_an_episode_is_what_was_asked_for(seed, n_way, n_shot, n_query):
    episode = draw(seed, n_way, n_shot, n_query)
    assert len(set(episode.class_ids)) == episode.n_way == n_way
    assert episode.support.class_names == tuple(DATASET.class_names[class_id] for class_id in episode.class_ids)
    drawn = identities(episode.support.images) + identities(episode.query.images)
    assert len(set(drawn)) == len(drawn) == n_way * (n_shot + n_query)
    for part, per_class in ((episode.support, n_shot), (episode.query, n_query)):
        assert part.labels.tolist() == [label for label in range(n_way) for _ in range(per_class)]
        assert [class_id for class_id, _ in identities(part.images)] == [episode.class_ids[label] for label in part.labels]


def test_within_a_group_all_classes_are_of_one_and_every_large_enough_group_is_drawn():
    names = ("a/1", "a/2", "b/1", "a/3", "b/2", "c/1", "c/2", "c/3")
    dataset = replace(numbered_images((5,) * 8), class_names=names)
    assert dataset.groups == {"a": (0, 1, 3), "b": (2, 4), "c": (5, 6, 7)}
    sampler, generator = EpisodeSampler(dataset, 3, 1, 1, within_group=True), torch.Generator().manual_seed(0)
    drawn = Counter(frozenset(sampler.draw(generator).class_ids) for _ in range(400))
    assert drawn.keys() == {frozenset((0, 1, 3)), frozenset((5, 6, 7))}  # the group of two is too small for three ways
    assert abs(drawn[frozenset((0, 1, 3))] - 200) < 50  # five standard deviations
    with pytest.raises(ValueError, match=r"4 ways within one group are needed, but the largest group of .* has 3 classes"):
        EpisodeSampler(dataset, 4, 1, 1, within_group=True)


def test_a_group_is_turned_one_way():
    dataset = replace(numbered_images((5,) * 4), class_names=("a/1", "a/2", "b/1", "b/2")).with_rotations()
    assert dataset.groups.keys() == {f"{group}/{turn}" for group in "ab" for turn in ("rot000", "rot090", "rot180", "rot270")}
    assert [dataset.class_names[i] for i in dataset.groups["b/rot090"]] == ["b/1/rot090", "b/2/rot090"]
    mirrored = dataset.with_reflections()
    assert [mirrored.class_names[i] for i in mirrored.groups["b/rot090/mirrored"]] == ["b/1/rot090/mirrored", "b/2/rot090/mirrored"]
    assert mirrored.groups["b/rot090"] == tuple(2 * i for i in dataset.groups["b/rot090"])


def test_the_same_seed_gives_the_same_episode():
    first, again, other = draw(seed=3), draw(seed=3), draw(seed=4)
    assert first.class_ids == again.class_ids
    assert torch.equal(first.support.images, again.support.images) and torch.equal(first.query.images, again.query.images)
    assert not torch.equal(first.support.images, other.support.images)


def test_sampling_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    draw()
    assert torch.equal(before, torch.get_rng_state())


def test_class_ids_fix_the_classes_and_leave_the_images_to_chance():
    first, other = draw(seed=0, class_ids=[4, 0, 2]), draw(seed=1, class_ids=[4, 0, 2])
    for episode in (first, other):
        assert episode.class_ids == (4, 0, 2) and episode.support.class_names == ("e", "a", "c")
        assert [class_id for class_id, _ in identities(episode.query.images)] == [4, 4, 0, 0, 2, 2]
    assert identities(first.support.images) != identities(other.support.images)


def test_every_image_is_drawn_as_often_in_expectation():
    sampler, generator = EpisodeSampler(numbered_images((4, 4, 4)), 2, 1, 1), torch.Generator().manual_seed(0)
    episodes = [sampler.sample(generator) for _ in range(1500)]
    for part in ("support", "query"):
        seen = Counter(pair for episode in episodes for pair in identities(getattr(episode, part).images))
        assert len(seen) == 12 and 190 < min(seen.values()) <= max(seen.values()) < 310  # 250 expected, standard deviation 15


def test_without_queries_the_query_part_is_empty_and_stays_so():
    episode = draw(n_query=0).map_images(lambda images: images / len(images))
    assert len(episode.query) == 0 and episode.query.images.shape[1:] == episode.support.images.shape[1:]


def test_map_images_changes_images_and_nothing_else():
    episode = draw()
    changed = episode.map_images(lambda images: 1 - images)
    assert torch.equal(changed.support.images, 1 - episode.support.images) and torch.equal(changed.query.images, 1 - episode.query.images)
    assert torch.equal(changed.query.labels, episode.query.labels) and changed.class_ids == episode.class_ids


@pytest.mark.parametrize(
    ("way_shot_query", "message"),
    [
        ((6, 1, 1), r"6 ways.*'numbered' has 5 classes.*lower n_way"),
        ((2, 4, 2), r"4 \+ 2 images a class.*'b' has 5; lower n_shot or n_query"),
        ((1, 1, 1), "n_way must be at least 2, not 1"),
        ((2, 0, 1), "n_shot must be at least 1, not 0"),
        ((2, 1, -1), "n_query must be at least 0, not -1"),
    ],
)
def test_impossible_episodes_are_refused_before_any_is_drawn(way_shot_query, message):
    with pytest.raises(ValueError, match=message):
        EpisodeSampler(DATASET, *way_shot_query)


@pytest.mark.parametrize("class_ids", [(0, 1), (0, 1, 1), (0, 1, 2, 3)])
def test_class_ids_must_be_as_many_different_ones_as_ways(class_ids):
    with pytest.raises(ValueError, match="3 different classes are needed"):
        draw(class_ids=class_ids)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 4, 4), torch.tensor([0, 1], dtype=torch.int32), "labels must be int64"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([0.0, 1.0]), "labels must be int64"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([0, 1, 1]), r"labels must be int64 \(2,\)"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([0, 2]), r"labels must lie in 0 \.\. 1"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([-1, 0]), r"labels must lie in 0 \.\. 1"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]), "images must be float"),
        (torch.zeros(2, 4, 4), torch.tensor([0, 1]), r"images must be float \(n, channels"),
    ],
)
def test_wrong_images_and_labels_are_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        LabelledImages(images, labels, ("a", "b"))


def test_support_and_query_must_name_the_same_classes():
    with pytest.raises(ValueError, match="different classes"):
        Episode(some_images(), some_images(class_names=("b", "a")))


def test_episodes_are_frozen():
    episode = Episode(some_images(), some_images())
    with pytest.raises(FrozenInstanceError):
        episode.class_ids = (1,)
    with pytest.raises(FrozenInstanceError):
        episode.support.labels = torch.tensor([1, 0])
