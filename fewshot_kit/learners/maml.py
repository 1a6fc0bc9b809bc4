"""MAML: initial weights from which a few gradient steps lead to a low query loss (Finn, Abbeel and Levine 2017)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import Episode, EpisodeSampler, stack_episodes
from fewshot_kit.learners.base import check_at_least
from fewshot_kit.learners.engines import mean_gradient
from fewshot_kit.learners.fine_tune import (
    SGD,
    GradientFunction,
    Parameters,
    UpdateRule,
    check_inner_loop,
    fine_tune,
    stack,
    stacked_gradient,
    stacked_loss,
    task_gradient,
    task_loss,
)
from fewshot_kit.learners.gradient import FineTuned, FineTunedConfig


@dataclass(frozen=True)
class MAMLConfig(FineTunedConfig):
    """Hyper-parameters of MAML. `inner_*` adapt to a person's support set; `train_*` are the tasks and the inner loop of meta-training.

    The inner loop of meta-training takes plain gradient steps; `update_rule` is that of `adapt`.

    The defaults are a first choice, not tuned: five times the train_inner_lr diverged on quickdraw.
    """

    first_order: bool = False  # take the gradient at the adapted weights for that at the initial ones (paper, sec. 5.2)
    adapt_only: str = "all"  # "head": the inner loop changes the head alone (ANIL, Raghu et al. 2020)
    train_inner_lr: float = 0.01
    train_inner_steps: int = 3
    train_way: int = 20
    train_shot: int = 1
    train_query: int = 3  # a class
    meta_batch_size: int = 1  # tasks an outer step

    def __post_init__(self):
        super().__post_init__()
        check_inner_loop(self.train_inner_lr, self.train_inner_steps)
        check_at_least(self, train_way=2, train_shot=1, train_query=1, meta_batch_size=1)
        if self.network.norm == "running":
            raise ValueError("MAML adapts by the statistics of the support and keeps no running ones; choose norm group, batch or none")
        if self.adapt_only not in ("all", "head"):
            raise ValueError(f"adapt_only must be all or head, not {self.adapt_only!r}")


class MAML(FineTuned):
    """MAML (Finn et al. 2017): step theta along the gradient of the query loss after the inner loop, taken through the inner loop.

    Deviation from the paper: the head starts at zero (see FineTuned), so tasks of meta-training may have another way than the test.
    """

    def begin_training(self, dataset: ClassImages) -> None:
        if self.config.train_inner_steps == 0:
            raise ValueError("without an inner step the zero head gives every class the same logit, and nothing is learned; take 1 or more")

    def describe(self) -> str:
        return super().describe() + (" Only the head changes (ANIL)." if self.config.adapt_only == "head" else "")

    def accumulate_meta_grad(self, episodes: Sequence[Episode]) -> float:
        """MAML (Finn et al. 2017, eq. 1): the gradient by theta of the query loss at phi = theta - lr * (gradient of the support loss)."""
        return mean_gradient(self, MAML.sum_of_query_losses, episodes, engine=self.engine)

    def sum_of_query_losses(self, episodes: Sequence[Episode]) -> Tensor:
        """Return the sum of the query losses of episodes of one shape: of one as it is, of several as a stack."""
        if len(episodes) == 1:
            return self.query_loss(episodes[0])
        return self.stacked_query_losses(episodes).sum()

    def query_loss(self, episode: Episode) -> Tensor:
        """Return the query loss after the inner loop, differentiable by theta."""
        support, query = episode.support, episode.query
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        gradient = partial(task_gradient, self.network, buffers, through=True, second_order=not self.config.first_order)
        adapted = self._inner_loop(gradient, self._theta(episode.n_way), (support.images, support.labels))
        return task_loss(self.network, adapted, buffers, query.images, query.labels)

    def stacked_query_losses(self, episodes: Sequence[Episode]) -> Tensor:
        """Return the same (tasks,) of a stack of tasks, each with a theta of its own, in as many operations as one task takes."""
        support, query = stack_episodes(episodes)
        theta = {name: p.expand(len(episodes), *p.shape).contiguous() for name, p in self._theta(episodes[0].n_way).items()}
        buffers = stack(dict(self.network.named_buffers()), len(episodes))
        gradient = partial(stacked_gradient, self.network, buffers, second_order=not self.config.first_order)
        return stacked_loss(self.network, self._inner_loop(gradient, theta, support), buffers, *query)

    def _inner_loop(self, gradient: Callable[..., GradientFunction], theta: Parameters, support: tuple[Tensor, Tensor]) -> Parameters:
        """Take the inner steps. The first changes the head alone: under a head of zeros, the gradient of all below it is exactly zero."""
        batches, rule = [support] * self.config.train_inner_steps, self._train_rule()
        stepped = fine_tune(gradient(only="head."), theta, batches[:1], rule)
        return fine_tune(gradient(only=self._adapted()), stepped, batches[1:], rule)

    def _train_rule(self) -> UpdateRule:
        return SGD(self.config.train_inner_lr, {"head.": self.config.head_lr_scale})

    def _theta(self, n_way: int) -> Parameters:
        """Return theta itself, not a copy, with a zero head."""
        head = {name: value.requires_grad_() for name, value in self._zero_head(n_way).items()}
        return {**dict(self.network.named_parameters()), **head}

    def _adapted(self) -> str:
        return "head." if self.config.adapt_only == "head" else ""

    def training_episodes(self, dataset: ClassImages, generator: torch.Generator) -> list[Episode]:
        """Draw `meta_batch_size` tasks of `train_way` classes."""
        config = self.config
        sampler = EpisodeSampler(dataset, config.train_way, config.train_shot, config.train_query)
        return [sampler.sample(generator) for _ in range(config.meta_batch_size)]
