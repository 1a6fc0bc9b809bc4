"""What every learner can do: adapt to a support set; and what one that is trained can do beside."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_kit.data.cancelling import Check, go_on
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import DrawnEpisode, Episode, EpisodeSampler, LabelledImages
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.learners.engines import Chunks
from fewshot_kit.learners.settings import CHOSEN, DEFAULT, Setting
from fewshot_kit.networks.pretrained import Pretrained

EPISODES_TOGETHER = 30  # episodes at a time: after each part an evaluation reports, and can be stopped

# (n, c, h, w) -> logits (n, n_way). Inductive: predictor(x)[i:i+1] equals predictor(x[i:i+1]).
Predictor = Callable[[Tensor], Tensor]
# (step, support loss, predictor) after `step` updates: 0 is the untrained model. Raise `Cancelled` in it to stop.
OnStep = Callable[[int, float, Predictor], None]


class Learner(nn.Module, ABC):
    """A network that learns new classes from a support set, and the rule by which it learns."""

    config: Any  # its hyper-parameters; `settings` names fields of it
    max_way: int | None = None  # None: any number of classes
    settings_sources: Mapping[str, str] = {}  # where the values of `settings` came from, if not from its configuration
    preprocessing = Preprocessing()  # what its network expects of a picture

    @abstractmethod
    def adapt(self, support: LabelledImages, *, on_step: OnStep | None = None, transductive: bool = False) -> Predictor:
        """Learn the classes of `support` and return their predictor. Pure: the learner is unchanged after.

        `transductive=True` lets the predictor use the statistics of all the images it is given together, where the learner has such.
        """

    @abstractmethod
    def describe(self) -> str:
        """Say in a sentence or two what it does with a support set."""

    def settings(self) -> tuple[Setting, ...]:
        """Return what a person may turn when it adapts, each a field of its `config`; nothing, unless a learner says otherwise."""
        return ()

    def with_settings(self, source: str = CHOSEN, **values: float) -> Self:
        """Return a learner on the same weights that adapts by other values; `source` says where they came from.

        Raises ValueError for a name that `settings` does not have, and for a value that the configuration refuses.
        """
        known = {setting.name for setting in self.settings()}
        if unknown := sorted(values.keys() - known):
            has = f"it has {', '.join(sorted(known))}" if known else "it has none: nothing is tuned when it adapts"
            raise ValueError(f"{type(self).__name__} has no setting {unknown[0]!r}; {has}")
        if not values:
            return self
        other = copy.copy(self)
        other.config = replace(self.config, **values)
        other.settings_sources = {**self.settings_sources, **dict.fromkeys(values, source)}
        return other

    def source_of(self, name: str) -> str:
        """Return where the value of a setting came from."""
        return self.settings_sources.get(name, DEFAULT)

    def leave_one_out(self, support: LabelledImages, check: Check = go_on) -> Tensor:
        """Return logits (n, n_way) of each image, learned without it (`left_out_in_turn`); NaN where it is the only one of its class.

        An estimate of how good the classifier is, which needs no other pictures; a little low, since every class has one picture less.
        """
        answers = torch.full((len(support), support.n_way), math.nan)
        for left_out, asked in left_out_in_turn(support.labels):
            check()
            others = torch.ones(len(support), dtype=torch.bool)
            others[left_out] = False
            left = replace(support, images=support.images[others], labels=support.labels[others])
            answers[asked] = self.adapt(left)(support.images[asked].to(self.device)).cpu()
        return answers

    def predictor_state(self, predictor: Predictor) -> dict[str, Tensor]:
        """Return what a predictor of `adapt` knows beside this learner's weights, as tensors by name."""
        told = f"a predictor of {type(self).__name__} cannot be saved; learn with another checkpoint"
        raise NotImplementedError(told)  # not abstract: the nearest mean in pixels has no checkpoint, a detector's predictor finds boxes

    def predictor_from(self, state: dict[str, Tensor]) -> Predictor:
        """Return the predictor again from its `predictor_state`."""
        raise NotImplementedError(f"a predictor of {type(self).__name__} cannot be loaded")  # not abstract: what is never saved never is

    def looked_at(self, images: Tensor) -> Tensor:
        """Return the part of pictures (n, c, h, w) that the network sees; all of it, unless a learner says otherwise."""
        return images

    @property
    def device(self) -> torch.device:
        return next(chain(self.parameters(), self.buffers()), torch.empty(0)).device

    def n_parameters(self) -> int:
        """Count the parameters of the network, also where others trained it, and of what was learned beside it."""
        elsewhere = [part.load()[0] for part in self.modules() if isinstance(part, Pretrained)]
        return sum(parameter.numel() for module in (self, *elsewhere) for parameter in module.parameters())

    def check_way(self, n_way: int) -> None:
        """Raise ValueError above `max_way`."""
        if self.max_way is not None and n_way > self.max_way:
            raise ValueError(f"this learner tells at most {self.max_way} classes apart, but the support has {n_way}; choose fewer")

    def predict_episodes(self, episodes: Sequence[Episode], *, transductive: bool = False) -> tuple[Tensor, Tensor]:
        """Adapt to each episode and predict its queries: logits (tasks, n_query_total, n_way), mean support loss (tasks,).

        The plain loop, the oracle of any faster way a learner has.
        """
        parts = [self.predict_episode(episode, transductive=transductive) for episode in episodes]
        return torch.stack([logits for logits, _ in parts]), torch.stack([loss for _, loss in parts])

    def predict_episode(self, episode: Episode, *, transductive: bool = False) -> tuple[Tensor, Tensor]:
        """Adapt to one episode and predict its queries: logits (n_query_total, n_way), support loss."""
        predict = self.adapt(episode.support, transductive=transductive)
        support_logits = predict(episode.support.images.to(self.device))
        support_loss = F.cross_entropy(support_logits, episode.support.labels.to(self.device))
        return predict(episode.query.images.to(self.device)), support_loss

    def predict_drawn(
        self, sampler: EpisodeSampler, drawn: Sequence[DrawnEpisode], *, transductive: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield what `predict_episodes` returns, for a few episodes at a time."""
        predict = partial(self.predict_episodes, transductive=transductive)
        yield from Chunks(EPISODES_TOGETHER).map(lambda chunk: predict([sampler.gather(episode) for episode in chunk]), drawn)


def left_out_in_turn(labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield which images of labels (n,) to leave out together, and which of them to ask for: each image of a class of several, once.

    One of every class that has several: were the image that is asked for the only one, its own class alone would have one picture less, and
    would be farther than it is.
    """
    places = [(labels == label).nonzero().flatten() for label in labels.unique()]
    several = [place for place in places if len(place) > 1]
    for turn in range(max(map(len, several), default=0)):
        left_out = torch.stack([place[turn % len(place)] for place in several])
        yield left_out, left_out[torch.tensor([turn < len(place) for place in several])]


class TrainableLearner(Learner):
    """A learner whose weights can be meta-trained: it draws its own batches, and says what the outer optimiser steps on.

    What only training needs are parameters and buffers whose names begin with "training_": they are saved with a run, so that it can be
    resumed, and left out of a checkpoint.
    """

    def begin_training(self, dataset: ClassImages, generator: torch.Generator) -> None:
        """Make what training on this data set needs beside the weights; all chance comes from the generator."""

    def check_training_state(self, state: dict[str, Tensor]) -> None:
        """Raise ValueError where a saved state, whose names, shapes and types are right, has values that training cannot go on with."""

    @abstractmethod
    def training_batches(self, dataset: ClassImages, generator: torch.Generator) -> list[Episode]:
        """Draw what one outer step trains on: a meta-batch of tasks, or one batch."""

    def loss(self, batch: Episode) -> Tensor:
        """Return the loss of one batch, differentiable by the weights, in the mode (train or eval) that training wants."""
        raise TypeError(f"{type(self).__name__} has no training loss; it defines accumulate_meta_grad")

    def accumulate_meta_grad(self, batches: Sequence[Episode]) -> float:
        """Add the gradient of the batches' mean loss to the parameters' `.grad`, and return that loss."""
        total = 0.0
        for batch in batches:
            loss = self.loss(batch) / len(batches)
            loss.backward()
            total += loss.item()
        return total

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Return what the outer optimiser steps on."""
        return list(self.parameters())

    def released_state(self) -> dict[str, Tensor]:
        """Return the `state_dict` of a checkpoint: without what only training needs."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("training_")}
