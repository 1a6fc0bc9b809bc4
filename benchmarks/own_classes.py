"""How far the answers about a person's own classes can be trusted, on data whose truth is known, and how long a person waits.

    python benchmarks/own_classes.py --dataset grocery_store
    python benchmarks/own_classes.py --dataset omniglot --checkpoint protonet-omniglot_vinyals-augmented

Tasks of 5 classes with 5 pictures each from the test classes, by chance. Prints in how many tasks the 95 % interval of leave-one-out holds
the true accuracy (on all other pictures of these classes, each class as much), what is taken for unknown at the threshold that keeps 90 %
of the known pictures, how well familiarity tells classes it was not shown from known ones (AUROC, mean over tasks), and the milliseconds
from a change of the pictures to new answers. Every picture of the data set is embedded once, but for these milliseconds.
"""

import argparse
import hashlib
import statistics
import time
from collections.abc import Callable

import torch
from sklearn.metrics import roc_auc_score

from fewshot_kit.data.datasets import load_dataset
from fewshot_kit.data.episodes import LabelledImages
from fewshot_kit.data.images import to_float
from fewshot_kit.demo.own_task import PROPOSED, Estimate, OwnLearning, OwnTask
from fewshot_kit.networks.devices import use_one_thread
from fewshot_kit.results import Interval

WAY, SHOT, OTHERS = 5, 5, 25  # classes, pictures each, pictures of classes it is not shown
TIMED = 20  # tasks


def measured(checkpoint: str, dataset: str, n_tasks: int, seed: int) -> dict[str, list[float]]:
    """Return what each task came to."""
    timed, learner = (OwnTask(checkpoint).learner_for(WAY, SHOT) for _ in range(2))
    learner.embed_all = remembering(learner.snapshot().embed_all)
    images = load_dataset(dataset, "test", preprocessing=learner.preprocessing)
    generator, found = torch.Generator().manual_seed(seed), {"truth": [], "holds": [], "kept": [], "unknown": [], "auroc": [], "ms": []}
    for number in range(n_tasks):
        classes = torch.randperm(len(images), generator=generator).tolist()
        known = [shuffled(images.of_class(i), generator) for i in classes[:WAY]]
        strangers = shuffled(torch.cat([images.of_class(i) for i in classes[WAY:]]), generator)[:OTHERS]
        labels = torch.arange(WAY).repeat_interleave(SHOT)
        support = LabelledImages(to_float(torch.cat([of_class[:SHOT] for of_class in known])), labels, tuple("abcde"))
        queries, truth = torch.cat([of[SHOT:] for of in known]), torch.cat([torch.full((len(of) - SHOT,), i) for i, of in enumerate(known)])
        if number < TIMED:
            started = time.perf_counter()
            timed.adapt(support)(to_float(queries[:1]))
            found["ms"].append(1000 * (time.perf_counter() - started))
        predictor = learner.adapt(support)
        estimate = Estimate.of(learner.leave_one_out(support), labels)
        learning = OwnLearning(learner, predictor, support.class_names, estimate)
        answers, others = learning.answer(to_float(queries)), learning.answer(to_float(strangers))
        is_right = (answers.probabilities.argmax(1) == truth).float()
        right = torch.stack([is_right[truth == i].mean() for i in range(WAY)]).mean().item()
        low, high = estimate.interval
        found["truth"].append(right)
        found["holds"].append(float(low <= right <= high))
        found["kept"].append(1 - answers.is_unknown(0.1).float().mean().item())
        found["unknown"].append(others.is_unknown(0.1).float().mean().item())
        nearness = torch.cat([predictor(to_float(part)).amax(1) for part in (queries, strangers)])
        found["auroc"].append(roc_auc_score([1] * len(queries) + [0] * len(strangers), nearness.tolist()))
    return found


def remembering(embed_all: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what embeds a picture the first time alone."""
    known: dict[bytes, torch.Tensor] = {}

    def embed(images: torch.Tensor) -> torch.Tensor:
        keys = [hashlib.sha256(image.numpy().tobytes()).digest() for image in images]
        new = {key: i for i, key in enumerate(keys) if key not in known}
        if new:
            known.update(zip(new, embed_all(images[list(new.values())]), strict=True))
        return torch.stack([known[key] for key in keys])

    return embed


def shuffled(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return images[torch.randperm(len(images), generator=generator)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="grocery_store")
    parser.add_argument("--checkpoint", default=PROPOSED[True])
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    use_one_thread()
    found = measured(given.checkpoint, given.dataset, given.tasks, given.seed)
    told = {name: Interval.of(torch.tensor(values)).percent() for name, values in found.items() if name != "ms"}
    print(f"{given.checkpoint} on {given.dataset} test, {given.tasks} tasks, {WAY}-way {SHOT}-shot, seed {given.seed}:")
    print(f"right: {told['truth']}; the interval of leave-one-out holds that in {told['holds']} of the tasks")
    print(f"at familiarity 0.1: {told['kept']} of known pictures kept, {told['unknown']} of strangers unknown; AUROC {told['auroc']}")
    print(f"from a change of the pictures to an answer: median {statistics.median(found['ms']):.0f} ms, worst {max(found['ms']):.0f} ms")
