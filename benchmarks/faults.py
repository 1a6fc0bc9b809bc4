"""Kill processes at random moments, and look at what is left.

    python benchmarks/faults.py [--kills 200] [--seed 0]

A child process trains, resumes, exports, records a measurement or writes a result, and is killed by SIGKILL after a random time. Then
everything must be whole: a training goes on to the weights of one that was never killed, bit for bit; a checkpoint loads, its card fits
its config.json, and no measurement that was there is gone; a result is there whole or not at all. And when the same work has then been
done to its end, no hidden file or folder is left. Prints how many kills of each kind hit their process, and ends with status 1 if
anything was lost or left.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch

from fewshot_kit.data.files import write_text
from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.learners.configs import ReptileConfig
from fewshot_kit.networks.configs import Conv4Config
from fewshot_kit.results import Evaluation, Interval
from fewshot_kit.training.cards import render_card
from fewshot_kit.training.checkpoint_folder import CARD, read_config
from fewshot_kit.training.checkpoints import load_checkpoint
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.export import export_run, record_result
from fewshot_kit.training.train import BEST, LAST, open_run, train

LEARNER = ReptileConfig(network=Conv4Config(width=8), train_way=5, train_inner_steps=2)
TRAINING = TrainConfig(
    TaskSource("characters_by_alphabet"), val_way=3, val_query=2, outer_steps=12, evaluate_every=2, evaluation_episodes=4
)
RESULT = Evaluation(
    metrics={"accuracy": Interval(0.5, 0.1), "loss": Interval(1.0, 0.1)}, n_episodes=9, n_way=3, n_shot=1, n_query=1, seed=0,
    transductive=False, dataset="characters", split="test", settings={}, seconds=1.0, support_loss=0.5, checkpoint="it",
)  # fmt: skip


def in_a_child(work: Callable[[], object], kill_after: float | None = None) -> bool:
    """Do some work in a forked process, killed after so many seconds; return whether the kill hit it."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child.pid, signal.SIGKILL)
    child.join()
    return child.exitcode == -signal.SIGKILL


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    in_a_child(work)
    return time.perf_counter() - started


def weights(folder: Path) -> dict[str, bytes]:
    """Return the tensors of a run as bytes: its best weights, and all that a resume needs."""
    found = {file: safetensors.torch.load_file(folder / file) for file in (LAST, BEST)}
    return {f"{file}/{name}": value.numpy().tobytes() for file, tensors in found.items() for name, value in tensors.items()}


def hidden(folder: Path, pattern: str = ".*") -> str:
    """Name what is hidden in a folder, "" if nothing is."""
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob(pattern))
    return f"left behind: {', '.join(left)}" if left else ""


class Faults:
    """A folder with a run that was never killed, a checkpoint of it, and what is done to them."""

    def __init__(self, folder: Path, chance: random.Random):
        self.folder, self.chance = folder, chance
        self.whole, self.out = folder / "whole", folder / "checkpoints"
        self.took = {"train": seconds(lambda: self.train(self.whole))}
        self.expected = weights(self.whole)
        self.took["export"] = seconds(lambda: export_run(self.whole, "it", self.out, replace=True))
        self.took["record"] = seconds(lambda: self.record(0))
        self.took["result"] = seconds(lambda: write_text(self.folder / "result.json", RESULT.to_json()))

    def train(self, folder: Path) -> None:
        train(open_run(folder, LEARNER, TRAINING, resume=True))

    def record(self, number: int) -> None:
        record_result(self.out / "it", replace(RESULT, seed=number), f"python -m fewshot_kit evaluate it --seed {number}")

    def kill(self, kind: str, number: int) -> tuple[bool, str]:
        """Kill one process of this kind; return whether the kill hit it, and what was lost, "" for nothing."""
        after = self.chance.uniform(0, 1.1 * self.took[kind])
        return getattr(self, f"kill_{kind}")(number, after)

    def kill_train(self, number: int, after: float) -> tuple[bool, str]:
        folder = self.folder / f"run {number}"
        hit = in_a_child(lambda: self.train(folder), after)
        in_a_child(lambda: self.train(folder), self.chance.uniform(0, self.took["train"]))  # resumed, and killed again
        in_a_child(lambda: self.train(folder))
        same = (folder / LAST).is_file() and weights(folder) == self.expected
        left = hidden(folder)
        shutil.rmtree(folder, ignore_errors=True)
        return hit, left if same else "the weights are not those of the run that was never killed"

    def kill_export(self, number: int, after: float) -> tuple[bool, str]:
        hit = in_a_child(lambda: export_run(self.whole, "it", self.out, replace=True), after)
        lost = self.lost_of_checkpoint(at_least=0)
        in_a_child(lambda: export_run(self.whole, "it", self.out, replace=True))
        return hit, lost or hidden(self.out)

    def kill_record(self, number: int, after: float) -> tuple[bool, str]:
        before = len(read_config(load_checkpoint(self.out / "it").folder)["results"])
        hit = in_a_child(lambda: self.record(number + 1), after)
        lost = self.lost_of_checkpoint(at_least=before)
        in_a_child(lambda: self.record(number + 1))
        return hit, lost or hidden(self.out)

    def kill_result(self, number: int, after: float) -> tuple[bool, str]:
        target = self.folder / "result.json"
        hit = in_a_child(lambda: write_text(target, replace(RESULT, seed=number).to_json()), after)
        is_whole = json.loads(target.read_text())["n_episodes"] == 9
        write_text(target, RESULT.to_json())
        return hit, hidden(target.parent, ".result.json.*") if is_whole else "the result is not whole"

    def lost_of_checkpoint(self, at_least: int) -> str:
        loaded = load_checkpoint(self.out / "it")
        if len(loaded.config["results"]) < at_least:
            return f"{at_least} measurements were there, {len(loaded.config['results'])} are left"
        card = (loaded.folder / CARD).read_text(encoding="utf-8")
        return "" if card == render_card(loaded.name, loaded.config) else "the card is not that of config.json"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # before any fork: a team of threads does not survive one
    chance, hits, lost = random.Random(arguments.seed), Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        faults = Faults(Path(folder), chance)
        for number in range(arguments.kills):
            kind = chance.choice(list(faults.took))
            hit, what = faults.kill(kind, number)
            hits[kind] += hit
            lost += [f"{kind}, kill {number}: {what}"] if what else []
    print(f"{arguments.kills} kills, seed {arguments.seed}; hit a process at work: {dict(hits)}; lost: {len(lost)}")
    print("\n".join(lost))
    return bool(lost)


if __name__ == "__main__":
    sys.exit(main())
