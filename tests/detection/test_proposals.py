"""Proposals: where the heat is, what the losses ask for, and what is proposed."""

import math

import pytest
import torch

from fewshot_kit.detection.boxes import iou
from fewshot_kit.detection.proposals import LEAST_HEAT, ProposalHead, cell_middles, heat_of, proposal_losses, propose

BOXES = torch.tensor([[8.0, 8, 40, 24], [20, 30, 60, 62]])


def test_middles_of_cells():
    assert cell_middles(2, 3, 8).tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]


def test_heat_is_a_gaussian_of_the_box_and_one_nearest_to_its_middle():
    points = cell_middles(8, 8, 8)
    for box, heat in zip(BOXES, heat_of(BOXES, points), strict=True):
        left, top, right, bottom = box.tolist()
        x, y, width, height = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
        plain = [math.exp(-18 * (((px - x) / width) ** 2 + ((py - y) / height) ** 2)) for px, py in points.tolist()]
        torch.testing.assert_close(heat, torch.tensor(plain) / max(plain), rtol=1e-4, atol=1e-6)
        assert heat.max() == 1
        assert (points[heat >= LEAST_HEAT] > box[:2]).all() and (points[heat >= LEAST_HEAT] < box[2:]).all()


def perfect(points: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    heat, nearest = heat_of(boxes, points).max(0)
    return torch.where(heat == 1, 30.0, -30.0), boxes[nearest]


def test_losses_are_zero_for_perfect_answers_and_rise_from_there():
    points = cell_middles(8, 8, 8)
    logits, found = perfect(points, BOXES)
    objectness, edges = proposal_losses(logits[None], found[None], [BOXES], points)
    assert objectness.item() == pytest.approx(0, abs=1e-6) and edges.item() == pytest.approx(0, abs=1e-5)
    far = heat_of(BOXES, points).amax(0) < LEAST_HEAT  # where edges are not learned
    assert proposal_losses(logits[None], found.masked_fill(far[:, None], 1.0)[None], [BOXES], points)[1].item() == pytest.approx(
        0, abs=1e-5
    )
    worse, moved = proposal_losses(logits[None] * 0, found[None] + 4, [BOXES], points)
    assert worse > 1 and moved > 0.1


def test_objectness_is_the_focal_loss_of_every_point(generator):
    points, logits = cell_middles(5, 5, 8), torch.randn(1, 25, generator=generator, dtype=torch.float64)
    boxes = torch.tensor([[4.0, 6, 30, 36]], dtype=torch.float64)
    heat = heat_of(boxes, points)[0].tolist()
    p = logits[0].sigmoid().tolist()
    expected = sum(
        -((1 - p) ** 2) * math.log(p) if h == 1 else -((1 - h) ** 4) * p**2 * math.log(1 - p) for p, h in zip(p, heat, strict=True)
    )
    found = torch.zeros(1, 25, 4, dtype=torch.float64)
    assert proposal_losses(logits, found, [boxes], points)[0].item() == pytest.approx(expected)


def test_a_picture_with_nothing_in_it_teaches_that_nothing_is_there():
    points = cell_middles(4, 4, 8)
    logits = torch.zeros(1, 16, requires_grad=True)
    objectness, edges = proposal_losses(logits, torch.zeros(1, 16, 4), [torch.empty(0, 4)], points)
    (objectness + edges).backward()
    assert edges.item() == 0 and (logits.grad > 0).all()


def test_what_is_proposed_is_what_was_found():
    points = cell_middles(8, 8, 8)
    logits, found = perfect(points, BOXES)
    logits[heat_of(BOXES[:1], points)[0] == 1] += 1
    (proposals,) = propose(logits[None], found[None], 64, 64, 10, 0.7)
    torch.testing.assert_close(proposals.boxes[:2], BOXES)
    assert proposals.objectness.diff().max() <= 0
    overlaps = iou(proposals.boxes, proposals.boxes).fill_diagonal_(0)
    assert overlaps.max() <= 0.7
    (one,) = propose(logits[None], found[None], 64, 64, 1, 0.7)
    torch.testing.assert_close(one.boxes, BOXES[:1])
    (small,) = propose(logits[None], found[None], 30, 50, 10, 0.7)
    assert small.boxes[:, 2].max() <= 50 and small.boxes[:, 3].max() <= 30


def test_a_new_head_sees_little_everywhere_and_boxes_around_every_middle():
    logits, boxes = ProposalHead(16, 8)(torch.zeros(2, 16, 4, 5))
    assert logits.shape == (2, 20) and boxes.shape == (2, 20, 4)
    assert logits.sigmoid().max() < 0.05
    middles = (boxes[0, :, :2] + boxes[0, :, 2:]) / 2
    torch.testing.assert_close(middles, cell_middles(4, 5, 8), rtol=0, atol=2)  # its weights are random, though small
    torch.testing.assert_close(boxes[..., 2:] - boxes[..., :2], torch.full((2, 20, 2), 32.0), rtol=0, atol=4)
