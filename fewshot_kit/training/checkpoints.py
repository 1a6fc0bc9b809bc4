"""Checkpoints: `pretrained/<name>/` with model.safetensors, config.json and README.md (the model card). Nothing is ever unpickled."""

import dataclasses
import glob
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
PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"
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
        with open(temporary, "r+b") as written:  # Windows syncs no file opened for reading
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
        save_tensors(learner.released_state(), staging / WEIGHTS)
        os.chmod(staging / WEIGHTS, 0o644)  # safetensors writes for its owner alone
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
        try:
            os.rename(folder, old / folder.name)
            os.rename(staging, folder)
        except OSError:
            if not folder.exists():
                os.rename(old / folder.name, folder)
            old.rmdir()
            raise
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


def list_checkpoints(root: Path | None = None) -> list[str]:
    """Name the checkpoints in `pretrained/`, or in another folder."""
    names = (path.parent.name for path in (root or PRETRAINED).glob(f"*/{CONFIG}"))
    return sorted(name for name in names if not name.startswith("."))  # a killed save leaves a hidden folder


def load_checkpoint(name_or_folder: str | Path, *, device: torch.device | str = "cpu") -> Checkpoint:
    """Load a checkpoint by its name in `pretrained/`, or from a folder.

    Raises CheckpointError if a file is missing, the weights do not match their sha256, or keys or shapes differ from the architecture.
    """
    folder = _find(name_or_folder)
    config = read_config(folder)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise CheckpointError(f"{weights} is missing; copy the whole checkpoint folder again")
    if sha256(weights) != config["sha256"]:
        raise CheckpointError(f"{weights} does not match the sha256 in {CONFIG}: it is damaged or was changed; fetch the checkpoint again")
    try:
        learner = build_learner(config["learner"], config["hyper_parameters"])
        state = safetensors.torch.load_file(weights)
    except (TypeError, ValueError, KeyError, safetensors.SafetensorError) as error:
        wrong = f"the key {error} is missing" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{folder} cannot be read: {wrong}; fetch the checkpoint again, or upgrade fewshot_kit") from error
    _check_state(weights, state, learner.state_dict())
    learner.load_state_dict(state)
    card = folder / CARD
    return Checkpoint(folder.name, folder, learner.to(device).eval(), config, card.read_text(encoding="utf-8") if card.is_file() else "")


def start_from(checkpoint: Checkpoint, learner: Learner) -> dict:
    """Copy a checkpoint's weights into `learner`, and return where they came from: its name, its sha256 and its training.

    All weights of a learner of the same kind, else those of the network. Raises ValueError if the networks differ.
    """
    theirs = checkpoint.learner
    if theirs.config.network != learner.config.network:
        raise ValueError(
            f"start_from: {checkpoint.name} has the network {theirs.config.network}, but {learner.config.network} is to be trained; "
            f"choose another checkpoint, or the same width, norm, stride, channels and size"
        )
    mine, other = (learner, theirs) if type(theirs) is type(learner) else (learner.network, theirs.network)
    mine.load_state_dict(other.state_dict())
    return {"name": checkpoint.name, **{key: checkpoint.config[key] for key in ("sha256", "training")}}


def _find(name_or_folder: str | Path) -> Path:
    given = Path(name_or_folder)
    is_name = str(name_or_folder) == given.name  # nothing that leads out of pretrained/
    for folder in ([PRETRAINED / given] if is_name else []) + [given]:
        # A process killed between the two renames of `_swap` leaves the checkpoint in a hidden folder beside its place.
        for place in (folder, *folder.parent.glob(f".{glob.escape(folder.name)}.old.*/{glob.escape(folder.name)}")):
            if (place / CONFIG).is_file():
                return place
    known = ", ".join(list_checkpoints()) or f"{PRETRAINED}, which is empty"
    raise CheckpointError(
        f"no checkpoint {str(name_or_folder)!r}: neither a folder with a {CONFIG} nor one of {known}; choose one of those"
    )


def read_config(folder: Path) -> dict:
    """Read a checkpoint's config.json; a CheckpointError names what is wrong with it."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); fetch the checkpoint again") from error
    version = config.get("format_version") if isinstance(config, dict) else None
    if not isinstance(version, int):
        raise CheckpointError(f"{path} has no format_version: it is not a checkpoint of this kit; choose another folder")
    if version > FORMAT_VERSION:
        raise CheckpointError(f"{path} has format_version {version}, but this kit reads up to {FORMAT_VERSION}; upgrade fewshot_kit")
    missing = {"learner", "hyper_parameters", "training", "sha256", "results"} - config.keys()
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(sorted(missing))}; fetch the checkpoint again")
    return config


def _check_state(path: Path, state: dict, expected: dict) -> None:
    wrong = [f"{name} is missing" for name in sorted(expected.keys() - state.keys())]
    wrong += [f"{name} is not expected" for name in sorted(state.keys() - expected.keys())]
    for name in sorted(expected.keys() & state.keys()):
        if state[name].shape != expected[name].shape:
            wrong.append(f"{name} has shape {tuple(state[name].shape)} in place of {tuple(expected[name].shape)}")
    if wrong:
        raise CheckpointError(f"{path} does not fit its {CONFIG}: {', '.join(wrong)}; fetch the checkpoint again")
