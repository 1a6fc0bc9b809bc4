"""Speed of an evaluation of Prototypical Networks: every image embedded once, against every episode embedded anew.

    python benchmarks/protonet.py [checkpoint] [--episodes 10000]

5-way 1-shot, 15 queries a class, on the test split of omniglot_vinyals. The slow way is timed on a twentieth of the episodes; both print
their accuracy, which must be the same on the same episodes.
"""

import argparse
import os

import torch

from fewshot_kit.data.datasets import load_dataset
from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.evaluate import evaluate
from fewshot_kit.learners.base import Learner
from fewshot_kit.training.checkpoints import load_checkpoint


def slow(learner: Learner) -> Learner:
    """Return the learner with the plain loop in place of its look-up of embeddings."""
    kind = type(learner)
    other = type("Slow" + kind.__name__, (kind,), {"predict_drawn": Learner.predict_drawn})(learner.config)
    other.load_state_dict(learner.state_dict())
    return other.eval()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", nargs="?", default="protonet-omniglot_vinyals")
    parser.add_argument("--episodes", type=int, default=10_000)
    arguments = parser.parse_args()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    learner = load_checkpoint(arguments.checkpoint).learner
    sampler = EpisodeSampler(load_dataset("omniglot_vinyals", "test", preprocessing=learner.preprocessing), 5, 1, 15)
    n, few = arguments.episodes, max(arguments.episodes // 20, 1)
    fast, same = (evaluate(learner, sampler, n_episodes=episodes) for episodes in (n, few))
    anew = evaluate(slow(learner), sampler, n_episodes=few)
    seconds = anew.seconds * n / few
    print(f"every image once: {fast.seconds:.1f} s; {fast}")
    print(f"every episode anew: {seconds:.1f} s ({anew.seconds:.1f} s for {few}); {anew}")
    difference = same.accuracy.mean - anew.accuracy.mean
    print(f"{seconds / fast.seconds:.1f} x as fast; the accuracies on the same {few} episodes differ by {difference:.1e}")


if __name__ == "__main__":
    main()
