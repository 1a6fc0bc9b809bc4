"""A training that is watched: what a person may set, where it stands and its best weights so far. What a panel shows, without a widget."""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from itertools import chain, count
from pathlib import Path

import numpy as np

from fewshot_kit.data.datasets import dataset_names, dataset_splits, has_photographs, load_dataset
from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.evaluate import evaluate
from fewshot_kit.learners.base import Learner
from fewshot_kit.learners.configs import CONFIGS, LearnerConfig, config_name
from fewshot_kit.networks.devices import use_one_thread
from fewshot_kit.results import Evaluation
from fewshot_kit.training.build import make_learner
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.run_folder import write_result
from fewshot_kit.training.runs import RunRecord, read_run
from fewshot_kit.training.train import BEST, Run, has_begun, open_run, train
from fewshot_kit.training.weights import load_best

TASKS = ("train_way", "train_shot", "train_query")  # what a learner that is chosen instead takes over of the given one


@dataclass(frozen=True)
class Progress:
    """Where a training stands."""

    step: int
    n_steps: int
    loss: float  # of training, smoothed over some ten steps
    steps_per_second: float  # since it was started, validations included; NaN until there are two steps

    def __str__(self) -> str:
        text = f"step {self.step} of {self.n_steps}"
        if math.isfinite(self.steps_per_second):
            left = round((self.n_steps - self.step) / self.steps_per_second)
            minutes, seconds = divmod(left, 60)
            hours, minutes = divmod(minutes, 60)
            text += f" · {self.steps_per_second:.3g} steps/s · {f'{hours}:{minutes:02d}' if hours else minutes}:{seconds:02d} left"
        return f"{text} · training loss {self.loss:.3f} (smoothed)"


@dataclass(frozen=True)
class Choice:
    """What a person may set before a training starts."""

    learner: str
    dataset: str
    outer_steps: int
    outer_lr: float
    classes: int  # of a validation task
    pictures: int  # of each class, to learn it from in validation
    width: int | None  # of the network; None where it has no such setting


class SettingError(ValueError):
    """A setting that cannot be; `name` is the field of `Choice`."""

    def __init__(self, name: str, message: str):
        super().__init__(message)
        self.name = name


class TrainingSession:
    """A training that is watched: what a panel shows of a run, without a widget in it."""

    def __init__(self, folder: str | Path, learner_config: LearnerConfig, config: TrainConfig):
        use_one_thread()
        self.folder, self.learner_config, self.config = Path(folder), learner_config, config
        self._given = (self.folder, learner_config, config)
        self.run: Run | None = None  # once it was opened

    @property
    def learner_name(self) -> str:
        return config_name(self.learner_config)

    @property
    def is_new(self) -> bool:
        return not has_begun(self.folder)

    @property
    def step(self) -> int:
        """The outer steps taken; of a run that was not opened here, up to its last validation."""
        record = self.record() if self.run is None else None
        return self.run.step if self.run else record.rows[-1]["step"] if record and record.rows else 0

    @property
    def is_finished(self) -> bool:
        return not self.is_new and self.step >= self.config.outer_steps

    def record(self) -> RunRecord | None:
        return None if self.is_new else read_run(self.folder)

    def curves(self) -> list[tuple[str, dict[str, np.ndarray]]]:
        """Return (name, curves) of the run as a list for `plots.curves_figure`, an empty one before it has begun."""
        record = self.record()
        return [(record.name, record.curves())] if record else []

    # What a person sets before the start.

    @property
    def choice(self) -> Choice:
        """What is set now."""
        config, width = self.config, getattr(self.learner_config.network, "width", None)
        return Choice(self.learner_name, config.source.dataset, config.outer_steps, config.meta_lr, config.val_way, config.val_shot, width)

    def datasets(self) -> list[str]:
        """Name the data sets that can be trained on with a network for such pictures as the given ones."""
        given, in_colour = self._given[2].source.dataset, self.learner_config.network.channels == 3
        names = [name for name in dataset_names() if {"train", "val"} <= set(dataset_splits(name))]
        names = [name for name in names if has_photographs(name) == in_colour]
        return names if given in names else [given, *names]

    def problems(self, choice: Choice) -> dict[str, str]:
        """Say what is wrong with a choice, by the field of `Choice`; nothing where all is well."""
        is_rate = math.isfinite(choice.outer_lr) and choice.outer_lr > 0
        checks = {
            "outer_steps": (choice.outer_steps >= 1, f"at least 1 step is needed, not {choice.outer_steps}"),
            "outer_lr": (is_rate, f"a number above 0 is needed, not {choice.outer_lr:g}; try 0.003"),
            "classes": (choice.classes >= 2, f"at least 2 classes are needed, not {choice.classes}: one cannot be mistaken for another"),
            "pictures": (choice.pictures >= 1, f"at least 1 picture of each class is needed, not {choice.pictures}"),
            "width": (_is_width(choice.width), f"a multiple of 8 is needed, not {choice.width}; try 16 or 64"),
        }
        wrong = {name: message for name, (is_well, message) in checks.items() if not is_well}
        if not wrong:
            try:
                self._configured(choice)
            except ValueError as error:  # the learner refuses its network, as MAML does running statistics
                wrong["learner"] = str(error)
        return wrong

    def choose(self, choice: Choice) -> None:
        """Set what the run will be trained with. Raises SettingError for a bad value, RuntimeError once the run has begun."""
        if choice == self.choice:
            return
        if not self.is_new:
            raise RuntimeError(f"{self.folder} has begun: its settings stay. Take a new run")
        for name, message in self.problems(choice).items():
            raise SettingError(name, message)
        moves = (choice.learner, choice.dataset) != (self.learner_name, self.choice.dataset)
        self.learner_config, self.config = self._configured(choice)
        self.run = None
        if moves:
            self.folder = self._fresh_folder()

    def new_run(self) -> None:
        """Take a fresh folder for the next training; the run of before stays where it is."""
        self.folder, self.run = self._fresh_folder(), None

    def _configured(self, choice: Choice) -> tuple[LearnerConfig, TrainConfig]:
        """Return the configurations of learner and training: the given ones, with what was chosen in place."""
        _, given_learner, given = self._given
        learner_config = given_learner
        if choice.learner != config_name(given_learner):
            kind = CONFIGS[choice.learner]
            known, taken = {field.name for field in fields(kind)}, {"network", *TASKS}
            learner_config = kind(**{f.name: getattr(given_learner, f.name) for f in fields(given_learner) if f.name in known & taken})
        if choice.width is not None:
            learner_config = replace(learner_config, network=replace(learner_config.network, width=choice.width))
        often = max(1, round(given.evaluate_every * choice.outer_steps / given.outer_steps))  # as many validations as were given
        rotations = given.source.rotations if choice.dataset == given.source.dataset else None  # of another set: as it wants
        source = replace(given.source, dataset=choice.dataset, rotations=rotations)
        of_validation = {"val_way": choice.classes, "val_shot": choice.pictures, "evaluate_every": often}
        return learner_config, replace(given, source=source, outer_steps=choice.outer_steps, meta_lr=choice.outer_lr, **of_validation)

    def _fresh_folder(self) -> Path:
        """Name a folder beside the given one in which nothing lies."""
        first, given_learner, given = self._given
        if (self.learner_name, self.choice.dataset) != (config_name(given_learner), given.source.dataset):
            first = first.with_name(re.sub(r"[^\w.-]+", "_", f"{self.learner_name}-{self.choice.dataset}"))
        numbered = chain([first], (first.with_name(f"{first.name}-{number}") for number in count(2)))
        return next(path for path in numbered if not path.exists() or (path.is_dir() and not any(path.iterdir())))

    def _check_data(self) -> None:
        """Raise SettingError if the data set cannot serve the validation, before a folder is made."""
        choice, n_query = self.choice, self.config.val_query
        dataset = load_dataset(choice.dataset, "val", preprocessing=self.learner_config.network.preprocessing)
        if choice.classes > len(dataset):
            raise SettingError("classes", f"{choice.dataset} has {len(dataset)} classes for validation, not {choice.classes}")
        if (most := min(dataset.counts) - n_query) < choice.pictures:
            some = f"some classes of {choice.dataset} have {most + n_query} pictures, {n_query} of them queries"
            raise SettingError("pictures", f"{some}: at most {max(most, 0)} are left to learn from, not {choice.pictures}")

    # The training, and what came of it so far.

    def train(
        self,
        *,
        resume: bool = False,
        on_step: Callable[[Progress], None] | None = None,
        on_evaluation: Callable[[dict], None] | None = None,
    ) -> bool:
        """Begin the run, or go on with it; return whether it is finished. Raise `Cancelled` in `on_step` to stop: the state is saved."""
        if self.is_new:
            self._check_data()
        self.run = open_run(self.folder, self.learner_config, self.config, resume=resume)
        n_losses, smoothed, started = 0, 0.0, 0.0

        def note(run: Run, loss: float) -> None:
            nonlocal n_losses, smoothed, started
            n_losses, smoothed = n_losses + 1, 0.9 * smoothed + 0.1 * loss
            started = started or time.perf_counter()  # not before: the data had to be loaded
            rate = (n_losses - 1) / (time.perf_counter() - started) if n_losses > 1 else math.nan
            if on_step is not None:
                on_step(Progress(run.step, self.config.outer_steps, smoothed / (1 - 0.9**n_losses), rate))

        return train(self.run, on_step=note, on_evaluation=on_evaluation)

    def best_learner(self) -> Learner | None:
        """Return a learner with the weights of the best validation so far, None before the first. A training under way is not touched."""
        if not (self.folder / BEST).is_file():
            return None
        learner = make_learner(self.learner_config, self.config.seed)
        load_best(self.folder, learner)
        return learner.eval()

    def sampler(self, split: str, learner: Learner) -> EpisodeSampler:
        """Return what draws tasks of the chosen size from a split."""
        dataset = load_dataset(self.choice.dataset, split, preprocessing=learner.preprocessing)
        return EpisodeSampler(dataset, self.choice.classes, self.choice.pictures, self.config.val_query)

    def measure_best(self, n_episodes: int) -> Evaluation | None:
        """Measure the best weights so far on validation classes, None before the first validation; of a finished run, into result.json."""
        learner = self.best_learner()
        if learner is None:
            return None
        result = evaluate(learner, self.sampler("val", learner), n_episodes=n_episodes, seed=self.config.seed)
        if self.is_finished:
            write_result(self.folder, result)
        return result


def _is_width(width: int | None) -> bool:
    return width is None or (width >= 8 and width % 8 == 0)
