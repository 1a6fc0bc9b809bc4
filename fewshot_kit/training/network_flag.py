"""Which network a training is of: a flag's, a checkpoint's or a run's. Known before the other flags, which are of that network."""

import argparse
from dataclasses import replace
from pathlib import Path

from fewshot_kit.learners.configs import LearnerConfig
from fewshot_kit.networks.configs import KINDS, TRAINED_HERE, NetworkConfig, ResNet12Config, ResNetPyramidConfig, network_config
from fewshot_kit.training.checkpoint_folder import find_checkpoint, read_config
from fewshot_kit.training.run_folder import has_begun, read_begun, usual_folder


def take_network(words: list[str], learner: LearnerConfig, dataset: str) -> tuple[LearnerConfig, list[str]]:
    """Take `--network <kind>` out of the words of a command; return the learner's defaults with that network, and the other words.

    Without it, the network is that of the checkpoint in `--start-from`, or the learner's usual one. A run that is resumed has its own: the
    checkpoint that it started from may be gone.
    """
    known, rest = argparse.ArgumentParser(add_help=False, allow_abbrev=False), list(words)
    known.add_argument("--network")
    known.add_argument("--start-from", "--start_from")
    known.add_argument("--resume", action="store_true")
    known.add_argument("--out", type=Path)
    known.add_argument("--dataset", default=dataset)
    given = known.parse_known_args(words)[0]
    if given.network is not None:
        if given.network not in TRAINED_HERE:
            raise ValueError(f"--network must be one of {', '.join(TRAINED_HERE)}, not {given.network!r}")
        at = next(i for i, word in enumerate(words) if word.partition("=")[0] == "--network")
        del rest[at : at + (1 if "=" in words[at] else 2)]
        return replace(learner, network=_new(given.network, given.start_from)), rest
    if given.start_from is not None and {"-h", "--help"}.isdisjoint(words):
        folder = given.out or usual_folder(learner, given.dataset)
        if given.resume and has_begun(folder):
            return replace(learner, network=network_config(read_begun(folder)[0]["hyper_parameters"]["network"])), rest
        start = read_config(find_checkpoint(given.start_from))["hyper_parameters"]["network"]
        return replace(learner, network=network_config(start)), rest
    return learner, rest


def _new(kind: str, start: str | None) -> NetworkConfig:
    """Return the usual network of a kind; a pyramid on a ResNet-12 takes the shape of the one that it starts from."""
    network = KINDS[kind]()
    if start is None or not isinstance(network, ResNetPyramidConfig):
        return network
    backbone = network_config(read_config(find_checkpoint(start))["hyper_parameters"]["network"])
    return network.on(backbone) if type(backbone) is ResNet12Config else network
