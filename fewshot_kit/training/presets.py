"""Named presets of learners: as their papers have them, where the kit's own defaults depart from those."""

from dataclasses import dataclass, replace

from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.learners.configs import LearnerConfig, MAMLConfig, ReptileConfig
from fewshot_kit.networks.configs import Conv4Config
from fewshot_kit.training.config import TrainConfig


@dataclass(frozen=True)
class Preset:
    """What a training starts from in place of the defaults; flags change it further."""

    about: str
    learner: LearnerConfig
    training: TrainConfig


# What the papers on Omniglot share: a head that is learned with the network, for one number of classes, batch norm by the statistics of
# what is embedded together (measured transductively), one learning rate for all layers, quarter turns and no other change of pictures.
_NETWORK = Conv4Config(norm="batch")
_LEARNED = {"network": _NETWORK, "head": "learned", "head_lr_scale": 1.0}
_OMNIGLOT = TrainConfig(TaskSource("omniglot", augment=False), val_query=1, last_lr=1.0)

_MAML = MAMLConfig(
    **_LEARNED, inner_lr=0.4, inner_steps=3, train_inner_lr=0.4, train_inner_steps=1, train_way=5, train_query=1, meta_batch_size=32
)
_REPTILE = ReptileConfig(
    **_LEARNED, update_rule="adam", inner_lr=0.001, inner_steps=50, train_inner_lr=0.001, train_inner_steps=5, train_way=5,
    meta_batch_size=5,
)  # fmt: skip

PRESETS: dict[str, dict[str, Preset]] = {
    "maml": {
        "paper": Preset("Finn et al. 2017, appendix A.1, Omniglot 5-way 1-shot", _MAML, replace(_OMNIGLOT, outer_steps=60_000)),
        "paper-first-order": Preset(
            "the same with the gradient at the adapted weights (sec. 5.2)",
            replace(_MAML, first_order=True),
            replace(_OMNIGLOT, outer_steps=60_000),
        ),
    },
    # Of the paper's mini-batches of 10 from 10 pictures a class, one of every class stays; its plain outer steps of size 1 become Nesterov
    # momentum of 0.9 with a tenth of the rate, as far in the end.
    "reptile": {
        "paper": Preset(
            "Nichol et al. 2018, table 3, Omniglot 5-way 1-shot",
            _REPTILE,
            replace(_OMNIGLOT, outer_steps=100_000, optimizer="sgd", meta_lr=0.1, last_lr=0.0),
        )
    },
}


def take_preset(words: list[str], name: str) -> tuple[Preset | None, list[str]]:
    """Take `--preset <name>` out of the words of a command that trains a learner; None where there is none."""
    at = next((i for i, word in enumerate(words) if word.partition("=")[0] == "--preset"), None)
    if at is None:
        return None, words
    _, has_value, value = words[at].partition("=")
    last = at + 1 if has_value else at + 2
    value, known = value or " ".join(words[at + 1 : last]), PRESETS.get(name, {})
    if value not in known:
        offered = f"must be one of {', '.join(known)}" if known else f"there is none of {name}; presets are of {' and '.join(PRESETS)}"
        raise ValueError(f"--preset {offered}" + (f", not {value!r}" if known else ""))
    return known[value], words[:at] + words[last:]
