"""Scenes: which kinds are in them, that a seed repeats them, and that boxes fit what was painted."""

import pytest
import torch

from fewshot_kit.data.bundled import DRAWINGS, load_examples
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.quickdraw import categories
from fewshot_kit.detection import scene_kinds, scenes
from fewshot_kit.detection.annotated import DetectionSampler
from fewshot_kit.detection.boxes import area, intersection
from fewshot_kit.detection.scene_kinds import KINDS, LEFT_OUT, kinds_of_quickdraw_scenes, kinds_of_scenes, quickdraw_words
from fewshot_kit.detection.scenes import make_scenes

pytestmark = pytest.mark.usefixtures("own_cache")


def few(split: str = "test", n: int = 40, seed: int = 4):
    return make_scenes(kinds_of_scenes(split, progress=False), 96, n, seed)


def test_kinds_are_split_and_there_are_enough():
    base, chosen, novel = (set(KINDS[split]) for split in ("train", "val", "test"))
    assert not base & chosen and not base & novel and not chosen & novel
    assert base | chosen | novel == set(load_examples(DRAWINGS, "all", Preprocessing(), False).class_names)
    assert len(base | chosen | novel) >= 20 and min(len(chosen), len(novel)) >= 5
    assert KINDS["train_held_out"] == KINDS["train"] and KINDS["trainval_held_out"] == KINDS["trainval"]
    assert set(KINDS["trainval"]) == set(KINDS["train"]) | set(KINDS["val"]) and not set(KINDS["trainval"]) & set(KINDS["test"])
    assert len(set(scenes.SEEDS.values())) == len(scenes.SEEDS) == len(scenes.N_PICTURES) == len(KINDS)
    assert scenes.SEEDS.keys() == scenes.N_QUICKDRAW.keys()


def test_kinds_turned_by_quarters_are_classes_of_training_alone():
    assert tuple(scene_kinds.turned_kinds("test")) == KINDS["test"] and tuple(scene_kinds.turned_kinds("val")) == KINDS["val"]
    turned = scene_kinds.turned_kinds("train")
    assert tuple(turned)[: len(KINDS["train"])] == KINDS["train"], "as they are, first"
    assert turned["arrow 270°"] == ("arrow", 3) and "sun 90°" not in turned and "glasses 180°" not in turned
    assert len(turned) == 4 * len(KINDS["train"]) - 3 * len(scene_kinds.ONE_WAY) - 2 * len(scene_kinds.TWO_WAYS)
    assert scene_kinds.turned_kinds("train_held_out") == turned and set(turned) < set(scene_kinds.turned_kinds("trainval"))
    assert few("train", 300).class_names == tuple(turned)


def test_what_scenes_validates_and_tests_on_is_in_no_scene_of_quick_draw():
    words = {split: set(quickdraw_words(split)) for split in scenes.SEEDS}
    assert words["trainval"] == words["train"] | words["val"] == words["trainval_held_out"] and words["train_held_out"] == words["train"]
    assert not words["train"] & words["val"] and not words["trainval"] & words["test"]
    shown = {kind.replace("_", " ") for kind in (*KINDS["val"], *KINDS["test"])}
    for word in set.union(*words.values()):
        assert not shown & {word, *word.split()}, word
    assert set(LEFT_OUT) <= set(categories())


def test_scenes_of_quick_draw_are_trained_with_the_kits_own_drawings_too(monkeypatch):
    pictures = torch.zeros(4, 1, 105, 105, dtype=torch.uint8)
    monkeypatch.setattr(scene_kinds, "quickdraw_words", lambda split: ("anvil", "bird"))
    monkeypatch.setattr(scene_kinds, "load_pictures", lambda names, preprocessing, progress: (pictures, (1, 3)))
    own, found = kinds_of_scenes("train", progress=False), kinds_of_quickdraw_scenes("train", progress=False)
    assert set(found) == {"anvil", *KINDS["train"]} and len(found["anvil"]) == 1
    assert len(found["bird"]) == len(own["bird"]) + 3 and len(found["arrow"]) == len(own["arrow"])
    assert list(kinds_of_quickdraw_scenes("val", progress=False)) == ["anvil", "bird"]


def test_a_drawing_has_a_body_of_what_its_ink_encloses():
    ink = torch.zeros(1, 9, 9, dtype=torch.uint8)
    ink[0, 2:7, 2:7], ink[0, 3:6, 3:6] = 255, 0  # a ring
    drawing = scene_kinds.Kind(ink).drawing(0)
    assert drawing[0].sum() == 16 and drawing[1].sum() == 25
    ink[0, 2, 4] = 0  # open at the top: nothing is enclosed
    assert scene_kinds.Kind(ink).drawing(0)[1].sum() == 15
    assert scene_kinds.Kind(ink, quarters=1).drawing(0)[0, 4, 2] == 0, "turned by a quarter, it is open at the left"


def test_a_seed_repeats_the_scenes():
    first, again, other = few(n=20), few(n=20), few(n=20, seed=9)
    assert torch.equal(first.images, again.images) and torch.equal(torch.cat(first.boxes), torch.cat(again.boxes))
    assert not torch.equal(first.images, other.images)


def test_pictures_hold_several_things_that_do_not_hide_one_another():
    dataset = few()
    counts = [len(boxes) for boxes in dataset.boxes]
    assert min(counts) >= 1 and max(counts) <= scenes.MOST_THINGS and sum(counts) / len(counts) > 2
    assert dataset.images.shape == (40, 3, 96, 96) and dataset.class_names == KINDS["test"]
    for boxes in dataset.boxes:
        shared = intersection(boxes, boxes).fill_diagonal_(0)
        assert (shared <= scenes.MAX_OVERLAP * torch.minimum(area(boxes)[:, None], area(boxes)) + 1e-4).all()


def test_a_box_fits_what_is_painted(monkeypatch, generator):
    """On a ground of one colour, exactly what is in the box has changed, up to its edges."""
    monkeypatch.setattr(scenes, "_ground", lambda size, _: torch.full((3, size, size), 0.45))
    monkeypatch.setattr(scenes, "MOST_THINGS", 2)
    dataset = few(n=30)
    n_single = 0
    for image, boxes in zip(dataset.images, dataset.boxes, strict=True):
        is_thing = ((image.float() / 255 - 0.45).abs() > 0.01).any(0)
        rows, columns = (is_thing.any(dim).nonzero().flatten() for dim in (1, 0))
        around = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
        expected = torch.cat([boxes[:, :2].amin(0), boxes[:, 2:].amax(0)])
        assert (around - expected).abs().max() <= 2  # the softest edge of the ink may be outside
        n_single += len(boxes) == 1
    assert n_single < 30


def test_episodes_can_be_drawn_from_each_split(generator):
    for split, n in (("val", 60), ("test", 90)):
        episode = DetectionSampler(few(split, n), 5, 1, 3).sample(generator)
        assert len(episode.query) == 15 and episode.n_way == 5
