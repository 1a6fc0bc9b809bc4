"""From a run to a checkpoint, and from a measurement to its card."""

import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from fewshot_kit.data.files import write_text
from fewshot_kit.learners.build import build_learner
from fewshot_kit.learners.configs import CONFIGS
from fewshot_kit.results import Evaluation
from fewshot_kit.training.cards import render_card
from fewshot_kit.training.checkpoint_folder import CARD, CONFIG, PRETRAINED
from fewshot_kit.training.checkpoints import save_checkpoint
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.runs import read_log
from fewshot_kit.training.train import BEST, LOG
from fewshot_kit.training.train import CONFIG as RUN_CONFIG


def export_run(run: Path, name: str, out: Path = PRETRAINED, settings: Sequence[dict] = ()) -> Path:
    """Turn the best weights of a run into a checkpoint folder with a card, and return it.

    `settings` are those found best on validation classes, {"n_way", "n_shot", "values"} each. Raises ValueError for a run without a
    validation, and for settings that the learner does not have.
    """
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
    folder = save_checkpoint(out / name, learner, training=training, results=[], card="", settings=list(settings))
    _refresh(folder, json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    write_text(folder / LOG, "".join(json.dumps(row) + "\n" for row in rows))  # the curve of the training
    return folder


def _best_step(run: Path, rows: list[dict]) -> int:
    """Return the outer step of the best weights, as written with them; of a run before that was done, as logged."""
    with safetensors.safe_open(run / BEST, "pt") as file:
        written = (file.metadata() or {}).get("step")
    return int(written) if written is not None else next(row["step"] for row in reversed(rows) if row["best"])


def record_result(folder: Path, result: Evaluation, command: str) -> None:
    """Add a measurement to a checkpoint's config.json and card; it replaces an earlier one of the same command."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    results = [row for row in config["results"] if row["command"] != command]
    _refresh(folder, {**config, "results": [*results, {**result.to_dict(), "command": command}]})


def _refresh(folder: Path, config: dict) -> None:
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    write_text(folder / CARD, render_card(folder.name, config))


def training_command(settings: dict) -> str:
    """Return the command that repeats a run: a flag for every setting that is not the default."""
    defaults = (dataclasses.asdict(CONFIGS[settings["learner"]]()), dataclasses.asdict(TrainConfig()))
    flags = _flags(settings["hyper_parameters"], defaults[0]) + _flags(settings["training"], defaults[1])
    return " ".join(["python -m fewshot_kit train", settings["learner"], *flags])


def _flags(values: dict, defaults: dict) -> list[str]:
    flags = []
    for name, value in values.items():
        flag = name.replace("_", "-")
        if name == "kind":  # told by the class, not by a flag
            continue
        if isinstance(value, dict):
            flags += _flags(value, defaults[name])  # the command line has no prefixes
        elif json.dumps(value) != json.dumps(defaults[name]):
            on_or_off = isinstance(value, bool) and defaults[name] is not None
            words = [f"--no-{flag}" if on_or_off and not value else f"--{flag}"]
            flags += words if on_or_off else words + [shlex.quote(str(v)) for v in (value if isinstance(value, list | tuple) else [value])]
    return flags
