"""Reptile: move the initial weights towards the weights each task adapts them to (Nichol, Achiam and Schulman 2018)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import Episode, EpisodeSampler
from fewshot_kit.learners.configs import ReptileConfig
from fewshot_kit.learners.fine_tune import detached, fine_tune, task_gradient
from fewshot_kit.learners.gradient import GradientLearner


class Reptile(GradientLearner):
    """Reptile (Nichol et al. 2018): fine-tune on a task, then step from theta towards the adapted weights phi.

    Deviations from the paper: the head starts at zero unless `head="learned"`; meta-training tasks have `train_way` classes, and each of
    their inner steps sees fresh images, one of each class.
    """

    config: ReptileConfig

    @torch.no_grad()
    def accumulate_meta_grad(self, batches: Sequence[Episode]) -> float:
        """Add Reptile's meta-gradient (Nichol et al. 2018, eq. 2), theta - phi, and return the mean loss at the last inner step."""
        losses: list[Tensor] = []
        rule, total_loss = self.rule(self.config.train_inner_lr), 0.0
        for task in batches:
            phi = detached(self.theta(task.n_way))
            gradient = task_gradient(self.network, dict(self.network.named_buffers()))  # running statistics go on from task to task
            phi = fine_tune(gradient, phi, self.fresh_images(task), rule, lambda step, loss, phi: losses.append(loss))
            for name, theta in self.named_parameters():
                theta.grad = torch.zeros_like(theta) if theta.grad is None else theta.grad
                theta.grad += (theta - phi[name.removeprefix("network.")]) / len(batches)
            total_loss += losses[-1].item() / len(batches)
        return total_loss

    def fresh_images(self, task: Episode) -> list[tuple[Tensor, Tensor]]:
        """Return the batches of the inner steps: the first image of each class, the second of each, and so on."""
        images = task.support.images.to(self.device).unflatten(0, (task.n_way, -1))  # (n_way, train_inner_steps, c, h, w)
        labels = torch.arange(task.n_way, device=self.device)
        return [(images[:, step], labels) for step in range(images.shape[1])]

    def training_batches(self, dataset: ClassImages, generator: torch.Generator) -> list[Episode]:
        """Draw `meta_batch_size` tasks of `train_way` classes, with one image a class for each inner step and no queries."""
        config = self.config
        sampler = EpisodeSampler(dataset, config.train_way, config.train_inner_steps, n_query=0)
        return [sampler.sample(generator) for _ in range(config.meta_batch_size)]
