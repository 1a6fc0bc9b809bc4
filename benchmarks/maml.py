"""Speed of one MAML meta-step, as a ratio measured in one run.

    python benchmarks/maml.py

Second-order MAML, Conv4-64, 5-way 1-shot, 15 queries a class, 16 tasks, 5 inner steps. Prints the seconds of a plain loop over tasks as one
would write it with torch.func.functional_call and as many threads as cores, of the kit's engines, their ratio, and the largest difference
of the meta-gradients. Where torch sees a CUDA GPU, the same there.
"""

import os
import time

import torch
import torch.nn.functional as F
from torch.func import functional_call

from fewshot_kit.data.episodes import Episode, LabelledImages
from fewshot_kit.learners.configs import MAMLConfig
from fewshot_kit.learners.engines import mean_gradient
from fewshot_kit.learners.maml import MAML

WAY, SHOT, QUERY, TASKS, STEPS, RUNS = 5, 1, 15, 16, 5, 5


def make_episodes(device: str) -> list[Episode]:
    generator = torch.Generator().manual_seed(0)

    def part(n: int) -> LabelledImages:
        labels = torch.arange(WAY).repeat_interleave(n)
        return LabelledImages(torch.rand(WAY * n, 1, 28, 28, generator=generator), labels, tuple("abcde"))

    return [Episode(part(SHOT), part(QUERY), tuple(range(WAY))).to(device) for _ in range(TASKS)]


def plain_loop(learner: MAML, episodes: list[Episode]) -> dict[str, torch.Tensor]:
    """Return the meta-gradient by plain PyTorch: a loop over tasks and steps, `create_graph`, one backward for all tasks."""
    config, network = learner.config, learner.network
    theta = dict(network.named_parameters())
    total = torch.zeros((), device=learner.device)
    for episode in episodes:
        head = {"head.weight": torch.zeros(WAY, network.n_features), "head.bias": torch.zeros(WAY)}
        adapted = {**theta, **{name: value.to(learner.device).requires_grad_() for name, value in head.items()}}
        for _ in range(STEPS):
            loss = query_loss(network, adapted, episode.support)
            gradients = torch.autograd.grad(loss, tuple(adapted.values()), create_graph=True)
            rates = {name: config.train_inner_lr * (config.head_lr_scale if name in head else 1) for name in adapted}
            adapted = {name: p - rates[name] * g for (name, p), g in zip(adapted.items(), gradients, strict=True)}
        total = total + query_loss(network, adapted, episode.query) / len(episodes)
    return dict(zip(theta, torch.autograd.grad(total, tuple(theta.values())), strict=True))


def query_loss(network: torch.nn.Module, parameters: dict[str, torch.Tensor], part: LabelledImages) -> torch.Tensor:
    of_network = {name: p for name, p in parameters.items() if not name.startswith("head.")}
    features = functional_call(network, of_network, (part.images,))
    return F.cross_entropy(F.linear(features, parameters["head.weight"], parameters["head.bias"]), part.labels)


def engine(name: str, learner: MAML, episodes: list[Episode]) -> dict[str, torch.Tensor]:
    learner.zero_grad()
    mean_gradient(learner, MAML.sum_of_losses, episodes, learner.chunks, name)
    return {name: p.grad for name, p in learner.network.named_parameters() if p.grad is not None}


def seconds(call, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def compare(device: str, engines: list[str]) -> None:
    """Time the plain loop and the engines in turn and print the best of each: noise only ever adds."""
    torch.manual_seed(0)
    # A low rate: at random weights and on noise, a high one makes the loss steep, and rounding large.
    config = MAMLConfig(train_inner_lr=0.001, train_inner_steps=STEPS)
    learner, episodes = MAML(config).to(device), make_episodes(device)
    plain = MAML(config).to(device)
    plain.load_state_dict(learner.state_dict())
    plain.network.to(memory_format=torch.contiguous_format)  # as torch makes it
    calls = {
        "plain loop": lambda: plain_loop(plain, episodes),
        **{name: lambda name=name: engine(name, learner, episodes) for name in engines},
    }
    results = {name: call() for name, call in calls.items()}
    times = {name: [seconds(call, device) for _ in range(1)] for name, call in calls.items()}
    for _ in range(RUNS - 1):
        for name, call in calls.items():
            times[name].append(seconds(call, device))
    best = {name: min(values) for name, values in times.items()}
    print(f"{device}: plain loop {best['plain loop']:.3f} s")
    scale = max(g.abs().max().item() for g in results["plain loop"].values())
    for name in engines:
        differences = [(results[name][key] - value).abs().max().item() for key, value in results["plain loop"].items()]
        ratio = best["plain loop"] / best[name]
        print(
            f"{device}: {name} {best[name]:.3f} s, {ratio:.1f} x the plain loop; largest difference {max(differences):.1e} of {scale:.1e}"
        )


if __name__ == "__main__":
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {WAY}-way {SHOT}-shot, {QUERY} queries, {TASKS} tasks")
    compare("cpu", ["loop", "threads"])
    if torch.cuda.is_available():
        compare("cuda", ["loop", "stack"])
    else:
        print("cuda: torch sees no CUDA GPU here, so the GPU rows did not run")
