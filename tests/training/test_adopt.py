"""Checkpoints that refer to a model of Hugging Face: by name, revision and hash, measured, saved, opened and taken along like any other."""

import json

import pytest
import torch
from own_pictures import own
from synthetic import coloured_images
from tiny_models import save, saved

from fewshot_kit.demo.own_task import OwnTask
from fewshot_kit.demo.saved_task import load_predictor, open_task, save_task
from fewshot_kit.learners import feature_store
from fewshot_kit.training import adopt as adopting
from fewshot_kit.training.adopt import adopt
from fewshot_kit.training.checkpoints import CheckpointError, load_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_store, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(adopting, "load_dataset", lambda name, split, preprocessing: coloured_images())


def test_a_checkpoint_refers_and_centres_at_the_training_classes(tmp_path):
    told = []
    folder = adopt(f"hf:{saved('resnet')}", "mine", centre_on="cifar_fs", out=tmp_path, on_progress=lambda *at: told.append(at))
    config = json.loads((folder / "config.json").read_text())
    network = config["hyper_parameters"]["network"]
    assert network["model"] == str(saved("resnet")) and len(network["sha256"]) == 64 and config["training"]["centred_on"] == "cifar_fs"
    assert (folder / "model.safetensors").stat().st_size < 2_000, "the mean feature, and no copy of the network"
    learner, data = load_checkpoint(folder).learner, coloured_images()
    features = learner.network(data.images.float() / 255)
    expected = torch.stack([part.mean(0) for part in features.split(data.counts)]).mean(0)
    torch.testing.assert_close(learner.centre, expected, rtol=1e-4, atol=1e-5)
    assert told[-1] == (len(data.images), len(data.images))
    card = (folder / "README.md").read_text()
    assert network["sha256"] in card and "evaluate mine --dataset grocery_store" in card and "had no such weights to measure" in card
    with pytest.raises(FileExistsError, match="--replace"):
        adopt(f"hf:{saved('resnet')}", "mine", out=tmp_path)


def test_a_model_that_was_changed_or_is_gone_is_told_when_it_is_loaded(tmp_path):
    save("resnet", tmp_path / "model")
    folder = adopt(f"hf:{tmp_path / 'model'}", "mine", out=tmp_path)
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"neither a folder nor a name|resnet12-mini_imagenet"):
        load_checkpoint(folder)
    save("convnextv2", tmp_path / "model")
    with pytest.raises(ValueError, match="not those that were used before"):
        load_checkpoint(folder)


@pytest.mark.parametrize(("key", "value"), [("sha256", "x"), ("n_features", "many"), ("model", 7), ("size", -1), ("std", [0.0, 1, 1])])
def test_a_config_that_cannot_be_is_refused(key, value, tmp_path):
    folder = adopt(f"hf:{saved('resnet')}", "mine", out=tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["hyper_parameters"]["network"][key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)


def test_what_is_no_model_is_told(tmp_path):
    with pytest.raises(ValueError, match="hf:"):
        adopt("facebook/dinov2-small", "mine", out=tmp_path)
    with pytest.raises(ValueError, match="letters"):
        adopt(f"hf:{saved('resnet')}", "../mine", out=tmp_path)


def test_own_classes_are_learned_by_it_and_taken_along(tmp_path):
    task, classes = OwnTask(f"hf:{saved('dinov2')}"), own(colour=True)
    learning = task.estimated(task.learn(classes), classes)
    folder = save_task(tmp_path / "mine", classes, learning, task.checkpoint, {})
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) < 10_000
    pictures = learning.seen([picture.pixels() for _, picture in classes.pictures()])
    expected = learning.answer(pictures).probabilities
    torch.testing.assert_close(load_predictor(folder, device="cpu")(pictures).probabilities, expected, rtol=1e-4, atol=1e-5)
    assert open_task(folder).checkpoint == task.checkpoint.name
