"""From a run to a checkpoint, and from a measurement to its card."""

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from fewshot_kit.results import Evaluation
from fewshot_kit.training.build import build_learner
from fewshot_kit.training.checkpoint_folder import PRETRAINED, CheckpointError, check_name, check_replaceable, read_config
from fewshot_kit.training.checkpoints import mend_card, save_checkpoint, write_config
from fewshot_kit.training.commands import training_command
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.run_folder import BEST, LOG, read_begun
from fewshot_kit.training.runs import read_log
from fewshot_kit.training.staging import lock_of
from fewshot_kit.training.weights import average_with_last, load_best

RECORD_SECONDS = 30.0  # how long a measurement waits for others that are being recorded


def export_run(
    run: Path,
    name: str,
    out: Path = PRETRAINED,
    settings: Sequence[dict] = (),
    replace: bool = False,
    half: bool = False,
    average: bool = False,
) -> Path:
    """Turn the best weights of a run into a checkpoint folder with a card, and return it.

    `settings` are those found best on validation classes, {"n_way", "n_shot", "values"} each. Raises ValueError for a run without a
    validation, and for settings that the learner does not have; FileExistsError for what must not be replaced: all but a checkpoint, and
    that too without `replace`. With `half`, the weights take half the room, rounded to 11 binary digits; with `average`, they are the
    mean of the best and the last.
    """
    folder = out / check_name(name)
    check_replaceable(folder, replace)
    saved, config, rows = _read_run(run)
    try:
        learner = build_learner(saved["learner"], saved["hyper_parameters"])
    except ValueError as error:  # it may refuse its network, as MAML does running statistics
        raise ValueError(f"{run} cannot be exported: {error}") from error
    written = load_best(run, learner)
    training = {
        **dataclasses.asdict(config),
        "command": training_command(saved),
        "minutes": round(rows[-1]["seconds"] / 60, 1),
        "best_step": _best_step(run, rows, written),
        "trained_with": saved.get("versions", {"torch": torch.__version__}),
        "start": saved.get("start"),
    }
    if average:
        training["averaged_with_step"] = average_with_last(run, learner)
    for row in settings:
        learner.with_settings(**row["values"])  # which checks them
    log = "".join(json.dumps(row) + "\n" for row in rows)
    try:
        given = {"training": training, "settings": list(settings), "log": log, "half": half, "replace": replace}
        return save_checkpoint(folder, learner, results=[], **given)
    except CheckpointError as error:  # what it started from may have said little of itself
        raise ValueError(f"{run} cannot be exported: {error}") from error


def _read_run(run: Path) -> tuple[dict, TrainConfig, list[dict]]:
    """Return the config.json of a run, its training and its log. Raises for a run that cannot be exported."""
    if not (run / BEST).is_file():
        raise FileNotFoundError(f"{run} holds no {BEST}: train a run there first, at least to its first validation")
    saved, config = read_begun(run)
    rows = read_log(run / LOG)
    if not rows:
        raise ValueError(f"{run / LOG} holds no validation; resume the run, at least to its next one")
    if "seconds" not in rows[-1]:
        raise ValueError(f"{run / LOG} does not say how long the training took; resume the run, at least to its next validation")
    return saved, config, rows


def _best_step(run: Path, rows: list[dict], written: dict[str, str]) -> int:
    """Return the outer step of the best weights, as written with them; of a run before that was done, as logged."""
    told = written.get("step", "")
    steps = [int(told)] if re.fullmatch(r"[0-9]{1,15}", told) else [row["step"] for row in reversed(rows) if row.get("best") is True]
    if not steps:
        raise ValueError(f"neither {run / BEST} nor {run / LOG} says of which step the best weights are; train the run again")
    return steps[0]


def record_result(folder: Path, result: Evaluation, command: str, sha256: str | None = None) -> None:
    """Add a measurement to a checkpoint's config.json and card; it replaces an earlier one of the same command.

    With the `sha256` of the weights that were measured, a ValueError tells that others have come in their place meanwhile.
    """
    with lock_of(folder, seconds=RECORD_SECONDS):
        mend_card(folder)
        config = read_config(folder)
        if sha256 not in (None, config["sha256"]):
            raise ValueError(f"{folder} holds other weights than those that were measured, so nothing is recorded; measure it again")
        results = [row for row in config["results"] if row.get("command") != command]
        write_config(folder, {**config, "results": [*results, {**result.to_dict(), "command": command}]})
