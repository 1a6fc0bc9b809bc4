"""Boxes as tensors (n, 4): left, top, right, bottom in pixels, edges counted from 0, so that a whole picture is 0, 0, width, height."""

import torch
from torch import Tensor

# Of dx, dy, log dw, log dh (Girshick 2015, and all who followed): the numbers a network learns are then of a size.
WEIGHTS = (10.0, 10.0, 5.0, 5.0)
MAX_LOG_SCALE = 4.0  # of a decoded side: 55 times the proposal's; an untrained network would reach infinity


def check_boxes(boxes: Tensor, what: str = "boxes") -> None:
    """Raise ValueError unless these are finite floats (n, 4), each with its right edge beyond its left one and its bottom below its top."""
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not boxes.is_floating_point():
        raise ValueError(f"{what} must be floats (n, 4), but are {boxes.dtype} {tuple(boxes.shape)}")
    is_right = boxes.isfinite().all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)
    if not is_right.all():
        wrong = int(is_right.logical_not().nonzero()[0])
        raise ValueError(
            f"{what} must be left, top, right, bottom, right and bottom the larger ones; number {wrong} is {boxes[wrong].tolist()}"
        )


def area(boxes: Tensor) -> Tensor:
    """Return the areas (n,), 0 where a box is turned inside out."""
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)


def clipped(boxes: Tensor, height: float, width: float) -> Tensor:
    """Return the boxes with every edge inside a picture; one that lies outside has no area left."""
    most = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), most)


def intersection(a: Tensor, b: Tensor) -> Tensor:
    """Return the areas (n, m) that boxes a (n, 4) and b (m, 4) share."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    return (high - low).clamp(min=0).prod(2)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Return intersection over union (n, m) of boxes a (n, 4) and b (m, 4); 0 where both are empty."""
    shared = intersection(a, b)
    union = area(a)[:, None] + area(b)[None] - shared
    return torch.where(union > 0, shared / union.clamp(min=torch.finfo(shared.dtype).tiny), torch.zeros_like(shared))


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the generalised IoU (n,) of pairs, -1..1, which falls further the further two boxes lie apart (Rezatofighi et al. 2019)."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    around = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).clamp(min=0).prod(1).clamp(min=1e-6)
    union = area(a) + area(b) - shared
    return shared / union.clamp(min=1e-6) - (around - union) / around


def encode(targets: Tensor, proposals: Tensor, weights: tuple[float, ...] = WEIGHTS) -> Tensor:
    """Return the offsets (n, 4) that lead from proposals to targets: of the centre in the proposal's sides, of the sides as logarithms."""
    (centre, side), (from_centre, from_side) = _centre_and_side(targets), _centre_and_side(proposals)
    return torch.cat([(centre - from_centre) / from_side, (side / from_side).log()], dim=1) * targets.new_tensor(weights)


def decode(offsets: Tensor, proposals: Tensor, weights: tuple[float, ...] = WEIGHTS) -> Tensor:
    """Return the boxes (n, 4) that these offsets lead to: the way back of `encode`."""
    from_centre, from_side = _centre_and_side(proposals)
    shift, stretch = (offsets / offsets.new_tensor(weights)).split(2, dim=1)
    centre, side = from_centre + shift * from_side, from_side * stretch.clamp(max=MAX_LOG_SCALE).exp()
    return torch.cat([centre - side / 2, centre + side / 2], dim=1)


def _centre_and_side(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Return which boxes stay, best score first: none that overlaps a better one that stays by an IoU of more than `threshold`.

    Of equal scores, the first box is the better one.
    """
    order = scores.argsort(descending=True, stable=True)
    overlaps = (iou(boxes[order], boxes[order]) > threshold).triu(diagonal=1)  # [i, j]: i is better than j and covers it
    # What stays is what no box that stays covers. Taking all for staying and asking again and again settles the boxes from the best one
    # down, a few at a time; nothing is left to settle after as many rounds as the longest chain of boxes that cover one another.
    stays = torch.ones(len(order), dtype=torch.bool, device=boxes.device)
    while True:
        settled = ~(overlaps & stays[:, None]).any(0)
        if torch.equal(settled, stays):
            return order[stays]
        stays = settled


def nms_by_class(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Return which boxes stay where only boxes of one class compete; labels (n,)."""
    if not len(boxes):
        return labels.new_empty(0)
    low, high = boxes.min(), boxes.max()
    apart = labels.to(boxes.dtype) * (high - low + 1)  # every class in a place of its own
    return nms(boxes - low + apart[:, None], scores, threshold)
