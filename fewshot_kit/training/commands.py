"""The commands that repeat a training or a measurement, as they stand on a card. No torch is needed to write them."""

import dataclasses
import json
import shlex

from fewshot_kit.learners.configs import CONFIGS
from fewshot_kit.networks.configs import KINDS
from fewshot_kit.results import Evaluation
from fewshot_kit.training.config import usual_training


def evaluation_command(result: Evaluation, settings: dict[str, float]) -> str:
    """Return the command that repeats a measurement."""
    flags = {"dataset": result.dataset, "split": result.split, "n-way": result.n_way, "n-shot": result.n_shot, "n-query": result.n_query}
    flags |= {"episodes": result.n_episodes, "seed": result.seed}
    flags |= {name: value for name, value in (("learner", result.learner), ("size", result.size)) if value is not None}
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    words += ["--transductive"] * result.transductive + ["--within-group"] * result.within_group
    words += ["--set", *(f"{name}={value}" for name, value in settings.items())] if settings else []
    return shlex.join(["python", "-m", "fewshot_kit", "evaluate", str(result.checkpoint), *words])


def training_command(settings: dict) -> str:
    """Return the command that repeats a run: a flag for every setting that is not the default."""
    default, kind = CONFIGS[settings["learner"]](), settings["hyper_parameters"]["network"]["kind"]
    words = ["train", settings["learner"]] if settings["learner"] != "nearest_mean" else ["pretrain"]
    if kind != default.network.kind:
        default = dataclasses.replace(default, network=KINDS[kind]())
        words += ["--network", kind]
    training = usual_training(settings["learner"], pretrain=words[0] == "pretrain")
    flags = _flags(settings["hyper_parameters"], dataclasses.asdict(default)) + _flags(settings["training"], dataclasses.asdict(training))
    return " ".join(["python -m fewshot_kit", *words, *flags])


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
