"""What several learners answer to the same pictures: how far they agree, where they differ most, and by how much one is better."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from fewshot_kit.demo.session import Learning
from fewshot_kit.learners.base import Learner
from fewshot_kit.learners.settings import Setting
from fewshot_kit.results import Evaluation, Interval

UNDECIDED = -1
TIE = 1e-6  # probabilities that differ by less are equal: which of them is the larger says nothing


def answers(probabilities: Tensor) -> Tensor:
    """Return the likeliest class of each row of probabilities (n, n_way), UNDECIDED where two tie."""
    first, second = probabilities.topk(2, dim=1).values.T
    return torch.where(first - second >= TIE, probabilities.argmax(1), UNDECIDED)


@dataclass(frozen=True)
class Comparison:
    """What each of several learners made of one episode."""

    learnings: Mapping[str, Learning]  # by learner; the same pictures in each, as its network wants them
    left_out: Mapping[str, str]  # learners that have no part in it, and why

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.learnings)

    @property
    def episode(self):
        """Return the episode as the first learner sees it."""
        return next(iter(self.learnings.values())).episode

    @property
    def probabilities(self) -> dict[str, Tensor]:
        """Return those of the queries by learner, (n_query_total, n_way) each."""
        return {name: learning.epochs[-1].probabilities for name, learning in self.learnings.items()}

    @property
    def n_right(self) -> dict[str, int]:
        """Count the queries that each learner answers right; a tie is not right."""
        labels = self.episode.query.labels
        return {name: int((answers(values) == labels).sum()) for name, values in self.probabilities.items()}

    def agreement(self) -> Tensor:
        """Return the share of the queries that two learners answer alike, (learners, learners); NaN where there are no queries."""
        given = self._answers()
        return (given[:, None] == given[None]).float().mean(-1)

    def by_dispute(self) -> list[int]:
        """Return the queries, first the one with the most different answers, and of several that with the most distant probabilities."""
        given, n_query = self._answers(), len(self.episode.query)
        n_answers = [len(given[:, query].unique()) for query in range(n_query)]
        distances = self._distances().tolist()
        return sorted(range(n_query), key=lambda query: (-n_answers[query], -distances[query], query))

    def n_agreed(self) -> int:
        """Count the queries that all learners answer alike."""
        given = self._answers()
        return int((given == given[:1]).all(0).sum())

    def _answers(self) -> Tensor:
        """Return the answers (learners, n_query_total)."""
        return torch.stack([answers(values) for values in self.probabilities.values()])

    def _distances(self) -> Tensor:
        """Return the mean total variation distance between the answers of two learners, (n_query_total,): 0, they are the same, to 1."""
        pairs = [(a - b).abs().sum(1) / 2 for a, b in combinations(self.probabilities.values(), 2)]
        return torch.stack(pairs).mean(0) if pairs else torch.zeros(len(self.episode.query))


@dataclass(frozen=True)
class SharedSetting:
    """A setting that several learners have, with the value that suits each of them best."""

    setting: Setting  # named as `CompareSession.learn` takes it; its range holds those of all, its value is the first one's
    own_name: str  # what the learners call it
    values: Mapping[str, float]  # by learner


def shared_settings(learners: Mapping[str, Learner]) -> dict[str, SharedSetting]:
    """Return what can be turned for several learners (by name) at once: settings of one name and one label are one.

    Another meaning of a name (Meta-SGD's `inner_lr` is a factor of the rates it has learned) is named by its label too.
    """
    found: dict[str, SharedSetting] = {}
    labels: dict[str, str] = {}  # of each name, the one met first
    for learner_name, learner in learners.items():
        for own in learner.settings():
            name = own.name if labels.setdefault(own.name, own.label) == own.label else f"{own.name} ({own.label})"
            known = found.get(name)
            if known is None:
                known = SharedSetting(Setting(**{**vars(own), "name": name}), own.name, {})
            first, values = known.setting, {**known.values, learner_name: own.value}
            widest = {"low": min(first.low, own.low, own.value), "high": max(first.high, own.high, own.value)}
            found[name] = SharedSetting(Setting(**{**vars(first), **widest}), own.name, values)
    return found


@dataclass(frozen=True)
class PairedResults:
    """The same episodes answered by several learners: differences are taken episode by episode."""

    evaluations: Mapping[str, Evaluation]  # by learner, each with the accuracies of its episodes
    left_out: Mapping[str, str]

    @property
    def best(self) -> str:
        """Name the learner of the highest mean accuracy; of several, the first."""
        return max(self.evaluations, key=lambda name: self.evaluations[name].accuracy.mean)

    def differences(self, reference: str | None = None) -> dict[str, Interval]:
        """Return by how much each learner's accuracy is above that of `reference` (the best if left out), with its 95 % interval.

        The interval is that of the mean of the episodes' differences: how hard an episode is counts for both, and drops out.
        """
        accuracies = {name: torch.tensor(e.episode_accuracies, dtype=torch.float64) for name, e in self.evaluations.items()}
        return {name: Interval.of(values - accuracies[reference or self.best]) for name, values in accuracies.items()}

    def rows(self, reference: str | None = None) -> list[tuple[str, float, float, float, float]]:
        """Return (name, accuracy, its half width, difference, its half width) of each learner, as `plots.paired_figure` takes them."""
        differences = self.differences(reference)
        of_each = {name: (evaluation.accuracy, differences[name]) for name, evaluation in self.evaluations.items()}
        return [(name, own.mean, own.half_width, paired.mean, paired.half_width) for name, (own, paired) in of_each.items()]
