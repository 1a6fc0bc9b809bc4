"""The detector: a network with a pyramid, proposals, and a head that embeds each of them (Karlinsky et al. 2019)."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_kit.data.images import to_float
from fewshot_kit.detection.annotated import AnnotatedImages, BoxedImages, DetectionSampler, DrawnDetection, check_support
from fewshot_kit.detection.box_head import BoxHead
from fewshot_kit.detection.boxes import clipped, decode, encode
from fewshot_kit.detection.found import Detections, Seen, support_embeddings, thinned
from fewshot_kit.detection.proposals import ProposalHead, Proposals, cell_middles, proposal_losses, propose
from fewshot_kit.detection.roi_align import roi_align
from fewshot_kit.detection.training_boxes import draw_boxes
from fewshot_kit.learners.base import TrainableLearner
from fewshot_kit.learners.detector_configs import DetectorConfig
from fewshot_kit.learners.settings import Setting, epochs, learning_rate
from fewshot_kit.networks.build import from_config
from fewshot_kit.networks.devices import map_in_threads
from fewshot_kit.networks.folding import fold_batch_norm

PICTURES_TOGETHER = 8  # looked at at a time, by one thread

OnPlacing = Callable[[int, Tensor, Tensor], None]  # (step, support loss, centres)


@dataclass(frozen=True)
class BoxPredictor:
    """A detector that was told its classes."""

    detector: "Detector"  # a snapshot
    centres: Tensor  # what stands for the classes: see Detector.place
    class_names: tuple[str, ...]

    def detect(self, images: Tensor) -> list[Detections]:
        """Find things of the classes in pictures (n, 3, h, w), uint8 or floats in 0..1; each picture by itself."""
        return self.find(self.detector.see(images))

    def find(self, seen: Sequence[Seen]) -> list[Detections]:
        """Find them in pictures that were looked at already."""
        return [self.detector.find(picture, self.centres) for picture in seen]


# (step, loss of the support, predictor) after `step` updates: 0 is before any. Raise `Cancelled` in it to stop.
OnStep = Callable[[int, float, BoxPredictor], None]


class Detector(TrainableLearner):
    """Find things of classes that are told by boxes around a few of them; a subclass says what stands for a class, and how it scores.

    It is trained on plain batches of all training classes, not on episodes, as in the paper (Karlinsky et al. 2019).
    """

    config: DetectorConfig

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.config = config
        self.network = from_config(config.network)
        self.preprocessing = self.network.preprocessing
        self.proposals = ProposalHead(config.network.map_channels, config.network.maps[0][0])
        self.head = BoxHead(config)

    # --- what a subclass says ---

    @abstractmethod
    def class_losses(self, embeddings: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
        """Return the parts of the loss of telling classes, of embeddings (n, d) with labels (n,) of training classes, -1: background."""

    @abstractmethod
    def place(self, embeddings: Tensor, labels: Tensor, n_way: int, on_step: OnPlacing | None = None) -> Tensor:
        """Return what stands for the classes, from embeddings (n, d) of a support with labels (n,), -1: background."""

    @abstractmethod
    def probabilities(self, embeddings: Tensor, centres: Tensor) -> Tensor:
        """Return the probability (n, n_way) that boxes with these embeddings (n, d) show a thing of each class."""

    def points(self, centres: Tensor) -> Tensor:
        """Return what stands for each class as points on the sphere of the embeddings, (n_way, k, d), to be drawn."""
        return centres

    @staticmethod
    def on_sphere(embeddings: Tensor) -> Tensor:
        """Return the embeddings (n, d) scaled to length 1."""
        return F.normalize(embeddings, dim=-1)

    # --- looking ---

    def propose(self, images: Tensor, maps: Sequence[Tensor]) -> list[Proposals]:
        """Return the proposals of each picture (n, 3, h, w), whose maps these are."""
        logits, found = self.proposals(maps[0])
        return propose(logits, found, *images.shape[-2:], self.config.n_proposals, self.config.proposal_overlap)

    def look(self, maps: Sequence[Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return embeddings (n_total, d) and offsets (n_total, 4) of boxes, a tensor (n, 4) a picture, those of the first picture first."""
        side = self.config.roi_side
        strides = [stride for stride, _ in self.config.network.maps]
        pooled = [roi_align(features, boxes, stride, side) for features, stride in zip(maps, strides, strict=True)]
        return self.head(torch.cat(pooled, dim=1))

    @torch.no_grad()
    def see(self, images: Tensor, boxes: Sequence[Tensor] | None = None) -> list[Seen]:
        """Look at pictures (n, 3, h, w), uint8 or floats in 0..1, and at boxes marked in them; of a `snapshot`, threads share the work."""
        boxes = boxes or [torch.empty(0, 4)] * len(images)
        starts = range(0, len(images), PICTURES_TOGETHER)
        parts = [(images[start : start + PICTURES_TOGETHER], boxes[start : start + PICTURES_TOGETHER]) for start in starts]
        look = torch.no_grad()(lambda part: self._see(*part))
        return [seen for of_part in (map_in_threads(look, parts) if self.device.type == "cpu" else map(look, parts)) for seen in of_part]

    def _see(self, images: Tensor, boxes: Sequence[Tensor]) -> list[Seen]:
        images = to_float(images).to(self.device)
        maps = self.network(images)
        proposals = self.propose(images, maps)
        marked = [of_picture.to(images) for of_picture in boxes]
        embeddings, offsets = self.look(maps, [torch.cat([p.boxes, m]) for p, m in zip(proposals, marked, strict=True)])
        counts = [n for p, m in zip(proposals, marked, strict=True) for n in (len(p.boxes), len(m))]
        embeddings, offsets = embeddings.split(counts), offsets.split(counts)
        return [
            Seen(p.boxes, p.objectness, clipped(decode(offsets[2 * i], p.boxes), *images.shape[-2:]), *embeddings[2 * i : 2 * i + 2])
            for i, p in enumerate(proposals)
        ]

    def find(self, seen: Seen, centres: Tensor) -> Detections:
        """Find things of the classes in a picture: a box's score is its class's probability and its objectness, multiplied by weight."""
        weight = self.config.objectness_weight
        scores = self.probabilities(seen.embeddings, centres) ** (1 - weight) * seen.objectness[:, None] ** weight
        return thinned(seen.boxes, scores, self.config)

    # --- few-shot ---

    def snapshot(self) -> Self:
        """Return a copy to predict with: later training does not change it, and threads may share it."""
        other = copy.deepcopy(self).eval()
        fold_batch_norm(other.network)
        return other

    @torch.no_grad()
    def adapt(self, support: BoxedImages, *, on_step: OnStep | None = None) -> BoxPredictor:
        """Learn the classes that are marked in `support`, and return what finds them; the detector is unchanged after.

        A class is told by the embeddings of its boxes, and of all proposals that overlap one of them by more than `support_overlap`; the
        other proposals of the support are background. Raises ValueError for a class without a box.
        """
        check_support(support)
        snapshot = self.snapshot()
        support = support.to(self.device)
        return snapshot.adapt_to_seen(snapshot.see(support.images, support.boxes), support, on_step=on_step)

    @torch.no_grad()
    def adapt_to_seen(self, seen: list[Seen], support: BoxedImages, *, on_step: OnStep | None = None) -> BoxPredictor:
        """Learn the classes of a support that was looked at already; the predictor works by these very weights."""

        def report(step: int, loss: Tensor, centres: Tensor) -> None:
            if on_step is not None:
                on_step(step, loss.item(), BoxPredictor(self, centres, support.class_names))

        embeddings, labels = support_embeddings(seen, support.boxes, support.labels, self.config.support_overlap)
        return BoxPredictor(self, self.place(embeddings, labels, support.n_way, report), support.class_names)

    @torch.no_grad()
    def detect_drawn(self, sampler: DetectionSampler, drawn: Sequence[DrawnDetection]) -> Iterator[tuple[BoxedImages, list[Detections]]]:
        """Yield the queries of each episode and what is found in them; every picture is looked at once, in however many it appears."""
        dataset, snapshot = sampler.dataset, self.snapshot()
        used = torch.cat([torch.cat([episode.support.flatten(), episode.query.flatten()]) for episode in drawn]).unique()
        seen = dict(zip(used.tolist(), snapshot.see(dataset.images[used], [dataset.boxes[i] for i in used.tolist()]), strict=True))
        for episode in drawn:
            support = dataset.take_marked(episode.support, episode.class_ids)
            pictures = zip(episode.support, episode.class_ids, strict=True)
            marked = [seen[i].with_mark(dataset.marked_box(i, of)) for of_class, of in pictures for i in of_class.tolist()]
            predictor = snapshot.adapt_to_seen(marked, support.to(self.device))
            found = predictor.find([seen[i] for i in episode.query.flatten().tolist()])
            yield dataset.take_classes(episode.query.flatten(), episode.class_ids), found

    def settings(self) -> tuple[Setting, ...]:
        config, of = self.config, self.source_of
        return learning_rate(config.inner_lr, of("inner_lr"), high=10.0), epochs(config.inner_steps, of("inner_steps"))

    # --- training ---

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Return what the outer optimiser steps on: all but the network's frozen blocks."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def begin_training(self, dataset: AnnotatedImages, generator: torch.Generator) -> None:
        """Count the batches from here: what is drawn in a picture depends on that alone, which a run saves, so it can be resumed."""
        self.register_buffer("training_n_seen", torch.zeros((), dtype=torch.int64))

    def training_batches(self, dataset: AnnotatedImages, generator: torch.Generator) -> list[BoxedImages]:
        """Draw a batch of pictures."""
        return [dataset.take(torch.randint(len(dataset), (self.config.train_images,), generator=generator))]

    def loss(self, batch: BoxedImages) -> Tensor:
        """Return the sum of the parts of the loss."""
        self.train()
        self.training_n_seen += 1
        return sum(self.losses(batch.to(self.device), torch.Generator().manual_seed(int(self.training_n_seen))).values())

    def losses(self, batch: BoxedImages, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Return the parts of the loss of a batch; labels are those of the training classes."""
        images, true, labels, config = to_float(batch.images), batch.boxes, batch.labels, self.config
        maps = self.network(images)
        logits, found = self.proposals(maps[0])
        points = cell_middles(*maps[0].shape[-2:], self.proposals.stride).to(images)
        objectness, edges = proposal_losses(logits, found, true, points)
        proposed = propose(logits, found, *images.shape[-2:], config.n_proposals, config.proposal_overlap)
        drawn = [
            draw_boxes(p.boxes, b, of_picture, images.shape[-2:], config.train_boxes, generator)
            for p, b, of_picture in zip(proposed, true, labels, strict=True)
        ]
        boxes, of_boxes, targets = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        embeddings, offsets = self.look(maps, [boxes for boxes, _, _ in drawn])
        is_thing = of_boxes >= 0
        wanted = encode(targets[is_thing], boxes[is_thing])
        moved = {"offsets": F.smooth_l1_loss(offsets[is_thing], wanted)} if is_thing.any() else {}
        return {"objectness": objectness, "edges": edges, **moved, **self.class_losses(embeddings, of_boxes)}
