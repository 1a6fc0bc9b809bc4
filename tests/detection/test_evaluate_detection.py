"""The measure of detection: a perfect detector, cases by hand, and the two protocols."""

import json
from dataclasses import replace

import pytest
import torch
from painted import batch_of, painted_boxes

from fewshot_kit.detection.annotated import BoxedImages, DetectionSampler
from fewshot_kit.detection.evaluate_detection import average_precisions, evaluate_detection, only_in_own_pictures
from fewshot_kit.detection.found import Detections
from fewshot_kit.learners.settings import Setting


def detections(rows: list[tuple[list[float], int, float]]) -> Detections:
    boxes = torch.tensor([box for box, _, _ in rows]).view(-1, 4)
    return Detections(boxes, torch.tensor([label for _, label, _ in rows], dtype=torch.int64), torch.tensor([p for _, _, p in rows]))


def true_answers(truth: BoxedImages) -> list[Detections]:
    return [Detections(boxes, labels, torch.ones(len(labels))) for boxes, labels in zip(truth.boxes, truth.labels, strict=True)]


def by_colour(support: BoxedImages):
    """A perfect detector of painted rectangles: a class is the colour in the middle of its box."""
    colours = {}
    for image, boxes, labels in zip(support.images, support.boxes, support.labels, strict=True):
        x, y = ((boxes[0, :2] + boxes[0, 2:]) / 2).int().tolist()
        colours[labels[0].item()] = image[:, y, x]

    def detect(images: torch.Tensor) -> list[Detections]:
        found = []
        for image in images:
            rows = []
            for label, colour in colours.items():
                is_thing = (image - colour[:, None, None]).abs().amax(0) < 0.01
                if is_thing.any():
                    ys, xs = (is_thing.any(dim).nonzero().flatten().tolist() for dim in (1, 0))
                    rows.append(([float(xs[0]), float(ys[0]), xs[-1] + 1.0, ys[-1] + 1.0], label, 0.9))
            found.append(detections(rows))
        return found

    return detect


class Adapted:
    """Stands for a detector: adapts by the plain loop, an episode after the other."""

    def __init__(self, adapt):
        self.adapt = adapt

    def settings(self):
        return (Setting("overlap", "overlap", 0.5, 0.0, 1.0),)

    def detect_drawn(self, sampler, drawn):
        for episode in map(sampler.gather, drawn):
            yield episode.query, self.adapt(episode.support)(episode.query.images)


def test_a_perfect_detector_has_map_one():
    sampler = DetectionSampler(painted_boxes(5, 6), 3, 1, 4)
    result = evaluate_detection(Adapted(by_colour), sampler, n_episodes=4, seed=1)
    for name in ("map50", "map", "map50_lenient", "map_lenient"):
        assert result.metrics[name].mean == pytest.approx(1) and result.metrics[name].half_width == pytest.approx(0)
    assert result.primary == "map50" and result.best_by == pytest.approx(1)
    assert "100.0 ± 0.0 %" in str(result) and "3-way 1-shot, 4 queries a class, painted test, inductive" in str(result)
    assert json.loads(result.to_json())["settings"] == {"overlap": 0.5}


def test_one_that_finds_nothing_has_map_zero():
    sampler = DetectionSampler(painted_boxes(3, 4), 2, 1, 2)
    seen = []

    def blind(support):
        return lambda images: [detections([])] * len(images)

    result = evaluate_detection(Adapted(blind), sampler, n_episodes=2, on_progress=lambda n, so_far: seen.append((n, so_far.mean)))
    assert all(metric.mean == 0 for metric in result.metrics.values()) and seen == [(1, 0), (2, 0)]


def two_pictures() -> BoxedImages:
    boxes = (torch.tensor([[0.0, 0, 20, 20]]), torch.tensor([[10.0, 10, 30, 30]]))
    return BoxedImages(torch.zeros(2, 3, 64, 64), boxes, (torch.tensor([0]), torch.tensor([1])), ("a", "b"))


def test_precision_by_hand():
    """Of class a the true box comes after a wrong one: half of what is found up to it is right, at every recall."""
    truth = two_pictures()
    right, wrong = [0.0, 0, 20, 20], [40.0, 40, 60, 60]
    found = [detections([(right, 0, 0.5), (wrong, 0, 0.8)]), detections([([10.0, 10, 30, 26], 1, 0.9)])]
    precisions = average_precisions(truth, found)
    assert precisions.shape == (2, 10)
    torch.testing.assert_close(precisions[0], torch.full((10,), 0.5, dtype=torch.float64))
    assert precisions[1].tolist() == pytest.approx([1] * 7 + [0] * 3)  # an IoU of 0.8: right at 0.5 .. 0.8
    assert average_precisions(truth, true_answers(truth)).min() == pytest.approx(1)


def test_a_thing_found_twice_is_right_once():
    truth, twice = two_pictures(), ([0.0, 0, 20, 20], 0, 0.9)
    missed = replace(truth, boxes=(truth.boxes[0], truth.boxes[0]), labels=(truth.labels[0], truth.labels[0]), class_names=("a", "b"))
    precisions = average_precisions(missed, [detections([twice, twice]), detections([])])
    assert precisions[0, 0].item() == pytest.approx(51 / 101)  # up to a recall of one half, at 51 of the 101 recalls
    assert precisions[1].isnan().all()  # nothing of class b is to be found


def test_the_lenient_protocol_looks_in_own_pictures_alone():
    truth = two_pictures()
    elsewhere = [detections([([0.0, 0, 20, 20], 0, 0.5), ([0.0, 0, 9, 9], 1, 0.99)]), detections([([10.0, 10, 30, 30], 1, 0.6)])]
    assert average_precisions(truth, elsewhere)[:, 0].tolist() == pytest.approx([1, 0.5])
    own = only_in_own_pictures(truth, elsewhere)
    assert [of_picture.labels.tolist() for of_picture in own] == [[0], [1]]
    assert average_precisions(truth, own)[:, 0].tolist() == pytest.approx([1, 1])


def test_the_first_box_counts_as_any_other():
    """In pycocotools a true box with number 0 can never be found."""
    truth = batch_of(painted_boxes(2, 1))
    assert average_precisions(truth, true_answers(truth)).min() == pytest.approx(1)


def test_the_same_seed_measures_the_same_and_what_cannot_be_is_told():
    sampler = DetectionSampler(painted_boxes(4, 6), 2, 1, 2)
    drawn = []

    def look_on(support):
        drawn.append(support.images.sum().item())
        return by_colour(support)

    for seed in (3, 3, 4):
        evaluate_detection(Adapted(look_on), sampler, n_episodes=2, seed=seed)
    assert drawn[:2] == drawn[2:4] != drawn[4:]
    with pytest.raises(ValueError, match="n_episodes must be at least 1"):
        evaluate_detection(Adapted(by_colour), sampler, n_episodes=0)
    with pytest.raises(ValueError, match="n_query must be at least 1"):
        evaluate_detection(Adapted(by_colour), replace(sampler, n_query=0))
    with pytest.raises(ValueError, match="there are 2 pictures, but detections of 1"):
        average_precisions(two_pictures(), [detections([])])
