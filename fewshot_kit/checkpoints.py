"""Checkpoints: `pretrained/<name>/` with model.safetensors, config.json and README.md (the model card). Nothing is ever unpickled."""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from fewshot_kit.learners import LEARNERS
from fewshot_kit.learners.base import Learner

FORMAT_VERSION = 1
PRETRAINED = Path(__file__).resolve().parents[1] / "pretrained"
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


class CheckpointError(ValueError):
    """A checkpoint that cannot be loaded; the message names the file, what is wrong and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """A learner with the record of how it came to be."""

    name: str
    folder: Path
    learner: Learner
    config: dict = field(repr=False)  # config.json as read
    card: str = field(repr=False)  # README.md, markdown


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, moved into place when the block ends well, removed when it does not.

    A full disk or a killed process leaves the old file whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield Path(temporary)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_tensors(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors by name as safetensors; memory formats such as channels_last are not kept."""
    safetensors.torch.save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, path, metadata)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_checkpoint(folder: str | Path, learner: Learner, *, training: dict, results: list[dict], card: str) -> Path:
    """Write a checkpoint folder: all of it, or nothing.

    `training` records dataset, split, seed, command and so on; `results` are `Evaluation`s as dictionaries, each with its command.
    An existing folder is replaced only after the new one is complete.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        save_tensors(learner.state_dict(), staging / WEIGHTS)
        config = {
            "format_version": FORMAT_VERSION,
            "learner": learner_name(learner),
            "hyper_parameters": dataclasses.asdict(learner.config),
            "training": training,
            "versions": {"torch": torch.__version__},
            "sha256": sha256(staging / WEIGHTS),
            "results": results,
        }
        (staging / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (staging / CARD).write_text(card, encoding="utf-8")
        _swap(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _swap(staging: Path, folder: Path) -> None:
    """Put `staging` where `folder` is; the old one is removed last."""
    os.chmod(staging, 0o755)
    if folder.exists():
        old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old."))
        os.rename(folder, old / folder.name)
        os.rename(staging, folder)
        shutil.rmtree(old)
    else:
        os.rename(staging, folder)


def learner_name(learner: Learner) -> str:
    return next(name for name, (kind, _) in LEARNERS.items() if type(learner) is kind)


def build_learner(name: str, hyper_parameters: dict) -> Learner:
    """Make an untrained learner from its name and its hyper-parameters (as in config.json)."""
    if name not in LEARNERS:
        raise ValueError(f"unknown learner {name!r}; there are {', '.join(LEARNERS)}")
    learner_class, config_class = LEARNERS[name]
    return learner_class(config_class.from_dict(hyper_parameters))


def list_checkpoints(root: Path = PRETRAINED) -> list[str]:
    return sorted(path.parent.name for path in root.glob(f"*/{CONFIG}"))


def load_checkpoint(name_or_folder: str | Path, *, device: torch.device | str = "cpu") -> Checkpoint:
    """Load a checkpoint by its name in `pretrained/`, or from a folder.

    Raises CheckpointError if a file is missing, the weights do not match their sha256, or keys or shapes differ from the architecture.
    """
    folder = _find(name_or_folder)
    config = _read_config(folder / CONFIG)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise CheckpointError(f"{weights} is missing; copy the whole checkpoint folder again")
    if sha256(weights) != config["sha256"]:
        raise CheckpointError(f"{weights} does not match the sha256 in {CONFIG}: it is damaged or was changed; fetch the checkpoint again")
    try:
        learner = build_learner(config["learner"], config["hyper_parameters"])
        state = safetensors.torch.load_file(weights)
    except (TypeError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder} cannot be read: {error}") from error
    _check_state(weights, state, learner.state_dict())
    learner.load_state_dict(state)
    card = folder / CARD
    return Checkpoint(folder.name, folder, learner.to(device).eval(), config, card.read_text(encoding="utf-8") if card.is_file() else "")


def _find(name_or_folder: str | Path) -> Path:
    for folder in (PRETRAINED / name_or_folder, Path(name_or_folder)):
        if (folder / CONFIG).is_file():
            return folder
    raise CheckpointError(
        f"no checkpoint {str(name_or_folder)!r}: neither a folder with a {CONFIG} nor one of {', '.join(list_checkpoints())}"
    )


def _read_config(path: Path) -> dict:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); fetch the checkpoint again") from error
    version = config.get("format_version") if isinstance(config, dict) else None
    if not isinstance(version, int):
        raise CheckpointError(f"{path} has no format_version: it is not a checkpoint of this kit")
    if version > FORMAT_VERSION:
        raise CheckpointError(f"{path} has format_version {version}, but this kit reads up to {FORMAT_VERSION}; upgrade fewshot_kit")
    missing = {"learner", "hyper_parameters", "sha256"} - config.keys()
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(sorted(missing))}; fetch the checkpoint again")
    return config


def _check_state(path: Path, state: dict, expected: dict) -> None:
    missing, extra = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or extra:
        raise CheckpointError(f"{path} does not fit its config: missing {missing or 'nothing'}, unexpected {extra or 'nothing'}")
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            raise CheckpointError(f"{path}: {name} has shape {tuple(state[name].shape)}, the config asks for {tuple(tensor.shape)}")
