"""Episodes: small tasks of support and query images, drawn class by class from a data set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.images import to_float


@dataclass(frozen=True)
class LabelledImages:
    """Images of one task with episode-local labels."""

    images: Tensor  # (n, channels, height, width), float
    labels: Tensor  # (n,), int64, episode-local: 0 .. n_way-1
    class_names: tuple[str, ...]  # class_names[label]

    def __post_init__(self):
        if self.images.ndim != 4 or not self.images.is_floating_point():
            raise ValueError(f"images must be float (n, channels, height, width), not {self.images.dtype} {tuple(self.images.shape)}")
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != torch.int64:
            raise ValueError(f"labels must be int64 ({len(self.images)},), not {self.labels.dtype} {tuple(self.labels.shape)}")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.n_way:
            raise ValueError(f"labels must lie in 0 .. {self.n_way - 1}: there are {self.n_way} class names")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def n_way(self) -> int:
        return len(self.class_names)

    def to(self, device: torch.device | str) -> "LabelledImages":
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def map_images(self, change: Callable[[Tensor], Tensor]) -> "LabelledImages":
        return replace(self, images=change(self.images)) if len(self) else self


@dataclass(frozen=True)
class Episode:
    """One task: `support` to learn from, `query` to be asked about, over the same classes."""

    support: LabelledImages
    query: LabelledImages
    class_ids: tuple[int, ...] = ()  # of the data set, in label order; empty for a person's own pictures

    def __post_init__(self):
        if self.support.class_names != self.query.class_names:
            raise ValueError(f"support and query name different classes: {self.support.class_names} and {self.query.class_names}")

    @property
    def n_way(self) -> int:
        return self.support.n_way

    def to(self, device: torch.device | str) -> "Episode":
        return Episode(self.support.to(device), self.query.to(device), self.class_ids)

    def map_images(self, change: Callable[[Tensor], Tensor]) -> "Episode":
        """Return the episode with `change` applied to its support and its query images."""
        return replace(self, support=self.support.map_images(change), query=self.query.map_images(change))


@dataclass(frozen=True)
class DrawnEpisode:
    """Which classes and images an episode has: positions in the data set's `images`."""

    class_ids: tuple[int, ...]
    support: Tensor  # (n_way, n_shot), int64
    query: Tensor  # (n_way, n_query), int64


@dataclass(frozen=True)
class EpisodeSampler:
    """Draw `n_way` classes and `n_shot + n_query` different images of each, all by the given generator.

    Images are ordered by class: label 0 first. Raises ValueError at once if the data set cannot serve such an episode.
    """

    dataset: ClassImages
    n_way: int
    n_shot: int
    n_query: int
    within_group: bool = False  # all classes of an episode from one group that has enough of them: of Omniglot, from one alphabet

    def __post_init__(self):
        for name, least in (("n_way", 2), ("n_shot", 1), ("n_query", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.n_way > len(self.dataset):
            raise ValueError(
                f"{self.n_way} ways are needed, but {self.dataset.name!r} has {len(self.dataset)} classes "
                f"in split {self.dataset.split!r}; lower n_way"
            )
        if self.within_group and not self._groups:
            largest = max(self.dataset.groups.values(), key=len)
            raise ValueError(
                f"{self.n_way} ways within one group are needed, but the largest group of {self.dataset.name!r} has {len(largest)} classes "
                f"in split {self.dataset.split!r}; lower n_way"
            )
        for name, available in zip(self.dataset.class_names, self.dataset.counts, strict=True):
            if available < self.n_shot + self.n_query:
                raise ValueError(
                    f"{self.n_shot} + {self.n_query} images a class are needed, but {name!r} has {available}; lower n_shot or n_query"
                )

    @cached_property
    def _groups(self) -> list[Sequence[int]]:
        """The groups that an episode can be drawn from, each as likely as another."""
        return [class_ids for class_ids in self.dataset.groups.values() if len(class_ids) >= self.n_way]

    def sample(self, generator: torch.Generator, class_ids: Sequence[int] | None = None) -> Episode:
        """Draw one episode; `class_ids` fixes the classes (in label order) and leaves only the images to chance."""
        return self.gather(self.draw(generator, class_ids))

    def draw(self, generator: torch.Generator, class_ids: Sequence[int] | None = None) -> "DrawnEpisode":
        """Draw the same, without fetching the images."""
        if class_ids is None:
            among: Sequence[int] = range(len(self.dataset))
            if self.within_group:
                among = self._groups[int(torch.randint(len(self._groups), (), generator=generator))]
            class_ids = [among[i] for i in torch.randperm(len(among), generator=generator)[: self.n_way].tolist()]
        class_ids = tuple(class_ids)
        if len(set(class_ids)) != self.n_way:
            raise ValueError(f"{self.n_way} different classes are needed, but {class_ids} were chosen")
        if not all(0 <= class_id < len(self.dataset) for class_id in class_ids):
            raise ValueError(f"class ids of {self.dataset.name!r} are 0 .. {len(self.dataset) - 1}, but {class_ids} were chosen")
        picked = torch.stack([self._pick(class_id, generator) for class_id in class_ids])  # (n_way, n_shot + n_query)
        return DrawnEpisode(class_ids, picked[:, : self.n_shot], picked[:, self.n_shot :])

    def gather(self, drawn: "DrawnEpisode") -> Episode:
        """Fetch the images of an episode."""
        names = tuple(self.dataset.class_names[class_id] for class_id in drawn.class_ids)
        return Episode(self._gather(drawn.support, names), self._gather(drawn.query, names), drawn.class_ids)

    def _pick(self, class_id: int, generator: torch.Generator) -> Tensor:
        order = torch.randperm(self.dataset.counts[class_id], generator=generator)
        return self.dataset.offsets[class_id] + order[: self.n_shot + self.n_query]

    def _gather(self, indices: Tensor, class_names: tuple[str, ...]) -> LabelledImages:
        images = to_float(self.dataset.images[indices.flatten()])
        return LabelledImages(images, torch.arange(self.n_way).repeat_interleave(indices.shape[1]), class_names)


def stack_episodes(episodes: Sequence[Episode]) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return images (tasks, n, c, h, w) and labels (tasks, n) of the supports, and of the queries; all episodes of one shape."""

    def stacked(parts: list[LabelledImages]) -> tuple[Tensor, Tensor]:
        return torch.stack([part.images for part in parts]), torch.stack([part.labels for part in parts])

    return stacked([episode.support for episode in episodes]), stacked([episode.query for episode in episodes])
