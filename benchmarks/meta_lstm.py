"""Speed of one training episode of Meta-LSTM, as a ratio measured in one run.

    python benchmarks/meta_lstm.py

Conv4-32 on pictures of 84 x 84, 5-way 5-shot, 15 queries a class, 8 steps. Prints the seconds of an episode as one would write it
straight from the paper (a module whose weights are overwritten at each step, `backward` for the gradients, the LSTM over one weight's
numbers a row, as many threads as cores); those of the kit in 32 and in 16 bits, and with as many tasks side by side as there are cores, as
an outer step with that `meta_batch_size` has; their ratios, and the largest difference of the meta-gradients in 32 bits.
"""

import copy
import math
import os
import statistics
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from fewshot_kit.data.episodes import Episode, LabelledImages
from fewshot_kit.learners.configs import MetaLSTMConfig
from fewshot_kit.learners.meta_lstm import MetaLSTM
from fewshot_kit.networks.configs import Conv4Config

WAY, SHOT, QUERY, RUNS = 5, 5, 15, 9
NETWORK = Conv4Config(width=32, norm="batch", stride=1, channels=3, size=84)


def episode() -> Episode:
    generator = torch.Generator().manual_seed(0)

    def part(n: int) -> LabelledImages:
        labels = torch.arange(WAY).repeat_interleave(n)
        return LabelledImages(torch.rand(WAY * n, 3, NETWORK.size, NETWORK.size, generator=generator), labels, tuple("abcde"))

    return Episode(part(SHOT), part(QUERY), tuple(range(WAY)))


class Plain(nn.Module):
    """The same learner as it is usually written: a classifier, and an LSTM over rows of its flattened weights."""

    def __init__(self, learner: MetaLSTM):
        super().__init__()
        self.network, self.head = copy.deepcopy(learner.network), copy.deepcopy(learner.head)
        self.to(memory_format=torch.contiguous_format)
        self.optimiser = copy.deepcopy(learner.optimiser)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.network(images))

    def weights(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.named_parameters() if not name.startswith("optimiser.")}


def preprocess(x: Tensor) -> Tensor:
    """Return rows of two numbers, by the paper's two cases."""
    large = (x.abs() >= math.exp(-10)).float()
    first = large * torch.log(x.abs() + 1e-30) / 10 + (1 - large) * -1
    return torch.stack([first, large * x.sign() + (1 - large) * math.exp(10) * x], dim=1)


def plain_episode(model: Plain, task: Episode) -> list[Tensor]:
    """Return the meta-gradient of one episode."""
    model.train()
    work = copy.deepcopy(model)  # its weights are overwritten, step for step
    cells = torch.cat([p.flatten() for p in model.weights().values()])
    hidden = cell = torch.zeros(len(cells), model.optimiser.lstm.hidden_size)
    forget = take = torch.zeros(len(cells), 1)
    for _ in range(model.steps):
        start = 0
        for p in work.weights().values():
            p.data.copy_(cells[start : start + p.numel()].view_as(p))
            start += p.numel()
        work.zero_grad()
        loss = F.cross_entropy(work(task.support.images), task.support.labels)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in work.weights().values()])
        inputs = torch.cat([preprocess(gradient), preprocess(loss.detach().expand(len(cells)))], dim=1)
        hidden, cell = model.optimiser.lstm(inputs, (hidden, cell))
        forget = torch.sigmoid(model.optimiser.forget_gate(torch.cat([hidden, cells.unsqueeze(1), forget], dim=1)))
        take = torch.sigmoid(model.optimiser.input_gate(torch.cat([hidden, cells.unsqueeze(1), take], dim=1)))
        cells = forget.squeeze(1) * cells - take.squeeze(1) * gradient
    sizes = [p.numel() for p in model.weights().values()]
    parts = zip(model.weights().items(), cells.split(sizes), strict=True)
    logits = functional_call(model, {name: part.view_as(p) for (name, p), part in parts}, (task.query.images,))
    return list(torch.autograd.grad(F.cross_entropy(logits, task.query.labels), list(model.parameters())))


def kit_episode(learner: MetaLSTM, tasks: list[Episode], in_16_bits: bool) -> list[Tensor]:
    learner.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=in_16_bits):
        learner.accumulate_meta_grad(tasks)
    return [p.grad for p in learner.parameters()]


def seconds(*calls) -> list[float]:
    """Return the median seconds of each call; they take turns, so that what else the machine does meets all of them."""
    times = [[] for _ in calls]
    for run in range(RUNS + 1):
        for call, taken in zip(calls, times, strict=True):
            started = time.perf_counter()
            call()
            if run:  # the first warms up
                taken.append(time.perf_counter() - started)
    return [statistics.median(taken) for taken in times]


def main() -> None:
    torch.manual_seed(0)
    learner, task = MetaLSTM(MetaLSTMConfig(network=NETWORK)), episode()
    plain = Plain(learner)
    plain.steps = learner.config.train_inner_steps
    names = dict(learner.named_parameters())
    torch.set_num_threads(os.cpu_count() or 1)
    expected = dict(zip((name for name, _ in plain.named_parameters()), plain_episode(plain, task), strict=True))
    kit_episode(learner, [task], False)
    difference = max((names[name].grad - expected[name]).abs().max().item() for name in names)
    n_cores = os.cpu_count() or 1
    slow, in_32, in_16, together = seconds(
        lambda: plain_episode(plain, task),
        lambda: kit_episode(learner, [task], False),
        lambda: kit_episode(learner, [task], True),
        lambda: kit_episode(learner, [task] * n_cores, False),
    )
    n = sum(p.numel() for p in plain.weights().values())
    print(f"{n:,} weights; straight from the paper: {slow:.2f} s an episode; largest difference of the meta-gradients {difference:.1e}")
    side_by_side = f"the kit in 32 bits, {n_cores} tasks side by side, a thread each"
    for what, took in (("the kit in 32 bits", in_32), ("the kit in 16 bits", in_16), (side_by_side, together / n_cores)):
        print(f"{what}: {took:.2f} s an episode, {slow / took:.2f} x")


if __name__ == "__main__":
    main()
