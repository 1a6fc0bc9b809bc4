"""Pictures with boxes, and episodes of them: small tasks of finding a few classes, drawn from a data set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fewshot_kit.data.images import channel_statistics, to_float
from fewshot_kit.detection.boxes import check_boxes

ATTEMPTS = 50  # to draw an episode where classes share pictures


@dataclass(frozen=True, eq=False)
class BoxedImages:
    """Pictures of one task or batch, each with the boxes of the things in it; a picture may have none."""

    images: Tensor  # (n, 3, height, width), uint8 or floats in 0..1
    boxes: tuple[Tensor, ...]  # a tensor (n_boxes, 4) a picture: left, top, right, bottom in pixels
    labels: tuple[Tensor, ...]  # a tensor (n_boxes,), int64, a picture: 0 .. len(class_names) - 1
    class_names: tuple[str, ...]  # class_names[label]

    def __post_init__(self):
        check_annotations(self.images, self.boxes, self.labels, self.class_names)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def n_way(self) -> int:
        return len(self.class_names)

    def to(self, device: torch.device | str) -> "BoxedImages":
        boxes, labels = (tuple(value.to(device) for value in values) for values in (self.boxes, self.labels))
        return replace(self, images=self.images.to(device), boxes=boxes, labels=labels)

    def arrays(self) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
        """Return images, boxes and labels as they are drawn."""
        return self.images.numpy(), [boxes.numpy() for boxes in self.boxes], [labels.numpy() for labels in self.labels]

    def has_class(self) -> Tensor:
        """Say which classes are in which pictures, (n, n_way)."""
        counts = [torch.bincount(labels, minlength=self.n_way) for labels in self.labels]
        return torch.stack(counts) > 0 if counts else torch.empty(0, self.n_way, dtype=torch.bool)


@dataclass(frozen=True, eq=False)
class AnnotatedImages:
    """The pictures of one split of a data set, all of one size, with the boxes and the classes of what is in them."""

    name: str
    split: str
    images: Tensor  # (n, 3, height, width), uint8
    boxes: tuple[Tensor, ...]  # a tensor (n_boxes, 4) a picture: left, top, right, bottom in pixels of `images`
    labels: tuple[Tensor, ...]  # a tensor (n_boxes,), int64, a picture: class ids
    class_names: tuple[str, ...]  # as the files name them: escape them before they reach HTML

    def __post_init__(self):
        if self.images.dtype != torch.uint8:
            raise ValueError(f"pictures of {self.name!r} must be uint8, but are {self.images.dtype}")
        check_annotations(self.images, self.boxes, self.labels, self.class_names)
        if empty := [name for name, pictures in zip(self.class_names, self.pictures_of, strict=True) if not len(pictures)]:
            raise ValueError(f"class {empty[0]!r} of {self.name!r} has no box in split {self.split!r}; mark one, or leave the class out")

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self.images)

    @cached_property
    def pictures_of(self) -> tuple[Tensor, ...]:
        """Return the pictures (n,) in which there is something of each class."""
        has_class = torch.zeros(len(self.images), len(self.class_names), dtype=torch.bool)
        for row, labels in zip(has_class, self.labels, strict=True):
            row[labels] = True
        return tuple(column.nonzero().flatten() for column in has_class.T)

    @property
    def counts(self) -> tuple[int, ...]:
        """Return in how many pictures each class is."""
        return tuple(map(len, self.pictures_of))

    def marked_box(self, picture: int, class_id: int) -> int:
        """Return which box of a picture marks the class where the picture is of a support: its first one of that class."""
        return int((self.labels[picture] == class_id).nonzero()[0])

    def take_marked(self, pictures: Tensor, class_ids: Sequence[int]) -> BoxedImages:
        """Return support pictures (n_way, n_shot) in 0..1, each with one box: of the class it was drawn for."""
        chosen = [(int(i), class_id) for of_class, class_id in zip(pictures, class_ids, strict=True) for i in of_class]
        boxes = tuple(self.boxes[i][self.marked_box(i, class_id)][None] for i, class_id in chosen)
        labels = torch.arange(len(class_ids)).repeat_interleave(pictures.shape[1])
        return BoxedImages(to_float(self.images[pictures.flatten()]), boxes, labels.split(1), tuple(self.class_names[i] for i in class_ids))

    def sample_of(self, class_id: int) -> Tensor:
        """Return what the first box of a class shows, (3, h, w)."""
        picture = int(self.pictures_of[class_id][0])
        left, top, right, bottom = self.boxes[picture][self.marked_box(picture, class_id)].tolist()
        return self.images[picture][:, int(top) : int(bottom) + 1, int(left) : int(right) + 1]

    def mean_and_std(self) -> tuple[list[float], list[float]]:
        """Return the mean and the standard deviation of each channel, of values in 0..1."""
        return channel_statistics(self.images)

    def take(self, pictures: Tensor) -> BoxedImages:
        """Return these pictures (n,) in 0..1 with all their boxes."""
        boxes, labels = (tuple(values[i] for i in pictures.tolist()) for values in (self.boxes, self.labels))
        return BoxedImages(to_float(self.images[pictures]), boxes, labels, self.class_names)

    def take_classes(self, pictures: Tensor, class_ids: Sequence[int]) -> BoxedImages:
        """Return these pictures (n,) in 0..1 with the boxes of these classes alone, labelled by their place among `class_ids`."""
        label_of = torch.full((len(self.class_names),), -1)
        label_of[list(class_ids)] = torch.arange(len(class_ids))
        found = [(self.boxes[i], label_of[self.labels[i]]) for i in pictures.tolist()]
        boxes = tuple(boxes[labels >= 0] for boxes, labels in found)
        labels = tuple(labels[labels >= 0] for _, labels in found)
        return BoxedImages(to_float(self.images[pictures]), boxes, labels, tuple(self.class_names[i] for i in class_ids))


@dataclass(frozen=True, eq=False)
class DetectionEpisode:
    """One task: boxes of a few classes in `support`, to learn them from, and the pictures of `query`, in which they are to be found."""

    support: BoxedImages
    query: BoxedImages
    class_ids: tuple[int, ...] = ()  # of the data set, in label order; empty for a person's own pictures

    def __post_init__(self):
        if self.support.class_names != self.query.class_names:
            raise ValueError(f"support and query name different classes: {self.support.class_names} and {self.query.class_names}")
        check_support(self.support)

    @property
    def n_way(self) -> int:
        return self.support.n_way


@dataclass(frozen=True)
class DrawnDetection:
    """Which classes and pictures an episode has: positions in the data set's `images`."""

    class_ids: tuple[int, ...]
    support: Tensor  # (n_way, n_shot), int64
    query: Tensor  # (n_way, n_query), int64


@dataclass(frozen=True)
class DetectionSampler:
    """Draw `n_way` classes, and of each `n_shot + n_query` pictures with something of it, all different, by the given generator.

    Pictures are ordered by the class they were drawn for. A support picture has one box, of that class, as a person marks one thing in it:
    so a class has exactly `n_shot`, whatever else there is. Those of the queries are of all classes of the episode. Raises ValueError at
    once if the data set cannot serve such an episode.
    """

    dataset: AnnotatedImages
    n_way: int
    n_shot: int
    n_query: int

    def __post_init__(self):
        for name, least in (("n_way", 2), ("n_shot", 1), ("n_query", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        dataset, n = self.dataset, self.n_shot + self.n_query
        if self.n_way > len(dataset.class_names):
            raise ValueError(
                f"{self.n_way} ways are needed, but {dataset.name!r} has {len(dataset.class_names)} classes in split {dataset.split!r}; "
                f"lower n_way"
            )
        for name, pictures in zip(dataset.class_names, dataset.pictures_of, strict=True):
            if len(pictures) < n:
                raise ValueError(f"{n} pictures a class are needed, but {name!r} is in {len(pictures)}; lower n_shot or n_query")
        if self.n_way * n > len(dataset):
            raise ValueError(
                f"{self.n_way} x {n} different pictures are needed, but {dataset.name!r} has {len(dataset)}; lower n_way, n_shot or n_query"
            )

    def sample(self, generator: torch.Generator, class_ids: Sequence[int] | None = None) -> DetectionEpisode:
        """Draw one episode; `class_ids` fixes the classes (in label order) and leaves only the pictures to chance."""
        return self.gather(self.draw(generator, class_ids))

    def draw(self, generator: torch.Generator, class_ids: Sequence[int] | None = None) -> DrawnDetection:
        """Draw the same, without fetching the pictures."""
        if class_ids is None:
            class_ids = torch.randperm(len(self.dataset.class_names), generator=generator)[: self.n_way].tolist()
        class_ids = tuple(class_ids)
        if len(set(class_ids)) != self.n_way or not set(class_ids) <= set(range(len(self.dataset.class_names))):
            raise ValueError(
                f"{self.n_way} different class ids of 0 .. {len(self.dataset.class_names) - 1} are needed, but {class_ids} were chosen"
            )
        for _ in range(ATTEMPTS):
            picked = self._pick(class_ids, generator)
            if picked is not None:
                return DrawnDetection(class_ids, picked[:, : self.n_shot], picked[:, self.n_shot :])
        names = ", ".join(self.dataset.class_names[i] for i in class_ids)
        raise ValueError(f"{names} share so many pictures that not each can have {self.n_shot + self.n_query}; lower n_shot or n_query")

    def gather(self, drawn: DrawnDetection) -> DetectionEpisode:
        """Fetch the pictures of an episode."""
        query = self.dataset.take_classes(drawn.query.flatten(), drawn.class_ids)
        return DetectionEpisode(self.dataset.take_marked(drawn.support, drawn.class_ids), query, drawn.class_ids)

    def _pick(self, class_ids: Sequence[int], generator: torch.Generator) -> Tensor | None:
        """Draw pictures (n_way, n_shot + n_query), no picture twice; None where those drawn first leave too few for a class."""
        is_free = torch.ones(len(self.dataset), dtype=torch.bool)
        picked = torch.empty(self.n_way, self.n_shot + self.n_query, dtype=torch.int64)
        rarest_first = sorted(range(self.n_way), key=lambda label: len(self.dataset.pictures_of[class_ids[label]]))
        for label in rarest_first:
            pictures = self.dataset.pictures_of[class_ids[label]]
            free = pictures[is_free[pictures]]
            if len(free) < picked.shape[1]:
                return None
            picked[label] = free[torch.randperm(len(free), generator=generator)[: picked.shape[1]]]
            is_free[picked[label]] = False
        return picked


def check_support(support: BoxedImages) -> None:
    """Raise ValueError for a class without a box to learn from."""
    marked = {label for labels in support.labels for label in labels.tolist()}
    if missing := set(range(support.n_way)) - marked:
        raise ValueError(f"every class needs a box to learn from, but {support.class_names[min(missing)]!r} has none; mark one")


def check_annotations(images: Tensor, boxes: Sequence[Tensor], labels: Sequence[Tensor], class_names: Sequence[str]) -> None:
    """Raise ValueError unless these are pictures with a tensor of boxes inside them and one of their labels each."""
    if images.ndim != 4 or images.shape[1] != 3 or not (images.dtype == torch.uint8 or images.is_floating_point()):
        raise ValueError(f"pictures must be uint8 or float (n, 3, height, width), not {images.dtype} {tuple(images.shape)}")
    if not len(boxes) == len(labels) == len(images):
        raise ValueError(f"{len(images)} pictures need as many tensors of boxes and of labels, not {len(boxes)} and {len(labels)}")
    if not class_names or len(set(class_names)) != len(class_names):
        raise ValueError(f"class names must differ, and at least one is needed, not {tuple(class_names)}")
    check_boxes(torch.cat([*boxes, torch.empty(0, 4)]))
    height, width = images.shape[-2:]
    for number, (of_picture, classes) in enumerate(zip(boxes, labels, strict=True)):
        if classes.shape != of_picture.shape[:1] or classes.dtype != torch.int64:
            raise ValueError(f"labels of picture {number} must be int64 ({len(of_picture)},), not {classes.dtype} {tuple(classes.shape)}")
        if not len(classes):
            continue
        if not 0 <= int(classes.min()) <= int(classes.max()) < len(class_names):
            raise ValueError(f"labels must lie in 0 .. {len(class_names) - 1}, but picture {number} has {classes.tolist()}")
        if of_picture.min() < 0 or of_picture[:, 2].max() > width or of_picture[:, 3].max() > height:
            raise ValueError(f"a box of picture {number} is outside its {width} x {height} pixels: {of_picture.tolist()}; clip it first")
