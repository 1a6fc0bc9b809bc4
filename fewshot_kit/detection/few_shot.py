"""Few-shot detection with RepMet: a class is told by the embeddings of what overlaps its support boxes, and found in other pictures."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fewshot_kit.data.images import to_float
from fewshot_kit.detection.annotated import BoxedImages, check_support
from fewshot_kit.detection.boxes import clipped, decode, iou, nms_by_class
from fewshot_kit.detection.detector import NOTHING, Detector
from fewshot_kit.detection.repmet_head import background_loss, class_loss, posteriors
from fewshot_kit.learners.clusters import k_means
from fewshot_kit.learners.fine_tune import SGD, Parameters, fine_tune

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
    representatives: Tensor  # (n_way, k, d)
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


# (step, loss of the support, predictor) after `step` updates: 0 is before any. Raise `Cancelled` in it to stop.
OnStep = Callable[[int, float, BoxPredictor], None]


@torch.no_grad()
def adapt(detector: Detector, support: BoxedImages, *, on_step: OnStep | None = None) -> BoxPredictor:
    """Place the classes of a support, and return what finds them; the detector is unchanged after.

    A class's representatives are the mean of the embeddings of its support boxes and of all proposals that overlap one of them by more than
    `support_overlap`, or several means by k-means. Then they take `inner_steps` steps of gradient descent on the head's loss of all
    these, with the other proposals of the support as background. Raises ValueError for a class without a box.
    """
    check_support(support)
    snapshot = copy.deepcopy(detector).eval()
    embeddings, labels = support_embeddings(snapshot, support.to(snapshot.device))
    config, gradient = snapshot.config, _Gradient(snapshot)

    def report(step: int, loss: Tensor, parameters: Parameters) -> None:
        if on_step is not None:
            on_step(step, loss.item(), BoxPredictor(snapshot, parameters["representatives"], support.class_names))

    k = config.support_representatives
    means = {"representatives": torch.stack([_means(embeddings[labels == label], k) for label in range(support.n_way)])}
    tuned = fine_tune(gradient, means, [(embeddings, labels)] * config.inner_steps, SGD(config.inner_lr, {}), report)
    if on_step is not None:
        report(config.inner_steps, gradient(tuned, embeddings, labels)[1], tuned)
    return BoxPredictor(snapshot, tuned["representatives"], support.class_names)


def _means(embeddings: Tensor, k: int) -> Tensor:
    """Return `k` means (k, d); where there are fewer different embeddings, the first again, which changes no nearest one."""
    means, _ = k_means(embeddings, k, seed=0)
    return torch.where(means.isinf(), means[:1], means)


@dataclass(frozen=True)
class _Gradient:
    """The gradient of the head's loss of embeddings (n, d) with labels (n,), -1: background, by the representatives."""

    detector: Detector

    def __call__(self, parameters: Parameters, embeddings: Tensor, labels: Tensor) -> tuple[Parameters, Tensor]:
        with torch.enable_grad():
            representatives = parameters["representatives"].detach().requires_grad_()
            closeness, is_thing = self.detector.head.closeness(embeddings, representatives), labels >= 0
            loss = class_loss(closeness[is_thing], labels[is_thing], self.detector.config) + background_loss(closeness, labels)
            (gradient,) = torch.autograd.grad(loss, representatives)
        return {"representatives": gradient}, loss.detach()


@torch.no_grad()
def support_embeddings(detector: Detector, support: BoxedImages) -> tuple[Tensor, Tensor]:
    """Return the embeddings (n, d) of the support boxes and of the proposals in their pictures, and their labels (n,), -1: background."""
    embeddings, labels = [], []
    for start in range(0, len(support), PICTURES_TOGETHER):
        part = slice(start, start + PICTURES_TOGETHER)
        images, true, classes = to_float(support.images[part]), support.boxes[part], support.labels[part]
        maps = detector.pyramid(images)
        chosen = [
            labelled(proposals.boxes, *of_picture, detector.config.support_overlap)
            for *of_picture, proposals in zip(true, classes, detector.propose(images, maps), strict=True)
        ]
        embeddings.append(detector.look(maps, [boxes for boxes, _ in chosen])[0])
        labels += [of_boxes for _, of_boxes in chosen]
    return torch.cat(embeddings), torch.cat(labels)


def labelled(proposals: Tensor, boxes: Tensor, labels: Tensor, overlap: float) -> tuple[Tensor, Tensor]:
    """Return the support boxes of a picture and its proposals, and the class of each.

    A proposal that overlaps a box by more than `overlap` is of its class, one that overlaps all by less than `NOTHING` is background (-1);
    the others are left out.
    """
    if not len(boxes):
        return proposals, labels.new_full((len(proposals),), -1)
    best, which = iou(proposals, boxes).max(1)
    is_near, is_other = best > overlap, best < min(NOTHING, overlap)
    of_others = labels.new_full((int(is_other.sum()),), -1)
    return torch.cat([boxes, proposals[is_near], proposals[is_other]]), torch.cat([labels, labels[which[is_near]], of_others])
