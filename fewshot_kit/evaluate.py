"""Measure a learner on many episodes, with 95 % intervals."""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from fewshot_kit.data.episodes import Episode, EpisodeSampler
from fewshot_kit.learners.base import Learner
from fewshot_kit.results import Evaluation, Interval


def sample_episodes(sampler: EpisodeSampler, n_episodes: int, seed: int) -> list[Episode]:
    """Draw the episodes of an evaluation: the same seed gives the same episodes on every machine."""
    generator = torch.Generator().manual_seed(seed)
    return [sampler.sample(generator) for _ in range(n_episodes)]


@torch.no_grad()
def evaluate(
    learner: Learner,
    sampler: EpisodeSampler,
    *,
    n_episodes: int = 600,
    seed: int = 0,
    transductive: bool = False,
    keep_episodes: bool = False,
    on_progress: Callable[[int, Interval], None] | None = None,
) -> Evaluation:
    """Adapt to `n_episodes` fresh episodes and measure the queries.

    With `keep_episodes` the result has the accuracy of each one too, so that learners can be compared episode by episode.
    `on_progress(episodes done, accuracy so far)` is called after each chunk; raising in it ends the evaluation. Raises FloatingPointError
    where a loss is not finite: what diverged has no answers, and its argmax would still be right one time in n_way.
    """
    if n_episodes < 1:
        raise ValueError(f"n_episodes must be at least 1, not {n_episodes}")
    if sampler.n_query < 1:
        raise ValueError("an evaluation needs queries: n_query must be at least 1")
    started, generator = time.perf_counter(), torch.Generator().manual_seed(seed)
    drawn = [sampler.draw(generator) for _ in range(n_episodes)]
    truth = torch.arange(sampler.n_way).repeat_interleave(sampler.n_query)
    accuracies, losses, support_losses = torch.empty(0), torch.empty(0), torch.empty(0)
    for logits, support_loss in learner.predict_drawn(sampler, drawn, transductive=transductive):
        labels = truth.to(logits.device).expand(logits.shape[:2])  # logits (tasks, n_query_total, n_way), support_loss (tasks,)
        accuracies = torch.cat([accuracies, (logits.argmax(-1) == labels).float().mean(1).cpu()])
        losses = torch.cat([losses, F.cross_entropy(logits.mT, labels, reduction="none").mean(1).cpu()])
        support_losses = torch.cat([support_losses, support_loss.cpu()])
        if on_progress is not None:
            on_progress(len(accuracies), Interval.of(accuracies))
    _check_finite(learner, losses.isfinite() & support_losses.isfinite())
    return Evaluation(
        metrics={"accuracy": Interval.of(accuracies), "loss": Interval.of(losses)}, support_loss=support_losses.mean().item(),
        n_episodes=n_episodes, n_way=sampler.n_way, n_shot=sampler.n_shot, n_query=sampler.n_query, seed=seed, transductive=transductive,
        dataset=sampler.dataset.name, split=sampler.dataset.split, within_group=sampler.within_group,
        settings={setting.name: setting.value for setting in learner.settings()}, seconds=time.perf_counter() - started,
        episode_accuracies=tuple(round(accuracy, 6) for accuracy in accuracies.tolist()) if keep_episodes else (),
    )  # fmt: skip


def _check_finite(learner: Learner, is_finite: torch.Tensor) -> None:
    """Raise FloatingPointError, which says what to lower, unless all episodes (n,) are finite."""
    if is_finite.all():
        return
    rates = [f"lower {s.name} ({s.label}), which is {s.value:g}" for s in learner.settings() if s.name == "inner_lr"]
    advice = rates[0] if rates else "its weights are of no use; take those of a training that did not diverge"
    raise FloatingPointError(f"the answers are not finite in {(~is_finite).sum()} of {len(is_finite)} episodes: {advice}")
