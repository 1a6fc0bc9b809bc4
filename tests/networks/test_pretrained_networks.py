"""Networks that others trained: features equal to those that transformers gives, frozen, by reference, and safe to load."""

import copy
import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import KINDS, MEAN, SIZE, STD, make, save, saved

from fewshot_kit.learners.configs import NearestMeanConfig
from fewshot_kit.networks import pretrained
from fewshot_kit.networks.build import from_config
from fewshot_kit.networks.configs import PretrainedConfig, network_config
from fewshot_kit.networks.pretrained import PretrainedError, describe_model, find_model
from fewshot_kit.training.build import make_learner

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def pictures(n=5, size=SIZE):
    return torch.randint(0, 256, (n, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_that_transformers_gives(kind):
    from transformers import AutoImageProcessor, AutoModel

    config = describe_model(str(saved(kind)))
    assert (config.size, config.mean, config.std, config.channels) == (SIZE, tuple(MEAN), tuple(STD), 3)
    images = pictures()
    processor = AutoImageProcessor.from_pretrained(saved(kind))
    arrays = [np.asarray(image.permute(1, 2, 0)) for image in images]
    given = processor(arrays, do_resize=False, return_tensors="pt")
    with torch.no_grad():
        expected = AutoModel.from_pretrained(saved(kind)).eval()(**given).pooler_output.flatten(1)
    network = from_config(config)
    found = network(images.float() / 255)
    assert found.shape == (5, config.n_features) and expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(images[2:3].float() / 255), found[2:3], rtol=1e-4, atol=1e-5)


def test_many_pictures_are_looked_at_in_parts(monkeypatch):
    network, images = from_config(describe_model(str(saved("dinov2")))), pictures(7).float() / 255
    whole = network(images)
    monkeypatch.setattr(pretrained, "TOGETHER", 3)
    torch.testing.assert_close(network(images), whole)


def test_without_the_weights_of_its_pooler_it_is_the_first_token():
    config = describe_model(str(saved("vit without a pooler")))
    model, images = make("vit without a pooler").eval(), pictures().float() / 255
    normalised = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        expected = model(pixel_values=normalised).last_hidden_state[:, 0]
    torch.testing.assert_close(from_config(config)(images), expected, rtol=1e-4, atol=1e-5)


def test_of_a_model_of_pictures_and_texts_the_pictures_count():
    config = describe_model(str(saved("clip")))
    assert config.n_features == 20 and from_config(config)(pictures().float() / 255).shape == (5, 20)


def test_it_is_frozen_shared_and_kept_by_reference():
    network = from_config(describe_model(str(saved("resnet"))))
    before = network(pictures().float() / 255)
    assert not list(network.parameters()) and not network.state_dict()
    other = copy.deepcopy(network.train())
    assert other.load()[0] is network.load()[0], "gigabytes are not copied"
    assert torch.equal(other(pictures().float() / 255), before), "training mode changes nothing: batch norm keeps its statistics"
    assert not other(pictures().float() / 255).requires_grad
    assert network_config(json.loads(json.dumps(asdict(network.config)))) == network.config
    assert set(network.layers()) == {"embedder", "encoder", "pooler"}


def test_its_parameters_are_counted_though_they_are_not_the_learners():
    learner = make_learner(NearestMeanConfig(network=describe_model(str(saved("dinov2")))), seed=0)
    assert learner.n_parameters() == sum(parameter.numel() for parameter in make("dinov2").parameters()) > 0
    assert not list(learner.parameters())


def test_weights_that_were_changed_are_refused(tmp_path):
    folder = tmp_path / "model"
    save("resnet", folder)
    network = from_config(describe_model(str(folder)))
    weights = load_file(folder / "model.safetensors")
    first = next(iter(weights))
    save_file({**weights, first: weights[first] + 1}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(PretrainedError, match="not those that were used before"):
        network(pictures().float() / 255)
    shutil.rmtree(folder)
    with pytest.raises(PretrainedError, match=r"neither a folder nor a name|cannot be downloaded"):
        from_config(network.config)(pictures().float() / 255)


class Trap:
    """A model whose pickle would run code when it is read."""

    ran = False

    def __reduce__(self):
        return setattr, (Trap, "ran", True)


def damaged(folder, how):
    save("dinov2", folder)
    config = json.loads((folder / "config.json").read_text())
    if how == "pickled":
        torch.save({"weights": Trap()}, folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    elif how == "code":
        config |= {"model_type": "mine", "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}
        (folder / "evil.py").write_text("raise SystemExit('ran')")
    elif how == "huge":
        config["hidden_size"] = 100_000
    elif how == "deep":
        config["num_hidden_layers"] = 1_000_000
    elif how == "huge pictures":
        of = json.loads((folder / "preprocessor_config.json").read_text())
        of["crop_size"] = {"height": 100_000, "width": 100_000}
        (folder / "preprocessor_config.json").write_text(json.dumps(of))
    elif how == "no processor":
        (folder / "preprocessor_config.json").unlink()
    elif how == "cut":
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    elif how == "a weight gone":
        weights = load_file(folder / "model.safetensors")
        weights.pop(sorted(weights)[3])
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    elif how == "not square":
        of = json.loads((folder / "preprocessor_config.json").read_text())
        of["crop_size"] = {"height": 32, "width": 16}
        (folder / "preprocessor_config.json").write_text(json.dumps(of))
    elif how == "no JSON":
        (folder / "config.json").write_text("{")
        return
    elif how == "not finite":
        weights = load_file(folder / "model.safetensors")
        save_file({name: torch.full_like(w, torch.nan) for name, w in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("pickled", "never read"),
        ("code", "cannot be read as a vision model"),
        ("huge", "describes|cannot be read"),
        ("deep", "describes 1,000,000 layers"),
        ("huge pictures", "size must be a whole number of pixels from 1 to"),
        ("no processor", "cannot be read as a vision model"),
        ("cut", "cannot be read"),
        ("a weight gone", "lacks weights"),
        ("not square", "square"),
        ("no JSON", "cannot be read"),
        ("not finite", "not finite"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told_and_runs_nothing(how, told, tmp_path):
    damaged(tmp_path / "model", how)
    with pytest.raises(PretrainedError, match=told):
        describe_model(str(tmp_path / "model"))
    assert not Trap.ran


def test_a_model_of_texts_is_refused():
    with pytest.raises(PretrainedError, match="takes no pictures"):
        describe_model(str(saved("bert")))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../nowhere",
        "a/b/c",
        "~nobody/x",
        "a\0b",
        "/nowhere",
        "facebook/dino v2",
        "x" * 300,
        "https://huggingface.co/facebook/dinov2-small",
    ],
)
def test_what_is_no_name_is_told(name):
    with pytest.raises(PretrainedError, match="neither a folder nor a name"):
        find_model(name)


def test_without_a_network_it_says_what_is_here(monkeypatch):
    import huggingface_hub

    def fails(**wanted):
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(PretrainedError, match="resnet12-mini_imagenet"):
        describe_model("facebook/dinov2-small")


def test_of_the_hub_the_snapshot_is_downloaded_once_and_known_by_its_commit(monkeypatch, tmp_path):
    import huggingface_hub

    commit, asked = "0123456789abcdef0123456789abcdef01234567", []

    def download(repo_id, revision, allow_patterns, local_files_only=False):
        asked.append((repo_id, revision, local_files_only))
        folder = tmp_path / "snapshots" / commit
        if local_files_only and not folder.is_dir():
            raise FileNotFoundError("not here")
        if not folder.is_dir():
            save("dinov2", folder)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    config = describe_model("some/model@main")
    assert (config.model, config.revision) == ("some/model", commit)
    assert asked == [("some/model", "main", True), ("some/model", "main", False)]
    asked.clear()
    from_config(config)(pictures().float() / 255)
    assert asked == [("some/model", commit, True)], "offline afterwards"


def test_a_configuration_without_a_model_is_refused():
    with pytest.raises(ValueError, match="trained elsewhere"):
        PretrainedConfig()
    config = describe_model(str(saved("resnet")))
    for wrong in ({"sha256": "x"}, {"n_features": 0}, {"model": ""}, {"size": 5000}, {"std": (0.0, 1.0, 1.0)}):
        with pytest.raises(ValueError):
            replace(config, **wrong)
