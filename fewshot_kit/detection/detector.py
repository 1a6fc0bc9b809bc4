"""The detector: a backbone with a pyramid, proposals, and RepMet's head on each of them (Karlinsky et al. 2019)."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_kit.data.images import to_float
from fewshot_kit.detection.annotated import BoxedImages
from fewshot_kit.detection.boxes import clipped, encode, iou
from fewshot_kit.detection.configs import DetectorConfig
from fewshot_kit.detection.proposals import ProposalHead, Proposals, cell_middles, proposal_losses, propose
from fewshot_kit.detection.pyramid import STRIDES, Pyramid
from fewshot_kit.detection.repmet_head import RepMetHead, background_loss, class_loss
from fewshot_kit.detection.roi_align import roi_align

THING, NOTHING = 0.5, 0.4  # a box that overlaps a thing by at least, or all things by less: what lies between teaches nothing
SHAKEN = 3  # boxes made of each true one by moving its edges, so that the head sees things before there are proposals of them
SHAKE = 0.12  # the standard deviation of an edge, of the box's sides


class Detector(nn.Module):
    """Find things of classes that are told by representatives. It is trained on plain batches of all training classes, not on episodes.

    What only training needs, the representatives (n_classes, K, d) of the training classes, is a parameter whose name says so.
    """

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.config = config
        self.preprocessing = config.preprocessing
        self.pyramid = Pyramid(config)
        self.proposals = ProposalHead(config.channels, STRIDES[0])
        self.head = RepMetHead(config)
        self.training_representatives: nn.Parameter | None = None

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def begin_training(self, n_classes: int, generator: torch.Generator) -> None:
        """Place the representatives of the training classes at random on the sphere of the embeddings."""
        shape = (n_classes, self.config.n_representatives, self.config.n_features)
        self.training_representatives = nn.Parameter(F.normalize(torch.randn(shape, generator=generator), dim=-1).to(self.device))

    def propose(self, images: Tensor, maps: Sequence[Tensor]) -> list[Proposals]:
        """Return the proposals of each picture (n, 3, h, w), whose maps these are."""
        logits, found = self.proposals(maps[0])
        return propose(logits, found, *images.shape[-2:], self.config.n_proposals, self.config.proposal_overlap)

    def look(self, maps: Sequence[Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return embeddings (n_total, d) and offsets (n_total, 4) of boxes, a tensor (n, 4) a picture, those of the first picture first."""
        side = self.config.roi_side
        pooled = [roi_align(features, boxes, stride, side) for features, stride in zip(maps, STRIDES, strict=True)]
        return self.head(torch.cat(pooled, dim=1))

    def losses(self, batch: BoxedImages, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Return the parts of the loss of a batch; their sum is what training lowers. Labels are those of the training classes."""
        if self.training_representatives is None:
            raise ValueError("the detector has no representatives of the classes to train on; call begin_training first")
        images, true, labels = to_float(batch.images), batch.boxes, batch.labels
        maps = self.pyramid(images)
        logits, found = self.proposals(maps[0])
        points = cell_middles(*maps[0].shape[-2:], STRIDES[0]).to(images)
        objectness, edges = proposal_losses(logits, found, true, points)
        proposed = propose(logits, found, *images.shape[-2:], self.config.n_proposals, self.config.proposal_overlap)
        drawn = [
            draw_boxes(p.boxes, b, of_picture, images.shape[-2:], self.config.train_boxes, generator)
            for p, b, of_picture in zip(proposed, true, labels, strict=True)
        ]
        embeddings, offsets = self.look(maps, [boxes for boxes, _, _ in drawn])
        return {"objectness": objectness, "edges": edges, **self._head_losses(embeddings, offsets, drawn)}

    def _head_losses(self, embeddings: Tensor, offsets: Tensor, drawn: list[tuple[Tensor, Tensor, Tensor]]) -> dict[str, Tensor]:
        boxes, labels, targets = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        is_thing = labels >= 0
        closeness = self.head.closeness(embeddings, F.normalize(self.training_representatives, dim=-1))
        if not is_thing.any():
            return {"background": background_loss(closeness, labels)}
        wanted = encode(targets[is_thing], boxes[is_thing])
        return {
            "classes": class_loss(closeness[is_thing], labels[is_thing], self.config),
            "background": background_loss(closeness, labels),
            "offsets": F.smooth_l1_loss(offsets[is_thing], wanted),
        }


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
