"""Save and load checkpoints: a folder with model.safetensors, config.json and README.md (the card). Nothing is ever unpickled."""

import dataclasses
import json
import os
import shlex
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from fewshot_kit.data.files import write_text
from fewshot_kit.learners.base import Learner, TrainableLearner
from fewshot_kit.learners.configs import NearestMeanConfig
from fewshot_kit.networks.configs import ResNet12Config, ResNetPyramidConfig, take_same_weights
from fewshot_kit.networks.pretrained import PREFIX, Pretrained, describe_model
from fewshot_kit.training.build import build_learner, learner_name, make_learner
from fewshot_kit.training.cards import UNFIT, render_card, safe_card
from fewshot_kit.training.checkpoint_folder import (
    CARD,
    CONFIG,
    FORMAT_VERSION,
    LOG,
    WEIGHTS,
    CheckpointError,
    check_name,
    check_replaceable,
    find_checkpoint,
    read_config,
    settings_for,
)
from fewshot_kit.training.schema import shortened
from fewshot_kit.training.staging import lock_of, put_back, staged
from fewshot_kit.training.weights import WeightsError, check_tensors, halved, read_tensors, sha256, write_tensors

PENDING_CARD = f".{CARD}.new"


@dataclass(frozen=True)
class Checkpoint:
    """A learner with the record of how it came to be."""

    name: str
    folder: Path
    learner: Learner
    config: dict = field(repr=False)  # config.json as read
    card: str = field(repr=False)  # Markdown that is safe to show

    def learner_for(self, n_way: int, n_shot: int) -> Learner:
        """Return the learner with the settings that were found best on validation for this way and shot, or for the nearest there are."""
        values, source = settings_for(self.config, n_way, n_shot)
        return self.learner.with_settings(source, **values)


def save_checkpoint(
    folder: str | Path,
    learner: TrainableLearner,
    *,
    training: dict,
    results: list[dict],
    card: str | None = None,
    settings: list[dict] | None = None,
    log: str | None = None,
    half: bool = False,
    replace: bool = False,
) -> Path:
    """Write a checkpoint folder: all of it, or nothing.

    `training` records data set, seed, command and so on; `results` are `Evaluation`s as dictionaries, each with its command; `card` is
    made from these if left out; `settings` are those found best on validation, {"n_way", "n_shot", "values"} each; `log` is the curve of
    the training; with `half`, kernels and matrices are written in 16 bits. Only a checkpoint is ever replaced, only with `replace`, and
    only after the new one is complete.
    """
    folder = Path(folder)
    check_name(folder.name)
    state = halved(learner.released_state()) if half else learner.released_state()
    if card is None:  # what says too little for one is refused before a folder is made
        _card(folder, _config(learner, training, results, settings or [], ""))
    with staged(folder, lambda: check_replaceable(folder, replace)) as staging:
        write_tensors(staging / WEIGHTS, state)
        config = _config(learner, training, results, settings or [], sha256(staging / WEIGHTS))
        write_text(staging / CONFIG, json.dumps(config, indent=2) + "\n")
        write_text(staging / CARD, _card(folder, config) if card is None else card)
        if log is not None:
            write_text(staging / LOG, log)
    return folder


def _config(learner: TrainableLearner, training: dict, results: list[dict], settings: list[dict], digest: str) -> dict:
    return {
        "format_version": FORMAT_VERSION,
        "learner": learner_name(learner),
        "hyper_parameters": dataclasses.asdict(learner.config),
        "settings": settings,
        "training": training,
        "versions": {"torch": torch.__version__},
        "sha256": digest,
        "results": results,
    }


def write_config(folder: Path, config: dict) -> None:
    """Write a checkpoint's config.json and the card that is made from it, under its lock.

    A pending card stands beside the old one from before the config is written until it takes its place: where a process is killed in
    between, `mend_card` knows by it that the two may differ.
    """
    write_text(folder / PENDING_CARD, _card(folder, config))
    try:
        write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    except BaseException:
        (folder / PENDING_CARD).unlink()
        raise
    os.replace(folder / PENDING_CARD, folder / CARD)


def _card(folder: Path, config: dict) -> str:
    try:
        return render_card(folder.name, config)
    except UNFIT as error:
        wrong = f"the key {error} is missing" if isinstance(error, KeyError) else shortened(str(error), 200)
        raise CheckpointError(
            f"{folder / CONFIG} says too little to make a card of it: {wrong}; complete it, or export the run again"
        ) from error


def mend_card(folder: Path) -> None:
    """Make the card from config.json where a process was killed while it wrote the two, under the checkpoint's lock."""
    if (folder / PENDING_CARD).is_file():
        write_text(folder / CARD, _card(folder, read_config(folder)))
        (folder / PENDING_CARD).unlink()


def _mended(place: Path) -> Path:
    """Finish what a killed process left undone, unless another is writing or nobody may, and return the checkpoint's folder."""
    is_moved = place.parent.name.startswith(f".{place.name}.old.")  # killed between the two renames of a save
    folder = place.parent.parent / place.name if is_moved else place
    if not is_moved and not (folder / PENDING_CARD).is_file():
        return place
    with suppress(OSError), lock_of(folder):
        put_back(folder)
        mend_card(folder)
    return folder if (folder / CONFIG).is_file() else place


def load_checkpoint(name_or_folder: str | Path, *, device: torch.device | str = "cpu") -> Checkpoint:
    """Load a checkpoint by its name in `pretrained/`, or from a folder; or take a vision model of Hugging Face by `hf:` and its name.

    Raises CheckpointError if a file is missing, the weights do not match their sha256, or keys or shapes differ from the architecture.
    """
    if str(name_or_folder).startswith(PREFIX):
        return adopted(str(name_or_folder), device)
    folder = _mended(find_checkpoint(name_or_folder))
    config = read_config(folder)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise CheckpointError(f"{weights} is missing; copy the whole checkpoint folder again")
    if sha256(weights) != config["sha256"]:
        raise CheckpointError(f"{weights} does not match the sha256 in {CONFIG}: it is damaged or was changed; fetch the checkpoint again")
    try:
        learner = build_learner(config["learner"], config["hyper_parameters"])
    except ValueError as error:  # a learner may refuse its network, as MAML does running statistics
        raise CheckpointError(f"{folder} cannot be read: {error}; fetch the checkpoint again, or upgrade fewshot_kit") from error
    try:
        state, _ = read_tensors(weights)
        check_tensors(weights, state, learner.state_dict(), may_be_half=True)
    except WeightsError as error:
        raise CheckpointError(f"{error}; fetch the checkpoint again") from error
    learner.load_state_dict(state)
    if isinstance(learner.network, Pretrained):
        learner.network.load()  # which may be gone, or changed
    return Checkpoint(folder.name, folder, learner.to(device).eval(), config, safe_card(folder, config))


def adopted(name: str, device: torch.device | str = "cpu") -> Checkpoint:
    """Return a nearest mean on a vision model of Hugging Face, by `hf:` and its name, as a checkpoint that lies in no folder.

    Its features are not centred: what the mean feature is, nobody has told yet (`adopt`). Raises PretrainedError where it cannot be had.
    """
    learner = make_learner(NearestMeanConfig(network=describe_model(name.removeprefix(PREFIX))), seed=0)
    training = {"command": shlex.join(["python", "-m", "fewshot_kit", "adopt", name, "NAME"]), "centred_on": None}
    config = _config(learner, training, [], [], learner.config.network.sha256)
    return Checkpoint(name, Path(name), learner.to(device).eval(), config, render_card(name, config))


def start_from(checkpoint: Checkpoint, learner: Learner) -> dict:
    """Copy a checkpoint's weights into `learner`, and return where they came from: its name, its sha256 and its training.

    All weights where both have the same, else those of the network, or of the ResNet-12 in a pyramid. Raises ValueError if the networks
    differ.
    """
    theirs = checkpoint.learner
    one, other = theirs.config.network, learner.config.network
    if isinstance(other, ResNetPyramidConfig) and type(one) is ResNet12Config and other == other.on(one):
        learner.network.blocks.load_state_dict(theirs.network.blocks.state_dict())
    elif take_same_weights(one, other):
        is_same = type(theirs) is type(learner) and _shapes(theirs) == _shapes(learner)
        mine, given = (learner, theirs) if is_same else (learner.network, theirs.network)
        mine.load_state_dict(given.state_dict())
    else:
        raise ValueError(
            f"start_from: {checkpoint.name} has the network {theirs.config.network!r}, but {learner.config.network!r} is to be trained; "
            f"choose another checkpoint, or leave the flags of the network out: then it is the checkpoint's"
        )
    return {"name": checkpoint.name, **{key: checkpoint.config[key] for key in ("sha256", "training")}}


def _shapes(learner: Learner) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in learner.state_dict().items()}
