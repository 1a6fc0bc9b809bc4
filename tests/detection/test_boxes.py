"""Boxes: areas and overlaps by hand and by painting, coding back and forth, and non-maximum suppression by brute force."""

import pytest
import torch

from fewshot_kit.detection.boxes import area, check_boxes, clipped, decode, encode, generalised_iou, iou, nms, nms_by_class


def random_boxes(n: int, generator: torch.Generator, size: int = 40) -> torch.Tensor:
    corners = torch.randint(0, size, (n, 2, 2), generator=generator)
    low, high = corners.amin(1), corners.amax(1) + 1
    return torch.cat([low, high], dim=1).double()


def painted(box: torch.Tensor, size: int = 41) -> torch.Tensor:
    picture = torch.zeros(size, size, dtype=torch.bool)
    left, top, right, bottom = box.int().tolist()
    picture[top:bottom, left:right] = True
    return picture


def test_overlaps_are_those_of_painted_rectangles(generator):
    a, b = random_boxes(20, generator), random_boxes(15, generator)
    expected = [[(painted(x) & painted(y)).sum() / (painted(x) | painted(y)).sum() for y in b] for x in a]
    torch.testing.assert_close(iou(a, b), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-6)
    assert area(a).tolist() == [painted(x).sum() for x in a]


def test_overlap_by_hand():
    one = torch.tensor([[0.0, 0, 10, 10]])
    others = torch.tensor([[5.0, 0, 15, 10], [10, 0, 20, 10], [0, 0, 10, 10], [2, 2, 2, 2]])
    torch.testing.assert_close(iou(one, others), torch.tensor([[1 / 3, 0, 1, 0]]))
    assert iou(others[3:], others[3:]).item() == 0  # both empty
    assert iou(one, torch.empty(0, 4)).shape == (1, 0)


def test_generalised_iou_is_iou_for_boxes_in_one_another_and_falls_with_distance():
    one, inside = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[2.0, 2, 6, 6]])
    assert generalised_iou(one, inside).item() == pytest.approx(iou(one, inside).item())
    near, far = (generalised_iou(one, torch.tensor([[x, 0.0, x + 10, 10]])).item() for x in (12.0, 90.0))
    assert -1 < far < near < 0
    assert near == pytest.approx(-20 / 220)  # 220 around both, 200 covered


def test_clipping_keeps_what_is_inside():
    boxes = torch.tensor([[-5.0, -5, 5, 5], [2, 3, 4, 5], [30, 1, 50, 9], [60, 60, 70, 70]])
    inside = clipped(boxes, height=20, width=40)
    assert inside.tolist() == [[0, 0, 5, 5], [2, 3, 4, 5], [30, 1, 40, 9], [40, 20, 40, 20]]
    assert area(inside)[3] == 0


def test_coding_goes_back_and_forth(generator):
    targets, proposals = random_boxes(50, generator), random_boxes(50, generator)
    torch.testing.assert_close(decode(encode(targets, proposals), proposals), targets)
    assert encode(proposals, proposals).abs().max() == 0


def test_coding_by_hand():
    proposal, target = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 0, 15, 10]])
    expected = torch.tensor([[0.5, -0.25, 0, -torch.log(torch.tensor(2.0))]])
    torch.testing.assert_close(encode(target, proposal, (1, 1, 1, 1)), expected)
    torch.testing.assert_close(encode(target, proposal), expected * torch.tensor([10.0, 10, 5, 5]))


def test_a_wild_offset_stays_finite():
    assert decode(torch.full((1, 4), 1e6), torch.tensor([[0.0, 0, 10, 10]])).isfinite().all()


def nms_by_loop(boxes, scores, threshold) -> list[int]:
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(iou(boxes[i : i + 1], boxes[j : j + 1]).item() <= threshold for j in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_suppression_is_that_of_a_loop(threshold, generator):
    for n in (0, 1, 2, 40):
        boxes, scores = random_boxes(n, generator, size=15), torch.rand(n, generator=generator)
        assert nms(boxes, scores, threshold).tolist() == nms_by_loop(boxes, scores.tolist(), threshold)


def test_a_chain_is_settled_from_the_best_one_down():
    boxes = torch.tensor([[float(4 * i), 0, 4 * i + 10, 10] for i in range(9)])  # each covers its neighbours alone
    assert nms(boxes, torch.linspace(1, 0, 9), 0.4).tolist() == [0, 2, 4, 6, 8]


def test_of_equal_scores_the_first_stays():
    assert nms(torch.tensor([[0.0, 0, 9, 9]] * 3), torch.ones(3), 0.5).tolist() == [0]


def test_classes_do_not_suppress_one_another(generator):
    boxes, scores = random_boxes(60, generator, size=12) - 5, torch.rand(60, generator=generator)
    labels = torch.randint(0, 4, (60,), generator=generator)
    expected = {int(labels.eq(k).nonzero()[i]) for k in range(4) for i in nms(boxes[labels == k], scores[labels == k], 0.3)}
    kept = nms_by_class(boxes, scores, labels, 0.3)
    assert set(kept.tolist()) == expected
    assert scores[kept].diff().max() <= 0
    assert nms_by_class(boxes[:0], scores[:0], labels[:0], 0.3).tolist() == []


@pytest.mark.parametrize(
    "boxes", [torch.zeros(4), torch.zeros(1, 5), torch.ones(1, 4), torch.tensor([[0, 0, torch.nan, 1]]), torch.tensor([[0, 0, 1, 1]])]
)
def test_what_is_no_box_is_told(boxes):
    with pytest.raises(ValueError, match="support boxes must be"):
        check_boxes(boxes, "support boxes")
