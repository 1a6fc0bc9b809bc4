"""What the learners share that fine-tune by gradient steps: a network, a head, and the one inner loop that adapts them."""

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from fewshot_kit.data.episodes import Episode, LabelledImages, stack_episodes
from fewshot_kit.learners.base import OnStep, TrainableLearner
from fewshot_kit.learners.configs import GradientConfig
from fewshot_kit.learners.fine_tune import (
    RULES,
    Parameters,
    UpdateRule,
    clone,
    detached,
    fine_tune,
    predict,
    stack,
    stacked_gradient,
    stacked_loss,
    stacked_predict,
    task_gradient,
    task_loss,
)
from fewshot_kit.learners.heads import HEAD, first_rows, zero_head
from fewshot_kit.learners.settings import Setting, epochs, hands, learning_rate
from fewshot_kit.learners.views import ink_views_of, said_of_hands
from fewshot_kit.networks.build import from_config
from fewshot_kit.networks.devices import map_in_threads, n_workers

_KINDS = _PARAMETERS, _BUFFERS = "parameters.", "buffers."  # of a saved predictor
STACKED_SUPPORT = 10  # images; above it, one task a thread was faster than a stack on two cores


@dataclass(frozen=True)
class TunedPredictor:
    """A predictor that is a network under weights of its own."""

    network: nn.Module  # shared by predictors, which take turns, so any thread may ask any of them
    lock: threading.Lock
    parameters: Parameters
    buffers: Parameters
    views: int = 1
    transductive: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        with self.lock:
            logits = predict(self.network, self.parameters, self.buffers, seen_by(images, self.views), transductive=self.transductive)
        return logits.unflatten(0, (self.views, -1)).mean(0)


class GradientLearner(TrainableLearner):
    """A network that is fine-tuned on the support; a subclass says how its initial weights theta are meta-learned.

    The head starts at zero for every task and has a row a class, for any number of classes (`head="zero"`); or its start is learned, for
    as many classes as it was trained with (`head="learned"`, as in the papers).
    """

    config: GradientConfig

    def __init__(self, config: GradientConfig):
        super().__init__()
        self.config = config
        self.network = from_config(config.network)
        self.preprocessing = self.network.preprocessing
        is_learned = config.head == "learned"
        self.head = nn.Linear(self.network.n_features, config.train_way) if is_learned else None
        self.max_way = config.train_way if is_learned else None

    # The inner loop.

    def adapt(self, support: LabelledImages, *, on_step: OnStep | None = None, transductive: bool = False) -> TunedPredictor:
        """Fine-tune a copy of theta on the whole support, `inner_steps` steps of `inner_lr`."""
        self.check_way(support.n_way)
        predictor = _predictor_maker(self.network, self.config.views, transductive)

        def report(step: int, loss: Tensor, parameters: Parameters, buffers: Parameters) -> None:
            if on_step is not None:
                on_step(step, loss.item(), predictor(parameters, clone(buffers)))

        return predictor(*self.inner_loop(self.learned_from(support.to(self.device)), report))

    def learned_from(self, support: LabelledImages) -> LabelledImages:
        """Return the support with its `views`."""
        views = self.config.views
        return replace(support, images=seen_by(support.images, views), labels=support.labels.repeat(views)) if views > 1 else support

    @torch.no_grad()
    def inner_loop(
        self, support: LabelledImages, on_step: Callable[[int, Tensor, Parameters, Parameters], None]
    ) -> tuple[Parameters, Parameters]:
        """Return phi and the buffers after the last step; `on_step(step, support loss, phi, buffers)` sees them after 0, 1, ... steps."""
        network, steps = copy.deepcopy(self.network), self.config.inner_steps  # functional_call swaps parameters in place: a copy a thread
        theta, buffers = detached(self.theta(support.n_way)), self.buffers_of_network()
        batches, rule = [(support.images, support.labels)] * steps, self.rule(self.config.inner_lr)
        gradient = task_gradient(network, buffers, only=self.adapted_part())
        phi = fine_tune(gradient, theta, batches, rule, lambda step, loss, phi: on_step(step, loss, phi, buffers))
        loss = task_loss(network, phi, buffers, support.images, support.labels)  # batch norm records the support's statistics at phi
        on_step(steps, loss, phi, buffers)
        return phi, buffers

    def theta(self, n_way: int) -> Parameters:
        """Return the initial weights themselves, not copies: those of the network, and a head of `n_way` rows."""
        if self.head is not None:
            head = first_rows(self.head, n_way)
        else:
            zeros = zero_head(n_way, self.network.n_features, next(self.network.parameters()))
            head = {name: value.requires_grad_() for name, value in zeros.items()}
        return {**dict(self.network.named_parameters()), **head}

    def buffers_of_network(self) -> Parameters:
        """Return copies of the buffers (the statistics of batch norm)."""
        return detached(dict(self.network.named_buffers()))

    def adapted_part(self) -> str:
        """Return the prefix of the names of the parameters that the inner loop changes: "" for all of them."""
        return ""

    def rule(self, lr: float) -> UpdateRule:
        """Return the update rule of the inner loop at this learning rate."""
        return RULES[self.config.update_rule](lr, {HEAD: self.config.head_lr_scale})

    def predictor_state(self, predictor: TunedPredictor) -> dict[str, Tensor]:
        return {f"{_PARAMETERS}{name}": p for name, p in predictor.parameters.items()} | {
            f"{_BUFFERS}{name}": b for name, b in predictor.buffers.items()
        }

    def predictor_from(self, state: dict[str, Tensor]) -> TunedPredictor:
        parts = ({name.removeprefix(kind): v.to(self.device) for name, v in state.items() if name.startswith(kind)} for kind in _KINDS)
        return _predictor_maker(self.network, self.config.views, False)(*parts)

    # Many episodes at once.

    def predict_episodes(self, episodes: Sequence[Episode], *, transductive: bool = False) -> tuple[Tensor, Tensor]:
        """Adapt to all episodes at once: logits (tasks, n_query_total, n_way), support loss (tasks,).

        As a stack, which saves the time between operations (on a CPU one a thread); on a CPU, large supports one by one in the threads.
        """
        if self.device.type != "cpu":
            return self.predict_stack(episodes, transductive=transductive)
        if self.config.views * len(episodes[0].support) > STACKED_SUPPORT:
            parts = map_in_threads(partial(self.predict_episode, transductive=transductive), episodes)
            return torch.stack([logits for logits, _ in parts]), torch.stack([loss for _, loss in parts])
        size = -(-len(episodes) // n_workers())
        shares = [episodes[start : start + size] for start in range(0, len(episodes), size)]
        parts = map_in_threads(partial(self.predict_stack, transductive=transductive), shares)
        return torch.cat([logits for logits, _ in parts]), torch.cat([loss for _, loss in parts])

    def predict_episode(self, episode: Episode, *, transductive: bool = False) -> tuple[Tensor, Tensor]:
        self.check_way(episode.n_way)
        losses: list[Tensor] = []
        support = self.learned_from(episode.support.to(self.device))
        tuned = self.inner_loop(support, lambda step, loss, parameters, buffers: losses.append(loss))
        predict = _predictor_maker(self.network, self.config.views, transductive)(*tuned)
        return predict(episode.query.images.to(self.device)), losses[-1]

    @torch.no_grad()
    def predict_stack(self, episodes: Sequence[Episode], *, transductive: bool = False) -> tuple[Tensor, Tensor]:
        """Adapt to these episodes as one stack."""
        self.check_way(episodes[0].n_way)
        here = [episode.to(self.device) for episode in episodes]
        (images, labels), (queries, _) = stack_episodes([self._seen(episode) for episode in here])
        theta = stack(detached(self.theta(episodes[0].n_way)), len(episodes))
        buffers = stack(self.buffers_of_network(), len(episodes))
        network = copy.deepcopy(self.network)  # functional_call swaps parameters in place: a copy a thread
        gradient, batches = stacked_gradient(network, buffers, only=self.adapted_part()), [(images, labels)] * self.config.inner_steps
        phi = fine_tune(gradient, theta, batches, self.rule(self.config.inner_lr))
        support_loss = stacked_loss(network, phi, buffers, images, labels)
        logits = stacked_predict(network, phi, buffers, queries, transductive=transductive)
        return logits.unflatten(1, (self.config.views, -1)).mean(1), support_loss

    def _seen(self, episode: Episode) -> Episode:
        """Return an episode with the views of its pictures, the queries' view by view."""
        query, views = episode.query, self.config.views
        if views == 1:
            return episode
        queries = replace(query, images=seen_by(query.images, views), labels=query.labels.repeat(views))
        return replace(episode, support=self.learned_from(episode.support), query=queries)

    # What it says of itself.

    def settings(self) -> tuple[Setting, ...]:
        rate = learning_rate(self.config.inner_lr, self.source_of("inner_lr"))
        return rate, epochs(self.config.inner_steps, self.source_of("inner_steps")), *self.looks()

    def looks(self) -> tuple[Setting, ...]:
        """Return how often a drawing is looked at; of photographs, there is nothing to set."""
        return (hands(self.config.views, self.source_of("views")),) if self.preprocessing.channels == 1 else ()

    def describe(self) -> str:
        config = self.config
        steps = "1 full-batch step (epoch)" if config.inner_steps == 1 else f"{config.inner_steps} full-batch steps (epochs)"
        return (
            f"{steps} of {config.update_rule} at learning rate {config.inner_lr}; "
            f"the head {self.describe_head()}, and learns {config.head_lr_scale:g} times as fast.{said_of_hands(config.views)}"
        )

    def describe_head(self) -> str:
        return "starts at zero" if self.config.head == "zero" else f"starts where it was learned, for at most {self.max_way} classes"


def seen_by(images: Tensor, views: int) -> Tensor:
    """Return the views of pictures (n, c, h, w) one after the other, (views * n, c, h, w)."""
    return torch.cat(list(ink_views_of(images, views))) if views > 1 else images


def _predictor_maker(network: nn.Module, views: int, transductive: bool) -> Callable[[Parameters, Parameters], TunedPredictor]:
    """Return a function that makes predictors on one copy of the network."""
    network, lock = copy.deepcopy(network), threading.Lock()
    return lambda parameters, buffers: TunedPredictor(network, lock, parameters, buffers, views, transductive)
