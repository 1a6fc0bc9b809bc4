"""Metric learning on Grocery Store: Magnet and RepMet beside plain softmax and Prototypical Networks, same backbone, same budget.

    python benchmarks/grocery.py [--steps 1000] [--seed 0] [--learners softmax protonet magnet repmet]

Every learner is trained twice for as many outer steps of as many images: on the official training images of all 81 classes, measured by the
share of the official test images it names right (fine-grained); and on the training classes of the split by class, measured on 600 episodes
of unseen classes. `--split val` measures on the validation images and classes, which is where hyper-parameters are chosen.
"""

import argparse
import math
import tempfile
import time

import torch

from fewshot_kit.data.datasets import load_dataset
from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.data.images import to_float
from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.evaluate import evaluate
from fewshot_kit.learners.configs import CONFIGS
from fewshot_kit.learners.embedding import EmbeddingLearner
from fewshot_kit.networks.configs import Conv4Config
from fewshot_kit.results import Interval
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.train import open_run

NETWORK = Conv4Config(channels=3, size=42)
# Each batch is of 120 images.
BATCHES = {
    "softmax": {"train_way": 30, "train_images": 4},
    "protonet": {"train_way": 20, "train_shot": 1, "train_query": 5},
    "magnet": {"train_clusters": 20, "train_images": 6},
    "repmet": {"train_way": 30, "train_images": 4},
}


def trained(name: str, dataset: str, steps: int, seed: int):
    """Train a learner on the train split of a data set and return it with that split."""
    # Trained to the end of the budget, without validations: some validation classes have fewer images than an episode needs.
    config = TrainConfig(source=TaskSource(dataset), val_query=1, outer_steps=steps, meta_lr=0.002, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        run = open_run(folder, CONFIGS[name](network=NETWORK, **BATCHES[name]), config)
        while run.step < steps:
            run.outer_step()
    return run.learner, run.dataset


@torch.no_grad()
def fine_grained(learner: EmbeddingLearner, train_images, split: str) -> Interval:
    """Return the accuracy on the official images of `split`; the interval is the binomial one, over images."""
    test, predict = load_dataset("grocery_store_images", split, preprocessing=learner.preprocessing), learner.predictor_of(train_images)
    answers = torch.cat([predict(to_float(part)).argmax(1) for part in test.images.split(500)])
    truth = torch.tensor([train_images.class_names.index(name) for name in test.class_names]).repeat_interleave(torch.tensor(test.counts))
    right = (answers == truth).float().mean().item()
    return Interval(right, 1.96 * math.sqrt(right * (1 - right) / len(truth)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="test")
    parser.add_argument("--learners", nargs="+", default=list(BATCHES))
    arguments = parser.parse_args()
    print(f"Conv4-64, {NETWORK.size} x {NETWORK.size}, {arguments.steps} steps of 120 images, seed {arguments.seed}, {arguments.split}")
    print("| learner | fine-grained, 81 classes | 5-way 1-shot | 5-way 5-shot | minutes |\n|---|---|---|---|---|", flush=True)
    for name in arguments.learners:
        started = time.perf_counter()
        fine = fine_grained(*trained(name, "grocery_store_images", arguments.steps, arguments.seed), arguments.split)
        learner, _ = trained(name, "grocery_store", arguments.steps, arguments.seed)
        unseen = load_dataset("grocery_store", arguments.split, preprocessing=learner.preprocessing)
        few = [evaluate(learner, EpisodeSampler(unseen, 5, shot, 15), n_episodes=600, seed=arguments.seed).accuracy for shot in (1, 5)]
        minutes = (time.perf_counter() - started) / 60
        print(f"| {name} | {fine.percent()} | {few[0].percent()} | {few[1].percent()} | {minutes:.1f} |", flush=True)


if __name__ == "__main__":
    main()
