"""Annotations in the JSON of COCO (Lin et al. 2014): one file for all pictures; a box is left, top, width, height."""

import json
from pathlib import PurePosixPath
from typing import NoReturn

from fewshot_kit.data.archives import PictureTree
from fewshot_kit.detection.annotations import Annotation, Pictures, check_names, class_name, decoded_text, read_text

MAX_BYTES = 100_000_000
LARGEST = 1e9  # of any number
PARTS = ("images", "annotations", "categories")


def read_coco(tree: PictureTree, file: PurePosixPath) -> tuple[list[Annotation], tuple[str, ...]]:
    """Read the file: what it says of each picture, and the names of its classes in the order of their ids."""
    what = str(file)
    content = _parse(read_text(tree, file, MAX_BYTES), what)
    images, categories = (_by_id(content, part, what) for part in ("images", "categories"))
    names = {key: class_name(category.get("name"), f"category {key} of {what}") for key, category in categories.items()}
    class_names = tuple(names[key] for key in sorted(names))
    check_names(class_names, what)
    pictures = Pictures(tree)
    found = {key: _image(image, f"image {key} of {what}", pictures) for key, image in images.items()}
    _check_pictures_differ(found, what)
    things: dict[int, list] = {key: [] for key in images}
    for i, thing in enumerate(content["annotations"], start=1):
        label = f"annotation {_of_kind(thing, dict, f'annotation {i} of {what}').get('id', f'number {i}')!s:.30}"
        image, name = (_reference(thing, key, known, f"{label} of {what}") for key, known in (("image_id", images), ("category_id", names)))
        things[image].append((_box(thing, f"{label} of {what}"), names[name], label))
    return [_annotation(*found[key], things[key], what) for key in images], class_names


def _parse(content: bytes, what: str) -> dict:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no number")

    try:
        found = json.loads(decoded_text(content, what), parse_constant=refuse)
    except RecursionError as error:
        raise ValueError(f"{what} has lists in lists without end; it is no annotation of COCO") from error
    except ValueError as error:
        raise ValueError(f"{what} is no JSON, or is cut off ({error!s:.200}); save it again") from error
    for part in PARTS:
        if not isinstance(found, dict) or not isinstance(found.get(part), list):
            raise ValueError(f"{what} is no annotation of COCO: it has no list {part!r} (it needs {', '.join(PARTS)}); take it away")
    return found


def _of_kind(value: object, kind: type, what: str):
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{what} is not what COCO has there ({value!r:.50}); save the file again")
    return value


def _by_id(content: dict, part: str, what: str) -> dict[int, dict]:
    found: dict[int, dict] = {}
    for i, item in enumerate(content[part], start=1):
        key = _of_kind(_of_kind(item, dict, f"number {i} of {part} in {what}").get("id"), int, f"id of number {i} of {part} in {what}")
        if key in found:
            raise ValueError(f"two of {part} in {what} have the id {key}; give each its own")
        found[key] = item
    return found


def _image(image: dict, what: str, pictures: Pictures) -> tuple[PurePosixPath, tuple[int, int]]:
    """Return the picture that is meant, and its width and height."""
    picture = pictures.named(_of_kind(image.get("file_name"), str, f"file_name of {what}"), what)
    return picture, tuple(_of_kind(image.get(side), int, f"{side} of {what}") for side in ("width", "height"))


def _check_pictures_differ(found: dict[int, tuple], what: str) -> None:
    seen: dict[PurePosixPath, int] = {}
    for key, (picture, _) in found.items():
        if seen.setdefault(picture, key) != key:
            raise ValueError(f"images {seen[picture]} and {key} of {what} are both of {picture}; join them")


def _reference(thing: dict, key: str, known: dict, what: str) -> int:
    value = thing.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value not in known:
        raise ValueError(f"{what} has the {key} {value!r:.50}, which nothing in the file has; correct it")
    return value


def _box(thing: dict, what: str) -> tuple[float, float, float, float]:
    if thing.get("iscrowd", 0) not in (0, False):
        raise ValueError(f"{what} is of a crowd (iscrowd), not of one thing; mark the things one by one, or take it out")
    values = thing.get("bbox")
    is_box = isinstance(values, list) and len(values) == 4
    if not is_box or not all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= LARGEST for v in values):
        raise ValueError(f"bbox of {what} must be four numbers (left, top, width, height), but is {values!r:.80}; correct it")
    left, top, width, height = map(float, values)
    return left, top, left + width, top + height


def _annotation(picture: PurePosixPath, size: tuple[int, int], things: list, what: str) -> Annotation:
    boxes, names, lines = zip(*things, strict=True) if things else ((), (), ())
    return Annotation(picture, what, boxes, names, size, lines=lines)
