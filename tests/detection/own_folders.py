"""A person's folders of pictures with boxes, written for the tests in each of the three formats."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 60, 40
THINGS = {"one.png": [("cat", (5, 6, 25, 30)), ("dog", (30, 2, 58, 38))], "two.png": [("dog", (0, 0, 60, 40))], "three.png": []}


def write_pictures(folder: Path, names=tuple(THINGS), size=(WIDTH, HEIGHT)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(np.full((size[1], size[0], 3), 40 * number, np.uint8)).save(folder / name)


def voc_xml(picture: str, things, size=(WIDTH, HEIGHT), head: str = "") -> str:
    objects = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{edge}>{value}</{edge}>" for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        + "</bndbox></object>"
        for name, box in things
    )
    told = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"{head}<annotation><filename>{picture}</filename>{told}{objects}</annotation>"


def write_voc(folder: Path, things=THINGS) -> Path:
    write_pictures(folder / "JPEGImages")
    (folder / "Annotations").mkdir()
    for picture, of_picture in things.items():
        (folder / "Annotations" / Path(picture).with_suffix(".xml")).write_text(voc_xml(picture, of_picture))
    return folder


def coco_dict(things=THINGS) -> dict:
    names = ["cat", "dog"]
    annotations = [
        {"id": 10 * i + j, "image_id": i, "category_id": 5 + names.index(name), "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]}
        for i, of_picture in enumerate(things.values())
        for j, (name, box) in enumerate(of_picture)
    ]
    images = [{"id": i, "file_name": f"images/{picture}", "width": WIDTH, "height": HEIGHT} for i, picture in enumerate(things)]
    return {"images": images, "annotations": annotations, "categories": [{"id": 5 + i, "name": name} for i, name in enumerate(names)]}


def write_coco(folder: Path, content: dict | str | None = None) -> Path:
    write_pictures(folder / "images")
    text = content if isinstance(content, str) else json.dumps(coco_dict() if content is None else content)
    (folder / "annotations.json").write_text(text)
    return folder


def yolo_line(label, box) -> str:
    left, top, right, bottom = box
    return f"{label} {(left + right) / 2 / WIDTH} {(top + bottom) / 2 / HEIGHT} {(right - left) / WIDTH} {(bottom - top) / HEIGHT}\n"


def write_yolo(folder: Path, things=THINGS, names: str = "cat\ndog\n") -> Path:
    write_pictures(folder / "images")
    (folder / "labels").mkdir()
    for picture, of_picture in things.items():
        lines = "".join(yolo_line(["cat", "dog"].index(name), box) for name, box in of_picture)
        (folder / "labels" / Path(picture).with_suffix(".txt")).write_text(lines)
    (folder / "classes.txt").write_text(names)
    return folder
