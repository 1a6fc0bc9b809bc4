"""How the gradients of many tasks are computed at once: one after the other, in threads, or stacked on a GPU. All give the same sum.

A learner hands over what one task costs; the engine returns the mean over the tasks. `loop` is the oracle of the others.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from fewshot_kit.data.episodes import Episode

ENGINES = ("auto", "loop", "threads", "stack", "cuda_graph")
CHUNK = 32  # tasks that are stacked; memory grows with it

Item = TypeVar("Item")
Result = TypeVar("Result")
# (module, episodes of one shape) -> the sum of their losses, differentiable by the module's parameters
SumOfLosses = Callable[[nn.Module, Sequence[Episode]], Tensor]


def pick_engine(name: str, device: torch.device, n_tasks: int) -> str:
    """Return the engine called `name`; "auto" is the fastest measured for the device (benchmarks/maml.py)."""
    if name not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {name!r}")
    if name == "cuda_graph" and device.type != "cuda":
        raise ValueError(f"the cuda_graph engine needs a CUDA GPU, but the learner is on {device}; use engine='auto'")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "stack"
    return "threads" if n_tasks > 1 and torch.get_num_threads() > 1 else "loop"


def mean_gradient(module: nn.Module, loss: SumOfLosses, episodes: Sequence[Episode], *, engine: str = "auto") -> float:
    """Add the gradient of the mean loss over `episodes` to the parameters' `.grad` and return the mean loss."""
    device = next(module.parameters()).device
    episodes = [episode.to(device) for episode in episodes]
    engine = pick_engine(engine, device, len(episodes))
    if engine == "threads":
        parts = _in_threads(module, loss, episodes)
    elif engine == "loop":
        parts = (_gradient(module, loss, [episode]) for episode in episodes)
    else:
        gradient = _graphed(module, loss) if engine == "cuda_graph" else lambda chunk: _gradient(module, loss, chunk)
        chunks = module.__dict__.setdefault("_chunks", Chunks(CHUNK))
        parts = chunks.map(gradient, episodes)
    total = 0.0
    for value, gradients in parts:
        total += value.item() / len(episodes)
        for parameter, gradient in zip(_trained(module), gradients, strict=True):
            if gradient is not None:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad += gradient / len(episodes)
    return total


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.numel()]


def _gradient(module: nn.Module, loss: SumOfLosses, episodes: Sequence[Episode]) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    with torch.enable_grad():
        value = loss(module, episodes)
        return value.detach(), torch.autograd.grad(value, _trained(module), allow_unused=True)


def _in_threads(module: nn.Module, loss: SumOfLosses, episodes: Sequence[Episode]) -> list:
    """Share the tasks out to threads with a copy of the module each: `functional_call` swaps a module's parameters while it runs."""
    n_threads = min(torch.get_num_threads(), len(episodes))
    shares = [(copy.deepcopy(module), episodes[i::n_threads]) for i in range(n_threads)]
    parts = map_in_threads(lambda share: [_gradient(share[0], loss, [episode]) for episode in share[1]], shares)
    return [part for share in parts for part in share]


def map_in_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return `work` of every item, by as many threads as torch has, each of which has one torch thread for itself.

    A small network gives a thread team too little to do an operation: two tasks side by side beat two threads on one task.
    """
    n_threads = min(torch.get_num_threads(), len(items))
    if n_threads == 1:
        return [work(item) for item in items]
    # What a thread sets is also where threads begin that are started later: it is set back at the end.
    with torch_threads(n_threads), ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(work, items))


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Let torch use `n` CPU threads for an operation, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _graphed(module: nn.Module, loss: SumOfLosses) -> Callable[[Sequence[Episode]], tuple[Tensor, tuple[Tensor | None, ...]]]:
    """Return `_gradient` recorded once as a CUDA graph and replayed on new images: no time between its thousands of small kernels.

    The recording is kept on the module, by the shapes of a chunk. Parameters must be changed in place, as optimisers do.
    """
    recordings = module.__dict__.setdefault("_cuda_graphs", {})

    def gradient(episodes: Sequence[Episode]) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        key = (len(episodes), *(tuple(part.images.shape) for part in (episodes[0].support, episodes[0].query)))
        if key not in recordings:
            recordings[key] = _record(module, loss, episodes)
        graph, inputs, outputs = recordings[key]
        for place, episode in zip(inputs, episodes, strict=True):
            for part in ("support", "query"):
                getattr(place, part).images.copy_(getattr(episode, part).images)
                getattr(place, part).labels.copy_(getattr(episode, part).labels)
        graph.replay()
        return outputs

    return gradient


def _record(module: nn.Module, loss: SumOfLosses, episodes: Sequence[Episode]) -> tuple:
    inputs = copy.deepcopy(list(episodes))
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # capture needs a warm allocator and chosen kernels, on a stream of its own
        for _ in range(3):
            _gradient(module, loss, inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = _gradient(module, loss, inputs)
    return graph, inputs, outputs


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
