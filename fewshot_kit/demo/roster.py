"""Who can be compared on a data set: learners whose networks are for its pictures, and the same pictures as each of them wants them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from fewshot_kit.data.cancelling import Check, go_on
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.datasets import is_available, load_dataset
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.demo.photographs import are_photographs, checkpoints_for
from fewshot_kit.detection.detector import Detector
from fewshot_kit.training.checkpoints import Checkpoint, load_checkpoint

KINDS = {1: "ink drawings", 3: "photographs"}  # by a network's channels


@dataclass(frozen=True, eq=False)
class SharedImages(ClassImages):
    """A data set as the first of several learners wants its pictures; and beside it, the same pictures as each of them does."""

    by_learner: Mapping[str, ClassImages] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)  # learners that these pictures are not for, and why


class Roster:
    """The checkpoints to compare; those that were not given are loaded when pictures come that they are for."""

    def __init__(self, checkpoints: Sequence[Checkpoint | str], device: str):
        """Take these, or without any all of `pretrained/`. Raises CheckpointError where one that is given cannot be loaded."""
        self._device = device
        self._loaded: dict[str, Checkpoint] = {}
        for given in checkpoints:
            checkpoint = load_checkpoint(given, device=device) if isinstance(given, str) else given
            if checkpoint.name in self._loaded:
                raise ValueError(f"two checkpoints are called {checkpoint.name!r}; give each once, and under a name of its own")
            self._loaded[checkpoint.name] = checkpoint
        self._are_given = bool(self._loaded)

    def __getitem__(self, name: str) -> Checkpoint:
        if name not in self._loaded:
            self._loaded[name] = load_checkpoint(name, device=self._device)
        return self._loaded[name]

    def read(self, dataset: str, check: Check = go_on) -> SharedImages:
        """Return the test split of a data set for all whom it suits. Raises ValueError where that is nobody."""
        n_channels = 3 if are_photographs(dataset, check) else 1
        fitting, left_out = self._fitting(n_channels)
        by_form: dict[tuple, ClassImages] = {}
        by_learner: dict[str, ClassImages] = {}
        for name in fitting:
            check()
            try:
                preprocessing = self[name].learner.preprocessing
            except ValueError as error:  # it is damaged, or its model is not on this machine; those that were given are loaded
                left_out[name] = str(error)
                continue
            if preprocessing.form not in by_form:
                by_form[preprocessing.form] = _load(dataset, preprocessing, check)
            by_learner[name] = by_form[preprocessing.form]
        if not by_learner:
            raise ValueError(f"{dataset!r} holds {KINDS[n_channels]}, and no learner here is for them: {reasons(left_out)}")
        first = next(iter(by_learner.values()))
        for name, images in list(by_learner.items()):
            if (images.counts, images.class_names) != (first.counts, first.class_names):  # a folder that is being written
                left_out[name] = "it was given other pictures than the first one; open the data set again"
                del by_learner[name]
        own = {item.name: getattr(first, item.name) for item in fields(ClassImages)}
        return SharedImages(**own, by_learner=by_learner, left_out=left_out)

    def max_way(self, images: SharedImages) -> int | None:
        """Return the most classes that any of the learners for these pictures can tell apart; None: any number."""
        most = [self[name].learner.max_way for name in images.by_learner]
        return None if None in most else max(most)

    def _fitting(self, n_channels: int) -> tuple[list[str], dict[str, str]]:
        """Return the learners for pictures of so many channels, and of the others why they are not."""
        if not self._are_given:
            others = checkpoints_for(in_colour=n_channels == 1)
            return checkpoints_for(in_colour=n_channels == 3), dict.fromkeys(others, f"its network is for {KINDS[4 - n_channels]}")
        fitting, left_out = [], {}
        for name, checkpoint in self._loaded.items():
            channels = checkpoint.learner.preprocessing.channels
            if isinstance(checkpoint.learner, Detector):
                left_out[name] = "it finds things in pictures, and classifies none"
            elif channels != n_channels:
                left_out[name] = f"its network is for {KINDS[channels]}"
            else:
                fitting.append(name)
        return fitting, left_out


def _load(dataset: str, preprocessing: Preprocessing, check: Check) -> ClassImages:
    return load_dataset(dataset, "test", preprocessing=preprocessing, progress=not is_available(dataset), check=check)


def reasons(left_out: Mapping[str, str]) -> str:
    """Write who is left out, and why; those of one reason together."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        by_reason.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())
