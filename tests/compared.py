"""Small learners to be compared, and a session that compares them: what the tests of session and panel run on."""

from dataclasses import replace
from pathlib import Path

import torch
from synthetic import NETWORK, tiny_reptile

from fewshot_kit.demo.compare_session import CompareSession
from fewshot_kit.learners.base import Learner
from fewshot_kit.learners.configs import MetaSGDConfig, ProtoNetConfig
from fewshot_kit.learners.meta_sgd import MetaSGD
from fewshot_kit.learners.protonet import ProtoNet
from fewshot_kit.training.checkpoints import Checkpoint

FAR_TOO_FAST = {"inner_lr": 1e6, "inner_steps": 20}  # for a network without any norm


def checkpoint(name: str, learner: Learner) -> Checkpoint:
    return Checkpoint(name, Path("nowhere"), learner.eval(), {}, "")


def seeded(make, config, seed: int = 0) -> Learner:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make(config)


def ink_learners() -> list[Checkpoint]:
    """One with epochs and a learning rate, one whose pictures are larger and that has neither, one whose rates are learned."""
    return [
        checkpoint("reptile", tiny_reptile()),
        checkpoint("protonet", seeded(ProtoNet, ProtoNetConfig(network=replace(NETWORK, size=24)))),
        checkpoint("meta_sgd", seeded(MetaSGD, MetaSGDConfig(network=NETWORK, inner_lr=1.0, inner_steps=2))),
    ]


def compare_session(checkpoints=None, dataset: str = "characters", **settings) -> CompareSession:
    made = {"n_way": 3, "n_query": 2, "device": "cpu"} | settings
    return CompareSession(ink_learners() if checkpoints is None else checkpoints, dataset, **made)


def bare_learners() -> list[Checkpoint]:
    return [checkpoint("bare", tiny_reptile("none")), *ink_learners()[1:]]
