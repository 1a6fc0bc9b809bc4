"""The bundled scenes: what is in them, that a seed repeats them, and that boxes fit what was painted."""

import pytest
import torch

from fewshot_kit.data.bundled import DRAWINGS, load_examples
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.detection import scenes
from fewshot_kit.detection.annotated import DetectionSampler
from fewshot_kit.detection.boxes import area, intersection
from fewshot_kit.detection.scenes import KINDS, make_scenes

pytestmark = pytest.mark.usefixtures("own_cache")


def few(split: str = "test", n: int = 40, **options):
    return make_scenes(split, 96, n_pictures=n, progress=False, **options)


def test_kinds_are_split_and_there_are_enough():
    base, chosen, novel = (set(KINDS[split]) for split in ("train", "val", "test"))
    assert not base & chosen and not base & novel and not chosen & novel
    assert base | chosen | novel == set(load_examples(DRAWINGS, "all", Preprocessing(), False).class_names)
    assert len(base | chosen | novel) >= 20 and min(len(chosen), len(novel)) >= 5
    assert KINDS["train_held_out"] == KINDS["train"] and KINDS["trainval_held_out"] == KINDS["trainval"]
    assert set(KINDS["trainval"]) == set(KINDS["train"]) | set(KINDS["val"]) and not set(KINDS["trainval"]) & set(KINDS["test"])
    assert len(set(scenes.SEEDS.values())) == len(scenes.SEEDS) == len(scenes.N_PICTURES) == len(KINDS)


def test_kinds_turned_by_quarters_are_classes_of_training_alone():
    assert tuple(scenes.turned_kinds("test")) == KINDS["test"] and tuple(scenes.turned_kinds("val")) == KINDS["val"]
    turned = scenes.turned_kinds("train")
    assert tuple(turned)[: len(KINDS["train"])] == KINDS["train"], "as they are, first"
    assert turned["arrow 270°"] == ("arrow", 3) and "sun 90°" not in turned and "glasses 180°" not in turned
    assert len(turned) == 4 * len(KINDS["train"]) - 3 * len(scenes.ONE_WAY) - 2 * len(scenes.TWO_WAYS)
    assert scenes.turned_kinds("train_held_out") == turned and set(turned) < set(scenes.turned_kinds("trainval"))
    assert few("train", 300).class_names == tuple(turned)


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
