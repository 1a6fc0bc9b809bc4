"""Save and load checkpoints: a folder with model.safetensors, config.json and README.md (the card). Nothing is ever unpickled."""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from fewshot_kit.data.files import written_whole
from fewshot_kit.learners.base import Learner, TrainableLearner
from fewshot_kit.learners.build import build_learner, learner_name
from fewshot_kit.training.checkpoint_folder import (
    CARD,
    CONFIG,
    FORMAT_VERSION,
    WEIGHTS,
    CheckpointError,
    find_checkpoint,
    read_config,
    settings_for,
)


@dataclass(frozen=True)
class Checkpoint:
    """A learner with the record of how it came to be."""

    name: str
    folder: Path
    learner: Learner
    config: dict = field(repr=False)  # config.json as read
    card: str = field(repr=False)  # README.md, markdown

    def learner_for(self, n_way: int, n_shot: int) -> Learner:
        """Return the learner with the settings that were found best on validation for this way and shot, or for the nearest there are."""
        values, source = settings_for(self.config, n_way, n_shot)
        return self.learner.with_settings(source, **values)


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors by name as safetensors, the file whole; memory formats such as channels_last are not kept."""
    content = safetensors.torch.save({name: value.cpu().contiguous() for name, value in tensors.items()}, metadata)
    with written_whole(path) as file:
        file.write(content)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_checkpoint(
    folder: str | Path, learner: TrainableLearner, *, training: dict, results: list[dict], card: str, settings: list[dict] | None = None
) -> Path:
    """Write a checkpoint folder: all of it, or nothing.

    `training` records data set, seed, command and so on; `results` are `Evaluation`s as dictionaries, each with its command; `settings` are
    those found best on validation, {"n_way", "n_shot", "values"} each.
    An existing folder is replaced only after the new one is complete.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        write_tensors(staging / WEIGHTS, learner.released_state())
        config = {
            "format_version": FORMAT_VERSION,
            "learner": learner_name(learner),
            "hyper_parameters": dataclasses.asdict(learner.config),
            "settings": settings or [],
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


def load_checkpoint(name_or_folder: str | Path, *, device: torch.device | str = "cpu") -> Checkpoint:
    """Load a checkpoint by its name in `pretrained/`, or from a folder.

    Raises CheckpointError if a file is missing, the weights do not match their sha256, or keys or shapes differ from the architecture.
    """
    folder = find_checkpoint(name_or_folder)
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

    All weights where both have the same, else those of the network. Raises ValueError if the networks differ.
    """
    theirs = checkpoint.learner
    if theirs.config.network != learner.config.network:
        raise ValueError(
            f"start_from: {checkpoint.name} has the network {theirs.config.network}, but {learner.config.network} is to be trained; "
            f"choose another checkpoint, or the same width, norm, stride, channels and size"
        )
    is_same = type(theirs) is type(learner) and _shapes(theirs) == _shapes(learner)
    mine, other = (learner, theirs) if is_same else (learner.network, theirs.network)
    mine.load_state_dict(other.state_dict())
    return {"name": checkpoint.name, **{key: checkpoint.config[key] for key in ("sha256", "training")}}


def _shapes(learner: Learner) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in learner.state_dict().items()}


def _check_state(path: Path, state: dict, expected: dict) -> None:
    wrong = [f"{name} is missing" for name in sorted(expected.keys() - state.keys())]
    wrong += [f"{name} is not expected" for name in sorted(state.keys() - expected.keys())]
    for name in sorted(expected.keys() & state.keys()):
        if state[name].shape != expected[name].shape:
            wrong.append(f"{name} has shape {tuple(state[name].shape)} in place of {tuple(expected[name].shape)}")
        elif state[name].dtype != expected[name].dtype:
            wrong.append(f"{name} has values of {state[name].dtype} in place of {expected[name].dtype}")
        elif not state[name].isfinite().all():
            wrong.append(f"{name} has values that are not finite")
    if wrong:
        raise CheckpointError(f"{path} does not fit its {CONFIG}: {', '.join(wrong)}; fetch the checkpoint again")
