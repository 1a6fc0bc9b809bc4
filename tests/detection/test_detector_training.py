"""A detector in the one training loop and on the command line: resumed to the same weights, exported, measured, and what cannot be."""

import json
from dataclasses import replace

import pytest
import torch
from found_by_colour import SMALL
from painted import painted_boxes
from synthetic import same_state

from fewshot_kit.__main__ import main
from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.learners.detector_configs import RepMetDetectorConfig, SoftmaxDetectorConfig
from fewshot_kit.training.checkpoints import load_checkpoint
from fewshot_kit.training.config import DETECTION
from fewshot_kit.training.export import export_run
from fewshot_kit.training.runs import describe_row, read_run
from fewshot_kit.training.train import open_run, train

SHAPE = {"network": SMALL, "roi_side": 2, "hidden": 16, "n_features": 8, "n_proposals": 8, "train_images": 4}
CONFIGS = {"repmet": RepMetDetectorConfig(**SHAPE), "softmax": SoftmaxDetectorConfig(**SHAPE)}
TRAINING = replace(DETECTION, val_way=3, val_query=2, outer_steps=4, evaluate_every=2, evaluation_episodes=2)


@pytest.fixture(autouse=True)
def painted(monkeypatch):
    """Let painted boxes stand for `scenes`."""
    splits = enumerate(("train", "val", "test", "trainval"))
    sets = {split: replace(painted_boxes(4, 8, seed=seed), name="scenes", split=split) for seed, split in splits}
    monkeypatch.setattr("fewshot_kit.training.tasks.load_annotated", lambda name, split, size: sets[split])


@pytest.mark.parametrize("name", CONFIGS)
def test_a_training_in_two_parts_comes_to_the_same_weights(tmp_path, name):
    whole = open_run(tmp_path / "whole", CONFIGS[name], TRAINING)
    assert train(whole)
    parts = open_run(tmp_path / "parts", CONFIGS[name], TRAINING)
    for _ in range(3):  # past a validation
        parts.outer_step()
    parts.save()
    again = open_run(tmp_path / "parts", CONFIGS[name], TRAINING, resume=True)
    assert train(again) and same_state(whole.learner.state_dict(), again.learner.state_dict())
    record = read_run(tmp_path / "whole")
    assert [row["primary"] for row in record.rows] == ["map50", "map50"] and "mAP50" in describe_row(record.rows[0], "repmet_detector")
    assert record.curves()["val_accuracy"].shape == (2,) and record.best() in record.rows


def test_a_checkpoint_leaves_out_what_only_training_needs_and_is_measured_by_the_one_command(tmp_path, capsys):
    train(open_run(tmp_path / "run", CONFIGS["repmet"], TRAINING))
    folder = export_run(tmp_path / "run", "repmet_detector-scenes", tmp_path / "out")
    learner = load_checkpoint(folder).learner
    assert not [key for key in learner.state_dict() if key.startswith("training_")]
    words = ["evaluate", str(folder), "--dataset", "scenes", "--n-way", "3", "--n-query", "2", "--episodes", "2", "--device", "cpu"]
    assert main([*words, "--record"]) == 0
    (result,) = json.loads((folder / "config.json").read_text())["results"]
    assert result["primary"] == "map50" and {"map", "map50_lenient", "map_lenient"} <= result.keys()
    assert "| mAP50 | mAP50-95 | mAP50, lenient | mAP50-95, lenient |" in (folder / "README.md").read_text(encoding="utf-8")
    assert "% strict" in capsys.readouterr().out
    for flag in ("--transductive", "--within-group"):
        assert main([*words, flag]) == 1 and "detectors are not measured with" in capsys.readouterr().err
    assert main([*words, "--learner", "nearest_mean"]) == 1 and "leave learner out" in capsys.readouterr().err


def test_a_last_training_with_the_validation_classes_says_so_on_its_card(tmp_path, capsys):
    train(open_run(tmp_path / "run", CONFIGS["repmet"], replace(TRAINING, source=TaskSource("scenes", split="trainval"))))
    card = (export_run(tmp_path / "run", "repmet_detector-scenes", tmp_path / "out") / "README.md").read_text(encoding="utf-8")
    assert "trained on the validation classes too" in card and "--split trainval" in card
    for dataset, split in (("scenes", "test"), ("scenes", "everything")):  # what is measured on is never trained on
        words = ["train", "repmet_detector", "--dataset", dataset, "--split", split, "--outer-steps", "1", "--out", str(tmp_path / "no")]
        assert main(words) == 1 and f"'scenes' has no '{split}' split to train on" in capsys.readouterr().err
    assert main(["train", "protonet", "--dataset", "drawings_split", "--split", "trainval", "--out", str(tmp_path / "no")]) == 1
    assert not (tmp_path / "no").exists()


def test_what_it_cannot_be_trained_on_is_told(tmp_path, capsys):
    words = ["train", "repmet_detector", "--outer-steps", "1", "--out", str(tmp_path / "run")]
    assert main([*words, "--dataset", "omniglot"]) == 1
    assert "no data set with boxes is called 'omniglot'" in capsys.readouterr().err
    assert main([*words, "--network", "conv4"]) == 1
    assert "takes a network pyramid or resnet12_pyramid, not conv4" in capsys.readouterr().err
    assert main(["train", "protonet", "--network", "pyramid", "--outer-steps", "1", "--out", str(tmp_path / "run")]) == 1
    assert "takes a network conv4 or resnet12, not pyramid" in capsys.readouterr().err
    with pytest.raises(ValueError, match="taken as they are"):
        open_run(tmp_path / "run", CONFIGS["repmet"], replace(TRAINING, source=TaskSource("scenes", samples_per_class=3)))
    assert not (tmp_path / "run").exists()


def test_all_chance_is_in_the_saved_state(tmp_path):
    """What the head learns from is drawn by a count of batches that the run saves."""
    losses = []
    for _ in range(2):
        run = open_run(tmp_path / "run", CONFIGS["repmet"], TRAINING, resume=True)
        torch.manual_seed(len(losses))
        losses.append(run.outer_step())
    assert losses[0] == losses[1]
