"""From a vision model of Hugging Face to a checkpoint of this kit, which refers to it and centres its features."""

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path

import torch

from fewshot_kit.data.datasets import load_dataset
from fewshot_kit.learners.embedding import EmbeddingLearner
from fewshot_kit.networks.pretrained import PREFIX
from fewshot_kit.training.checkpoint_folder import PRETRAINED, check_name, check_replaceable
from fewshot_kit.training.checkpoints import adopted, save_checkpoint

TOGETHER = 250  # pictures between two words to a person


def adopt(
    model: str,
    name: str,
    *,
    centre_on: str | None = None,
    out: Path = PRETRAINED,
    replace: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write a checkpoint that refers to a model, given as `hf:` and its name, and return its folder.

    With `centre_on`, features are centred at their mean over the training classes of that data set, as SimpleShot's are. Raises
    PretrainedError for a model that cannot be used, FileExistsError for a folder that must not be replaced.
    """
    if not model.startswith(PREFIX):
        raise ValueError(f"a model of Hugging Face is written as {PREFIX}<its name or folder>, not {model!r}")
    folder = out / check_name(name)
    check_replaceable(folder, replace)
    learner = adopted(model).learner
    words = ["adopt", model, name, *(["--centre-on", centre_on] if centre_on else [])]
    if centre_on:
        learner.centre.copy_(mean_feature(learner, centre_on, on_progress))
    training = {"command": shlex.join(["python", "-m", "fewshot_kit", *words]), "centred_on": centre_on}
    return save_checkpoint(folder, learner, training=training, results=[], replace=replace)


def mean_feature(learner: EmbeddingLearner, dataset: str, on_progress: Callable[[int, int], None]) -> torch.Tensor:
    """Return the mean over classes of the mean feature of each training class of a data set, (d,)."""
    preprocessing = dataclasses.replace(learner.preprocessing, mean=(), std=())  # of the network, which does it
    images = load_dataset(dataset, "train", preprocessing=preprocessing)
    embed, parts, done = learner.embedding_of_a_data_set(), [], 0
    for part in images.images.split(TOGETHER):
        parts.append(embed(part))
        done += len(part)
        on_progress(done, len(images.images))
    return torch.stack([of_class.mean(0) for of_class in torch.cat(parts).split(images.counts)]).mean(0)
