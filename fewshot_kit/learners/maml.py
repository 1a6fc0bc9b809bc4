"""MAML: initial weights from which a few gradient steps lead to a low query loss (Finn, Abbeel and Levine 2017)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fewshot_kit.datasets import ClassImages
from fewshot_kit.episodes import Episode, EpisodeSampler
from fewshot_kit.fine_tune import Parameters, UpdateRule, check_inner_loop, fine_tune, task_gradient, task_loss
from fewshot_kit.learners.fine_tuned import FineTuned, FineTunedConfig, check_at_least


@dataclass(frozen=True)
class MAMLConfig(FineTunedConfig):
    """Hyper-parameters of MAML. `inner_*` adapt to a person's support set; `train_*` are the tasks and the inner loop of meta-training.

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
        if self.adapt_only not in ("all", "head"):
            raise ValueError(f"adapt_only must be all or head, not {self.adapt_only!r}")


class MAML(FineTuned):
    """MAML (Finn et al. 2017): step theta along the gradient of the query loss after the inner loop, taken through the inner loop.

    Deviation from the paper: the head starts at zero (see FineTuned), so tasks of meta-training may have another way than the test.
    """

    def accumulate_meta_grad(self, episodes: Sequence[Episode]) -> float:
        """MAML (Finn et al. 2017, eq. 1): the gradient by theta of the query loss at phi = theta - lr * (gradient of the support loss)."""
        total_loss = 0.0
        for episode in episodes:
            loss = self.query_loss(episode.to(self.device)) / len(episodes)
            loss.backward(inputs=[p for p in self.parameters() if p.numel()])
            total_loss += loss.item()
        return total_loss

    def query_loss(self, episode: Episode) -> Tensor:
        """Return the query loss after the inner loop, differentiable by theta."""
        config, support, query = self.config, episode.support, episode.query
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        gradient = task_gradient(self.network, buffers, through=True, second_order=not config.first_order, only=self._adapted())
        batches = [(support.images, support.labels)] * config.train_inner_steps
        adapted = fine_tune(gradient, self._theta(episode.n_way), batches, self._train_rule())
        return task_loss(self.network, adapted, buffers, query.images, query.labels)

    def _train_rule(self) -> UpdateRule:
        return self._rule(self.config.train_inner_lr)

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
