"""RoIAlign against a loop in float64 that reads one point after the other."""

import math

import pytest
import torch

from fewshot_kit.detection.roi_align import roi_align


def bilinear(plane, y: float, x: float) -> float:
    """Read a plane of cells at a point in cells, the first value at (0, 0); beyond the outermost ones, the nearest."""
    height, width = len(plane), len(plane[0])
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = min(math.floor(y), height - 1), min(math.floor(x), width - 1)
    bottom, right, dy, dx = min(top + 1, height - 1), min(left + 1, width - 1), y - top, x - left
    upper = (1 - dx) * plane[top][left] + dx * plane[top][right]
    return (1 - dy) * upper + dy * ((1 - dx) * plane[bottom][left] + dx * plane[bottom][right])


def by_loop(features, boxes, stride: float, side: int) -> list:
    result = []
    for picture, of_picture in zip(features.tolist(), boxes, strict=True):
        for left, top, right, bottom in of_picture.tolist():
            height, width = (bottom - top) / side, (right - left) / side
            points = [[(top + (i + a) * height, left + (j + b) * width) for a in (0.25, 0.75) for b in (0.25, 0.75)]
                      for i in range(side) for j in range(side)]  # fmt: skip
            values = [
                [sum(bilinear(plane, y / stride - 0.5, x / stride - 0.5) for y, x in four) / 4 for four in points] for plane in picture
            ]
            result.append(values)
    return result


@pytest.mark.parametrize("stride", [1, 8])
@pytest.mark.parametrize("side", [1, 3, 7])
def test_it_is_the_mean_of_four_points_a_cell(side, stride, generator):
    features = torch.randn(3, 2, 5, 7, dtype=torch.float64, generator=generator)
    low = torch.rand(6, 2, dtype=torch.float64, generator=generator) * torch.tensor([4.0, 3.0]) * stride
    boxes = torch.cat([low, low + (0.2 + 3 * torch.rand(6, 2, dtype=torch.float64, generator=generator)) * stride], dim=1)
    boxes[0] = torch.tensor([0, 0, 7 * stride, 5 * stride])  # the whole picture, whose outermost points lie beyond the outermost middles
    lists = [boxes[:2], boxes[:0], boxes[2:]]
    expected = torch.tensor(by_loop(features, lists, stride, side), dtype=torch.float64).view(6, 2, side, side)
    torch.testing.assert_close(roi_align(features, lists, stride, side), expected)


def test_a_ramp_is_read_where_it_is():
    """The feature that says how far right it is says so of every cell's middle, to the half pixel."""
    middles = (torch.arange(10, dtype=torch.float64) + 0.5) * 4
    ramp = middles.expand(1, 1, 10, 10)
    cells = roi_align(ramp, [torch.tensor([[6.0, 10, 18, 34]], dtype=torch.float64)], 4, 3)
    torch.testing.assert_close(cells[0, 0], torch.tensor([8.0, 12, 16], dtype=torch.float64).expand(3, 3))


def test_features_get_the_gradient(generator):
    features = torch.randn(2, 2, 4, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    boxes = [torch.tensor([[3.0, 5, 21, 30]], dtype=torch.float64), torch.tensor([[0.0, 0, 32, 32], [9, 9, 10, 10]], dtype=torch.float64)]
    assert torch.autograd.gradcheck(lambda x: roi_align(x, boxes, 8, 2), features)


def test_no_box_and_a_wrong_number_of_lists():
    features = torch.zeros(2, 3, 4, 4)
    assert roi_align(features, [torch.empty(0, 4)] * 2, 8, 5).shape == (0, 3, 5, 5)
    with pytest.raises(ValueError, match="each of 2 pictures, but there are 1"):
        roi_align(features, [torch.empty(0, 4)], 8, 5)
