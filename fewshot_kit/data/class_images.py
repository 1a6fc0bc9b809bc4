"""The pictures of a data set by class: what every data set becomes, and what episodes are drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from fewshot_kit.data.images import channel_statistics
from fewshot_kit.data.preprocessing import Preprocessing

ROTATIONS = ("rot000", "rot090", "rot180", "rot270")  # counter-clockwise
MIRRORED = "mirrored"  # left to right


@dataclass(frozen=True, eq=False)
class ClassImages:
    """The pictures of one split of a data set, sorted by class, in the canonical form of `fewshot_kit.data.images`.

    With one channel that is light ink (255) on a dark background (0), whatever the files hold; with three, RGB.
    `to_float` brings the values into 0..1.
    """

    name: str
    split: str
    images: Tensor  # (n_total, channels, height, width), uint8: class 0 first
    counts: tuple[int, ...]  # images a class
    class_names: tuple[str, ...]  # as the files name them: escape them before they reach HTML
    preprocessing: Preprocessing
    is_rotated: bool = False  # each class is here four times, turned by quarters
    is_mirrored: bool = False  # each class is here twice

    def __post_init__(self):
        shape = (sum(self.counts), self.preprocessing.channels, self.preprocessing.size, self.preprocessing.size)
        if self.images.dtype != torch.uint8 or self.images.shape != shape:
            raise ValueError(f"images of {self.name!r} must be uint8 {shape}, but are {self.images.dtype} {tuple(self.images.shape)}")
        if len(self.counts) != len(self.class_names) or not self.counts or min(self.counts) < 1:
            raise ValueError(f"{self.name!r} needs a count from 1 up for each of its {len(self.class_names)} classes, has {self.counts}")
        if len(set(self.class_names)) != len(self.class_names):
            twice = next(name for name in self.class_names if self.class_names.count(name) > 1)
            raise ValueError(f"class names of {self.name!r} must differ, but {twice!r} is there twice")

    def __len__(self) -> int:
        """Count the classes."""
        return len(self.class_names)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Where each class starts in `images`, and at the end where the last one stops."""
        return (0, *accumulate(self.counts))

    @cached_property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Return the class ids of every group: of Omniglot, an alphabet turned and mirrored one way.

        A group is named by what stands before the first slash of its classes' names, and by their rotation and mirroring if they have one.
        """
        groups: dict[str, tuple[int, ...]] = {}
        for class_id, name in enumerate(self.class_names):
            first, *others = name.split("/")
            group = "/".join([first, *(part for part in others[-2:] if part in (*ROTATIONS, MIRRORED))])
            groups[group] = (*groups.get(group, ()), class_id)
        return groups

    def of_class(self, class_id: int) -> Tensor:
        """View one class's images, `(counts[class_id], channels, height, width)`."""
        if not 0 <= class_id < len(self):
            raise IndexError(f"class ids of {self.name!r} are 0..{len(self) - 1}, not {class_id}")
        return self.images[self.offsets[class_id] : self.offsets[class_id + 1]]

    def mean_and_std(self) -> tuple[list[float], list[float]]:
        """Return the mean and the standard deviation of each channel, of values in 0..1."""
        return channel_statistics(self.images)

    def sample_of(self, class_id: int) -> Tensor:
        """Return the first picture of a class, (channels, h, w)."""
        return self.of_class(class_id)[0]

    def select(self, class_ids: Sequence[int]) -> "ClassImages":
        """Keep these classes, in this order; the images are copied."""
        if not len(class_ids):
            raise ValueError(f"no class of {self.name!r} is selected; give at least one id of 0..{len(self) - 1}")
        images = torch.cat([self.of_class(class_id) for class_id in class_ids])
        counts, names = (tuple(values[class_id] for class_id in class_ids) for values in (self.counts, self.class_names))
        return replace(self, images=images, counts=counts, class_names=names)

    def first(self, n: int) -> "ClassImages":
        """Keep the first `n` images of every class; the images are copied."""
        if n < 1:
            raise ValueError(f"at least 1 image a class must be kept, not {n}")
        if min(self.counts) < n:
            name, count = next((name, count) for name, count in zip(self.class_names, self.counts, strict=True) if count < n)
            most = f"the most that all classes have is {min(self.counts)}"
            raise ValueError(f"{n} images a class are wanted of {self.name!r}, but class {name!r} has {count}; {most}")
        images = torch.cat([of_class[:n] for of_class in self.images.split(self.counts)])
        return replace(self, images=images, counts=(n,) * len(self))

    def with_rotations(self) -> "ClassImages":
        """Make every class four: turned counter-clockwise by 0, 90, 180 and 270 degrees (Vinyals et al. 2016, sec. 4.1.1).

        Raises ValueError where they are turned already: a class would be there several times under different names.
        """
        if self.is_rotated:
            raise ValueError(f"the classes of {self.name!r} are rotated already, and each would be there four times; leave rotations out")
        of_classes = self.images.split(self.counts)
        images = torch.cat([torch.rot90(images, turns, dims=(-2, -1)) for images in of_classes for turns in range(4)])
        counts = tuple(count for count in self.counts for _ in ROTATIONS)
        names = tuple(f"{name}/{rotation}" for name in self.class_names for rotation in ROTATIONS)
        return replace(self, images=images, counts=counts, class_names=names, is_rotated=True)

    def with_reflections(self) -> "ClassImages":
        """Make every class two: as it is, and mirrored left to right. Raises ValueError where they are so already."""
        if self.is_mirrored:
            raise ValueError(f"the classes of {self.name!r} are mirrored already: mirrored again, each would be there twice; leave it out")
        of_classes = self.images.split(self.counts)
        images = torch.cat([side for images in of_classes for side in (images, images.flip(-1))])
        counts = tuple(count for count in self.counts for _ in range(2))
        names = tuple(name for original in self.class_names for name in (original, f"{original}/{MIRRORED}"))
        return replace(self, images=images, counts=counts, class_names=names, is_mirrored=True)
