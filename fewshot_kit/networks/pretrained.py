"""Vision models that others trained, of Hugging Face `transformers`, as frozen networks: pooled features at the model's own size.

They are kept by reference: name, revision and hash. Weights are read from safetensors alone, and no code of the hub is ever run. What is
downloaded once is there without a network afterwards.
"""

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.networks.configs import PretrainedConfig
from fewshot_kit.networks.normalised import normalised

PREFIX = "hf:"  # of such a model's name, where a checkpoint is wanted
RECOMMENDED = "hf:facebook/dinov2-small"
BUNDLED = "resnet12-mini_imagenet"  # what is here without a network
FILES = ("config.json", "preprocessor_config.json", "processor_config.json", "model*.safetensors", "model.safetensors.index.json")
LARGER = 1.05  # how many more weights a config may describe than its files hold: those of a head that nobody needs
TOGETHER = 16  # pictures that a model looks at together
_BLOCK = 1 << 20  # bytes that are read at a time


class PretrainedError(ValueError):
    """A model that cannot be used; the message names it, says what is wrong and what to do."""


class Pretrained(nn.Module):
    """A frozen vision model: float images (n, 3, size, size) in 0..1 -> pooled features (n, n_features).

    Pooled as the model itself does (`pooler_output`, or the image features of a model of pictures and texts); where its checkpoint has no
    weights for that, the first token, or the mean over all places. Deviation from a model's own preprocessing: the whole central square is
    shown, where many cut off a margin. The model is read at its first use, which raises PretrainedError where it is gone, or its weights
    are others than the config says.
    """

    def __init__(self, config: PretrainedConfig):
        super().__init__()
        self.config, self.preprocessing, self.n_features = config, config.preprocessing, config.n_features
        self._loaded: list[tuple[nn.Module, bool]] = []  # in a list: its parameters are not ours, so nothing trains, copies or saves them
        self._loading = threading.Lock()
        self.register_buffer("_place", torch.empty(0), persistent=False)  # says on which device it is

    def load(self) -> tuple[nn.Module, bool]:
        """Return the model, and whether it pools by itself; read when it is needed first, since it may take gigabytes."""
        with self._loading:
            if not self._loaded:
                folder = find_model(self.config.model, self.config.revision)
                model, has_pooler = _load(folder, self.config.model, self.config.sha256)
                self._loaded.append((model.to(self._place.device), has_pooler))
        return self._loaded[0]

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        model, has_pooler = self.load()
        images = normalised(images, self.preprocessing.mean, self.preprocessing.std)
        parts = [images] if torch.compiler.is_exporting() else images.split(TOGETHER)  # how many there are is open in what is exported
        return torch.cat([pooled(model, part, has_pooler) for part in parts])

    def layers(self) -> dict[str, nn.Module]:
        """Return the parts by name, from the picture up; their parameters never change."""
        return dict(self.load()[0].named_children())

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        for model, _ in self._loaded:
            model._apply(fn)
        return super()._apply(fn, recurse)

    def __deepcopy__(self, memo: dict) -> "Pretrained":
        """Return a network of its own on the same model: that is frozen, and may take gigabytes."""
        other = type(self).__new__(type(self))
        other.__dict__ = self.__dict__ | {"_buffers": dict(self._buffers)}
        return other


def pooled(model: nn.Module, pixel_values: Tensor, has_pooler: bool) -> Tensor:
    """Return the features (n, d) of pictures as the model takes them."""
    of_pictures = getattr(model, "get_image_features", model)
    output = of_pictures(pixel_values=pixel_values)
    if has_pooler and getattr(output, "pooler_output", None) is not None:
        return output.pooler_output.flatten(1)
    hidden = output.last_hidden_state  # (n, tokens, d), or (n, d, h, w)
    return hidden[:, 0] if hidden.ndim == 3 else hidden.mean((2, 3))


def describe_model(name: str) -> PretrainedConfig:
    """Find a model by its name on the hub (name@revision for a certain one) or its folder, download it where need be, and describe it.

    Raises PretrainedError for what is no vision model, has no safetensors, or answers the same picture in two ways.
    """
    is_folder = _folder(name) is not None
    model, _, revision = (name, "", "") if is_folder else name.partition("@")
    folder = find_model(model, revision)
    model = str(folder) if is_folder else model
    digest = weights_sha256(folder)
    loaded, has_pooler = _load(folder, model, digest)
    size, mean, std = _preprocessing(folder, model)
    picture = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), _told(model):
        first, second = (pooled(loaded, picture, has_pooler) for _ in range(2))
    if first.ndim != 2 or not first.isfinite().all() or not torch.equal(first, second):
        raise PretrainedError(f"{model} gives no features that can be used: they are not finite, or the same picture has others each time")
    revision = "" if is_folder else folder.name  # a snapshot's folder is called by its commit
    return PretrainedConfig(model, revision, digest, first.shape[1], size=size, mean=mean, std=std)


# --- where its files are ---


def find_model(model: str, revision: str = "") -> Path:
    """Return the folder of a model's files: a folder as it is, else the hub's snapshot on this machine, downloaded once.

    Raises PretrainedError for a name that cannot be one, and where it is neither here nor can be had.
    """
    if (given := _folder(model)) is not None:
        return given
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", model, re.ASCII) or len(model) > 200:
        raise PretrainedError(f"{model[:100]!r} is neither a folder nor a name on the hub; write it as {RECOMMENDED}")
    _check_installed()
    from huggingface_hub import snapshot_download

    wanted = {"repo_id": model, "revision": revision or None, "allow_patterns": list(FILES)}
    try:
        folder = Path(snapshot_download(**wanted, local_files_only=True))
        if _is_complete(folder):
            return folder
    except Exception:  # not here yet
        pass
    try:
        return Path(snapshot_download(**wanted))
    except Exception as error:  # the hub's library and those below it raise many kinds
        raise PretrainedError(
            f"{model} is not on this machine and cannot be downloaded ({' '.join(str(error).split())[:200]}); check the name and the "
            f"connection, give a folder that holds it, or take {BUNDLED}, which is here"
        ) from error


def _folder(name: str) -> Path | None:
    """Return the folder of this name, if it is one."""
    given = os.path.expanduser(name)
    return Path(given).resolve() if os.path.isdir(given) else None


def weights_sha256(folder: Path) -> str:
    """Return the hash of a model's weights: of one file the file's own, as the hub shows it; of several, of all in a row."""
    if not (files := sorted(folder.glob("model*.safetensors"))):
        raise PretrainedError(
            f"{folder} holds no model.safetensors, and other weights are never read, since they can run code; "
            f"save it anew with save_pretrained, or take another model"
        )
    return _sha256(tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files))


@cache
def _sha256(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, *_ in files:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def _is_complete(folder: Path) -> bool:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return all((folder / name).is_file() for name in set(json.loads(index.read_text())["weight_map"].values()))
    return (folder / "config.json").is_file() and any(folder.glob("model*.safetensors"))


# --- what transformers makes of them ---


def _load(folder: Path, name: str, digest: str) -> tuple[nn.Module, bool]:
    """Return the model in evaluation mode, and whether its checkpoint has the weights of its pooling."""
    if weights_sha256(folder) != digest:
        raise PretrainedError(f"the weights of {name} in {folder} are not those that were used before; put those back, or adopt it anew")
    _check_installed()
    from transformers import AutoConfig, AutoModel

    safe = {"local_files_only": True, "trust_remote_code": False}
    with _told(name):
        _check_depth(folder, name)
        config = AutoConfig.from_pretrained(folder, **safe)
        _check_room(config, folder, name)
        model, found = AutoModel.from_pretrained(
            folder, config=config, **safe, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    if not (hasattr(model, "get_image_features") or getattr(model, "main_input_name", "") == "pixel_values"):
        raise PretrainedError(f"{name} is a {type(model).__name__} and takes no pictures; take a vision model, as {RECOMMENDED}")
    lacking = set(found["missing_keys"]) | {key for key, *_ in found["mismatched_keys"]}
    of_pooler = {key for key in lacking if "pooler" in key.split(".")}
    if lacking - of_pooler:
        raise PretrainedError(f"{name} lacks weights, {min(lacking - of_pooler)} among them; fetch it again, or take another model")
    return model.eval().requires_grad_(False), not of_pooler


def _check_room(config: Any, folder: Path, name: str) -> None:
    """Raise PretrainedError where a config describes more weights than the files hold: they would be made up, however many."""
    from safetensors import safe_open
    from transformers import AutoModel

    with torch.device("meta"):
        described = sum(p.numel() for p in AutoModel.from_config(config, trust_remote_code=False).parameters())
    held = 0
    for path in folder.glob("model*.safetensors"):
        with safe_open(path, "pt") as file:
            held += sum(torch.Size(file.get_slice(key).get_shape()).numel() for key in file.keys())  # noqa: SIM118, it is no dictionary
    if described > LARGER * held + 1_000_000:
        raise PretrainedError(f"{name} describes {described:,} weights, but its files hold {held:,}; fetch it again")


def _check_depth(folder: Path, name: str) -> None:
    """Raise PretrainedError where a config describes more layers than the files hold weights: already to list them may take all memory."""
    from safetensors import safe_open

    n_weights = 0
    for path in folder.glob("model*.safetensors"):
        with safe_open(path, "pt") as file:
            n_weights += len(file.keys())
    n_layers = _n_layers(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    if n_layers > n_weights:
        raise PretrainedError(f"{name} describes {n_layers:,} layers, but its files hold {n_weights:,} weights; fetch it again")


def _n_layers(values: dict[str, Any]) -> int:
    """Return how many layers a config describes, those of the models in it among them."""
    found = 0
    for key, value in values.items():
        if isinstance(value, dict):
            found += _n_layers(value)
        elif key == "depths" or (key.startswith("num_") and key.endswith("_layers")):
            found += sum(n for n in (value if isinstance(value, list) else [value]) if isinstance(n, int))
    return found


def _preprocessing(folder: Path, name: str) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """Return the size, mean and standard deviation that a model was trained with."""
    from transformers import AutoImageProcessor

    with _told(name):
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        size = (getattr(processor, "do_center_crop", False) and processor.crop_size) or processor.size
        height, width = (size.get(side) or size.get("shortest_edge") for side in ("height", "width"))
        mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ((), ())
        mean, std = tuple(map(float, mean)), tuple(map(float, std))
    if not (isinstance(height, int) and height == width):
        raise PretrainedError(f"{name} wants pictures of {dict(size)}, but here they are square; take another model")
    try:
        Preprocessing(height, 3, mean, std)  # which checks them, before a picture of that size is made
    except ValueError as error:
        raise PretrainedError(f"{name} cannot be used: of its pictures, {error}; fetch it again, or take another model") from error
    return height, mean, std


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Keep transformers quiet, and tell in our words what it raises."""
    from transformers.utils import logging

    before, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except PretrainedError:
        raise
    except Exception as error:  # of a damaged config, or of weights that do not fit it, it raises nearly anything
        raise PretrainedError(
            f"{name} cannot be read as a vision model ({' '.join(str(error).split())[:200]}); fetch it again, or take another, as "
            f"{RECOMMENDED}"
        ) from error
    finally:
        logging.set_verbosity(before)
        if has_bar:
            logging.enable_progress_bar()


def _check_installed() -> None:
    try:
        import transformers  # noqa: F401, only whether it is there
    except ImportError as error:
        raise PretrainedError(
            f"networks of Hugging Face need its library: pip install 'transformers>=5'; {BUNDLED}, which is here, needs none"
        ) from error
