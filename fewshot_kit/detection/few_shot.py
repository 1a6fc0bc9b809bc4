"""Few-shot detection with RepMet: a class is told by the embeddings of what overlaps its support boxes, and found in other pictures."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from fewshot_kit.data.images import to_float
from fewshot_kit.detection.annotated import BoxedImages, check_support
from fewshot_kit.detection.boxes import clipped, decode, iou, nms_by_class
from fewshot_kit.detection.detector import Detector
from fewshot_kit.detection.repmet_head import posteriors
from fewshot_kit.learners.clusters import k_means

PICTURES_TOGETHER = 16


@dataclass(frozen=True)
class Detections:
    """What was found in one picture, the most certain first."""

    boxes: Tensor  # (n, 4), in pixels
    labels: Tensor  # (n,), int64
    probabilities: Tensor  # (n,), 0..1

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class BoxPredictor:
    """A detector that was told its classes."""

    detector: Detector  # in evaluation mode
    representatives: Tensor  # (n_way, k, d); infinitely far where a class has fewer than k
    class_names: tuple[str, ...]

    @torch.no_grad()
    def detect(self, images: Tensor) -> list[Detections]:
        """Find things of the classes in pictures (n, 3, h, w), uint8 or floats in 0..1; each picture by itself."""
        return [found for part in images.split(PICTURES_TOGETHER) for found in self._detect(to_float(part).to(self.detector.device))]

    def _detect(self, images: Tensor) -> list[Detections]:
        maps = self.detector.pyramid(images)
        proposals = self.detector.propose(images, maps)
        embeddings, offsets = self.detector.look(maps, [found.boxes for found in proposals])
        classes = posteriors(self.detector.head.closeness(embeddings, self.representatives))
        boxes = clipped(decode(offsets, torch.cat([found.boxes for found in proposals])), *images.shape[-2:])
        weight = self.detector.config.objectness_weight
        objectness = torch.cat([found.objectness for found in proposals])
        scores = classes ** (1 - weight) * objectness[:, None] ** weight
        counts = [len(found.boxes) for found in proposals]
        return [self._thinned(*parts) for parts in zip(boxes.split(counts), scores.split(counts), strict=True)]

    def _thinned(self, boxes: Tensor, scores: Tensor) -> Detections:
        """Keep the boxes (n, 4) of a picture whose score (n, n_way) is high enough, and that no better one of their class covers."""
        config = self.detector.config
        is_box = (boxes[:, 2:] - boxes[:, :2] > 0).all(1)
        row, labels = ((scores >= config.score_threshold) & is_box[:, None]).nonzero().unbind(1)
        found = scores[row, labels]
        kept = nms_by_class(boxes[row], found, labels, config.overlap)[: config.most_boxes]
        return Detections(boxes[row[kept]], labels[kept], found[kept])


@torch.no_grad()
def adapt(detector: Detector, support: BoxedImages) -> BoxPredictor:
    """Place the classes of a support, and return what finds them; the detector is unchanged after.

    A class's representatives are the mean of the embeddings of its support boxes and of all proposals that overlap one of them by more than
    `support_overlap`, or several means by k-means. Raises ValueError for a class without a box.
    """
    check_support(support)
    snapshot = copy.deepcopy(detector).eval()
    support = support.to(snapshot.device)
    embeddings, labels = support_embeddings(snapshot, support)
    k = snapshot.config.support_representatives
    representatives = torch.stack([k_means(embeddings[labels == label], k, seed=0)[0] for label in range(support.n_way)])
    return BoxPredictor(snapshot, representatives, support.class_names)


@torch.no_grad()
def support_embeddings(detector: Detector, support: BoxedImages) -> tuple[Tensor, Tensor]:
    """Return the embeddings (n, d) of the support boxes and of the proposals that are nearly one of them, and their labels (n,)."""
    embeddings, labels = [], []
    for start in range(0, len(support), PICTURES_TOGETHER):
        part = slice(start, start + PICTURES_TOGETHER)
        images, true, classes = to_float(support.images[part]), support.boxes[part], support.labels[part]
        maps = detector.pyramid(images)
        chosen = [
            nearly(proposals.boxes, *of_picture, detector.config.support_overlap)
            for *of_picture, proposals in zip(true, classes, detector.propose(images, maps), strict=True)
        ]
        embeddings.append(detector.look(maps, [boxes for boxes, _ in chosen])[0])
        labels += [of_boxes for _, of_boxes in chosen]
    return torch.cat(embeddings), torch.cat(labels)


def nearly(proposals: Tensor, boxes: Tensor, labels: Tensor, overlap: float) -> tuple[Tensor, Tensor]:
    """Return the support boxes of a picture and the proposals that overlap one by more than `overlap`, and the class of each."""
    if not len(boxes) or not len(proposals):
        return boxes, labels
    best, which = iou(proposals, boxes).max(1)
    is_near = best > overlap
    return torch.cat([boxes, proposals[is_near]]), torch.cat([labels, labels[which[is_near]]])
