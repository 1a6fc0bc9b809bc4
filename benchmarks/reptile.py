"""Speed and memory of the Reptile demo, as ratios measured in one run.

    python benchmarks/reptile.py

Prints: what a slider's move costs (learn and draw) beside the bare inner loop; what batched evaluation costs beside a plain loop over
episodes, with the largest difference of their logits; and the peak memory of the notebook's kernel.
"""

import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import torch
import torch.nn.functional as F
from nbclient import NotebookClient

from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.demo.session import DemoSession
from fewshot_kit.evaluate import sample_episodes
from fewshot_kit.learners.base import EPISODES_TOGETHER, Learner
from fewshot_kit.learners.reptile import Reptile
from fewshot_kit.networks.devices import n_workers
from fewshot_kit.widgets import FewShotPanel

CHECKPOINT = "reptile-omniglot"
NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "01_reptile.ipynb"


def alternate(first: Callable[[], object], second: Callable[[], object], runs: int) -> tuple[float, float]:
    """Time two calls in turn, after a warm-up of each, and return their median seconds."""
    first(), second()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for call, seconds in zip((first, second), times, strict=True):
            started = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


def bare_inner_loop(learner: Reptile, images: torch.Tensor, labels: torch.Tensor) -> torch.nn.Module:
    """Fine-tune as plain PyTorch does it: a copy of the network, torch.optim.SGD, the learner's own settings."""
    config, network = learner.config, copy.deepcopy(learner.network)
    head = torch.nn.Linear(network.n_features, int(labels.max()) + 1)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    model = torch.nn.Sequential(network, head)
    of_head = {"params": head.parameters(), "lr": config.inner_lr * config.head_lr_scale}
    optimizer = torch.optim.SGD([{"params": network.parameters()}, of_head], lr=config.inner_lr)
    for _ in range(config.inner_steps):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model


def slider_move() -> None:
    """Time the worker's whole job after a slider's move, 3-way 1-shot 10 epochs, against the bare loop."""
    session = DemoSession(CHECKPOINT, "characters", n_way=3, n_shot=1, n_query=1, device="cpu")
    panel, support = FewShotPanel(session), session.episode.support

    def move() -> None:
        panel.learn()
        panel.worker.wait()

    bare, moved = alternate(lambda: bare_inner_loop(session.learner, support.images, support.labels), move, runs=30)
    print(f"slider move: bare inner loop {1000 * bare:.0f} ms, learn + draw {1000 * moved:.0f} ms", end=" ")
    print(f"= 1.5 x bare + {1000 * (moved - 1.5 * bare):.0f} ms ({moved / bare:.2f} x)")


def evaluation(n_episodes: int = 600) -> None:
    """Time all episodes at once against adapting to one after another, same episodes."""
    session = DemoSession(CHECKPOINT, "characters", device="cpu")
    learner, episodes = session.learner, sample_episodes(EpisodeSampler(session.dataset, 3, 1, 1), n_episodes, seed=0)
    chunks = [episodes[i : i + EPISODES_TOGETHER] for i in range(0, n_episodes, EPISODES_TOGETHER)]
    learner.predict_episodes(chunks[0])
    seconds, logits = [], []
    for predict in (lambda chunk: Learner.predict_episodes(learner, chunk), learner.predict_episodes):
        started = time.perf_counter()
        logits.append(torch.cat([predict(chunk)[0] for chunk in chunks]))
        seconds.append(time.perf_counter() - started)
    difference = (logits[0] - logits[1]).abs().max().item()
    print(f"evaluation, {n_episodes} episodes of 3-way 1-shot, {n_workers()} threads: plain loop {seconds[0]:.1f} s,", end=" ")
    print(f"batched {seconds[1]:.1f} s = {seconds[0] / seconds[1]:.2f} x faster; largest difference of a logit {difference:.1e}")


def kernel_memory() -> None:
    """Run the notebook in a kernel and ask it for its peak resident memory."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("import resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"))
    NotebookClient(notebook, timeout=600).execute()
    print(f"notebook kernel: peak memory {notebook.cells[-1].outputs[0].text.strip()} MiB")


if __name__ == "__main__":
    slider_move()
    evaluation()
    kernel_memory()
