"""Files of weights: safetensors, written whole, and read only where every tensor is what is expected. Nothing is ever unpickled."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fewshot_kit.data.files import write_together
from fewshot_kit.data.opening import open_regular
from fewshot_kit.learners.base import TrainableLearner
from fewshot_kit.training.run_folder import BEST, CONFIG, LAST
from fewshot_kit.training.schema import shortened

MOST_NAMED = 5  # tensors that do not fit


class WeightsError(ValueError):
    """Weights that cannot be read or do not fit; the message names the file and what is wrong, but not what to do."""


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors by name as safetensors, the file whole; memory formats such as channels_last are not kept."""
    write_together({path: tensors_as_bytes(tensors, metadata)})


def tensors_as_bytes(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    return safetensors.torch.save({name: value.cpu().contiguous() for name, value in tensors.items()}, metadata)


def is_half(value: Tensor) -> bool:
    """Say whether a weight is one of those that `halved` writes in 16 bits."""
    return value.dtype == torch.float32 and value.ndim > 1


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with kernels and matrices in 16 bits; biases and statistics, which are few, keep their 32.

    Raises ValueError for a weight that 16 bits cannot hold.
    """
    made = {name: value.half() if is_half(value) else value for name, value in tensors.items()}
    if lost := [name for name, value in made.items() if value.isfinite().logical_not().any()]:
        raise ValueError(f"{lost[0]} has values too large for half precision; leave out --half")
    return made


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file by name, and what was written about them. Raises WeightsError for a damaged file."""
    try:
        open_regular(path).close()  # safetensors maps a file by its name alone
        with safetensors.safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118, the file is no dictionary
    except FileNotFoundError as error:
        raise WeightsError(f"{path} is missing") from error
    except Exception as error:  # of a damaged header, safetensors and torch raise nearly anything
        raise WeightsError(f"{path} cannot be read ({shortened(str(error), 200)})") from error


def check_tensors(path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, may_be_half: bool = False) -> None:
    """Raise WeightsError unless the tensors of a file have the names, shapes and types of the expected ones, and finite values."""
    wrong = [f"{shortened(name)} is missing" for name in sorted(expected.keys() - tensors.keys())]
    wrong += [f"{shortened(name)} is not expected" for name in sorted(tensors.keys() - expected.keys())]
    for name in sorted(expected.keys() & tensors.keys()):
        if tensors[name].shape != expected[name].shape:
            wrong.append(f"{name} has shape {tuple(tensors[name].shape)} in place of {tuple(expected[name].shape)}")
        elif tensors[name].dtype not in {expected[name].dtype, torch.float16 if is_half(expected[name]) and may_be_half else None}:
            wrong.append(f"{name} has values of {tensors[name].dtype} in place of {expected[name].dtype}")
        elif not tensors[name].isfinite().all():
            wrong.append(f"{name} has values that are not finite")
    if wrong:
        more = f" and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        raise WeightsError(f"{path} does not fit its {CONFIG}: {', '.join(wrong[:MOST_NAMED])}{more}")


def read_best(run: Path, learner: TrainableLearner) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the best weights of a run of this learner, and what was written about them. Raises ValueError for damaged ones."""
    path = run / BEST
    try:
        tensors, metadata = read_tensors(path)
        check_tensors(path, tensors, learner.released_state())
        return tensors, metadata
    except WeightsError as error:
        raise ValueError(f"{error}; put back the file as it was, or train the run again in another folder") from error


def load_best(run: Path, learner: TrainableLearner) -> dict[str, str]:
    """Load the best weights of a run into its learner, and return what was written about them. Raises ValueError for damaged ones."""
    tensors, metadata = read_best(run, learner)
    learner.load_state_dict(tensors, strict=False)  # it lacks what only training needs
    return metadata


def average_with_last(run: Path, learner: TrainableLearner) -> int:
    """Make the weights of a learner, which are the best of a run, the mean of them and of the last ones; return the step of those.

    A mean of weights along one training often does better than each of them (Izmailov et al. 2018). Raises ValueError for damaged ones.
    """
    path, best = run / LAST, learner.released_state()
    try:
        tensors, metadata = read_tensors(path)
        last = {name: tensors[f"model.{name}"] for name in best if f"model.{name}" in tensors}
        check_tensors(path, last, best)
        step = int(json.loads(metadata["counters"])["step"])
    except (WeightsError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no state of this run ({error}); export without --average, or train the run again") from error
    mean = {name: torch.lerp(value, last[name], 0.5) if value.is_floating_point() else value for name, value in best.items()}
    learner.load_state_dict(mean, strict=False)
    return step
