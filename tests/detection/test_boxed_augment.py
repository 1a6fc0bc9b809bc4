"""Augmentation of pictures with boxes: a painted rectangle is still where its box says."""

import math

import pytest
import torch
from painted import COLOURS, NAMES, batch_of, painted_boxes

from fewshot_kit.detection import augment
from fewshot_kit.detection.annotated import BoxedImages
from fewshot_kit.detection.augment import augment_boxed, move_boxes


def seen_box(image: torch.Tensor, label: int) -> list[int] | None:
    """Read the box of a colour from the pixels."""
    is_thing = (image - COLOURS[label][:, None, None] / 255).abs().amax(0) < 0.2
    rows, columns = (is_thing.any(dim).nonzero().flatten().tolist() for dim in (1, 0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if rows else None


@pytest.mark.parametrize("turns", [False, True])
def test_a_rectangle_is_where_its_box_says(turns, generator):
    batch = batch_of(painted_boxes(n_way=6, per_class=10, size=96))
    moved = augment_boxed(batch, generator, turns=turns, jitter=0)
    n_seen = 0
    for image, boxes, labels in zip(moved.images, moved.boxes, moved.labels, strict=True):
        for box, label in zip(boxes, labels.tolist(), strict=True):
            found = torch.tensor(seen_box(image, label), dtype=torch.float32)
            assert (found - box).abs().max() <= 1.6  # an edge between two pixels is half of each colour
            n_seen += 1
    assert n_seen > 40
    assert not torch.equal(torch.cat(moved.boxes)[:5], torch.cat(batch.boxes)[:5])


def test_turned_pictures_come_in_all_eight_positions(generator):
    corner = BoxedImages(
        torch.zeros(200, 3, 32, 32), (torch.tensor([[0.0, 2, 8, 6]]),) * 200, (torch.zeros(1, dtype=torch.int64),) * 200, ("a",)
    )
    found = {
        tuple(b.flatten().round().int().tolist())
        for b in augment_boxed(corner, generator, turns=True, zoom=(1, 1), aspect=0, jitter=0).boxes
    }
    assert len(found) == 8
    found = {tuple(b.flatten().round().int().tolist()) for b in augment_boxed(corner, generator, zoom=(1, 1), aspect=0, jitter=0).boxes}
    assert found == {(0, 2, 8, 6), (24, 2, 32, 6)}


def test_without_a_change_all_stays(generator, monkeypatch):
    batch = batch_of(painted_boxes())
    monkeypatch.setattr(augment, "_maps", lambda n, *_: (torch.eye(2).expand(n, 2, 2), torch.zeros(n, 2)))
    same = augment_boxed(batch, generator, jitter=0)
    torch.testing.assert_close(same.images, batch.images, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.cat(same.boxes), torch.cat(batch.boxes))
    assert torch.equal(torch.cat(same.labels), torch.cat(batch.labels))


def test_a_box_is_dropped_where_too_little_of_it_is_left():
    boxes = torch.tensor([[0.0, 0, 20, 20], [40, 40, 60, 60], [58, 0, 62, 8], [31, 31, 33, 33]])
    left_half = torch.diag(torch.tensor([0.5, 1.0])), torch.tensor([-0.5, 0.0])  # of 64 pixels, the first 32
    visible, is_left = move_boxes(boxes, *left_half, 64, 64)
    assert is_left.tolist() == [True, False, False, False]
    assert visible.tolist() == [[0, 0, 40, 20]]
    _, is_left = move_boxes(torch.tensor([[28.0, 0, 38, 20]]), *left_half, 64, 64)
    assert is_left.tolist() == [math.isclose(augment.LEAST_VISIBLE, 0.4)]  # 4 of 10 pixels are left


def test_colours_change_and_boxes_do_not(generator):
    batch = batch_of(painted_boxes())
    changed = augment_boxed(batch, generator, zoom=(1, 1), aspect=0, jitter=0.4)
    assert changed.images.min() >= 0 and changed.images.max() <= 1
    assert changed.images.shape == batch.images.shape
    widths = torch.cat(changed.boxes)[:, 2] - torch.cat(changed.boxes)[:, 0]
    torch.testing.assert_close(widths, torch.cat(batch.boxes)[:, 2] - torch.cat(batch.boxes)[:, 0])


def test_a_seed_repeats_it_and_oblong_pictures_are_not_turned():
    batch = batch_of(painted_boxes())
    first, again = (augment_boxed(batch, torch.Generator().manual_seed(3), turns=True) for _ in range(2))
    assert torch.equal(first.images, again.images) and torch.equal(torch.cat(first.boxes), torch.cat(again.boxes))
    oblong = BoxedImages(torch.zeros(1, 3, 32, 48), (torch.empty(0, 4),), (torch.empty(0, dtype=torch.int64),), NAMES[:1])
    assert augment_boxed(oblong, torch.Generator()).images.shape == (1, 3, 32, 48)
    with pytest.raises(ValueError, match="only square pictures"):
        augment_boxed(oblong, torch.Generator(), turns=True)
