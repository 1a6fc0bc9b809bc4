"""Several processes train one learner: each takes its share of every meta-batch, one all-reduce an outer step adds the gradients up.

torchrun starts the processes and tells each its rank; without torchrun there is one process, and nothing here does anything.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed
from torch import Tensor

Item = TypeVar("Item")


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes of torchrun, by gloo on CPUs and nccl on GPUs, and leave them at the end."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or torch.distributed.is_initialized():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def rank() -> int:
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def n_processes() -> int:
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def wait_for_all() -> None:
    """Return when every process has come here."""
    if n_processes() > 1:
        torch.distributed.barrier()


def any_of(flag: bool, device: torch.device) -> bool:
    """Say whether it is true in one of the processes."""
    flags = [torch.tensor(float(flag), device=device)]
    add_up(flags, weight=1.0)
    return bool(flags[0])


def share(items: Sequence[Item]) -> Sequence[Item]:
    """Return this process's part of what all processes hold alike. Raises ValueError if there is not one for each."""
    if len(items) < n_processes():
        raise ValueError(
            f"{n_processes()} processes cannot share {len(items)} task(s) a step; raise meta_batch_size, or start fewer processes "
            f"(one, for a learner that has no meta_batch_size)"
        )
    return items[rank() :: n_processes()]


def add_up(tensors: Sequence[Tensor], weight: float) -> None:
    """Replace each tensor, in place, by its sum over the processes, each weighted by its own `weight`: in one all-reduce."""
    if n_processes() == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors]) * weight
    torch.distributed.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(total.view_as(tensor))
