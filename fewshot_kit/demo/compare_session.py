"""All learners on the same episode, without a widget: what each makes of the very same pictures."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fewshot_kit.data.cancelling import Check, go_on
from fewshot_kit.data.episodes import DrawnEpisode, Episode, EpisodeSampler
from fewshot_kit.data.images import preprocess, to_float
from fewshot_kit.demo.comparison import Comparison, PairedResults, SharedSetting, shared_settings
from fewshot_kit.demo.roster import Roster, SharedImages, reasons
from fewshot_kit.demo.session import DemoSession, Epoch, Learning
from fewshot_kit.evaluate import evaluate
from fewshot_kit.learners.base import Learner, Predictor
from fewshot_kit.learners.settings import Setting
from fewshot_kit.networks.devices import pick_device, use_one_thread
from fewshot_kit.results import Evaluation
from fewshot_kit.training.checkpoints import Checkpoint

FAILURES = ValueError, FloatingPointError, RuntimeError  # of one learner (a GPU out of memory, too): the others go on
DIVERGED = "it diverged, its answers are not finite; lower the learning rate"


class CompareSession(DemoSession):
    """Several checkpoints, a data set and one episode on the table, which all of them learn from their pretrained weights.

    Its settings are those of all learners together. Until one is set by hand, each learner has the value found best for it; once set, all
    who have it get the same. Who cannot take part is named with the reason, and the others go on.
    """

    dataset: SharedImages
    drawn: DrawnEpisode  # which pictures the episode on the table has: positions, the same for every learner

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint | str] = (),
        dataset: str = "characters",
        *,
        n_way: int = 5,
        n_shot: int = 1,
        n_query: int = 5,
        seed: int = 0,
        device: str = "auto",
    ):
        """Compare these checkpoints, or without any all in `pretrained/` whose networks are for the pictures at hand."""
        use_one_thread()
        self.device = pick_device(device)
        self.roster = Roster(checkpoints, self.device)
        self.n_way, self.n_shot, self.n_query, self.seed = n_way, n_shot, n_query, seed
        self.load(dataset)

    def read(self, dataset: str, check: Check = go_on) -> SharedImages:
        """Return the test split of a data set as each learner wants its pictures. Raises ValueError where they are for none."""
        return self.roster.read(dataset, check)

    # The episode.

    def _sample(self, dataset: SharedImages, class_ids: tuple[int, ...] | None, changes: dict) -> Episode:
        settings = {"n_way": self.n_way, "n_shot": self.n_shot, "n_query": self.n_query, "seed": self.seed, **changes}
        seed = settings.pop("seed")
        drawn = self.Sampler(dataset, **settings).draw(torch.Generator().manual_seed(seed), class_ids)
        self.dataset, self.class_ids, self.drawn = dataset, class_ids, drawn
        for name, value in {**settings, "seed": seed}.items():
            setattr(self, name, value)
        self._episodes: dict[tuple, Episode] = {}  # by what the networks want of a picture
        self._learned: dict[tuple, Learning] = {}  # by learner and settings: what nobody has changed is not learned anew
        self.checkpoint = self.roster[self.first]
        self.learner = self.checkpoint.learner.to(self.device)
        self.episode = self.episode_of(self.first)
        return self.episode

    @property
    def first(self) -> str:
        """Name the first of the learners for these pictures."""
        return next(iter(self.dataset.by_learner))

    def episode_of(self, name: str) -> Episode:
        """Return the episode on the table as a learner's network wants its pictures."""
        form = self.dataset.by_learner[name].preprocessing.form
        if form not in self._episodes:
            self._episodes[form] = self.sampler(name).gather(self.drawn)
        return self._episodes[form]

    def sampler(self, name: str | None = None) -> EpisodeSampler:
        """Return what draws episodes of this data set, way and shot, as a learner wants its pictures; the first one if left out."""
        return self.Sampler(self.dataset.by_learner[name or self.first], self.n_way, self.n_shot, self.n_query)

    # Settings.

    def shared(self) -> dict[str, SharedSetting]:
        """Return by name the settings of all learners for the pictures on the table, with the values best at this way and shot."""
        return shared_settings({name: self._best(name) for name in self.dataset.by_learner})

    def settings(self) -> tuple[Setting, ...]:
        return tuple(shared.setting for shared in self.shared().values())

    def own_values(self, settings: Mapping[str, float] | None) -> dict[str, dict[str, float]]:
        """Return by learner which of these values it has, as itself calls them. Raises ValueError for a name that no learner has."""
        shared, settings = self.shared(), settings or {}
        if unknown := sorted(settings.keys() - shared.keys()):
            raise ValueError(f"no learner has a setting {unknown[0]!r}; there is {', '.join(shared) or 'none'}")
        return {
            learner: {shared[name].own_name: value for name, value in settings.items() if learner in shared[name].values}
            for learner in self.dataset.by_learner
        }

    def learner_of(self, name: str, own_values: Mapping[str, float] | None = None) -> Learner:
        """Return a learner under its best settings, but for these. Raises ValueError for values it refuses, and for too many classes."""
        learner = self._best(name).with_settings(**(own_values or {}))
        learner.check_way(self.n_way)
        return learner

    def _best(self, name: str) -> Learner:
        self.roster[name].learner.to(self.device)
        return self.roster[name].learner_for(self.n_way, self.n_shot)

    def _learner(self, settings: Mapping[str, float] | None = None) -> Learner:
        return self.learner_of(self.first, self.own_values(settings)[self.first])

    # Learning.

    def learn(
        self,
        settings: Mapping[str, float] | None = None,
        *,
        left_aside: Collection[str] = (),
        on_learner: Callable[[str, int, int], None] | None = None,
        on_epoch: Callable[[Epoch], None] | None = None,
    ) -> Comparison:
        """Let every learner but those `left_aside` learn the episode, by these values of `settings` where it has them.

        `on_learner(name, its number, of how many)` is called before each; raise `Cancelled` in it or in `on_epoch` to stop. Raises
        ValueError where nobody is left.
        """
        own, names = self.own_values(settings), self._taking_part(left_aside)
        left_out, learnings, kept = {}, {}, {}
        for number, name in enumerate(names):
            if on_learner is not None:
                on_learner(name, number, len(names))
            key = name, tuple(sorted(own[name].items()))
            try:
                learning = self._learned.get(key) or self._learn_one(name, own[name], on_epoch)
            except FAILURES as error:
                left_out[name] = str(error)
            else:
                self._learned[key] = kept[key] = learnings[name] = learning
        _check_some(learnings, left_out, names)
        self._learned = kept
        return Comparison(learnings, {**left_out, **self.dataset.left_out})

    def _taking_part(self, left_aside: Collection[str]) -> list[str]:
        return [name for name in self.dataset.by_learner if name not in left_aside]

    def _learn_one(self, name: str, own_values: Mapping[str, float], on_epoch: Callable[[Epoch], None] | None) -> Learning:
        episode, losses, epoch = self.episode_of(name), [], None
        queries = episode.query.images.to(self.device)

        def note(step: int, loss: float, predictor: Predictor) -> None:
            nonlocal epoch
            losses.append(loss)
            epoch = Epoch(step, losses, queries, predictor, episode.n_way)
            if on_epoch is not None:
                on_epoch(epoch)

        self.learner_of(name, own_values).adapt(episode.support, on_step=note)
        if not (np.isfinite(losses[-1]) and epoch.probabilities.isfinite().all()):
            raise FloatingPointError(DIVERGED)
        return Learning(episode, (epoch,), epoch.predictor)

    def classify(self, comparison: Comparison, picture: np.ndarray) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a person's own picture as the first learner sees it (1, c, h, w), and its probabilities (n_way,) by each."""
        seen: dict[str, Tensor] = {}
        for name in comparison.learnings:
            seen[name] = to_float(preprocess(picture, self.roster[name].learner.preprocessing)).unsqueeze(0)
        answers = {name: learning.classify(seen[name].to(self.device))[0] for name, learning in comparison.learnings.items()}
        return next(iter(seen.values())), answers

    # Measuring.

    def evaluate(
        self,
        n_episodes: int = 200,
        settings: Mapping[str, float] | None = None,
        *,
        left_aside: Collection[str] = (),
        on_progress: Callable[[str, int, PairedResults], None] | None = None,
    ) -> PairedResults:
        """Measure every learner but those `left_aside` on the same fresh episodes, which the session's seed draws.

        `on_progress(name, its episodes done, results of those before it)` is called before each and after each part; raise `Cancelled` in
        it to stop. Raises ValueError where nobody is left.
        """
        own, names = self.own_values(settings), self._taking_part(left_aside)
        results, left_out = {}, {}
        for name in names:
            so_far = PairedResults(dict(results), dict(left_out))

            def note(done: int, _=None, name: str = name, so_far: PairedResults = so_far) -> None:
                if on_progress is not None:
                    on_progress(name, done, so_far)

            note(0)
            try:
                results[name] = self._evaluate_one(name, own[name], n_episodes, note)
            except FAILURES as error:
                left_out[name] = str(error)
        _check_some(results, left_out, names)
        return PairedResults(results, {**left_out, **self.dataset.left_out})

    def _evaluate_one(self, name: str, own_values: Mapping[str, float], n_episodes: int, on_progress: Callable) -> Evaluation:
        learner, sampler = self.learner_of(name, own_values), self.sampler(name)
        result = evaluate(learner, sampler, n_episodes=n_episodes, seed=self.seed, keep_episodes=True, on_progress=on_progress)
        return replace(result, checkpoint=name)


def _check_some(found: Mapping, left_out: Mapping[str, str], names: Sequence[str]) -> None:
    """Raise ValueError where nobody is left."""
    if not names:
        raise ValueError("nobody takes part: choose at least one learner")
    if not found:
        raise ValueError(f"nobody is left to compare: {reasons({name: left_out[name] for name in names})}")
