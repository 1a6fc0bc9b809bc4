"""Ordinary detection: the classes that a detector was trained on, in pictures held out.

    python benchmarks/known_classes.py repmet_detector-fod_a --dataset fod_a

All training pictures are the support: every class is the mean of what its boxes show. Prints the mAP50 and the mAP50-95 over the pictures
held out of the split that it was trained on, every class looked for in all of them. One measurement on all: no episodes, no interval.
"""

import argparse

import torch

from fewshot_kit.detection.datasets import load_annotated
from fewshot_kit.detection.evaluate_detection import average_precisions
from fewshot_kit.networks.devices import use_one_thread
from fewshot_kit.training.checkpoints import load_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--dataset", default="fod_a")
    given = parser.parse_args()
    use_one_thread()
    checkpoint = load_checkpoint(given.checkpoint)
    detector, split = checkpoint.learner, checkpoint.config["training"]["source"].get("split", "train")
    size = detector.preprocessing.size
    train, held_out = (load_annotated(given.dataset, name, size=size) for name in (split, f"{split}_held_out"))
    predictor = detector.adapt(train.take(torch.arange(len(train))))
    truth = held_out.take(torch.arange(len(held_out)))
    precisions = average_precisions(truth, predictor.detect(truth.images))
    of_classes = ", ".join(f"{name} {100 * value:.0f}" for name, value in zip(truth.class_names, precisions[:, 0].tolist(), strict=True))
    print(f"{given.checkpoint}: mAP50 {100 * precisions[:, 0].nanmean():.1f} %, mAP50-95 {100 * precisions.nanmean():.1f} %")
    print(f"{len(train.class_names)} classes, {len(held_out)} pictures of {given.dataset} held out; mAP50 of each: {of_classes}")


if __name__ == "__main__":
    main()
