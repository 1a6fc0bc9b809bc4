"""The papers' own settings beside the kit's, one change after the other, at an equal number of training tasks.

    python benchmarks/presets.py [--tasks 5000] [--seed 0] [--learners maml maml-first-order reptile] [--episodes 600] [--ends]

A row is the one above it with one change more; the last is the kit's defaults. Of first-order MAML, only the first and the last. All are
trained on Omniglot's background alphabets to the end of the budget, without choosing among weights. The rate before a person is chosen on
100 episodes of the validation alphabets: from its own it goes up and down by factors of 3 for as long as that is better. Then 5-way 1-shot
episodes of the evaluation alphabets, 5 queries a class, are measured twice: inductively, and transductively, which lets batch norm see all
queries together (with group norm, that is the same). Trained weights are kept in --runs, and not trained anew.
"""

import argparse
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

from fewshot_kit.data.datasets import load_dataset
from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.evaluate import evaluate
from fewshot_kit.learners.base import TrainableLearner
from fewshot_kit.learners.configs import LearnerConfig, MAMLConfig, ReptileConfig
from fewshot_kit.networks.devices import use_one_thread
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.presets import PRESETS
from fewshot_kit.training.train import open_run

Rung = tuple[str, LearnerConfig, TrainConfig]


def ladder(name: str) -> list[Rung]:
    """Return what is trained, from the paper's settings to the kit's."""
    paper = PRESETS["reptile" if name == "reptile" else "maml"]["paper" if name == "reptile" else name.replace("maml", "paper")]
    kit = ReptileConfig() if name == "reptile" else MAMLConfig(first_order=paper.learner.first_order)
    learner, training = paper.learner, paper.training
    rungs = [("as published", learner, training)]

    def change(what: str, **changes) -> None:
        nonlocal learner
        learner = replace(learner, **changes)
        rungs.append((what, learner, training))

    training = replace(training, optimizer="adam", meta_lr=0.001, last_lr=0.1)
    change("one task a step, Adam along a cosine", meta_batch_size=1)
    change("group norm", network=kit.network)
    rates = _of(kit, "head", "head_lr_scale", "update_rule", "train_inner_lr", "inner_lr")
    if name == "reptile":
        change("head from zero, 50 times as fast", **rates, inner_steps=kit.inner_steps)
        change("20-way tasks", train_way=kit.train_way)
    else:
        change("head from zero, 50 times as fast", **rates)
        change("3 inner steps", **_of(kit, "train_inner_steps", "inner_steps"))
        change("20-way tasks", **_of(kit, "train_way", "train_query"))
    training = replace(training, source=replace(training.source, augment=True))
    change("pictures changed at random: the kit's", **_of(kit))
    assert learner == kit, (learner, kit)
    return [rungs[0], rungs[-1]] if name == "maml-first-order" else rungs  # its changes are those of MAML


def _of(kit: LearnerConfig, *names: str) -> dict:
    return {name: getattr(kit, name) for name in names}


def trained(folder: Path, rung: Rung, tasks: int, seed: int) -> TrainableLearner:
    """Return the learner after so many tasks; of a run that was cut off, the rest is trained."""
    _, config, training = rung
    training = replace(training, outer_steps=tasks // config.meta_batch_size, seed=seed)
    run = open_run(folder, config, training, resume=folder.exists())
    while run.step < training.outer_steps:
        run.outer_step()
        if run.step % 500 == 0 or run.step == training.outer_steps:
            run.save()
    return run.learner.eval()


def best_rate(learner: TrainableLearner, sampler: EpisodeSampler, seed: int) -> float:
    """Climb by factors of 3 from the learner's own rate before a person to the one that is best on validation episodes."""

    @cache
    def accuracy(power: int) -> float:
        try:
            chosen = learner.with_settings(inner_lr=learner.config.inner_lr * 3.0**power)
            return evaluate(chosen, sampler, n_episodes=100, seed=seed).accuracy.mean
        except FloatingPointError:  # it diverged
            return 0.0

    best = 0
    for step in (1, -1):
        while accuracy(best + step) > accuracy(best):
            best += step
    return learner.config.inner_lr * 3.0**best


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--learners", nargs="+", default=["maml", "maml-first-order", "reptile"])
    parser.add_argument("--ends", action="store_true", help="only the first and the last row of each learner")
    parser.add_argument("--runs", type=Path, default=Path("runs/presets"))
    arguments = parser.parse_args()
    use_one_thread()
    print(f"Omniglot test, 5-way 1-shot, {arguments.episodes} episodes, {arguments.tasks} training tasks, seed {arguments.seed}")
    print("| learner | settings | inductive | transductive | rate | minutes |\n|---|---|---|---|---|---|", flush=True)
    for name in arguments.learners:
        rungs = list(enumerate(ladder(name)))
        for number, rung in [rungs[0], rungs[-1]] if arguments.ends else rungs:
            started = time.perf_counter()
            learner = trained(arguments.runs / f"{name}-{arguments.tasks}-{arguments.seed}-{number}", rung, arguments.tasks, arguments.seed)
            minutes = (time.perf_counter() - started) / 60
            val, test = (load_dataset("omniglot", split, preprocessing=learner.preprocessing) for split in ("val", "test"))
            rate = best_rate(learner, EpisodeSampler(val, 5, 1, 5), arguments.seed)
            sampler, chosen = EpisodeSampler(test, 5, 1, 5), learner.with_settings(inner_lr=rate)
            ways = (False, True) if rung[1].network.norm == "batch" else (False,)
            found = [
                evaluate(chosen, sampler, n_episodes=arguments.episodes, seed=arguments.seed, transductive=t).accuracy.percent()
                for t in ways
            ]
            print(f"| {name} | {rung[0]} | {found[0]} | {found[-1]} | {rate:.2g} | {minutes:.1f} |", flush=True)


if __name__ == "__main__":
    main()
