"""A person's own pictures with boxes: a folder or archive with annotations of Pascal VOC, COCO or YOLO."""

import os
from pathlib import Path

import torch
from tqdm import tqdm

from fewshot_kit.data.archives import PictureTree
from fewshot_kit.data.cancelling import Check, go_on
from fewshot_kit.data.decoding import MAX_BYTES
from fewshot_kit.data.images import read_image
from fewshot_kit.data.trees import open_tree, shown
from fewshot_kit.detection.annotated import AnnotatedImages
from fewshot_kit.detection.annotations import Annotation, check_classes_have_boxes, check_names, picture_boxes
from fewshot_kit.detection.coco import read_coco
from fewshot_kit.detection.letterbox import letterboxed
from fewshot_kit.detection.voc import read_voc
from fewshot_kit.detection.yolo import is_label_file, read_yolo

KINDS = "Pascal VOC (an .xml a picture), COCO (one .json) or YOLO (a .txt a picture, and classes.txt)"
LEAST_SCALED_SIDE = 1.0  # pixels of a box in the picture as the detector sees it


def load_own_boxes(path: Path, size: int, progress: bool, check: Check = go_on) -> AnnotatedImages:
    """Decode a person's own folder or archive to pictures of `size` x `size` pixels; it is not kept in the cache.

    A picture that is not square gets a gray margin. Raises ValueError, which names the file, the box and what to do, for everything that
    cannot be meant: see `fewshot_kit.detection.annotations`.
    """
    if not os.path.exists(path):  # False, too, for what can be no path
        raise FileNotFoundError(f"{shown(path)} does not exist; give a folder with pictures and their boxes, or an archive of one: {KINDS}")
    with open_tree(path, check) as tree:
        annotations, class_names = read_annotations(tree, check)
        _check_all(tree, annotations, class_names)
        n_bytes = len(annotations) * 3 * size**2
        if n_bytes > MAX_BYTES:
            raise ValueError(
                f"the {len(annotations):,} pictures of {path} would take {n_bytes:,} bytes of memory; choose fewer, or a smaller size"
            )
        return _decode(tree, annotations, class_names, size, progress, check)


def read_annotations(tree: PictureTree, check: Check = go_on) -> tuple[list[Annotation], tuple[str, ...]]:
    """Read what the one kind of annotation files in a folder or archive says, and the names of the classes."""
    xml, of_json = ([file for file in tree.texts if file.suffix.lower() == suffix] for suffix in (".xml", ".json"))
    labels = [] if xml or of_json else [file for file in tree.texts if is_label_file(file)]
    if bool(xml) + bool(of_json) > 1:
        raise ValueError(f"{tree.origin} has annotations of two kinds, {xml[0]} and {of_json[0]}; leave those of one kind: {KINDS}")
    if len(of_json) > 1:
        raise ValueError(f"{tree.origin} has several .json files, {of_json[0]} and {of_json[1]}; give the folder of one of them")
    if of_json:
        return read_coco(tree, of_json[0])
    if xml:
        annotations = read_voc(tree, sorted(xml), check)
        names = tuple(sorted({name for annotation in annotations for name in annotation.names}))
        check_names(names, tree.origin)
        return annotations, names
    if labels:
        return read_yolo(tree, sorted(labels), check)
    raise ValueError(f"{tree.origin} has {len(tree.pictures)} pictures and no annotation of them; give {KINDS}")


def _check_all(tree: PictureTree, annotations: list[Annotation], class_names: tuple[str, ...]) -> None:
    """Raise ValueError where a picture has no annotation or two, or a class no box."""
    files = {}
    for annotation in annotations:
        if other := files.get(annotation.picture):
            raise ValueError(f"{annotation.picture} of {tree.origin} has two annotations, {other} and {annotation.file}; leave one")
        files[annotation.picture] = annotation.file
    if missing := [picture for picture in tree.pictures if picture not in files]:
        raise ValueError(
            f"{missing[0]} of {tree.origin} has no annotation ({len(missing)} such); mark what is in it (an empty annotation if nothing "
            f"is), or take the picture away"
        )
    check_classes_have_boxes(class_names, annotations, tree.origin)


def _decode(
    tree: PictureTree, annotations: list[Annotation], names: tuple[str, ...], size: int, progress: bool, check: Check
) -> AnnotatedImages:
    position = {annotation.picture: i for i, annotation in enumerate(annotations)}
    images = torch.empty(len(annotations), 3, size, size, dtype=torch.uint8)
    boxes, labels = [torch.empty(0, 4)] * len(annotations), [torch.empty(0, dtype=torch.int64)] * len(annotations)
    for picture in tqdm(tree.pictures, desc=f"decoding {Path(tree.origin).name}", unit="picture", disable=not progress):
        check()
        i = position[picture]
        pixels = read_image(tree.read(picture), name=f"{tree.origin}/{picture}")
        own = picture_boxes(annotations[i], pixels.shape[1], pixels.shape[0])
        images[i], letterbox = letterboxed(pixels, size)
        boxes[i] = letterbox.into(own).clamp(0, size)
        _check_visible(annotations[i], boxes[i], size)
        labels[i] = torch.tensor([names.index(name) for name in annotations[i].names], dtype=torch.int64)
    return AnnotatedImages(Path(tree.origin).name, "test", images, tuple(boxes), tuple(labels), names)


def _check_visible(annotation: Annotation, boxes: torch.Tensor, size: int) -> None:
    sides = (boxes[:, 2:] - boxes[:, :2]).amin(1)
    if len(sides) and sides.min() < LEAST_SCALED_SIDE:
        i = int(sides.argmin())
        raise ValueError(
            f"{annotation.box_name(i)} is {sides[i]:.2g} pixels wide or high where its picture is scaled to {size}: nothing of it "
            f"can be seen; cut the part of the picture out that it is in, or take the box out"
        )
