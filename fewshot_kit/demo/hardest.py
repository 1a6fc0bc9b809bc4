"""The episodes of an evaluation that a learner was worst at, to look at."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fewshot_kit.data.episodes import Episode, EpisodeSampler
from fewshot_kit.learners.base import Learner


@dataclass(frozen=True)
class AnsweredEpisode:
    episode: Episode
    probabilities: Tensor  # (n_query_total, n_way)
    accuracy: float


@torch.no_grad()
def hardest_episodes(
    learner: Learner, sampler: EpisodeSampler, *, n_episodes: int, seed: int, transductive: bool = False, n: int = 2
) -> list[AnsweredEpisode]:
    """Return the `n` least accurate of the first episodes of an evaluation with this seed, the worst first."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [sampler.draw(generator) for _ in range(n_episodes)]
    parts = learner.predict_drawn(sampler, drawn, transductive=transductive)
    logits = torch.cat([part.cpu() for part, _ in parts])  # (episodes, n_query_total, n_way)
    truth = torch.arange(sampler.n_way).repeat_interleave(sampler.n_query)
    accuracies = (logits.argmax(-1) == truth).float().mean(1)
    worst = accuracies.argsort(stable=True)[:n].tolist()
    return [AnsweredEpisode(sampler.gather(drawn[i]), logits[i].softmax(-1), accuracies[i].item()) for i in worst]
