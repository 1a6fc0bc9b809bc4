"""Proposals: where something is, whatever it is. A dense head without anchors (Zhou et al. 2019, CenterNet; Tian et al. 2019, FCOS).

Every cell of the finest map says how likely the middle of a thing is there, and how far the thing's four edges are. Departures: the heat of
a thing falls off with its own width and height, and the edges are learned wherever it is above one half, by generalised IoU.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_kit.detection.boxes import clipped, generalised_iou, nms

SPREAD = 1 / 6  # the standard deviation of a thing's heat, of its side
LEAST_HEAT = 0.5  # where edges are learned
MAX_LOG_DISTANCE = 6.0
PRIOR = 0.02  # the objectness that a new head gives everything: near what is true
CANDIDATES = 300  # of a picture, before those that cover one another are thinned out


@dataclass(frozen=True)
class Proposals:
    """What may be something in one picture, the likeliest first."""

    boxes: Tensor  # (n, 4)
    objectness: Tensor  # (n,), 0..1


class ProposalHead(nn.Module):
    """A map (n, channels, h, w) -> objectness logits (n, h * w) and boxes (n, h * w, 4) in pixels."""

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.GroupNorm(8, channels)
        self.out = nn.Conv2d(channels, 5, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)
        with torch.no_grad():
            self.out.bias[0] = torch.tensor(PRIOR).logit()

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        found = self.out(F.relu(self.norm(self.conv(features)))).flatten(2)  # (n, 5, h * w)
        distances = 2 * self.stride * found[:, 1:].clamp(max=MAX_LOG_DISTANCE).exp()
        points = cell_middles(*features.shape[-2:], self.stride).to(features)
        low, high = points - distances[:, :2].mT, points + distances[:, 2:].mT
        return found[:, 0], torch.cat([low, high], dim=-1)


def cell_middles(height: int, width: int, stride: int) -> Tensor:
    """Return the middles (height * width, 2) of a map's cells, x and y in pixels, row after row."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (torch.stack([x, y], dim=-1).view(-1, 2) + 0.5) * stride


def heat_of(boxes: Tensor, points: Tensor) -> Tensor:
    """Return the heat (n_boxes, n_points) of each box: a Gaussian as wide and high as it, 1 at the point nearest to its middle."""
    centre, side = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2, boxes[:, None, 2:] - boxes[:, None, :2]
    exponent = -((points - centre) / (SPREAD * side)).square().sum(-1) / 2
    return (exponent - exponent.amax(1, keepdim=True)).exp()


def proposal_losses(logits: Tensor, found: Tensor, boxes: Sequence[Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of objectness (n, n_points) and that of the boxes (n, n_points, 4), given the true boxes of each picture."""
    objectness, edges, total, weight = [], [], 0, 0
    for logit, box, true in zip(logits, found, boxes, strict=True):
        heats = heat_of(true, points) if len(true) else logit.new_zeros(1, len(points))
        heat, nearest = heats.max(0)
        objectness.append(_focal(logit, heat).sum())
        total += len(true)
        if len(true):
            is_near = heat >= LEAST_HEAT
            edges.append((heat[is_near] * (1 - generalised_iou(box[is_near], true[nearest[is_near]]))).sum())
            weight = weight + heat[is_near].sum()
    nothing = logits.sum() * 0
    return torch.stack(objectness).sum() / max(1, total), (torch.stack(edges).sum() / weight if edges else nothing)


def _focal(logit: Tensor, heat: Tensor) -> Tensor:
    """Return the focal loss of every point (Law and Deng 2018, eq. 1: alpha 2, beta 4), which forgives points near a middle."""
    p = logit.sigmoid()
    return torch.where(heat == 1, -(1 - p).square() * F.logsigmoid(logit), -(1 - heat).pow(4) * p.square() * F.logsigmoid(-logit))


@torch.no_grad()
def propose(logits: Tensor, found: Tensor, height: int, width: int, n: int, overlap: float) -> list[Proposals]:
    """Return at most `n` proposals for each picture from what `ProposalHead` gives."""
    proposals = []
    for logit, boxes in zip(logits, found, strict=True):
        scores, best = logit.sigmoid().topk(min(CANDIDATES, len(logit)))
        boxes = clipped(boxes[best], height, width)
        is_box = (boxes[:, 2:] - boxes[:, :2] >= 1).all(1)
        boxes, scores = boxes[is_box], scores[is_box]
        kept = nms(boxes, scores, overlap)[:n]
        proposals.append(Proposals(boxes[kept], scores[kept]))
    return proposals
