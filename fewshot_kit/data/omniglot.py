"""Omniglot (Lake et al. 2015): by alphabets, and split as by Vinyals et al. 2016 with rotations as classes of their own."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.decoding import decode_tree, kept_images
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.sources import RemoteFile

VINYALS_SPLITS = Path(__file__).parent / "splits" / "omniglot_vinyals.json"

# Five of the 30 background alphabets, drawn once: torch.randperm(30, generator=torch.Generator().manual_seed(1))[:5] of them sorted.
OMNIGLOT_VAL_ALPHABETS = (
    "Ojibwe_(Canadian_Aboriginal_Syllabics)",
    "Asomtavruli_(Georgian)",
    "Bengali",
    "Braille",
    "Mkhedruli_(Georgian)",
)

_OMNIGLOT_URL = "https://github.com/brendenlake/omniglot/raw/master/python"
BACKGROUND = RemoteFile("omniglot/images_background.zip", f"{_OMNIGLOT_URL}/images_background.zip", "68d2efa1b9178cc56df9314c21c6e718")
EVALUATION = RemoteFile("omniglot/images_evaluation.zip", f"{_OMNIGLOT_URL}/images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811")


def load_omniglot(split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    if split == "test":
        return _omniglot_file(EVALUATION, preprocessing, progress)
    background = _omniglot_file(BACKGROUND, preprocessing, progress)
    is_val = [name.split("/")[0] in OMNIGLOT_VAL_ALPHABETS for name in background.class_names]
    return background.select([class_id for class_id, held_out in enumerate(is_val) if held_out == (split == "val")])


def load_omniglot_vinyals(split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    parts = [_omniglot_file(file, preprocessing, progress) for file in (BACKGROUND, EVALUATION)]
    everything = replace(
        parts[0],
        images=torch.cat([part.images for part in parts]),
        counts=parts[0].counts + parts[1].counts,
        class_names=parts[0].class_names + parts[1].class_names,
    )
    class_ids = {name: class_id for class_id, name in enumerate(everything.class_names)}
    ranges = json.loads(VINYALS_SPLITS.read_text(encoding="utf-8"))[split]  # {alphabet: [first, last character]}
    wanted = [f"{alphabet}/character{n:02d}" for alphabet, (first, last) in ranges.items() for n in range(first, last + 1)]
    return everything.select([class_ids[name] for name in wanted]).with_rotations()


def _omniglot_file(file: RemoteFile, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    path = file.fetch(progress)
    return kept_images(path.stem, [path], preprocessing, lambda: decode_tree(path, "dark", "all", preprocessing, progress))
