"""What the panel of a detector does, without a widget in it: an episode of boxes, what is found in its queries, a person's own pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fewshot_kit.data.cancelling import Check, go_on
from fewshot_kit.demo.projection import Plane
from fewshot_kit.demo.request import BOXES, Shelf
from fewshot_kit.demo.session import DemoSession
from fewshot_kit.detection.annotated import AnnotatedImages, BoxedImages, DetectionEpisode, DetectionSampler
from fewshot_kit.detection.boxes import iou
from fewshot_kit.detection.datasets import annotated_names, is_available, load_annotated
from fewshot_kit.detection.detector import BoxPredictor, Detector
from fewshot_kit.detection.evaluate_detection import average_precisions, evaluate_detection
from fewshot_kit.detection.found import Detections, Seen, precision_recall, verdicts
from fewshot_kit.results import Evaluation, Interval


class FoundEpoch:
    """Where the learning of an episode stands after some epochs."""

    def __init__(self, step: int, losses: Sequence[float], queries: Sequence[Seen], predictor: BoxPredictor):
        self.step, self.predictor = step, predictor
        self._losses, self._queries = losses, queries  # `losses`: shared by all epochs, and may yet grow

    @property
    def support_losses(self) -> tuple[float, ...]:
        """Return those after 0 .. step epochs."""
        return tuple(self._losses[: self.step + 1])

    @cached_property
    def found(self) -> list[Detections]:
        """Return what is found in each query, however uncertain; computed when first asked for."""
        return [Detections(f.boxes.cpu(), f.labels.cpu(), f.probabilities.cpu()) for f in self.predictor.find(self._queries)]


@dataclass(frozen=True)
class Findings:
    """One finished learning: every epoch of it, and the predictor it led to."""

    episode: DetectionEpisode
    epochs: tuple[FoundEpoch, ...]

    @property
    def predictor(self) -> BoxPredictor:
        return self.epochs[-1].predictor

    def found(self, threshold: float) -> list[Detections]:
        """Return what is found in each query with at least this probability, above 0 and at most 1."""
        if not 0 < threshold <= 1:
            raise ValueError(f"a probability to show from must be above 0 and at most 1, not {threshold!r}")
        return [of_picture.at_least(threshold) for of_picture in self.epochs[-1].found]

    def shown(self, threshold: float) -> list[Detections]:
        """Return of these what a person is shown: one class a place."""
        return [of_picture.shown(threshold) for of_picture in self.found(threshold)]

    def judged(self, threshold: float) -> list[tuple[np.ndarray, ...]]:
        """Return what is shown in each query, what of it is right, and what was missed, as `plots.found_figure` takes it."""
        rows, query = [], self.episode.query
        for found, boxes, labels in zip(self.shown(threshold), query.boxes, query.labels, strict=True):
            is_right, is_found = verdicts(found, boxes, labels)
            rows.append((*found.arrays(), is_right.numpy(), boxes[~is_found].numpy(), labels[~is_found].numpy()))
        return rows

    def tally(self, threshold: float) -> tuple[int, int, int]:
        """Count the things that were found, those there are, and the boxes that are wrong."""
        judged = self.judged(threshold)
        n_right = sum(int(is_right.sum()) for _, _, _, is_right, *_ in judged)
        n_wrong = sum(int((~is_right).sum()) for _, _, _, is_right, *_ in judged)
        return n_right, n_right + sum(len(labels) for *_, labels in judged), n_wrong

    def curves(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return precision and recall of each class, as `plots.precision_recall_figure` takes them."""
        found, query = self.epochs[-1].found, self.episode.query
        return [tuple(values.numpy() for values in precision_recall(query, found, label)) for label in range(query.n_way)]

    def precisions(self) -> Tensor:
        """Return the average precision at an IoU of 0.5 of each class in the queries, (n_way,), NaN where nothing is to be found."""
        return average_precisions(self.episode.query, self.epochs[-1].found)[:, 0]


@dataclass(frozen=True)
class BoxMap:
    """Boxes of an episode in the plane in which their embeddings vary most."""

    places: np.ndarray  # (n, 2)
    labels: np.ndarray  # (n,): -1 for background
    roles: np.ndarray  # (n,): "support", "query" or "background"
    centres: np.ndarray  # (n_way, k, 2)
    share: float  # of the variance, in the plane


class DetectionSession(DemoSession):
    """A detector, a data set with boxes and the episode on the table. Every learning starts again from the pretrained weights."""

    Sampler = DetectionSampler
    learner: Detector
    dataset: AnnotatedImages
    episode: DetectionEpisode

    def __init__(self, checkpoint, dataset: str = "scenes", *, n_way: int = 5, n_shot: int = 1, n_query: int = 2, **options):
        self._seen: tuple[DetectionEpisode, list[Seen], list[Seen]] | None = None  # an episode, and what is seen in its pictures
        super().__init__(checkpoint, dataset, n_way=n_way, n_shot=n_shot, n_query=n_query, **options)

    @property
    def shelf(self) -> Shelf:
        return Shelf(annotated_names(), is_available, BOXES, "folder or .zip: VOC, COCO or YOLO")

    def read(self, dataset: str, check: Check = go_on) -> AnnotatedImages:
        return load_annotated(dataset, "test", size=self.learner.preprocessing.size, progress=not is_available(dataset), check=check)

    def learn(self, settings: Mapping[str, float] | None = None, *, on_epoch: Callable[[FoundEpoch], None] | None = None) -> Findings:
        """Learn the boxes of the episode's support, by these values of `settings`; every picture is looked at once an episode."""
        learner, episode, epochs, losses = self._learner(settings), self.episode, [], []
        support, queries = self._look(episode)

        def note(step: int, loss: float, predictor: BoxPredictor) -> None:
            losses.append(loss)
            epochs.append(FoundEpoch(step, losses, queries, predictor))
            if on_epoch is not None:
                on_epoch(epochs[-1])

        learner.adapt_to_seen(support, episode.support.to(self.device), on_step=note)
        return self.learned(epochs)

    def learned(self, epochs: Sequence[FoundEpoch]) -> Findings:
        return Findings(self.episode, tuple(epochs))

    def _look(self, episode: DetectionEpisode) -> tuple[list[Seen], list[Seen]]:
        if self._seen is None or self._seen[0] is not episode:
            support, query = episode.support, episode.query
            seen = self.learner.see(torch.cat([support.images, query.images]), [*support.boxes, *query.boxes])
            self._seen = episode, seen[: len(support)], seen[len(support) :]
        return self._seen[1:]

    def map(self, findings: Findings) -> BoxMap:
        """Lay what the boxes of an episode show into a plane: those of the support, those of the queries, and some of the background."""
        support, query = findings.episode.support, findings.episode.query
        seen = [*self._look(findings.episode)[0], *self._look(findings.episode)[1]]
        boxes, labels = [*support.boxes, *query.boxes], [*support.labels, *query.labels]
        roles = ["support"] * sum(map(len, support.labels)) + ["query"] * sum(map(len, query.labels))
        others = [s.embeddings[_empty(s, b)][:3] for s, b in zip(seen, boxes, strict=True)]  # the likeliest of each picture
        n_others = sum(map(len, others))
        embeddings = self.learner.on_sphere(torch.cat([*(s.marked for s in seen), *others])).cpu().numpy()
        plane = Plane.through(embeddings)
        centres = plane(self.learner.points(findings.predictor.centres).cpu().numpy())
        of_all = np.concatenate([torch.cat(labels).numpy(), np.full(n_others, -1)])
        return BoxMap(plane(embeddings), of_all, np.array([*roles, *["background"] * n_others]), centres, plane.share)

    def find_own(self, support: BoxedImages, queries: Tensor, settings: Mapping[str, float] | None = None) -> list[Detections]:
        """Find what is marked in a person's own pictures in others, (n, 3, size, size); the episode on the table stays."""
        predictor = self._learner(settings).adapt(support)
        return [Detections(f.boxes.cpu(), f.labels.cpu(), f.probabilities.cpu()) for f in predictor.detect(queries)]

    def evaluate(
        self,
        n_episodes: int = 200,
        settings: Mapping[str, float] | None = None,
        *,
        on_progress: Callable[[int, Interval], None] | None = None,
    ) -> Evaluation:
        return evaluate_detection(self._learner(settings), self.sampler(), n_episodes=n_episodes, seed=self.seed, on_progress=on_progress)


def _empty(seen: Seen, boxes: Tensor) -> Tensor:
    """Say which proposals of a picture, (n,), overlap none of its things."""
    return iou(seen.proposals, boxes.to(seen.proposals)).sum(1) == 0
