"""Pictures with boxes and the episodes drawn from them: what is checked, and what an episode holds."""

from dataclasses import replace

import pytest
import torch
from painted import batch_of, painted_boxes

from fewshot_kit.detection.annotated import AnnotatedImages, BoxedImages, DetectionEpisode, DetectionSampler

BOX = torch.tensor([[1.0, 2, 9, 8]])


def several_classes(pictures: list[list[int]], n_classes: int) -> AnnotatedImages:
    """Pictures that show these classes; their first pixel is their number."""
    images = torch.zeros(len(pictures), 3, 16, 16, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(len(pictures))
    boxes = tuple(BOX.repeat(len(classes), 1) + torch.arange(len(classes))[:, None] for classes in pictures)
    labels = tuple(torch.tensor(classes, dtype=torch.int64) for classes in pictures)
    return AnnotatedImages("several", "test", images, boxes, labels, tuple("abcdef"[:n_classes]))


def numbers(images: torch.Tensor) -> list[int]:
    return (images[:, 0, 0, 0] * 255).round().int().tolist()


def test_an_episode_has_different_pictures_of_every_class(generator):
    dataset = painted_boxes(n_way=4, per_class=6)
    for _ in range(20):
        drawn = DetectionSampler(dataset, 3, 2, 4).draw(generator)
        pictures = torch.cat([drawn.support, drawn.query], dim=1)
        assert pictures.shape == (3, 6) and len(pictures.unique()) == 18
        for class_id, of_class in zip(drawn.class_ids, pictures, strict=True):
            assert all(dataset.labels[i].item() == class_id for i in of_class)


def test_labels_count_within_the_episode(generator):
    dataset = painted_boxes(n_way=4, per_class=3)
    episode = DetectionSampler(dataset, 2, 1, 2).sample(generator, class_ids=(3, 1))
    assert episode.support.class_names == ("d", "b") and episode.class_ids == (3, 1)
    assert torch.cat(episode.support.labels).tolist() == [0, 1]
    assert torch.cat(episode.query.labels).tolist() == [0, 0, 1, 1]
    assert episode.support.images.is_floating_point() and episode.support.images.max() <= 1


def test_boxes_of_other_classes_are_left_out_and_of_the_episodes_classes_are_kept(generator):
    dataset = several_classes([[0, 1, 2]] * 3 + [[1, 3]] * 3, 4)
    episode = DetectionSampler(dataset, 2, 1, 1).sample(generator, class_ids=(3, 0))
    of_first, of_second = episode.support.labels
    assert of_first.tolist() == [0] and of_second.tolist() == [1]
    assert episode.support.boxes[1].tolist() == BOX.tolist()
    both = dataset.take_classes(torch.tensor([0, 3]), (1, 0))
    assert [labels.tolist() for labels in both.labels] == [[1, 0], [0]]
    assert both.boxes[0].tolist() == dataset.boxes[0][:2].tolist()
    assert both.has_class().tolist() == [[True, True], [True, False]]


def test_the_same_seed_draws_the_same():
    sampler = DetectionSampler(painted_boxes(4, 6), 3, 1, 2)
    first, again, other = (sampler.draw(torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert first.class_ids == again.class_ids and torch.equal(first.query, again.query)
    assert first.class_ids != other.class_ids or not torch.equal(first.query, other.query)


def test_no_picture_is_drawn_for_two_classes(generator):
    dataset = several_classes([[0, 1]] * 4 + [[0]] * 2, 2)
    for _ in range(20):
        drawn = DetectionSampler(dataset, 2, 1, 2).draw(generator)
        assert len(torch.cat([drawn.support, drawn.query], 1).unique()) == 6


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n_way": 1}, "n_way must be at least 2, not 1"),
        ({"n_shot": 0}, "n_shot must be at least 1"),
        ({"n_way": 4}, "4 ways are needed, but 'painted' has 3 classes in split 'test'; lower n_way"),
        ({"n_query": 6}, "7 pictures a class are needed, but 'a' is in 6; lower n_shot or n_query"),
    ],
)
def test_what_a_data_set_cannot_serve_is_told_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        DetectionSampler(painted_boxes(), **{"n_way": 3, "n_shot": 1, "n_query": 2, **options})


def test_classes_that_share_their_pictures_are_told(generator):
    with pytest.raises(ValueError, match="2 x 3 different pictures are needed, but 'several' has 4"):
        DetectionSampler(several_classes([[0, 1]] * 4, 2), 2, 1, 2)
    shared = several_classes([[0, 1]] * 3 + [[2]] * 9, 3)
    with pytest.raises(ValueError, match="share so many pictures"):
        DetectionSampler(shared, 3, 1, 2).sample(generator)
    with pytest.raises(ValueError, match=r"different class ids of 0 \.\. 2 are needed"):
        DetectionSampler(shared, 2, 1, 1).sample(generator, class_ids=(1, 3))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"images": torch.zeros(1, 1, 16, 16)}, "pictures must be"),
        ({"boxes": ()}, "1 pictures need as many"),
        ({"boxes": (BOX.flip(1),)}, "right and bottom the larger ones; number 0"),
        ({"boxes": (BOX * torch.nan,)}, "right and bottom the larger"),
        ({"boxes": (BOX + 10,)}, "a box of picture 0 is outside its 16 x 16 pixels"),
        ({"boxes": (BOX - 2,)}, "outside"),
        ({"labels": (torch.zeros(2, dtype=torch.int64),)}, "labels of picture 0 must be"),
        ({"labels": (torch.zeros(1),)}, "must be int64"),
        ({"labels": (torch.ones(1, dtype=torch.int64),)}, "labels must lie in 0 .. 0"),
        ({"class_names": ()}, "at least one is needed"),
        ({"class_names": ("a", "a")}, "class names must differ"),
    ],
)
def test_what_is_no_picture_with_boxes_is_told(changes, message):
    sound = BoxedImages(torch.zeros(1, 3, 16, 16), (BOX,), (torch.zeros(1, dtype=torch.int64),), ("a",))
    assert len(sound.to("cpu")) == 1
    with pytest.raises(ValueError, match=message):
        replace(sound, **changes)


def test_a_class_without_a_box_is_told():
    with pytest.raises(ValueError, match="class 'b' of 'several' has no box in split 'test'"):
        several_classes([[0], []], 2)
    batch = batch_of(painted_boxes(2, 1))
    with pytest.raises(ValueError, match="every class needs a box to learn from, but 'b' has none"):
        DetectionEpisode(replace(batch, boxes=(batch.boxes[0], BOX[:0]), labels=(batch.labels[0], batch.labels[0][:0])), batch)
