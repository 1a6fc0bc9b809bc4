"""FOD-A (Munyer et al. 2021, MIT): photographs of foreign objects on an airfield's ground, each with one box, of 31 classes.

Pictures of one class come from one or a few videos, so that support and query of an episode may show the very same thing.
"""

from itertools import chain
from pathlib import PurePosixPath

import torch

from fewshot_kit.data.mapped import mapped_images
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.sources import cache_folder, find_file
from fewshot_kit.data.trees import open_tree
from fewshot_kit.detection.annotated import AnnotatedImages
from fewshot_kit.detection.annotations import Annotation, picture_boxes
from fewshot_kit.detection.boxes import clipped
from fewshot_kit.detection.voc import read_voc

ARCHIVE = "fod_a/voc.zip"
REPOSITORY = "https://github.com/FOD-UNOmaha/FOD-data"
# Novel classes are for testing alone. Of the 20 others, 5 are held out to choose by: an episode of 5 ways can be drawn from them. They are
# those which torch.randperm(20, generator=torch.Generator().manual_seed(0)) puts first among the names in their order.
NOVEL = (
    "AdjustableWrench", "Battery", "FuelCap", "Hose", "MetalSheet", "PaintChip", "Pen", "Rock", "Screwdriver", "SodaCan", "Wood",
)  # fmt: skip
VAL = ("ClampPart", "Cutter", "Label", "PlasticPart", "Wrench")
BASE = (
    "AdjustableClamp", "Bolt", "BoltNutSet", "BoltWasher", "ClampPart", "Cutter", "Hammer", "Label", "LuggagePart", "LuggageTag",
    "MetalPart", "Nail", "Nut", "PlasticPart", "Pliers", "Screw", "Tape", "Washer", "Wire", "Wrench",
)  # fmt: skip
_TRAIN = tuple(name for name in BASE if name not in VAL)
CLASSES = {"train": _TRAIN, "train_held_out": _TRAIN, "val": VAL, "test": NOVEL, "trainval": BASE, "trainval_held_out": BASE}
HELD_OUT = 0.2  # of each training class, the last pictures in the order of the videos: neighbours in a video are all but the same


def load_fod_a(split: str, size: int, progress: bool) -> AnnotatedImages:
    """Load the classes of a split at `size` x `size` pixels. Of the training classes, the first 48 pictures of 60 are "train".

    The last 12 are "train_held_out", for ordinary detection of known classes. "trainval" and "trainval_held_out" are the same of all 20.
    """
    path = find_file(ARCHIVE)
    if path is None:
        raise FileNotFoundError(
            f"FOD-A is not on this machine, and is not downloaded by itself. Get it in the format of Pascal VOC from {REPOSITORY}, and "
            f"save it as {cache_folder() / ARCHIVE} (pictures and .xml files); or use scenes, which needs no download"
        )
    with open_tree(path) as tree:
        annotations = read_voc(tree, sorted(file for file in tree.texts if file.suffix == ".xml"))
        by_class = _by_class(annotations, str(path))
        pictures = {name: [annotation.picture for annotation in of_class] for name, of_class in by_class.items()}
        decoded = mapped_images("fod_a", tree, pictures, Preprocessing(size=size, channels=3), progress)
    parts = []
    for label, name in enumerate(CLASSES[split]):
        chosen = _part(len(by_class[name]), split)
        images = decoded.of_class(decoded.class_names.index(name))[chosen.start : chosen.stop]
        boxes = [_scaled(by_class[name][i], size) for i in chosen]
        parts.append((images, boxes, [torch.full((len(of_picture),), label) for of_picture in boxes]))
    images, boxes, labels = zip(*parts, strict=True)
    return AnnotatedImages("fod_a", split, torch.cat(images), tuple(chain(*boxes)), tuple(chain(*labels)), CLASSES[split])


def fod_a_is_here() -> bool:
    return find_file(ARCHIVE) is not None


def _part(n: int, split: str) -> range:
    """Return which of a class's pictures are of a split."""
    n_held_out = round(HELD_OUT * n)
    parts = {"train": range(n - n_held_out), "train_held_out": range(n - n_held_out, n)}
    return parts.get(split.replace("trainval", "train"), range(n))


def _by_class(annotations: list[Annotation], path: str) -> dict[str, list[Annotation]]:
    """Group annotations by their one class, sorted by the pictures' names, which number the frames of the videos."""
    found: dict[str, list[Annotation]] = {name: [] for name in sorted((*BASE, *NOVEL))}
    for annotation in sorted(annotations, key=lambda annotation: PurePosixPath(annotation.picture).name):
        if len(set(annotation.names)) != 1 or annotation.names[0] not in found or annotation.size is None:
            raise ValueError(f"{annotation.file} of {path} must have a size, and boxes of one class of FOD-A, but has {annotation.names}")
        if annotation.size[0] != annotation.size[1]:
            raise ValueError(f"{annotation.file} of {path} is of a picture of {annotation.size}, but those of FOD-A are square")
        found[annotation.names[0]].append(annotation)
    if empty := [name for name, of_class in found.items() if len(of_class) < 5]:
        raise ValueError(f"{path} has {len(found[empty[0]])} pictures of class {empty[0]!r}, at least 5 are needed; get the whole data set")
    return found


def _scaled(annotation: Annotation, size: int) -> torch.Tensor:
    return clipped(picture_boxes(annotation, *annotation.size) * (size / annotation.size[0]), size, size)  # a last digit may be above it
