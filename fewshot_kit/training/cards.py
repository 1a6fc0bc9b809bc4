"""Model cards: what a checkpoint is, on what it was trained, and what was measured with which command."""

import dataclasses
import json
import shlex
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from tyro.conf import Positional

from fewshot_kit.evaluate import Evaluation, Interval, describe_mode
from fewshot_kit.learners import LEARNERS
from fewshot_kit.training.checkpoints import CARD, CONFIG, PRETRAINED, build_learner, save_checkpoint, write_text
from fewshot_kit.training.runs import read_log
from fewshot_kit.training.train import BEST, LOG, TrainConfig
from fewshot_kit.training.train import CONFIG as RUN_CONFIG

DATASETS = {
    "omniglot": "Omniglot (B. Lake et al. 2015, MIT licence), background alphabets; five of the thirty are kept for validation",
    "omniglot_vinyals": "Omniglot (B. Lake et al. 2015, MIT licence) split as by Vinyals et al. 2016, rotations as classes of their own",
    "quickdraw": "Quick, Draw! (Google, CC BY 4.0), simplified drawings of 207 categories; 69 are kept for validation and 69 for the test",
    "grocery_store": "Grocery Store (M. Klasson et al. 2019, MIT licence), split by kind of product",
}
INK = "Ink pictures in the kit's canonical form: light ink (1.0) on a dark background (0.0), one channel."
PHOTOGRAPHS = "Photographs in RGB, 0..1."


def export_run(
    run: Positional[Path], name: str, inner_lr: float | None = None, inner_steps: int | None = None, out: Path = PRETRAINED
) -> None:
    """Turn the best weights of a run into a checkpoint folder with a card.

    Args:
        run: the run's folder.
        name: of the checkpoint, <learner>-<dataset>-<way>way-<shot>shot.
        inner_lr: the checkpoint's learning rate, chosen on validation classes; the run's if left out.
        inner_steps: the checkpoint's epochs; the run's if left out.
        out: the folder of checkpoints.
    """
    if not (run / BEST).is_file():
        raise FileNotFoundError(f"{run} holds no {BEST}: train a run there first, at least to its first validation")
    settings = json.loads((run / RUN_CONFIG).read_text(encoding="utf-8"))
    rows = read_log(run / LOG)
    if not rows:
        raise ValueError(f"{run / LOG} holds no validation; resume the run, at least to its next one")
    learner = build_learner(settings["learner"], settings["hyper_parameters"])
    learner.load_state_dict(safetensors.torch.load_file(run / BEST))
    training = {
        **settings["training"],
        "command": training_command(settings),
        "minutes": round(rows[-1]["seconds"] / 60, 1),
        "best_step": _best_step(run, rows),
        "trained_with": settings.get("versions", {"torch": torch.__version__}),
        "start": settings.get("start"),
    }
    folder = save_checkpoint(
        out / name, learner.with_settings(**_given(inner_lr=inner_lr, inner_steps=inner_steps)), training=training, results=[], card=""
    )
    _refresh(folder, json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    write_text(folder / LOG, "".join(json.dumps(row) + "\n" for row in rows))  # the curve of the training
    print(f"wrote {folder}")


def _given(**values: float | None) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


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
    defaults = (dataclasses.asdict(LEARNERS[settings["learner"]][1]()), dataclasses.asdict(TrainConfig()))
    flags = _flags(settings["hyper_parameters"], defaults[0]) + _flags(settings["training"], defaults[1])
    return " ".join(["python -m fewshot_kit train", settings["learner"], *flags])


def _flags(values: dict, defaults: dict) -> list[str]:
    flags = []
    for name, value in values.items():
        flag = name.replace("_", "-")
        if isinstance(value, dict):
            flags += _flags(value, defaults[name])  # the command line has no prefixes
        elif value != defaults[name]:
            on_or_off = isinstance(value, bool)
            flags += [f"--no-{flag}" if value is False else f"--{flag}"] + ([] if on_or_off else [shlex.quote(str(value))])
    return flags


def render_card(name: str, config: dict) -> str:
    """Write the card of a checkpoint from its config.json."""
    network, training = config["hyper_parameters"]["network"], config["training"]
    learner = build_learner(config["learner"], config["hyper_parameters"])
    of_ink = network["channels"] == 1
    lines = [
        f"# {name}",
        "",
        f"A {config['learner']} learner for any number of classes: {network['size']} x {network['size']} pixels, "
        f"Conv4 of width {network['width']}, stride {network['stride']}, {network['norm']} norm.",
        INK if of_ink else PHOTOGRAPHS,
        "",
        "## Adapting",
        "",
        learner.describe(),
        "",
        *_trained(training),
        *_measured(config["results"]),
        "## Limits",
        "",
        f"{_limits(training, of_ink)} One picture a class is very little: look at the probabilities, not at the answer alone.",
        "",
        "## Licence",
        "",
        f"MIT, as this kit. sha256 of model.safetensors: `{config['sha256']}`",
        "",
    ]
    return "\n".join(lines)


def _trained(training: dict) -> list[str]:
    dataset = DATASETS.get(training["dataset"], training["dataset"])
    if training.get("samples_per_class"):
        dataset += f"; {training['samples_per_class']} pictures a class"
    return [
        "## Training",
        "",
        f"{dataset}. {_how_long(training)}",
        "",
        f"    {training['command']}",
        "",
        *_started(training.get("start")),
    ]


def _started(start: dict | None) -> list[str]:
    """Say where the first weights came from, and theirs, and so on."""
    if start is None:
        return []
    training = start["training"]
    where = f"It went on from the weights of `{start['name']}` with the sha256 `{start['sha256']}`"
    if not training.get("command"):
        return [f"{where}.", ""]
    return [f"{where}. {_how_long(training)}", "", f"    {training['command']}", "", *_started(training.get("start"))]


def _how_long(training: dict) -> str:
    return (
        f"Seed {training['seed']}, {training['minutes']} minutes on {_where(training)}, "
        f"torch {training['trained_with']['torch']}; the weights of step {training['best_step']}, the best of the validation episodes "
        f"({training['n_way']}-way {training['n_shot']}-shot)."
    )


def _where(training: dict) -> str:
    return f"{training['threads']} CPU thread(s)" if training.get("device", "cpu") == "cpu" else f"the device {training['device']!r}"


def _limits(training: dict, of_ink: bool) -> str:
    if not of_ink:
        return "Trained on photographs of one kind of thing: pictures of other things, drawings among them, are outside what it has seen."
    turned = ", turned by multiples of 90 degrees" if training.get("rotations") or training["dataset"] == "omniglot_vinyals" else ""
    mirrored = ", as they are and mirrored" if training.get("reflections") else ""
    return f"Trained on pen strokes of 1 to 3 pixels{turned}{mirrored}: it is nearly blind to photographs, colour and texture."


def _measured(results: list[dict]) -> list[str]:
    return [
        "## Measured",
        "",
        "| data set | split | way, shot, queries a class | episodes | mode | accuracy | cross entropy |",
        "|---|---|---|---|---|---|---|",
        *(_result_row(result) for result in results),
        "",
        "Intervals are 95 %, 1.96 s/sqrt(n) over episodes. The commands, row by row:",
        "",
        *(f"    {result['command']}" for result in results),
        "",
    ]


def _result_row(result: dict) -> str:
    return (
        f"| {result['dataset']} | {result['split']} | {result['n_way']}, {result['n_shot']}, {result['n_query']} | {result['n_episodes']} "
        f"| {describe_mode(result)}, seed {result['seed']} | {Interval(**result['accuracy']).percent()} | {Interval(**result['loss'])} |"
    )
