"""What a detector sees in a picture before it knows any class, what it takes from a support, and what it finds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fewshot_kit.detection.annotated import BoxedImages
from fewshot_kit.detection.boxes import iou, nms, nms_by_class
from fewshot_kit.learners.detector_configs import DetectorConfig

NOTHING = 0.4  # a box that overlaps all things by less is background
ONE_PLACE = 0.5  # boxes that overlap by more show the same thing
LEFT_OUT = -2  # of labels: neither a thing (0 ..) nor background (-1)


@dataclass(frozen=True)
class Seen:
    """What a detector sees in one picture, whatever the classes: it looks once, and answers as often as classes change."""

    proposals: Tensor  # (n, 4)
    objectness: Tensor  # (n,), 0..1
    boxes: Tensor  # (n, 4): the proposals, moved to where their things are
    embeddings: Tensor  # (n, d)
    marked: Tensor  # (m, d): the embeddings of the boxes that a person marked

    def with_mark(self, which: int) -> "Seen":
        """Return it with one of the marked boxes alone."""
        return replace(self, marked=self.marked[which : which + 1])


@dataclass(frozen=True)
class Detections:
    """What was found in one picture, the most certain first."""

    boxes: Tensor  # (n, 4), in pixels
    labels: Tensor  # (n,), int64
    probabilities: Tensor  # (n,), 0..1

    def __len__(self) -> int:
        return len(self.labels)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return boxes, labels and probabilities as they are drawn."""
        return self.boxes.numpy(), self.labels.numpy(), self.probabilities.numpy()

    def at_least(self, probability: float) -> "Detections":
        """Keep what is at least so certain."""
        kept = self.probabilities >= probability
        return Detections(self.boxes[kept], self.labels[kept], self.probabilities[kept])

    def shown(self, probability: float) -> "Detections":
        """Keep what a person is shown: what is at least so certain, and of boxes of different classes in one place the most certain."""
        found = self.at_least(probability)
        kept = nms(found.boxes, found.probabilities, ONE_PLACE)
        return Detections(found.boxes[kept], found.labels[kept], found.probabilities[kept])


def proposal_labels(proposals: Tensor, boxes: Tensor, labels: Tensor, overlap: float) -> Tensor:
    """Return the label (n,) of each proposal (n, 4) of a support picture, given its marked boxes (m, 4) and their labels (m,).

    A proposal that overlaps a box by more than `overlap` is of its class, one that overlaps all by less than `NOTHING` is background (-1);
    the others are left out.
    """
    if not len(boxes):
        return labels.new_full((len(proposals),), -1)
    best, which = iou(proposals, boxes).max(1)
    background = torch.where(best < min(NOTHING, overlap), -1, LEFT_OUT)
    return torch.where(best > overlap, labels[which], background)


def support_embeddings(seen: list[Seen], boxes: tuple[Tensor, ...], labels: tuple[Tensor, ...], overlap: float) -> tuple[Tensor, Tensor]:
    """Return the embeddings (n, d) of the marked boxes and the proposals of support pictures, and their labels (n,), -1: background."""
    embeddings, of_all = [], []
    for picture, marked, of_marked in zip(seen, boxes, labels, strict=True):
        of_proposals = proposal_labels(picture.proposals, marked, of_marked, overlap)
        counts = of_proposals != LEFT_OUT
        embeddings += [picture.marked, picture.embeddings[counts]]
        of_all += [of_marked, of_proposals[counts]]
    return torch.cat(embeddings), torch.cat(of_all)


def thinned(boxes: Tensor, scores: Tensor, config: DetectorConfig) -> Detections:
    """Keep the boxes (n, 4) of a picture whose score (n, n_way) is high enough, and that no better one of their class covers."""
    is_box = (boxes[:, 2:] - boxes[:, :2] > 0).all(1)
    row, labels = ((scores >= config.score_threshold) & is_box[:, None]).nonzero().unbind(1)
    found = scores[row, labels]
    kept = nms_by_class(boxes[row], found, labels, config.overlap)[: config.most_boxes]
    return Detections(boxes[row[kept]], labels[kept], found[kept])


def verdicts(found: Detections, boxes: Tensor, labels: Tensor, overlap: float = 0.5) -> tuple[Tensor, Tensor]:
    """Say which detections of a picture are right, (n,), and which of its things, boxes (m, 4) and labels (m,), were found, (m,).

    From the most certain down, each takes the thing of its class that it overlaps most, if by `overlap` and if none had it before.
    """
    is_right, is_found = torch.zeros(len(found), dtype=torch.bool), torch.zeros(len(labels), dtype=torch.bool)
    overlaps = iou(found.boxes, boxes)
    for i, label in enumerate(found.labels.tolist()):
        free = torch.where((labels == label) & ~is_found, overlaps[i], -1.0)
        if len(free) and free.max() >= overlap:
            is_right[i], is_found[free.argmax()] = True, True
    return is_right, is_found


def precision_recall(truth: BoxedImages, found: Sequence[Detections], label: int) -> tuple[Tensor, Tensor]:
    """Return precision and recall of a class after each of its detections in all pictures, the most certain first, (n,) each."""
    right, probabilities = [torch.empty(0, dtype=torch.bool)], [torch.empty(0)]  # there may be no pictures
    for of_picture, boxes, labels in zip(found, truth.boxes, truth.labels, strict=True):
        is_of_class = of_picture.labels == label
        right.append(verdicts(of_picture, boxes, labels)[0][is_of_class])
        probabilities.append(of_picture.probabilities[is_of_class])
    order = torch.cat(probabilities).argsort(descending=True, stable=True)
    n_right = torch.cat(right)[order].cumsum(0)
    n_things = sum(int((labels == label).sum()) for labels in truth.labels)
    return n_right / torch.arange(1, len(order) + 1), n_right / max(1, n_things)
