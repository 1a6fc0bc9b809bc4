"""Checkpoints: what goes in comes out to the last bit, what is damaged says so, and a save that fails leaves the old one whole."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from synthetic import noisy_episodes, same_state, tiny_reptile

from fewshot_kit.data.files import write_text, written_whole
from fewshot_kit.networks.configs import NORMS
from fewshot_kit.training import checkpoint_folder
from fewshot_kit.training.checkpoint_folder import PRETRAINED, RENAMED, CheckpointError, list_checkpoints
from fewshot_kit.training.checkpoints import load_checkpoint, save_checkpoint, sha256

TRAINING = {"dataset": "noisy", "seed": 0}
RESULT = {
    **{name: {"mean": 0.5, "half_width": None} for name in ("accuracy", "loss")},
    **dict.fromkeys(("n_episodes", "n_way", "n_shot", "n_query", "seed"), 1),
    **{"dataset": "noisy", "split": "test", "transductive": False, "settings": {}},
}


def save(folder: Path, seed: int = 0, norm: str = "group") -> Path:
    return save_checkpoint(folder, tiny_reptile(norm, seed), training=TRAINING, results=[], card="# tiny\n", replace=True)


@pytest.fixture
def folder(tmp_path) -> Path:
    return save(tmp_path / "tiny")


def edit(folder: Path, **changes) -> None:
    """Change config.json; None takes a key away."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | changes
    config = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def edit_weights(folder: Path, change) -> None:
    """Change the tensors, and the hash with them."""
    weights = folder / "model.safetensors"
    state = safetensors.torch.load_file(weights)
    change(state)
    safetensors.torch.save_file(state, weights)
    edit(folder, sha256=sha256(weights))


def refusal(name_or_folder) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(name_or_folder)
    return str(caught.value)


# --- there and back ---


@pytest.mark.parametrize("norm", NORMS)
def test_what_is_saved_is_loaded_to_the_last_bit(tmp_path, norm):
    learner = tiny_reptile(norm)
    learner.accumulate_meta_grad(noisy_episodes(1, n_shot=3, n_query=0))  # so that statistics differ from the first ones
    folder = save_checkpoint(tmp_path / "tiny", learner, training=TRAINING, results=[RESULT], card="# tiny ±\n")
    loaded = load_checkpoint(folder)
    assert same_state(learner.state_dict(), loaded.learner.state_dict()) and loaded.learner.config == learner.config
    assert (loaded.name, loaded.folder, loaded.card) == ("tiny", folder, "# tiny ±\n")
    assert loaded.config["training"] == TRAINING and loaded.config["results"] == [RESULT]
    assert not loaded.learner.training
    episode = noisy_episodes(1)[0]
    answers = [who.adapt(episode.support)(episode.query.images) for who in (learner, loaded.learner)]
    assert torch.equal(*answers)


def test_half_precision_rounds_kernels_and_matrices_alone(tmp_path):
    learner = tiny_reptile(norm="running")
    whole = save_checkpoint(tmp_path / "whole", learner, training=TRAINING, results=[], card="")
    half = save_checkpoint(tmp_path / "half", learner, training=TRAINING, results=[], card="", half=True)
    assert (half / "model.safetensors").stat().st_size < 0.75 * (whole / "model.safetensors").stat().st_size
    loaded = load_checkpoint(half).learner.state_dict()
    for name, value in learner.state_dict().items():
        assert loaded[name].dtype == value.dtype
        rounded = value.half().float() if value.ndim > 1 else value
        assert torch.equal(loaded[name], rounded), name
    with torch.no_grad():
        next(p for p in learner.parameters() if p.ndim > 1)[0] = 7e4
    with pytest.raises(ValueError, match="too large for half precision; leave out --half"):
        save_checkpoint(tmp_path / "half", learner, training=TRAINING, results=[], card="", half=True, replace=True)
    assert load_checkpoint(half).config["sha256"] == sha256(half / "model.safetensors")
    edit_weights(whole, lambda state: state.update({"network.blocks.0.1.bias": torch.zeros(8).half()}))
    assert "torch.float16 in place of torch.float32" in refusal(whole), "what is never written in 16 bits is not read so"


def test_a_folder_holds_three_files_and_its_parent_nothing_else(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert os.listdir(folder.parent) == ["tiny"]
    save(folder, seed=1)  # over the old one
    assert os.listdir(folder.parent) == ["tiny"]
    assert same_state(load_checkpoint(folder).learner.state_dict(), tiny_reptile(seed=1).state_dict())


@pytest.mark.parametrize("name", ["..", ".tiny", "a b", "tiny\n", "ti±ny", "-" * 101])
def test_a_name_is_one_plain_component(tmp_path, name):
    with pytest.raises(ValueError, match=r"letters, digits, dots, hyphens and underscores, and no dot first"):
        save(tmp_path / "inside" / name)
    assert not list(tmp_path.iterdir())


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_checkpoint_is_replaced_only_when_asked(folder):
    before = files_in(folder)
    with pytest.raises(FileExistsError, match="add --replace to write over it"):
        save_checkpoint(folder, tiny_reptile(seed=1), training=TRAINING, results=[], card="")
    assert files_in(folder.parent) == {f"tiny/{name}": content for name, content in before.items()}


@pytest.mark.parametrize(
    "content", [{"thesis.tex": "x"}, {"config.json": "{}"}, {"config.json": '{"learner": "reptile", "training": {}}'}, {}]
)
def test_what_is_no_checkpoint_is_never_replaced(tmp_path, content):
    folder = tmp_path / "mine"
    for name, text in content.items():
        write_text(folder / name, text)
    if not content:
        folder.write_text("a file")
    before = files_in(tmp_path)
    with pytest.raises(FileExistsError, match="no checkpoint of this kit, so it is not replaced"):
        save(folder)
    assert files_in(tmp_path) == before


def test_a_checkpoint_is_not_replaced_with_what_a_person_put_beside_it(folder):
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds notes.txt beside the checkpoint"):
        save(folder, seed=1)
    assert intact(folder) and (folder / "notes.txt").read_text() == "mine"


def test_others_may_read_a_checkpoint(folder):
    assert [oct(path.stat().st_mode & 0o444) for path in (folder, *folder.iterdir())] == ["0o444"] * 4


def test_a_card_may_be_missing(folder):
    (folder / "README.md").unlink()
    assert load_checkpoint(folder).card == ""


def test_a_checkpoint_is_found_by_its_name(folder, monkeypatch):
    monkeypatch.setattr(checkpoint_folder, "PRETRAINED", folder.parent)
    assert load_checkpoint("tiny").folder == folder
    assert list_checkpoints() == ["tiny"]


# --- what is refused ---


def test_an_unknown_name_is_told_which_there_are(folder, monkeypatch):
    save(folder.parent / "other")
    monkeypatch.setattr(checkpoint_folder, "PRETRAINED", folder.parent)
    message = refusal("reptile-nowhere")
    assert "'reptile-nowhere'" in message and "other, tiny" in message


def test_a_name_does_not_lead_out_of_pretrained(folder, monkeypatch):
    monkeypatch.setattr(checkpoint_folder, "PRETRAINED", folder.parent / "pretrained")
    monkeypatch.chdir(folder)  # from here, the relative folder ../../tiny is not the checkpoint either
    assert "no checkpoint '../tiny/../tiny/x'" in refusal("../tiny/../tiny/x")
    (folder.parent / "pretrained").mkdir()
    monkeypatch.chdir("/")
    assert "no checkpoint '../tiny'" in refusal("../tiny")


@pytest.mark.parametrize("position", ["first", "middle", "last"])
def test_a_flipped_byte_is_noticed(folder, position):
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[{"first": 0, "middle": len(content) // 2, "last": -1}[position]] ^= 1
    weights.write_bytes(content)
    message = refusal(folder)
    assert str(weights) in message and "damaged or was changed" in message and "fetch the checkpoint again" in message


def test_missing_weights_are_noticed(folder):
    (folder / "model.safetensors").unlink()
    message = refusal(folder)
    assert "model.safetensors is missing" in message and "copy the whole checkpoint folder again" in message


WRONG_WEIGHTS = {
    "missing": (lambda state: state.pop("network.blocks.0.0.weight"), "network.blocks.0.0.weight is missing"),
    "extra": (lambda state: state.update(more=torch.zeros(1)), "more is not expected"),
    "shape": (
        lambda state: state.update({"network.blocks.0.1.bias": torch.zeros(5)}),
        r"network.blocks.0.1.bias has shape (5,) in place of (8,)",
    ),
    "not a number": (
        lambda state: state["network.blocks.0.1.bias"].fill_(float("nan")),
        "network.blocks.0.1.bias has values that are not finite",
    ),
    "infinite": (
        lambda state: state["network.blocks.0.0.weight"][0].fill_(-float("inf")),
        "blocks.0.0.weight has values that are not finite",
    ),
    "integers": (
        lambda state: state.update({"network.blocks.0.1.bias": torch.zeros(8, dtype=torch.int64)}),
        "network.blocks.0.1.bias has values of torch.int64 in place of torch.float32",
    ),
    "complex": (
        lambda state: state.update({"network.blocks.0.1.bias": torch.zeros(8, dtype=torch.complex64)}),
        "network.blocks.0.1.bias has values of torch.complex64 in place of torch.float32",
    ),
}


@pytest.mark.parametrize("kind", WRONG_WEIGHTS)
def test_weights_that_do_not_fit_are_named(folder, kind):
    change, complaint = WRONG_WEIGHTS[kind]
    edit_weights(folder, change)
    message = refusal(folder)
    assert complaint in message and str(folder / "model.safetensors") in message and "fetch the checkpoint again" in message


def test_weights_that_are_no_safetensors_are_refused(folder):
    (folder / "model.safetensors").write_bytes(b"\x80\x04}q\x00.")  # a pickle
    edit(folder, sha256=sha256(folder / "model.safetensors"))
    assert f"{folder / 'model.safetensors'} cannot be read" in refusal(folder)


HYPER = {"network": {"kind": "conv4", "width": 8, "norm": "group", "stride": 2, "channels": 1, "size": 18}}
WRONG_CONFIGS = {
    "older": ({"format_version": 1}, "format_version 1, of an earlier version of this kit", "fetch it again"),
    "another kind of network": ({"hyper_parameters": {"network": {"kind": "magic"}}}, "kind 'magic' is not known", "upgrade fewshot_kit"),
    "newer": ({"format_version": 99}, "format_version 99", "upgrade fewshot_kit"),
    "no version": ({"format_version": None}, "has no format_version", "choose another folder"),
    "no hash": ({"sha256": None}, "lacks sha256", "fetch the checkpoint again"),
    "no learner": ({"learner": None, "hyper_parameters": None}, "lacks hyper_parameters, learner", "fetch the checkpoint again"),
    "no results": ({"results": None}, "lacks results", "fetch the checkpoint again"),
    "unknown learner": ({"learner": "magic"}, "unknown learner 'magic'; there are reptile", "upgrade fewshot_kit"),
    "unknown hyper-parameter": ({"hyper_parameters": HYPER | {"magic": 1}}, "magic", "upgrade fewshot_kit"),
    "wrong hyper-parameter": ({"hyper_parameters": HYPER | {"inner_lr": -1}}, "finite number above 0, not -1", "fetch the checkpoint"),
    "no network": ({"hyper_parameters": {"inner_lr": 0.1}}, "'network' is missing", "fetch the checkpoint again"),
    "no hyper-parameters": ({"hyper_parameters": [1]}, "hyper_parameters = [1], but wants an object", "fetch the checkpoint again"),
}


@pytest.mark.parametrize("kind", WRONG_CONFIGS)
def test_a_config_that_cannot_be_is_refused_with_a_remedy(folder, kind):
    changes, complaint, remedy = WRONG_CONFIGS[kind]
    edit(folder, **changes)
    message = refusal(folder)
    assert str(folder) in message and complaint in message and remedy in message


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"null"])
def test_a_config_that_is_no_json_object_is_refused(folder, content):
    (folder / "config.json").write_bytes(content)
    message = refusal(folder)
    assert str(folder / "config.json") in message and ("fetch the checkpoint again" in message or "choose another folder" in message)


# --- saves that fail ---


def intact(folder: Path) -> bool:
    return same_state(load_checkpoint(folder).learner.state_dict(), tiny_reptile(seed=0).state_dict())


def test_a_full_disk_leaves_the_old_checkpoint_and_nothing_else(folder, monkeypatch):
    def no_room(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space left"):
        save(folder, seed=1)
    assert intact(folder) and os.listdir(folder.parent) == ["tiny"]
    with pytest.raises(OSError, match="No space left"):
        save(folder.parent / "new")
    assert os.listdir(folder.parent) == ["tiny"]


@pytest.mark.parametrize("which", [0, 1])
def test_a_folder_that_cannot_be_replaced_stays(folder, monkeypatch, which):
    rename, calls = os.rename, []

    def fail(source, target):
        calls.append(source)
        if len(calls) == which + 1:
            raise PermissionError(errno.EACCES, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(PermissionError):
        save(folder, seed=1)
    assert intact(folder) and os.listdir(folder.parent) == ["tiny"]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "result.json"
    write_text(path, "old")
    with pytest.raises(RuntimeError), written_whole(path) as file:
        file.write(b"ne")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["result.json"]


KILLED_SAVE = """
import os, shutil, signal, sys
import safetensors.torch
from pathlib import Path
from synthetic import tiny_reptile
from fewshot_kit.training import checkpoints

def killed_at(owner, name, call):
    calls, original = [], getattr(owner, name)
    def replacement(*arguments, **options):
        calls.append(name)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)
    setattr(owner, name, replacement)

folder, moment = Path(sys.argv[1]), sys.argv[2]
if moment == "weights":
    killed_at(os, "fsync", 1)
elif moment == "old moved away":
    killed_at(os, "rename", 2)
elif moment == "new in place":
    killed_at(shutil, "rmtree", 1)
checkpoints.save_checkpoint(folder, tiny_reptile(seed=1), training={}, results=[], card="new", replace=True)
"""


@pytest.mark.parametrize(("moment", "seed"), [("weights", 0), ("old moved away", 0), ("new in place", 1)])
def test_a_killed_save_leaves_a_whole_checkpoint(folder, monkeypatch, moment, seed):
    killed_save(folder, moment)
    assert same_state(load_checkpoint(folder).learner.state_dict(), tiny_reptile(seed=seed).state_dict())
    monkeypatch.setattr(checkpoint_folder, "PRETRAINED", folder.parent)
    assert list_checkpoints() == ["tiny"]  # put back by the load
    save(folder, seed=2)  # and the next save goes well
    assert os.listdir(folder.parent) == ["tiny"]
    assert same_state(load_checkpoint("tiny").learner.state_dict(), tiny_reptile(seed=2).state_dict())


def killed_save(folder: Path, moment: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])}
    killed = subprocess.run([sys.executable, "-c", KILLED_SAVE, str(folder), moment], env=environment, timeout=120)
    assert killed.returncode == -signal.SIGKILL


def test_a_checkpoint_that_a_killed_save_moved_away_is_there_for_the_next_save(folder):
    killed_save(folder, "old moved away")
    assert not folder.exists()
    with pytest.raises(FileExistsError, match="add --replace to write over it"):
        save_checkpoint(folder, tiny_reptile(seed=1), training=TRAINING, results=[], card="")
    assert intact(folder) and os.listdir(folder.parent) == ["tiny"]


def test_a_save_tidies_up_after_killed_ones_and_takes_nothing_else_away(folder):
    kept = ["tiny.old", "tiny.new", ".tiny.20240101", ".tiny.old.backup", ".other.new.abcdefgh"]
    for name in kept:
        shutil.copytree(folder, folder.parent / name)
    for moment in ("weights", "old moved away", "new in place"):
        killed_save(folder, moment)
    assert len(os.listdir(folder.parent)) > 1 + len(kept)
    save(folder, seed=2)
    assert sorted(os.listdir(folder.parent)) == sorted(["tiny", *kept])


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_is_told_its_new_one(old):
    assert f"is called '{RENAMED[old]}' now" in refusal(old) and (PRETRAINED / RENAMED[old]).is_dir()


def test_hidden_folders_of_killed_saves_are_not_listed(folder):
    shutil.copytree(folder, folder.parent / ".tiny.abc")
    assert list_checkpoints(folder.parent) == ["tiny"]
