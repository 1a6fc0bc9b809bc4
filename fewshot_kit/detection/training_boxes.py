"""What the head of a detector learns from in a picture: proposals, true boxes, and true boxes shaken a little."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fewshot_kit.detection.boxes import clipped, iou
from fewshot_kit.detection.found import NOTHING

THING = 0.5  # a box that overlaps a thing by at least; what lies between this and `NOTHING` teaches nothing
SHAKEN = 3  # boxes made of each true one by moving its edges, so that the head sees things before there are proposals of them
SHAKE = 0.12  # the standard deviation of an edge, of the box's sides


def draw_boxes(
    proposed: Tensor, true: Tensor, labels: Tensor, shape: Sequence[int], n: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw boxes (m, 4) of one picture for the head to learn from, at most `n`: of proposals, true boxes, and true boxes shaken a little.

    Also returns the class of each (m,), -1 for the background, and the true box of each (m, 4). At most half are of things.
    """
    sides = (true[:, 2:] - true[:, :2]).repeat(SHAKEN, 2)
    noise = torch.randn(len(sides), 4, generator=generator).to(true)
    shaken = clipped(true.repeat(SHAKEN, 1) + SHAKE * sides * noise, *shape)
    boxes = torch.cat([true, shaken[(shaken[:, 2:] - shaken[:, :2] > 1).all(1)], proposed.to(true)])
    if not len(true):
        chosen = _some(torch.arange(len(boxes)), n - n // 2, generator)
        return boxes[chosen], torch.full((len(chosen),), -1, device=true.device), boxes[chosen]
    best, nearest = iou(boxes, true).max(1)
    things = _some((best >= THING).nonzero().flatten().cpu(), n // 2, generator)
    others = _some((best < NOTHING).nonzero().flatten().cpu(), n - len(things), generator)
    chosen = torch.cat([things, others])
    found = labels[nearest[chosen]].clone()
    found[len(things) :] = -1
    return boxes[chosen], found, true[nearest[chosen]]


def _some(indices: Tensor, n: int, generator: torch.Generator) -> Tensor:
    return indices[torch.randperm(len(indices), generator=generator)[:n]]
