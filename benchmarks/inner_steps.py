"""How many inner steps MAML should train with, from the features of a Prototypical Network.

    python benchmarks/inner_steps.py [--inner-steps 0 1 2 3] [--outer-steps 300] [--episodes 600] [--seed 0]

Each row goes on from `protonet-omniglot_vinyals-group` for so many outer steps on 60-way 1-shot tasks; 0 is not trained at all. One inner
step has a rate of 0.3 in training and is one before a person; more have the rate of `maml-omniglot_vinyals`, and 10 epochs before a person.
The rate before a person is chosen on 100 validation episodes, climbing by factors of 3; then 5-way 1-shot episodes of validation classes,
5 queries, inductive, are measured: the same for every row, so that the last column is of paired episodes. "Features fixed" lets the inner
loop change the head alone. Trained weights are kept in --runs, and not trained anew.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from presets import best_rate, trained

from fewshot_kit.data.datasets import load_dataset
from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.evaluate import evaluate
from fewshot_kit.learners.configs import MAMLConfig
from fewshot_kit.learners.maml import MAML
from fewshot_kit.networks.devices import use_one_thread
from fewshot_kit.results import Interval
from fewshot_kit.training.checkpoints import load_checkpoint
from fewshot_kit.training.config import TaskSource, TrainConfig

START = "protonet-omniglot_vinyals-group"
SOURCE = TaskSource(dataset="omniglot_vinyals", augment=False, reflections=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inner-steps", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--outer-steps", type=int, default=300)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/inner_steps"))
    arguments = parser.parse_args()
    use_one_thread()
    shipped = load_checkpoint("maml-omniglot_vinyals").learner
    base, val = shipped.config, load_dataset("omniglot_vinyals", "val", preprocessing=shipped.preprocessing)
    sampler, first = EpisodeSampler(val, 5, 1, 5), None
    print("| inner steps | epochs | rate | accuracy | features fixed | over the first |\n|---|---|---|---|---|---|", flush=True)
    for steps in arguments.inner_steps:
        config = configured(base, steps) if steps else base
        learner = learner_of(config, steps, arguments)
        chosen = learner.with_settings(inner_lr=best_rate(learner, sampler, arguments.seed))
        found = evaluate(chosen, sampler, n_episodes=arguments.episodes, seed=arguments.seed, keep_episodes=True)
        fixed = MAML(replace(chosen.config, adapt_only="head")).eval()
        fixed.load_state_dict(chosen.state_dict())
        alone = evaluate(fixed, sampler, n_episodes=arguments.episodes, seed=arguments.seed)
        accuracies = torch.tensor(found.episode_accuracies)
        first = accuracies if first is None else first
        ahead = Interval.of(accuracies - first)
        row = (
            steps or "not trained",
            config.inner_steps,
            f"{chosen.config.inner_lr:.2g}",
            found.accuracy.percent(),
            alone.accuracy.percent(),
        )
        print("|", *(f"{value} |" for value in row), f"{100 * ahead.mean:+.2f} ± {100 * ahead.half_width:.2f} |", flush=True)


def configured(base: MAMLConfig, steps: int) -> MAMLConfig:
    """Return MAML that trains with so many inner steps."""
    base = replace(base, train_way=60, train_query=3, train_inner_steps=steps)
    return replace(base, train_inner_lr=0.3, inner_steps=1, inner_lr=0.025) if steps == 1 else base


def learner_of(config: MAMLConfig, steps: int, arguments: argparse.Namespace) -> MAML:
    """Return MAML with the features to start from, trained on unless `steps` is 0."""
    if not steps:
        learner = MAML(config)
        learner.network.load_state_dict(load_checkpoint(START).learner.network.state_dict())
        return learner.eval()
    training = TrainConfig(source=SOURCE, start_from=START)
    folder = arguments.runs / f"{steps}-{arguments.outer_steps}-{arguments.seed}"
    return trained(folder, ("", config, training), arguments.outer_steps * config.meta_batch_size, arguments.seed)


if __name__ == "__main__":
    main()
