"""What a learner is trained and measured on: pictures by class, or pictures with boxes. The loop and the commands are the same."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fewshot_kit.data import datasets
from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.detection.annotated import AnnotatedImages, BoxedImages, DetectionSampler
from fewshot_kit.detection.augment import augment_boxed
from fewshot_kit.detection.datasets import annotated_splits, load_annotated
from fewshot_kit.detection.evaluate_detection import evaluate_detection
from fewshot_kit.evaluate import evaluate
from fewshot_kit.learners.base_config import LearnerConfig
from fewshot_kit.learners.detector_configs import DetectorConfig
from fewshot_kit.results import Evaluation


@dataclass(frozen=True)
class TaskKind:
    """Where tasks of one kind come from, and how they are measured."""

    example: str  # of a data set to train on
    splits: Callable[[str], tuple[str, ...]]  # of a data set, by its name
    load: Callable[[str, str, Preprocessing], Any]  # a split of a data set, by their names
    load_training: Callable[[TaskSource, Preprocessing], Any]
    sampler: Callable[..., Any]  # (loaded split, n_way, n_shot, n_query): draws episodes
    changed: Callable[..., Any]  # (source, batch, generator, size): a batch of training, changed at random
    evaluate: Callable[..., Evaluation]  # (learner, sampler, n_episodes, seed, on_progress)
    known_flags: tuple[str, ...] = ()  # of how it is measured, beside the protocol that all have

    def episodes_of(self, dataset: str, split: str, preprocessing: Preprocessing, *, n_way: int, n_shot: int, n_query: int, **flags: bool):
        """Load a split, and return what draws episodes of it."""
        return self.sampler(self.load(dataset, split, preprocessing), n_way, n_shot, n_query, **self.flags(**flags))

    def flags(self, **given: bool) -> dict[str, bool]:
        """Return those of the flags that are set. Raises ValueError for one that such tasks do not have."""
        if unknown := [name for name, value in given.items() if value and name not in self.known_flags]:
            raise ValueError(f"detectors are not measured with {unknown[0]}: each picture is looked at by itself; leave it out")
        return {name: value for name, value in given.items() if value}


def kind_of(config: LearnerConfig) -> TaskKind:
    """Return the kind of tasks that a learner of this configuration is for."""
    return DETECTION if isinstance(config, DetectorConfig) else CLASSIFICATION


def _load_training_scenes(source: TaskSource, preprocessing: Preprocessing) -> AnnotatedImages:
    """Load the training pictures of a source. Raises ValueError for what such pictures cannot be made of."""
    if source.samples_per_class is not None or source.reflections or source.picture_size is not None:
        raise ValueError("pictures with boxes are taken as they are: leave samples_per_class, reflections and picture_size out")
    return load_annotated(source.dataset, source.split, size=preprocessing.size)


def _changed_scenes(source: TaskSource, batch: BoxedImages, generator: Any, size: int) -> BoxedImages:
    """Return the batch with every picture and its boxes changed, if the source says so; with `rotations`, turned by quarters too."""
    return augment_boxed(batch, generator, turns=source.rotations is True, jitter=source.jitter) if source.augment else batch


CLASSIFICATION = TaskKind(
    example="omniglot",
    splits=lambda name: datasets.dataset_splits(name),
    load=lambda name, split, preprocessing: datasets.load_dataset(name, split, preprocessing=preprocessing),
    load_training=TaskSource.load,
    sampler=EpisodeSampler,
    changed=TaskSource.changed,
    evaluate=evaluate,
    known_flags=("transductive", "within_group"),
)
DETECTION = TaskKind(
    example="scenes",
    splits=annotated_splits,
    load=lambda name, split, preprocessing: load_annotated(name, split, size=preprocessing.size),
    load_training=_load_training_scenes,
    sampler=DetectionSampler,
    changed=_changed_scenes,
    evaluate=evaluate_detection,
)
