"""What training tasks are drawn from: a data set, its classes turned and mirrored or not, its pictures changed at random or not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # settings are shown and checked before torch is imported, which takes seconds
    import torch

    from fewshot_kit.data.class_images import ClassImages
    from fewshot_kit.data.episodes import Episode
    from fewshot_kit.data.preprocessing import Preprocessing


@dataclass(frozen=True)
class TaskSource:
    """A data set and how more tasks are made of it."""

    dataset: str = "omniglot"
    samples_per_class: int | None = None  # train on the first so many images of every class; on all of them if left out
    rotations: bool | None = None  # every class also turned by 90, 180, 270 degrees (Vinyals et al. 2016); left out: as the data set wants
    reflections: bool = False  # every class also mirrored: twice the classes
    augment: bool = True  # images are changed at random (fewshot_kit/data/augment.py)
    augment_strength: float = 1.0  # how far, of ink
    picture_size: int | None = None  # photographs are loaded at this size, in pixels, and cropped to the network's
    least_crop: float = 0.5  # the least share of a photograph that a random crop keeps
    jitter: float = 0.4  # how far brightness, contrast and saturation of a photograph are changed: factors of 1 - jitter to 1 + jitter
    split: str = "train"  # or "trainval" of pictures with boxes: the validation classes too, once everything is chosen

    def load(self, preprocessing: Preprocessing) -> ClassImages:
        """Load the training classes. Raises ValueError for a set without any, and for rotated classes of a set that has them already."""
        from fewshot_kit.data.datasets import load_dataset, rotates_in_training

        if self.picture_size is not None:
            preprocessing = replace(preprocessing, size=self.picture_size)
        dataset = load_dataset(self.dataset, self.split, preprocessing=preprocessing, samples_per_class=self.samples_per_class)
        rotations = rotates_in_training(self.dataset) if self.rotations is None else self.rotations
        dataset = dataset.with_rotations() if rotations else dataset
        return dataset.with_reflections() if self.reflections else dataset

    def changed(self, episode: Episode, generator: torch.Generator, size: int) -> Episode:
        """Return the episode with every image changed in a random way of its own, if the source says so; photographs become `size` wide."""
        from fewshot_kit.data.augment import augment_ink, augment_photographs

        def change(images: torch.Tensor) -> torch.Tensor:
            if images.shape[1] == 1:
                return augment_ink(images, generator, self.augment_strength)
            return augment_photographs(images, generator, size=size, least_crop=self.least_crop, jitter=self.jitter)

        return episode.map_images(change) if self.augment else episode
