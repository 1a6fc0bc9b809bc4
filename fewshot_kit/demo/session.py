"""What a panel does, without a widget in it: sample an episode, learn it from the pretrained weights, predict, evaluate."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fewshot_kit.data.cancelling import Check, go_on
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.datasets import dataset_names, is_available, load_dataset
from fewshot_kit.data.episodes import Episode, EpisodeSampler
from fewshot_kit.data.images import preprocess, to_float
from fewshot_kit.demo.request import FOLDER, Request, Shelf
from fewshot_kit.evaluate import evaluate, sample_episodes
from fewshot_kit.learners.base import Learner, Predictor
from fewshot_kit.learners.nearest_prototype import NearestPrototype
from fewshot_kit.learners.settings import CHOSEN, Setting
from fewshot_kit.networks.devices import pick_device, use_one_thread
from fewshot_kit.results import Evaluation, Interval
from fewshot_kit.training.checkpoints import Checkpoint, load_checkpoint

PREDICTORS_KEPT = 50  # of the last epochs: each holds weights of its own, half a megabyte of them


class Epoch:
    """Where a learning stands after some epochs."""

    def __init__(self, step: int, losses: Sequence[float], queries: Tensor, predictor: Predictor, n_way: int):
        self.step, self.n_way = step, n_way
        self._losses, self._queries, self._predictor = losses, queries, predictor  # `losses`: shared by all epochs, and may yet grow

    @property
    def support_losses(self) -> tuple[float, ...]:
        """Return those after 0 .. step epochs."""
        return tuple(self._losses[: self.step + 1])

    @cached_property
    def probabilities(self) -> Tensor:
        """Return those of the queries, (n_query_total, n_way); computed when first asked for, since few epochs are ever drawn."""
        if not len(self._queries):  # nor has every layer an answer to no picture at all
            return torch.empty(0, self.n_way)
        return self.predictor(self._queries).softmax(1).cpu()

    @property
    def predictor(self) -> Predictor:
        """Return that of this epoch. Raises ValueError where it was let go of."""
        if self._predictor is None:
            raise ValueError(f"only the predictors of the last {PREDICTORS_KEPT} epochs are kept: learn again with {self.step} epochs")
        return self._predictor

    def let_go(self) -> None:
        """Keep the answers to the queries, and no longer the weights that give them."""
        _ = self.probabilities
        self._predictor = None


@dataclass(frozen=True)
class Learning:
    """One finished learning: every epoch of it, and the predictor it led to."""

    episode: Episode
    epochs: tuple[Epoch, ...]
    predictor: Predictor

    @property
    def accuracy(self) -> float:
        """Return the share of the queries that are right; NaN where there are none."""
        answers = self.epochs[-1].probabilities.argmax(1)
        return (answers == self.episode.query.labels).float().mean().item()

    def classify(self, images: Tensor) -> Tensor:
        """Return the probabilities (n, n_way) of float images (n, c, h, w)."""
        return self.predictor(images).softmax(1).cpu()


class DemoSession:
    """A checkpoint, a data set and the episode on the table. Every learning starts again from the pretrained weights."""

    Sampler = EpisodeSampler  # of a session's episodes: a subclass may have others

    def __init__(
        self,
        checkpoint: Checkpoint | str,
        dataset: str = "characters",
        *,
        n_way: int = 3,
        n_shot: int = 1,
        n_query: int = 1,
        seed: int = 0,
        device: str = "auto",
    ):
        use_one_thread()
        self.device = pick_device(device)
        self.checkpoint = load_checkpoint(checkpoint, device=self.device) if isinstance(checkpoint, str) else checkpoint
        self.learner = self.checkpoint.learner.to(self.device)
        self.n_way, self.n_shot, self.n_query, self.seed = n_way, n_shot, n_query, seed
        self.class_ids: tuple[int, ...] | None = None  # None: by chance
        self.dataset: ClassImages
        self.episode: Episode
        self.load(dataset)

    @property
    def shelf(self) -> Shelf:
        return Shelf(dataset_names(), is_available, FOLDER, "folder or .zip of sub-folders")

    def load(self, dataset: str) -> Episode:
        """Change to another data set (its test split) and sample; on an error everything stays as it was."""
        return self._sample(self.read(dataset), None, {})

    def read(self, dataset: str, check: Check = go_on) -> ClassImages:
        """Return the test split of a data set as the network wants its pictures; the session stays as it is.

        Raise `Cancelled` in `check` to stop reading a folder.
        """
        progress = not is_available(dataset)
        return load_dataset(dataset, "test", preprocessing=self.learner.preprocessing, progress=progress, check=check)

    def lay(
        self, images: ClassImages, *, n_way: int, n_shot: int, n_query: int, seed: int, class_ids: Sequence[int] | None = None
    ) -> Episode:
        """Put an episode of these pictures on the table, classes by chance unless they are given; the very same stays as it is."""
        changes = {"n_way": n_way, "n_shot": n_shot, "n_query": n_query, "seed": seed}
        if images is self.dataset and class_ids == self.class_ids and all(getattr(self, name) == value for name, value in changes.items()):
            return self.episode
        return self._sample(images, None if class_ids is None else tuple(class_ids), changes)

    def sample(
        self, *, n_way: int | None = None, n_shot: int | None = None, n_query: int | None = None, seed: int | None = None
    ) -> Episode:
        """Draw random classes and images; what is left out stays as it is. The same seed gives the same episode."""
        given = {"n_way": n_way, "n_shot": n_shot, "n_query": n_query, "seed": seed}
        return self._sample(self.dataset, None, {name: value for name, value in given.items() if value is not None})

    def choose(self, class_ids: Sequence[int], *, n_shot: int | None = None, n_query: int | None = None) -> Episode:
        """Take these classes of the data set; their images are drawn by the seed."""
        given = {"n_way": len(class_ids), "n_shot": n_shot, "n_query": n_query}
        return self._sample(self.dataset, tuple(class_ids), {name: value for name, value in given.items() if value is not None})

    def _sample(self, dataset: ClassImages, class_ids: tuple[int, ...] | None, changes: dict) -> Episode:
        settings = {"n_way": self.n_way, "n_shot": self.n_shot, "n_query": self.n_query, "seed": self.seed, **changes}
        seed = settings.pop("seed")
        episode = self.Sampler(dataset, **settings).sample(torch.Generator().manual_seed(seed), class_ids)
        self.learner.check_way(episode.n_way)
        self.dataset, self.class_ids, self.episode = dataset, class_ids, episode
        for name, value in {**settings, "seed": seed}.items():
            setattr(self, name, value)
        return episode

    def settings(self) -> tuple[Setting, ...]:
        """Return what a person may turn at the way and shot at hand, with the values that suit them best."""
        return self._learner().settings()

    def request(self, values: Mapping[str, float] | None = None) -> Request:
        """Return what is on the table as a panel asks for it, with these values of `settings` set by hand.

        Raises ValueError for a setting that the learner does not have, and for a value that it refuses.
        """
        values, numbers = values or {}, {name: getattr(self, name) for name in ("n_way", "n_shot", "n_query", "seed")}
        self._learner(values)
        settings = [replace(s, value=values[s.name], source=CHOSEN) if s.name in values else s for s in self.settings()]
        return Request(self.dataset.name, **numbers, class_ids=self.class_ids, settings=tuple(settings))

    def _learner(self, settings: Mapping[str, float] | None = None) -> Learner:
        return self.checkpoint.learner_for(self.n_way, self.n_shot).with_settings(**(settings or {}))

    def learn(self, settings: Mapping[str, float] | None = None, *, on_epoch: Callable[[Epoch], None] | None = None) -> Learning:
        """Learn the episode's support from the pretrained weights, by these values of `settings`.

        `on_epoch` sees the queries' probabilities after each epoch; raise `Cancelled` in it to stop. The session's learner is unchanged.
        """
        episode, epochs, losses = self.episode, [], []
        queries = episode.query.images.to(self.device)

        def note(step: int, loss: float, predictor: Predictor) -> None:
            losses.append(loss)
            epochs.append(Epoch(step, losses, queries, predictor, episode.n_way))
            if len(epochs) > PREDICTORS_KEPT:
                epochs[-PREDICTORS_KEPT - 1].let_go()
            if on_epoch is not None:
                on_epoch(epochs[-1])

        self._learner(settings).adapt(episode.support, on_step=note)
        return self.learned(epochs)

    def learned(self, epochs: Sequence[Epoch]) -> Learning:
        """Return what the learning of the episode on the table has come to after these epochs."""
        return Learning(self.episode, tuple(epochs), epochs[-1].predictor)

    def classify(self, learning: Learning, picture: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return a person's own picture as the network sees it (1, c, h, w), and its probabilities (n_way,)."""
        image = to_float(preprocess(picture, self.learner.preprocessing)).unsqueeze(0)
        return image, learning.classify(image.to(self.device))[0]

    def evaluate(
        self,
        n_episodes: int = 200,
        settings: Mapping[str, float] | None = None,
        *,
        on_progress: Callable[[int, Interval], None] | None = None,
    ) -> Evaluation:
        """Measure the learner on fresh episodes of this data set, way and shot; the seed is the session's."""
        return evaluate(self._learner(settings), self.sampler(), n_episodes=n_episodes, seed=self.seed, on_progress=on_progress)

    def evaluate_baseline(self, n_episodes: int = 200, *, on_progress: Callable[[int, Interval], None] | None = None) -> Evaluation:
        """Measure the nearest class mean in pixels on the same episodes."""
        return evaluate(NearestPrototype(), self.sampler(), n_episodes=n_episodes, seed=self.seed, on_progress=on_progress)

    def draw_episodes(self, n_episodes: int, seed: int | None = None) -> list[Episode]:
        """Draw the episodes that `evaluate` measures, or others of their kind by another seed."""
        return sample_episodes(self.sampler(), n_episodes, self.seed if seed is None else seed)

    def sampler(self) -> EpisodeSampler:
        """Return what draws episodes of this data set, way and shot."""
        return self.Sampler(self.dataset, self.n_way, self.n_shot, self.n_query)
