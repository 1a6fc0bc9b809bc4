"""Measure few-shot detection on many episodes: mean average precision by pycocotools, with 95 % intervals over episodes.

Two protocols, both named wherever a number stands:

- strict: every class is looked for in all query pictures of an episode, as the paper's text has it;
- lenient: a class is looked for only in those query pictures that show it, as the paper's code does, which is easier.
"""

import contextlib
import io
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from fewshot_kit.detection.annotated import BoxedImages, DetectionSampler, DrawnDetection
from fewshot_kit.detection.detector import Detector
from fewshot_kit.detection.found import Detections
from fewshot_kit.results import Evaluation, Interval

MOST_BOXES = 100  # of a picture, as in COCO's measure
OVERLAPS = 10  # 0.5, 0.55 .. 0.95
METRICS = ("map50", "map", "map50_lenient", "map_lenient")


def evaluate_detection(
    detector: Detector,
    sampler: DetectionSampler,
    *,
    n_episodes: int = 500,
    seed: int = 0,
    on_progress: Callable[[int, Interval], None] | None = None,
) -> Evaluation:
    """Adapt to `n_episodes` fresh episodes and measure what is found in their queries.

    The metrics are `map50` (at an IoU of 0.5), the primary one, `map` (the mean over IoU 0.5 .. 0.95), and both again with the lenient
    protocol; of each episode the mean over its classes. `on_progress(episodes done, map50 so far)` is called after each episode; raising in
    it ends the evaluation.
    """
    if n_episodes < 1:
        raise ValueError(f"n_episodes must be at least 1, not {n_episodes}")
    if sampler.n_query < 1:
        raise ValueError("an evaluation needs queries: n_query must be at least 1")
    started, generator = time.perf_counter(), torch.Generator().manual_seed(seed)
    measured: list[Tensor] = []
    for of_episode in precisions_of_episodes(detector, sampler, [sampler.draw(generator) for _ in range(n_episodes)]):
        measured.append(of_episode)
        if on_progress is not None:
            on_progress(len(measured), Interval.of(torch.stack(measured)[:, 0]))
    metrics = {name: Interval.of(values) for name, values in zip(METRICS, torch.stack(measured).T, strict=True)}
    return Evaluation(
        metrics=metrics, primary="map50", n_episodes=n_episodes, n_way=sampler.n_way, n_shot=sampler.n_shot, n_query=sampler.n_query,
        seed=seed, transductive=False, dataset=sampler.dataset.name, split=sampler.dataset.split,
        settings={setting.name: setting.value for setting in detector.settings()}, seconds=time.perf_counter() - started,
    )  # fmt: skip


def precisions_of_episodes(detector: Detector, sampler: DetectionSampler, drawn: Sequence[DrawnDetection]) -> Iterator[Tensor]:
    """Yield the metrics of each episode, (4,) in the order of `METRICS`."""
    for query, answers in detector.detect_drawn(sampler, drawn):
        found = [_on_cpu(of_picture) for of_picture in answers]
        yield torch.cat([_map(query, found), _map(query, only_in_own_pictures(query, found))])


def only_in_own_pictures(truth: BoxedImages, found: Sequence[Detections]) -> list[Detections]:
    """Leave out what was found of a class in pictures that do not show it: the lenient protocol."""
    kept = []
    for of_picture, shown in zip(found, truth.has_class(), strict=True):
        is_shown = shown[of_picture.labels]
        kept.append(Detections(of_picture.boxes[is_shown], of_picture.labels[is_shown], of_picture.probabilities[is_shown]))
    return kept


def average_precisions(truth: BoxedImages, found: Sequence[Detections]) -> Tensor:
    """Return the average precision of each class at each overlap, (n_way, 10), float64; NaN for a class of which nothing is to be found.

    The overlaps are an IoU of 0.5, 0.55, .. 0.95; precision is read at 101 recalls, as COCO does.
    """
    if len(found) != len(truth):
        raise ValueError(f"there are {len(truth)} pictures, but detections of {len(found)}")
    if not any(map(len, found)):
        has_thing = truth.has_class().any(0)[:, None].expand(-1, OVERLAPS)
        return torch.where(has_thing, 0.0, torch.nan).double()
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools tells of its progress
        true = _true_boxes(truth)
        measure = COCOeval(true, true.loadRes(_found_boxes(found)), "bbox")
        measure.params.areaRng, measure.params.areaRngLbl, measure.params.maxDets = [[0, 1e10]], ["all"], [MOST_BOXES]
        measure.evaluate()
        measure.accumulate()
    precision = torch.from_numpy(measure.eval["precision"])[..., 0, 0]  # (overlaps, recalls, classes), -1 where there is nothing to find
    return torch.where(precision < 0, torch.nan, precision).mean(1).T


def _map(truth: BoxedImages, found: Sequence[Detections]) -> Tensor:
    """Return the means over classes (2,): at an IoU of 0.5, and over all overlaps."""
    precisions = average_precisions(truth, found)
    return torch.stack([precisions[:, 0].nanmean(), precisions.nanmean()])


def _true_boxes(truth: BoxedImages) -> COCO:
    things = [
        {"id": 0, "image_id": picture, "category_id": label, "bbox": _corner_and_sides(box), "area": 1.0, "iscrowd": 0}
        for picture, (boxes, labels) in enumerate(zip(truth.boxes, truth.labels, strict=True))
        for box, label in zip(boxes.tolist(), labels.tolist(), strict=True)
    ]
    for number, thing in enumerate(things, start=1):  # from 1: pycocotools takes a match with number 0 for none
        thing["id"] = number
    coco = COCO()
    coco.dataset = {
        "images": [{"id": picture} for picture in range(len(truth))],
        "categories": [{"id": label} for label in range(truth.n_way)],
        "annotations": things,
        "info": {},
    }
    coco.createIndex()
    return coco


def _found_boxes(found: Sequence[Detections]) -> list[dict]:
    return [
        {"image_id": picture, "category_id": label, "bbox": _corner_and_sides(box), "score": score}
        for picture, of_picture in enumerate(found)
        for box, label, score in zip(of_picture.boxes.tolist(), of_picture.labels.tolist(), of_picture.probabilities.tolist(), strict=True)
    ]


def _corner_and_sides(box: list[float]) -> list[float]:
    left, top, right, bottom = box
    return [left, top, right - left, bottom - top]


def _on_cpu(found: Detections) -> Detections:
    return Detections(found.boxes.cpu(), found.labels.cpu(), found.probabilities.cpu())
