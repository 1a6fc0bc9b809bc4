"""MAML: initial weights from which a few gradient steps lead to a low query loss (Finn, Abbeel and Levine 2017)."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import Episode, EpisodeSampler, stack_episodes
from fewshot_kit.learners.configs import MAMLConfig
from fewshot_kit.learners.engines import CHUNK, Chunks, mean_gradient
from fewshot_kit.learners.fine_tune import (
    GradientFunction,
    UpdateRule,
    fine_tune,
    stack,
    stacked_gradient,
    stacked_loss,
    task_gradient,
    task_loss,
)
from fewshot_kit.learners.gradient import GradientLearner
from fewshot_kit.learners.heads import HEAD


class MAML(GradientLearner):
    """MAML (Finn et al. 2017): step theta along the gradient of the query loss after the inner loop, taken through the inner loop.

    Deviation from the paper: the head starts at zero unless `head="learned"`, so tasks of meta-training may have another way than the test.
    """

    config: MAMLConfig
    engine = "auto"  # how the gradients of several tasks are computed (learners/engines.py)

    def __init__(self, config: MAMLConfig):
        super().__init__(config)
        self.chunks = Chunks(CHUNK)

    def loss(self, batch: Episode) -> Tensor:
        """Return the query loss after the inner loop, differentiable by theta (eq. 1): its gradient is the meta-gradient."""
        support, query, second_order = batch.support, batch.query, not self.config.first_order
        buffers = self.buffers_of_network()
        gradient = partial(task_gradient, self.network, buffers, through=True, second_order=second_order)
        steps = [(support.images, support.labels)] * self.config.train_inner_steps
        phi = fine_tune(self.head_first(gradient), self.theta(batch.n_way), steps, self.train_rule())
        return task_loss(self.network, phi, buffers, query.images, query.labels)

    def stacked_losses(self, batches: Sequence[Episode]) -> Tensor:
        """Return the same (tasks,) of a stack of tasks, each with a theta of its own, in as many operations as one task takes."""
        support, query = stack_episodes(batches)
        theta = {name: p.expand(len(batches), *p.shape).contiguous() for name, p in self.theta(batches[0].n_way).items()}
        buffers = stack(self.buffers_of_network(), len(batches))
        gradient = partial(stacked_gradient, self.network, buffers, second_order=not self.config.first_order)
        phi = fine_tune(self.head_first(gradient), theta, [support] * self.config.train_inner_steps, self.train_rule())
        return stacked_loss(self.network, phi, buffers, *query)

    def head_first(self, gradient_of: Callable[..., GradientFunction]) -> GradientFunction:
        """Return the gradient of the inner steps, made by `gradient_of(only=...)`, whose first step is of the head alone.

        Under a head of zeros the gradient of everything below it is exactly zero, and a step through it is dear.
        """
        gradient = gradient_of(only=self.adapted_part())
        first = iter([gradient_of(only=HEAD)] if self.config.head == "zero" else [])
        return lambda *batch: next(first, gradient)(*batch)

    def accumulate_meta_grad(self, batches: Sequence[Episode]) -> float:
        """Add the mean gradient of `loss` over the tasks, by the engine, and return the mean loss."""
        return mean_gradient(self, MAML.sum_of_losses, batches, self.chunks, self.engine)

    def sum_of_losses(self, batches: Sequence[Episode]) -> Tensor:
        """Return the sum of the losses of tasks of one shape: of one as it is, of several as a stack."""
        return self.loss(batches[0]) if len(batches) == 1 else self.stacked_losses(batches).sum()

    def train_rule(self) -> UpdateRule:
        return self.rule(self.config.train_inner_lr)

    def adapted_part(self) -> str:
        return HEAD if self.config.adapt_only == "head" else ""

    def describe(self) -> str:
        return super().describe() + self.describe_part()

    def describe_part(self) -> str:
        """Say which part adapts: below a head of zeros every gradient is zero, so that the first step never reaches the features."""
        config = self.config
        if config.adapt_only == "head":
            return " Only the head changes (ANIL)."
        if config.head == "zero" and config.inner_steps == 1:
            more = " More may lose: it was trained for one." if config.train_inner_steps == 1 else ""
            return f" From zeros, its one step moves the head alone.{more}"
        return ""

    def begin_training(self, dataset: ClassImages, generator: torch.Generator) -> None:
        if self.config.train_inner_steps == 0 and self.config.head == "zero":
            raise ValueError("without an inner step the zero head gives every class the same logit, and nothing is learned; take 1 or more")

    def training_batches(self, dataset: ClassImages, generator: torch.Generator) -> list[Episode]:
        """Draw `meta_batch_size` tasks of `train_way` classes."""
        config = self.config
        sampler = EpisodeSampler(dataset, config.train_way, config.train_shot, config.train_query)
        return [sampler.sample(generator) for _ in range(config.meta_batch_size)]
