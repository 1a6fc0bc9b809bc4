"""From a run to a checkpoint, and from a measurement to its card."""

import json
from collections.abc import Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from fewshot_kit.learners.build import build_learner
from fewshot_kit.results import Evaluation
from fewshot_kit.training.checkpoint_folder import CONFIG, PRETRAINED, check_name, check_replaceable
from fewshot_kit.training.checkpoints import lock_of, mend_card, save_checkpoint, write_config
from fewshot_kit.training.commands import training_command
from fewshot_kit.training.runs import read_log
from fewshot_kit.training.train import BEST, LOG
from fewshot_kit.training.train import CONFIG as RUN_CONFIG

RECORD_SECONDS = 30.0  # how long a measurement waits for others that are being recorded


def export_run(run: Path, name: str, out: Path = PRETRAINED, settings: Sequence[dict] = (), replace: bool = False) -> Path:
    """Turn the best weights of a run into a checkpoint folder with a card, and return it.

    `settings` are those found best on validation classes, {"n_way", "n_shot", "values"} each. Raises ValueError for a run without a
    validation, and for settings that the learner does not have; FileExistsError for what must not be replaced: all but a checkpoint, and
    that too without `replace`.
    """
    folder = out / check_name(name)
    check_replaceable(folder, replace)
    if not (run / BEST).is_file():
        raise FileNotFoundError(f"{run} holds no {BEST}: train a run there first, at least to its first validation")
    saved = json.loads((run / RUN_CONFIG).read_text(encoding="utf-8"))
    rows = read_log(run / LOG)
    if not rows:
        raise ValueError(f"{run / LOG} holds no validation; resume the run, at least to its next one")
    learner = build_learner(saved["learner"], saved["hyper_parameters"])
    learner.load_state_dict(safetensors.torch.load_file(run / BEST))
    training = {
        **saved["training"],
        "command": training_command(saved),
        "minutes": round(rows[-1]["seconds"] / 60, 1),
        "best_step": _best_step(run, rows),
        "trained_with": saved.get("versions", {"torch": torch.__version__}),
        "start": saved.get("start"),
    }
    for row in settings:
        learner.with_settings(**row["values"])  # which checks them
    log = "".join(json.dumps(row) + "\n" for row in rows)
    return save_checkpoint(folder, learner, training=training, results=[], settings=list(settings), log=log, replace=replace)


def _best_step(run: Path, rows: list[dict]) -> int:
    """Return the outer step of the best weights, as written with them; of a run before that was done, as logged."""
    with safetensors.safe_open(run / BEST, "pt") as file:
        written = (file.metadata() or {}).get("step")
    return int(written) if written is not None else next(row["step"] for row in reversed(rows) if row["best"])


def record_result(folder: Path, result: Evaluation, command: str, sha256: str | None = None) -> None:
    """Add a measurement to a checkpoint's config.json and card; it replaces an earlier one of the same command.

    With the `sha256` of the weights that were measured, a ValueError tells that others have come in their place meanwhile.
    """
    with lock_of(folder, seconds=RECORD_SECONDS):
        mend_card(folder)
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if sha256 not in (None, config["sha256"]):
            raise ValueError(f"{folder} holds other weights than those that were measured, so nothing is recorded; measure it again")
        results = [row for row in config["results"] if row["command"] != command]
        write_config(folder, {**config, "results": [*results, {**result.to_dict(), "command": command}]})
