"""Reptile: move the initial weights towards the weights each task adapts them to (Nichol, Achiam and Schulman 2018)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.episodes import Episode, EpisodeSampler, LabelledImages
from fewshot_kit.learners.base import check_at_least
from fewshot_kit.learners.fine_tune import Parameters, check_inner_loop, fine_tune, task_gradient
from fewshot_kit.learners.gradient import FineTuned, FineTunedConfig


@dataclass(frozen=True)
class ReptileConfig(FineTunedConfig):
    """Hyper-parameters of Reptile. `inner_*` adapt to a person's support set; `train_*` are the inner loop of meta-training.

    The defaults were chosen on the validation alphabets of Omniglot.
    """

    train_inner_lr: float = 0.1
    train_inner_steps: int = 5  # mini-batches a task, each with one fresh image of every class
    train_way: int = 20
    meta_batch_size: int = 1  # tasks an outer step

    def __post_init__(self):
        super().__post_init__()
        check_inner_loop(self.train_inner_lr, self.train_inner_steps)
        # The first step finds a zero head, and so no gradient for the backbone: one step alone would teach it nothing.
        check_at_least(self, train_inner_steps=2, train_way=2, meta_batch_size=1)


class Reptile(FineTuned):
    """Reptile (Nichol et al. 2018): fine-tune on a task, then step from theta towards the adapted weights phi.

    Deviations from the paper: the head starts at zero (see FineTuned); meta-training tasks have `train_way` classes, and each of their
    inner steps sees fresh images, one of each class.
    """

    def accumulate_meta_grad(self, episodes: Sequence[Episode]) -> float:
        """Reptile (Nichol et al. 2018, eq. 2): the meta-gradient is theta - phi, phi the adapted weights."""
        total_loss = 0.0
        for episode in episodes:
            adapted, loss = self._adapt_to_fresh_images(episode.support.to(self.device))
            for name, theta in self.network.named_parameters():
                if not name.startswith("head."):
                    theta.grad = torch.zeros_like(theta) if theta.grad is None else theta.grad
                    theta.grad += (theta - adapted[name]).detach() / len(episodes)
            total_loss += loss / len(episodes)
        return total_loss

    def _adapt_to_fresh_images(self, support: LabelledImages) -> tuple[Parameters, float]:
        """Return phi, after a step on the first image of each class, one on the second, and so on, and the loss at the last step."""
        parameters, buffers = self._start(support.n_way)
        images = support.images.unflatten(0, (support.n_way, -1))  # (n_way, train_inner_steps, c, h, w)
        labels = torch.arange(support.n_way, device=self.device)
        batches = [(images[:, shot], labels) for shot in range(images.shape[1])]
        losses: list[Tensor] = []
        gradient, rule = task_gradient(self.network, buffers), self._rule(self.config.train_inner_lr)
        adapted = fine_tune(gradient, parameters, batches, rule, lambda step, loss, _: losses.append(loss))
        for name, buffer in self.network.named_buffers():
            buffer.copy_(buffers[name])  # running statistics go on from task to task
        return adapted, losses[-1].item()

    def training_episodes(self, dataset: ClassImages, generator: torch.Generator) -> list[Episode]:
        """Draw `meta_batch_size` tasks of `train_way` classes, with one image a class for each inner step and no queries."""
        config = self.config
        sampler = EpisodeSampler(dataset, config.train_way, config.train_inner_steps, n_query=0)
        return [sampler.sample(generator) for _ in range(config.meta_batch_size)]
