"""A person's classes on the disk: the pictures as they were given, what was learned of them, and what it takes to go on.

A folder of its own: `model.safetensors` (the weights of the learner, and the predictor's), `config.json`, `README.md` (the card) and
`pictures/`. It is read as a checkpoint is: nothing is unpickled, and the config is checked before anything is made of it.
"""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewshot_kit.data.files import write_text, written_whole
from fewshot_kit.data.images import Source, read_image
from fewshot_kit.data.opening import open_regular
from fewshot_kit.demo.own_classes import GivenPicture, OwnClass, OwnClasses
from fewshot_kit.demo.own_task import Answers, Estimate, OwnLearning
from fewshot_kit.demo.task_config import KIND, PICTURES, ClassRow, EstimateRow, PictureRow, SavedTaskError, TaskConfig, read_task_config
from fewshot_kit.learners.base import Learner
from fewshot_kit.learners.settings import describe
from fewshot_kit.networks.devices import pick_device, use_one_thread
from fewshot_kit.training.build import build_learner, learner_name
from fewshot_kit.training.checkpoint_folder import CARD, CONFIG, FORMAT_VERSION, WEIGHTS, check_name
from fewshot_kit.training.checkpoints import Checkpoint
from fewshot_kit.training.markdown import code, code_block, escaped
from fewshot_kit.training.schema import read_json
from fewshot_kit.training.staging import staged
from fewshot_kit.training.weights import WeightsError, check_tensors, read_tensors, sha256, write_tensors

TASK_CARD = """# {name}

A classifier of {n} classes, learned from the pictures in {folder}:

{counts}

Learned by the checkpoint {checkpoint} (sha256 {digest}). {how}

## How good it is

{estimate}

## Using it

{command}

## Limits

It knows these classes alone, and names one of them for any picture, unless it is told how unfamiliar a picture must be for it to say that
it does not know. Pictures that were taken otherwise than those it learned from, by another camera or in other light, may be answered worse
than the estimate says.

## Licence

The pictures are whose they were. sha256 of model.safetensors: {weights}
"""
PREDICTOR, LEARNER = "predictor.", "learner."  # what the names of tensors begin with


# --- saving ---


def save_task(
    folder: Path, classes: OwnClasses, learning: OwnLearning, checkpoint: Checkpoint, settings: dict[str, float], *, replace: bool = False
) -> Path:
    """Write classes and what was learned of them: all of it, or nothing. Only such a folder is ever replaced, and only with `replace`."""
    folder = Path(folder)
    check_name(folder.name)
    with staged(folder, lambda: _check_replaceable(folder, replace)) as staging:
        write_tensors(staging / WEIGHTS, _state(learning))
        rows, digest = _write_pictures(staging, classes), sha256(staging / WEIGHTS)
        config = _config(rows, learning, checkpoint, settings, digest)
        write_text(staging / CONFIG, json.dumps(asdict(config), indent=2) + "\n")
        write_text(staging / CARD, render_task_card(folder.name, config, learning))
    return folder


def _state(learning: OwnLearning) -> dict[str, Tensor]:
    """Return the weights of the learner, and what its predictor knows beside them."""
    learner = learning.learner
    state = {f"{LEARNER}{name}": value for name, value in learner.released_state().items()}
    return state | {f"{PREDICTOR}{name}": value for name, value in learner.predictor_state(learning.predictor).items()}


def _config(rows: list[ClassRow], learning: OwnLearning, checkpoint: Checkpoint, settings: dict[str, float], digest: str) -> TaskConfig:
    found, learner = learning.estimate, learning.learner
    return TaskConfig(
        format_version=FORMAT_VERSION,
        kind=KIND,
        learner=learner_name(learner),
        hyper_parameters=asdict(learner.config),
        settings=dict(settings),
        checkpoint=checkpoint.name,
        checkpoint_sha256=checkpoint.config["sha256"],
        classes=rows,
        estimate=None if found is None else EstimateRow(found.n, found.n_right, found.closeness.tolist()),
        versions={"torch": torch.__version__},
        sha256=digest,
    )


def _check_replaceable(folder: Path, replace: bool) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    try:
        is_ours = read_json(folder / CONFIG).get("kind") == KIND
    except (OSError, ValueError):
        is_ours = False
    if not is_ours:
        raise FileExistsError(f"{folder} is there and holds no classes that were saved, so it is not replaced; choose another name")
    others = sorted({path.name for path in folder.iterdir() if not path.name.startswith(".")} - {WEIGHTS, CONFIG, CARD, PICTURES})
    if others:
        raise FileExistsError(f"{folder} holds {', '.join(others[:5])} beside the classes, so it is not replaced; move that elsewhere")
    if not replace:
        raise FileExistsError(f"{folder} holds saved classes already; replace them (--replace), or choose another name")


def _write_pictures(folder: Path, classes: OwnClasses) -> list[ClassRow]:
    rows = []
    for number, one in enumerate(classes.classes, start=1):
        place = f"{PICTURES}/{number:02d}-{_plain(one.name)}"
        files = []
        for i, picture in enumerate(one.pictures, start=1):
            file = f"{place}/{i:03d}{_suffix(picture.name)}"
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            with written_whole(folder / file) as opened:
                opened.write(picture.content)
            files.append(PictureRow(file, picture.name, picture.digest))
        rows.append(ClassRow(one.name, files))
    return rows


def _plain(name: str) -> str:
    """Return of a name what any file system takes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "class"


def _suffix(name: str) -> str:
    suffix = Path(name).suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ".picture"


def render_task_card(name: str, config: TaskConfig, learning: OwnLearning) -> str:
    """Write the card of saved classes; names are shown as they are, and never read as Markdown."""
    counts = [f"- {escaped(row.name)}: {len(row.pictures)} picture{'s' if len(row.pictures) != 1 else ''}" for row in config.classes]
    chosen = describe(learning.learner.settings())
    return TASK_CARD.format(
        name=escaped(name),
        n=len(config.classes),
        folder=code(PICTURES),
        counts="\n".join(counts),
        checkpoint=code(config.checkpoint),
        digest=code(config.checkpoint_sha256),
        how=escaped(learning.learner.describe() + (f" Settings: {chosen}." if chosen else "")),
        estimate=escaped(describe_estimate(learning.estimate, learning.class_names)),
        command=code_block(f"python -m fewshot_kit classify {name} PICTURES --csv answers.csv"),
        weights=code(config.sha256),
    )


def describe_estimate(estimate: Estimate | None, names: tuple[str, ...]) -> str:
    """Say how good the answers are by leaving out each picture in turn, in a person's words."""
    if estimate is None or not estimate.n:
        return "There is no estimate: leaving out a picture and asking for it takes at least two pictures of a class."
    low, high = (f"{100 * end:.0f}" for end in estimate.interval)
    told = (
        f"Leaving out each picture in turn and asking for it: {estimate.n_right} of {estimate.n} right, {100 * estimate.accuracy:.0f} % "
        f"(95 % interval {low} to {high} %)."
    )
    if estimate.confused:
        one, other, n = estimate.confused
        told += f" Confused most: {names[one]} and {names[other]}, {n} time{'s' if n != 1 else ''}."
    return told


# --- opening ---


@dataclass(frozen=True)
class SavedTask:
    """What a folder of saved classes holds."""

    folder: Path
    classes: OwnClasses
    learning: OwnLearning
    checkpoint: str
    settings: dict[str, float]


def open_task(folder: str | Path, *, device: str = "cpu") -> SavedTask:
    """Open saved classes, pictures and all. Raises SavedTaskError where something is missing, was changed or is from a newer version."""
    folder = Path(folder)
    config = read_task_config(folder)
    classes = OwnClasses(tuple(OwnClass(row.name, tuple(_picture(folder, p) for p in row.pictures)) for row in config.classes))
    return SavedTask(folder, classes, _learning(folder, config, device), config.checkpoint, config.settings)


def load_predictor(folder: str | Path, *, device: str = "auto") -> "SavedPredictor":
    """Load the classifier of saved classes, without their pictures."""
    use_one_thread()
    folder = Path(folder)
    return SavedPredictor(_learning(folder, read_task_config(folder), str(pick_device(device))))


@dataclass(frozen=True)
class SavedPredictor:
    """A classifier that a person trained and saved: call it on pictures, files among them, and it returns `Answers`."""

    learning: OwnLearning

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.learning.class_names

    def __call__(self, pictures: Tensor | list[Source | np.ndarray]) -> Answers:
        """Answer pictures: paths, bytes or arrays (h, w[, 3]) in a list, of any sizes; or a tensor as the network sees them."""
        if not isinstance(pictures, Tensor):
            pictures = self.learning.seen([p if isinstance(p, np.ndarray) else read_image(p) for p in pictures])
        return self.learning.answer(pictures)


def _picture(folder: Path, row: PictureRow) -> GivenPicture:
    path = folder / row.file
    try:
        with open_regular(path) as file:
            picture = GivenPicture(row.name, file.read())
    except OSError as error:
        raise SavedTaskError(f"{path} is missing, but {CONFIG} names it ({row.name}); copy the whole folder again") from error
    if picture.digest != row.sha256:
        raise SavedTaskError(f"{path} is another picture than was saved; copy the whole folder again")
    return picture


def _learning(folder: Path, config: TaskConfig, device: str) -> OwnLearning:
    """Return what was learned, the predictor that was saved: nothing is learned anew."""
    weights, row = folder / WEIGHTS, config.estimate
    try:
        learner, of_predictor = _read_weights(weights, config)
        predictor = learner.to(device).eval().predictor_from(of_predictor)
        _check_answers(predictor, learner, len(config.classes), weights)
    except FileNotFoundError as error:
        raise SavedTaskError(f"{weights} is missing; copy the whole folder again") from error
    except (WeightsError, ValueError) as error:
        raise SavedTaskError(f"{error}; copy the whole folder again") from error
    estimate = None if row is None else Estimate(row.n, row.n_right, None, torch.tensor(row.closeness, dtype=torch.float32))
    return OwnLearning(learner, predictor, tuple(row.name for row in config.classes), estimate)


def _read_weights(weights: Path, config: TaskConfig) -> tuple[Learner, dict[str, Tensor]]:
    """Return the learner, and the state of its predictor. Raises WeightsError where they are not what was saved."""
    if sha256(weights) != config.sha256:
        raise WeightsError(f"{weights} does not match the sha256 in {CONFIG}: it is damaged or was changed")
    state, _ = read_tensors(weights)
    learner = build_learner(config.learner, config.hyper_parameters)
    of_learner, of_predictor = (
        {name.removeprefix(part): value for name, value in state.items() if name.startswith(part)} for part in (LEARNER, PREDICTOR)
    )
    check_tensors(weights, of_learner, learner.released_state())
    if not all(value.isfinite().all() for value in of_predictor.values()):
        raise WeightsError(f"{weights} has values that are not finite")
    learner.load_state_dict(of_learner, strict=False)
    return learner, of_predictor


@torch.no_grad()
def _check_answers(predictor: Callable, learner: Learner, n_way: int, weights: Path) -> None:
    """Raise WeightsError unless the predictor answers a picture with a number for each class."""
    size, channels = learner.preprocessing.size, learner.preprocessing.channels
    try:
        logits = predictor(torch.zeros(1, channels, size, size, device=learner.device))
    except (RuntimeError, KeyError, IndexError, AttributeError) as error:  # of shapes that do not fit one another
        raise WeightsError(f"{weights} holds a predictor that does not fit its learner") from error
    if logits.shape != (1, n_way):
        raise WeightsError(f"{weights} holds a predictor of {logits.shape[-1]} classes, but {CONFIG} names {n_way}")
