"""How the gradients of many tasks are computed: one after the other, in threads side by side, or stacked on a GPU. All give the same sum.

A learner hands over what one task costs; the engine returns the mean over the tasks. `loop` is the oracle of the others.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from fewshot_kit.data.episodes import Episode
from fewshot_kit.networks.devices import map_in_threads, n_workers

ENGINES = ("auto", "loop", "threads", "stack")
CHUNK = 32  # tasks that are stacked; memory grows with it

Result = TypeVar("Result")
# (module, episodes of one shape) -> the sum of their losses, differentiable by the module's parameters
SumOfLosses = Callable[[nn.Module, Sequence[Episode]], Tensor]


def pick_engine(name: str, device: torch.device, n_tasks: int) -> str:
    """Return the engine called `name`; "auto" is the fastest measured for the device (benchmarks/maml.py)."""
    if name not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {name!r}")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "stack"
    return "threads" if n_tasks > 1 and n_workers() > 1 else "loop"


def mean_gradient(module: nn.Module, loss: SumOfLosses, episodes: Sequence[Episode], chunks: "Chunks", engine: str = "auto") -> float:
    """Add the gradient of the mean loss over `episodes` to the parameters' `.grad` and return the mean loss; `chunks` are of a stack."""
    device = next(module.parameters()).device
    episodes = [episode.to(device) for episode in episodes]
    engine = pick_engine(engine, device, len(episodes))
    if engine == "threads":
        parts = _in_threads(module, loss, episodes)
    elif engine == "loop":
        parts = (_gradient(module, loss, [episode]) for episode in episodes)
    else:
        parts = chunks.map(lambda chunk: _gradient(module, loss, chunk), episodes)
    total = 0.0
    for value, gradients in parts:
        total += value.item() / len(episodes)
        for parameter, gradient in zip(module.parameters(), gradients, strict=True):
            if gradient is not None:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad += gradient / len(episodes)
    return total


def _gradient(module: nn.Module, loss: SumOfLosses, episodes: Sequence[Episode]) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    with torch.enable_grad():
        value = loss(module, episodes)
        return value.detach(), torch.autograd.grad(value, tuple(module.parameters()), allow_unused=True)


def _in_threads(module: nn.Module, loss: SumOfLosses, episodes: Sequence[Episode]) -> list:
    """Share the tasks out to threads with a copy of the module each: `functional_call` swaps a module's parameters while it runs."""
    n_threads = min(n_workers(), len(episodes))
    shares = [(copy.deepcopy(module), episodes[i::n_threads]) for i in range(n_threads)]
    parts = map_in_threads(lambda share: [_gradient(share[0], loss, [episode]) for episode in share[1]], shares)
    return [part for share in parts for part in share]


class Chunks:
    """Work on a few tasks after the other. Out of CUDA memory, the number is halved for good and the work goes on, saying so once."""

    def __init__(self, size: int):
        self.size = size
        self._said = False

    def map(self, work: Callable[[Sequence[Episode]], Result], episodes: Sequence[Episode]) -> Iterator[Result]:
        """Yield `work(chunk)` for one chunk of the episodes after the other."""
        done = 0
        while done < len(episodes):
            chunk = episodes[done : done + self.size]
            try:
                result = work(chunk)
            except torch.OutOfMemoryError:
                if len(chunk) == 1:
                    raise
                self.size = len(chunk) // 2
                torch.cuda.empty_cache()
                if not self._said:
                    message = f"{len(chunk)} tasks at a time do not fit into the GPU's memory: going on with {self.size}, or fewer"
                    warnings.warn(message, RuntimeWarning, stacklevel=2)
                self._said = True
            else:
                yield result
                done += len(chunk)
