"""What lies in a checkpoint's folder, `pretrained/<name>/`: its files, its config.json, its name. No torch is needed to read them."""

import glob
import math
import re
from pathlib import Path

from fewshot_kit.training.schema import SchemaError, check_checkpoint, read_json

FORMAT_VERSION = 2
PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"
WEIGHTS, CONFIG, CARD, LOG = "model.safetensors", "config.json", "README.md", "log.jsonl"

# What checkpoints were called before a folder was one set of weights.
RENAMED = {
    "reptile-omniglot-3way-1shot": "reptile-omniglot",
    "reptile-omniglot-5way-1shot": "reptile-omniglot",
    "reptile-omniglot-5way-5shot": "reptile-omniglot",
    "maml-quickdraw-5way-1shot": "maml-quickdraw",
    "maml-omniglot_vinyals-5way-1shot": "maml-omniglot_vinyals",
    "meta_sgd-quickdraw-5way-1shot": "meta_sgd-quickdraw",
    "protonet-omniglot_vinyals-5way-1shot": "protonet-omniglot_vinyals",
    "protonet-omniglot_vinyals-5way-5shot": "protonet-omniglot_vinyals-annealed",
    "protonet-omniglot_vinyals-5way-1shot-augmented": "protonet-omniglot_vinyals-augmented",
    "magnet-grocery_store-5way-1shot": "magnet-grocery_store",
    "repmet-omniglot_vinyals-5way-1shot": "repmet-omniglot_vinyals",
    "repmet-omniglot_vinyals-5way-1shot-v1": "repmet-omniglot_vinyals-v1",
}


class CheckpointError(ValueError):
    """A checkpoint that cannot be loaded; the message names the file, what is wrong and what to do."""


def check_name(name: str) -> str:
    """Return the name of a checkpoint to be written; a ValueError says what a name may be."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", name):
        raise ValueError(
            f"a checkpoint's name has at most 100 letters, digits, dots, hyphens and underscores, and no dot first, not {name!r}; "
            f"choose such a name, as reptile-omniglot-mine, and another folder with --out"
        )
    return name


def check_replaceable(folder: Path, replace: bool) -> None:
    """Raise FileExistsError if a checkpoint must not be written here: over what is no checkpoint never, over one only with `replace`."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not _is_checkpoint(folder):
        raise FileExistsError(f"{folder} is there and no checkpoint of this kit, so it is not replaced; choose another name or folder")
    others = sorted({path.name for path in folder.iterdir() if not path.name.startswith(".")} - {WEIGHTS, CONFIG, CARD, LOG})
    if others:
        raise FileExistsError(f"{folder} holds {', '.join(others[:5])} beside the checkpoint, so it is not replaced; move that elsewhere")
    if not replace:
        raise FileExistsError(f"{folder} holds a checkpoint already; add --replace to write over it, or choose another name")


def _is_checkpoint(folder: Path) -> bool:
    """Say whether it is a folder of one set of weights of this kit, be they damaged or of an earlier version."""
    try:
        config = read_json(folder / CONFIG)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and {"format_version", "learner", "sha256"} <= config.keys()


def list_checkpoints(root: Path | None = None) -> list[str]:
    """Name the checkpoints in `pretrained/`, or in another folder."""
    names = (path.parent.name for path in (root or PRETRAINED).glob(f"*/{CONFIG}"))
    return sorted(name for name in names if not name.startswith("."))  # a killed save leaves a hidden folder


def find_checkpoint(name_or_folder: str | Path) -> Path:
    """Return the folder of a checkpoint, given by its name in `pretrained/` or as a folder."""
    given = Path(name_or_folder)
    is_name = str(name_or_folder) == given.name  # nothing that leads out of pretrained/
    for folder in ([PRETRAINED / given] if is_name else []) + [given]:
        for place in (folder, *moved_away(folder)):
            if (place / CONFIG).is_file():
                return place
    if given.name in RENAMED:
        raise CheckpointError(f"the checkpoint {given.name!r} is called {RENAMED[given.name]!r} now; use that name")
    known = ", ".join(list_checkpoints()) or f"{PRETRAINED}, which is empty"
    raise CheckpointError(
        f"no checkpoint {str(name_or_folder)!r}: neither a folder with a {CONFIG} nor one of {known}; choose one of those"
    )


def moved_away(folder: Path) -> list[Path]:
    """Return where a process killed between the two renames of a save has left a checkpoint: in a hidden folder beside its place."""
    return sorted(folder.parent.glob(f".{glob.escape(folder.name)}.old.*/{glob.escape(folder.name)}"))


def read_config(folder: Path) -> dict:
    """Read a checkpoint's config.json; a CheckpointError names what is wrong with it."""
    path = folder / CONFIG
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} {error}; fetch the checkpoint again") from error
    version = config.get("format_version")
    if type(version) is not int:
        raise CheckpointError(f"{path} has no format_version: it is not a checkpoint of this kit; choose another folder")
    if version > FORMAT_VERSION:
        raise CheckpointError(f"{path} has format_version {version}, but this kit reads up to {FORMAT_VERSION}; upgrade fewshot_kit")
    if version < FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format_version {version}, of an earlier version of this kit, whose weights had other names; fetch it again"
        )
    try:
        check_checkpoint(config)
    except SchemaError as error:
        raise CheckpointError(f"{path} {error}; fetch the checkpoint again, or upgrade fewshot_kit") from error
    return config


def settings_for(config: dict, n_way: int, n_shot: int) -> tuple[dict[str, float], str]:
    """Return the settings that were found best on validation for a way and shot, or for the nearest there are, and where they are from.

    `config` is a config.json; ({}, "") where it has none. Shots count before ways: the best settings depend on them more.
    """
    found = config.get("settings") or []
    if not found:
        return {}, ""
    nearest = min(found, key=lambda row: (abs(math.log(row["n_shot"] / max(n_shot, 1))), abs(math.log(row["n_way"] / max(n_way, 1)))))
    return nearest["values"], f"found best on validation classes, {nearest['n_way']}-way {nearest['n_shot']}-shot"
