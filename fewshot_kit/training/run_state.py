"""The state of a run in last.safetensors: everything a resume needs, checked before anything of the run is changed."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fewshot_kit.learners.base import TrainableLearner
from fewshot_kit.training.run_folder import LAST
from fewshot_kit.training.weights import WeightsError, check_tensors, read_tensors, tensors_as_bytes

# What an optimiser keeps for a parameter; it knows nothing of one that never had a gradient.
_KEPT = {torch.optim.Adam: ("exp_avg", "exp_avg_sq", "step"), torch.optim.SGD: ("momentum_buffer",)}


@dataclass(frozen=True)
class Counters:
    """Where a run stands."""

    step: int = 0
    seconds: float = 0.0
    best: float = -math.inf  # of the primary metric of its validations


def state_as_bytes(learner: TrainableLearner, optimizer: torch.optim.Optimizer, generator: torch.Generator, counters: Counters) -> bytes:
    """Return what last.safetensors is to hold."""
    tensors = {f"model.{name}": value for name, value in learner.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    tensors["generator"] = generator.get_state()
    return tensors_as_bytes(tensors, {"counters": json.dumps(vars(counters))})


def read_state(
    folder: Path, learner: TrainableLearner, optimizer: torch.optim.Optimizer, generator: torch.Generator, n_steps: int
) -> Counters:
    """Read what `state_as_bytes` made into a learner, its optimiser and generator, of a run of so many steps, and return where it stands.

    Raises ValueError for a file that is damaged, or of another run.
    """
    path = folder / LAST
    try:
        tensors, metadata = read_tensors(path)
        check_tensors(path, tensors, _expected(tensors, learner, optimizer, generator))
        counters = _counters(path, metadata, n_steps)
        _check_adam(path, tensors, n_steps)
        learner.check_training_state({name.removeprefix("model."): value for name, value in tensors.items()})
        _set_generator(path, generator, tensors["generator"])
    except WeightsError as error:
        raise ValueError(f"{error}; put back the file as it was, or begin the run again in another folder") from error
    except ValueError as error:
        raise ValueError(f"{path} is no state of this run: {error}; begin the run again in another folder") from error
    learner.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    state = optimizer.state_dict()
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            state["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(state)
    return counters


def _expected(
    tensors: dict[str, Tensor], learner: TrainableLearner, optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return tensors as those that the file must hold."""
    kept = _KEPT[type(optimizer)]
    expected = {f"model.{name}": value for name, value in learner.state_dict().items()}
    for index, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        if any(f"optimizer.{index}.{name}" in tensors for name in kept):
            expected |= {f"optimizer.{index}.{name}": torch.zeros(()) if name == "step" else parameter for name in kept}
    return {**expected, "generator": generator.get_state()}


def _check_adam(path: Path, tensors: dict[str, Tensor], n_steps: int) -> None:
    """Raise WeightsError for a state by which Adam would divide by zero, or take the root of what is below it."""
    for name, value in tensors.items():
        of_step = name.startswith("optimizer.") and name.endswith(".step")
        if (of_step and not 1 <= value.item() <= n_steps) or (name.endswith(".exp_avg_sq") and value.min() < 0):
            raise WeightsError(f"{path} holds a state of the optimiser that cannot be, in {name}")


def _counters(path: Path, metadata: dict[str, str], n_steps: int) -> Counters:
    try:
        counters = Counters(**json.loads(metadata["counters"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} does not say where the run stands") from error
    is_step = type(counters.step) is int and 0 <= counters.step <= n_steps
    are_numbers = all(type(value) in (int, float) for value in (counters.seconds, counters.best))
    if not (is_step and are_numbers and 0 <= counters.seconds < 1e12 and counters.best < 1e12):  # no comparison holds of NaN
        raise WeightsError(f"{path} says that the run stands where none of {n_steps} steps can")
    return counters


def _set_generator(path: Path, generator: torch.Generator, state: Tensor) -> None:
    try:
        generator.set_state(state)
    except RuntimeError as error:
        raise WeightsError(f"{path} holds no state of a random generator") from error
