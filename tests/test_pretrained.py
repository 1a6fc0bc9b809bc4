"""Every checkpoint that is shipped: it loads, and answers a few seeded episodes of bundled pictures as it did when it was recorded.

After a change that is meant to change the answers: `python tests/test_pretrained.py` prints the figures anew.
"""

import pytest
import torch

from fewshot_kit.data.datasets import load_dataset
from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.detection.annotated import DetectionSampler
from fewshot_kit.detection.datasets import load_annotated
from fewshot_kit.evaluate import evaluate
from fewshot_kit.results import Evaluation
from fewshot_kit.training.cards import render_card
from fewshot_kit.training.checkpoint_folder import PRETRAINED, list_checkpoints, read_config
from fewshot_kit.training.checkpoints import load_checkpoint
from fewshot_kit.training.tasks import DETECTION, kind_of

# Accuracy and cross entropy of 20 episodes of `drawings`, 5-way 1-shot, 3 queries a class, inductive, seed 0; of a detector mAP50 and
# mAP50-95 of 5 episodes of `scenes`.
RECORDED: dict[str, tuple[float, float]] = {
    "magnet-grocery_store": (0.4100, 1.4881),
    "maml-omniglot_vinyals": (0.8433, 0.4584),
    "maml-omniglot_vinyals-one-step": (0.8900, 0.4966),
    "maml-quickdraw": (0.9100, 0.3792),
    "meta_lstm-mini_imagenet-5way-5shot": (0.8600, 0.7011),
    "meta_sgd-quickdraw": (0.8967, 0.4186),
    "mtl-fc100-5way-1shot": (0.9300, 0.8143),
    "mtl-mini_imagenet-5way-1shot": (0.8767, 0.5116),
    "protonet-omniglot-alphabets": (0.8900, 0.3946),
    "protonet-omniglot_vinyals": (0.7767, 1.5554),
    "protonet-omniglot_vinyals-annealed": (0.7667, 1.6239),
    "protonet-omniglot_vinyals-augmented": (0.8600, 0.5286),
    "protonet-omniglot_vinyals-group": (0.8467, 0.5969),
    "protonet-omniglot_vinyals-hands": (0.8500, 0.6206),
    "repmet_detector-fod_a": (0.0694, 0.0252),
    "repmet_detector-scenes": (0.7148, 0.4810),
    "repmet-omniglot_vinyals": (0.7533, 1.9747),
    "repmet-omniglot_vinyals-v1": (0.7833, 1.8132),
    "reptile-omniglot": (0.8833, 0.4326),
    "resnet12-mini_imagenet": (0.8567, 0.4395),
}


def measure(name: str) -> Evaluation:
    """Measure a checkpoint on pictures that every machine has."""
    learner = load_checkpoint(name).learner_for(5, 1)
    size = learner.preprocessing.size
    if kind_of(learner.config) is DETECTION:
        return DETECTION.evaluate(learner, DetectionSampler(load_annotated("scenes", size=size, progress=False), 5, 1, 3), n_episodes=5)
    sampler = EpisodeSampler(load_dataset("drawings", preprocessing=learner.preprocessing, progress=False), 5, 1, 3)
    return evaluate(learner, sampler, n_episodes=20, seed=0)


def numbers(result: Evaluation) -> tuple[float, float]:
    """Return accuracy and loss, of a detector both mean average precisions."""
    return tuple(result.metrics[name].mean for name in (("accuracy", "loss") if result.primary == "accuracy" else ("map50", "map")))


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("name", list_checkpoints())
def test_a_shipped_checkpoint_answers_as_it_did(name):
    (accuracy, loss), (found, found_loss) = RECORDED[name], numbers(measure(name))
    assert found == pytest.approx(accuracy, abs=2.1 / 300)  # two of 300 answers, for rounding
    assert found_loss == pytest.approx(loss, rel=1e-3, abs=0.005 if "detector" in name else 0)


@pytest.mark.parametrize("name", list_checkpoints())
def test_its_weights_are_finite_and_its_results_name_the_command_that_measured_them(name):
    assert all(value.isfinite().all() for value in load_checkpoint(name).learner.state_dict().values() if isinstance(value, torch.Tensor))
    config = read_config(PRETRAINED / name)
    assert config["results"] and all(f" {name} " in result["command"] for result in config["results"])


@pytest.mark.parametrize("name", list_checkpoints())
def test_its_card_says_what_the_kit_says_of_it_now(name):
    folder = PRETRAINED / name
    assert (folder / "README.md").read_text(encoding="utf-8") == render_card(name, read_config(folder))


def test_no_two_of_them_are_the_same_weights():
    hashes = [read_config(PRETRAINED / name)["sha256"] for name in list_checkpoints()]
    assert len(set(hashes)) == len(hashes)


if __name__ == "__main__":
    for checkpoint in list_checkpoints():
        first, second = numbers(measure(checkpoint))
        print(f'    "{checkpoint}": ({first:.4f}, {second:.4f}),')
