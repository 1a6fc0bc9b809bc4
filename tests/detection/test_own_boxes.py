"""A person's own pictures with boxes: three formats read to the same, and every slip told by file and box."""

import json
import random
import shutil
import time
import zipfile
from pathlib import Path

import pytest
import torch
from own_folders import THINGS, coco_dict, voc_xml, write_coco, write_pictures, write_voc, write_yolo

from fewshot_kit.data.cancelling import Cancelled
from fewshot_kit.data.images import ImageError
from fewshot_kit.detection import annotations, voc
from fewshot_kit.detection.datasets import annotated_splits, is_available, load_annotated
from fewshot_kit.detection.letterbox import Letterbox
from fewshot_kit.detection.yolo import yaml_names


def load(path: Path, size: int = 60):
    return load_annotated(f"boxes:{path}", size=size, progress=False)


def told(path: Path, message: str, kind=ValueError) -> None:
    with pytest.raises(kind, match=message):
        load(path)


def by_picture(dataset) -> list:
    """Sort what is in each picture by its gray, which is its number."""
    order = dataset.images[:, 0, 30, 30].argsort().tolist()
    return [
        [(dataset.class_names[label], tuple(box)) for label, box in zip(dataset.labels[i].tolist(), dataset.boxes[i].tolist(), strict=True)]
        for i in order
    ]


@pytest.mark.parametrize("write", [write_voc, write_coco, write_yolo])
def test_every_format_reads_to_the_same(tmp_path, write):
    dataset = load(write(tmp_path / "own"))
    assert dataset.class_names == ("cat", "dog") and dataset.images.shape == (3, 3, 60, 60) and dataset.name == f"boxes:{tmp_path / 'own'}"
    expected = [[(name, (left, top + 10, right, bottom + 10)) for name, (left, top, right, bottom) in things] for things in THINGS.values()]
    for found, wanted in zip(by_picture(dataset), expected, strict=True):
        assert [name for name, _ in found] == [name for name, _ in wanted]
        for (_, box), (_, other) in zip(found, wanted, strict=True):
            assert box == pytest.approx(other, abs=1e-4)
    assert dataset.images[1, :, 0, 0].tolist() == [128] * 3  # the margin of what is not square


@pytest.mark.parametrize("write", [write_voc, write_coco, write_yolo])
def test_an_archive_reads_as_its_folder(tmp_path, write):
    folder = write(tmp_path / "own")
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path))
    shutil.make_archive(str(tmp_path / "packed"), "gztar", folder)
    for path in (tmp_path / "own.zip", tmp_path / "packed.tar.gz"):
        found, wanted = load(path), load(folder)
        assert by_picture(found) == by_picture(wanted)


def test_boxes_go_into_the_letterbox_and_back(generator):
    boxes = torch.tensor([[0.0, 0, 300, 100], [10, 20, 30, 40]])
    for box in (Letterbox(300, 100, 64), Letterbox(100, 300, 224), Letterbox(64, 64, 64)):
        torch.testing.assert_close(box.back(box.into(boxes)), boxes)
    assert Letterbox(300, 100, 60).into(boxes)[0].tolist() == [0, 20, 60, 40]
    assert Letterbox(64, 64, 64).into(boxes).tolist() == boxes.tolist()


def test_the_name_and_its_split(tmp_path):
    assert annotated_splits("boxes:anything") == ("test",)
    assert not is_available(f"boxes:{tmp_path / 'none'}")
    with pytest.raises(ValueError, match="no data set with boxes is called 'scene'; did you mean 'scenes'"):
        load_annotated("scene")
    with pytest.raises(ValueError, match="has no split 'train'; it has test"):
        load_annotated(f"boxes:{tmp_path}", "train")
    with pytest.raises(ValueError, match="size must be a whole number"):
        load_annotated("scenes", size=8)
    for none in (tmp_path / "none", Path("x" * 5000), Path("a\0b")):
        told(none, "does not exist; give a folder with pictures and their boxes", FileNotFoundError)
        assert not is_available(f"boxes:{none}")


def test_it_can_be_stopped(tmp_path):
    def stop():
        raise Cancelled

    with pytest.raises(Cancelled):
        load_annotated(f"boxes:{write_voc(tmp_path / 'own')}", size=60, progress=False, check=stop)


# --- boxes that cannot be meant, in all three formats ---

BAD_BOXES = {
    "has its corners the wrong way round": (25, 6, 5, 30),
    "is outside its picture": (5, 6, 65, 30),
    r"is outside its picture; move": (-9, 6, 20, 30),
    "is less than 2 pixels wide or high": (5, 6, 6, 30),
    "less than 2 pixels": (5, 6, 25, 6),
}


@pytest.mark.parametrize(
    "write", [write_voc, write_yolo, lambda folder, things: write_coco(folder, coco_dict(things))], ids=["voc", "yolo", "coco"]
)
@pytest.mark.parametrize("message", BAD_BOXES)
def test_a_box_that_cannot_be_meant_is_told(tmp_path, write, message):
    folder = write(tmp_path / "own", {**THINGS, "one.png": [("dog", (30, 2, 58, 38)), ("cat", BAD_BOXES[message])]})
    told(folder, rf"(one\.xml, box 2|one\.txt, line 2|annotations\.json, annotation 1) \('cat'\): .*{message}")


@pytest.mark.parametrize("other", ["cat", "dog"])
def test_two_boxes_on_the_same_thing_are_told(tmp_path, other):
    folder = write_voc(tmp_path / "own", {**THINGS, "one.png": [("cat", (5, 6, 45, 36)), (other, (5, 6, 45, 36.5))]})
    told(folder, rf"two boxes are of the same thing: Annotations/one.xml, box 1 \('cat'\) and .* box 2 \('{other}'\); delete one")


def test_an_edge_a_fraction_outside_is_clipped(tmp_path):
    dataset = load(write_voc(tmp_path / "own", {**THINGS, "two.png": [("dog", (-0.5, 0, 60.7, 41))]}))
    assert by_picture(dataset)[1] == [("dog", (0, 10, 60, 50))]


# --- pictures and classes ---


def test_a_picture_that_is_missing_or_unmarked_or_damaged_is_told(tmp_path):
    folder = write_voc(tmp_path / "own")
    picture = folder / "JPEGImages" / "two.png"
    (folder / "Annotations" / "two.xml").rename(tmp_path / "two.xml")
    told(folder, r"JPEGImages/two.png of .* has no annotation \(1 such\)")
    (tmp_path / "two.xml").rename(folder / "Annotations" / "two.xml")
    picture.rename(tmp_path / "two.png")
    told(folder, "Annotations/two.xml is of picture 'two.png', which is not in")
    picture.write_bytes(b"no picture")
    told(folder, "two.png is not a picture of a known kind", ImageError)
    write_pictures(folder / "JPEGImages", ["two.png"], (30, 40))
    told(folder, "says that JPEGImages/two.png is 60 x 40, but it is 30 x 40")


def test_a_name_in_two_folders_needs_its_folder(tmp_path):
    folder = write_coco(tmp_path / "own")
    write_pictures(folder / "others", ["two.png"])
    told(folder, "others/two.png of .* has no annotation")
    content = coco_dict()
    content["images"][1]["file_name"] = "two.png"
    (folder / "annotations.json").write_text(json.dumps(content))
    told(folder, "of picture 'two.png', but there are images/two.png and others/two.png; give pictures different names")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "", "..", "C:\\\\pictures\\\\x.png"])
def test_a_picture_elsewhere_is_never_opened(tmp_path, name):
    folder = write_voc(tmp_path / "own")
    (folder / "Annotations" / "one.xml").write_text(voc_xml(name, THINGS["one.png"]))
    told(folder, "Annotations/one.xml (is of picture|needs one <filename>)")


def test_a_class_without_a_box_and_names_that_repeat_are_told(tmp_path):
    told(write_yolo(tmp_path / "a", names="cat\ndog\ncow\n"), "class 'cow' of .* has no box in any picture")
    told(write_yolo(tmp_path / "b", names="cat\nCat\n"), "classes.txt names a class twice: 'cat' and 'Cat'")
    told(write_yolo(tmp_path / "c", names="cat\n\ndog\n"), "class 1 of classes.txt has no name")
    told(write_yolo(tmp_path / "d", names=""), "names no class")
    told(write_yolo(tmp_path / "e", names="cat\n" + "d" * 101), "longer than 100 letters")
    told(write_voc(tmp_path / "f", {**THINGS, "two.png": [("Dog ", (0, 0, 60, 40))]}), "names a class twice: 'Dog' and 'dog'")
    told(write_voc(tmp_path / "g", {**THINGS, "two.png": [(" ", (0, 0, 60, 40))]}), "two.xml, box 1 has no name of a class")
    told(write_voc(tmp_path / "h", {picture: [] for picture in THINGS}), "names no class; at least one is needed")


def test_a_folder_of_no_or_of_two_kinds_is_told(tmp_path):
    folder = write_voc(tmp_path / "own")
    (folder / "other.json").write_text("{}")
    told(folder, r"annotations of two kinds, Annotations/one.xml and other.json; leave those of one kind: Pascal VOC")
    write_pictures(tmp_path / "bare")
    told(tmp_path / "bare", "has 3 pictures and no annotation of them; give Pascal VOC")
    folder = write_coco(tmp_path / "twice")
    (folder / "more.json").write_text("{}")
    told(folder, "has several .json files")
    folder = write_yolo(tmp_path / "double")
    (folder / "images" / "one.txt").write_text("")
    told(folder, "images/one.png of .* has two annotations, images/one.txt and labels/one.txt")


def test_a_thing_that_vanishes_when_the_picture_is_scaled_is_told(tmp_path):
    write_pictures(tmp_path / "own", ["wide.png"], (4000, 50))
    (tmp_path / "own" / "wide.xml").write_text(voc_xml("wide.png", [("cat", (0, 0, 30, 30))], None))
    told(tmp_path / "own", r"wide.xml, box 1 \('cat'\) is 0.45 pixels wide or high where its picture is scaled to 60")


# --- attacks on a format ---


def bad_xml(text: str | bytes, tmp_path: Path, message: str) -> None:
    folder = write_voc(tmp_path / "own")
    (folder / "Annotations" / "one.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    started = time.perf_counter()
    told(folder, message)
    assert time.perf_counter() - started < 20


LAUGHS = "<!DOCTYPE a [" + "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha"}">' for i in range(12)) + "]>"
SECRET = '<!DOCTYPE a [<!ENTITY s SYSTEM "file:///etc/passwd">]>'
THING = [("cat", (5, 6, 25, 30))]


@pytest.mark.parametrize(
    "text, message",
    [
        (voc_xml("one.png", [("&l11;", (1, 2, 9, 9))], head=LAUGHS), "one.xml has a document type or an entity"),
        (voc_xml("&s;", THING, head=SECRET), "document type or an entity"),
        (('<?xml version="1.0" encoding="UTF-16"?>' + voc_xml("&s;", THING, head=SECRET)).encode("utf-16"), "document type or an entity"),
        ('<!DOCTYPE a SYSTEM "http://example.org/a.dtd">' + voc_xml("one.png", THING), "document type"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "is no XML|not known"),
        ("<a>" * 100_000, "elements more than 32 deep"),
        ("", "is no XML, or is cut off"),
        (voc_xml("one.png", THING)[:-5], "is no XML, or is cut off"),
        (b"\xff\xfe\x00\x00\x01", "is no XML"),
        ("<html></html>", "outermost element is <html>"),
        ("<annotation></annotation>", "needs one <filename> with a value, but has 0"),
        (voc_xml("one.png", [("cat", ("nan", 6, 25, 30))]), r"xmin of Annotations/one.xml, box 1 \('cat'\) must be a number, but is 'nan'"),
        (voc_xml("one.png", [("cat", (5, "inf", 25, 30))]), "must be a number, but is 'inf'"),
        (voc_xml("one.png", [("cat", (5, 6, "1e999", 30))]), "must be a number"),
        (voc_xml("one.png", [("cat", (5, 6, "9" * 5000, 30))]), "must be a number"),
        (voc_xml("one.png", [("cat", (5, 6, "1_0", 30))]), "must be a number"),
        (voc_xml("one.png", [("cat", (5, 6, "٣", 30))]), "must be a number"),
        (voc_xml("one.png", [("cat", (5, 6, "", 30))]), "needs one <xmax>"),
        (voc_xml("one.png", THING).replace("<xmax>", "<xmax>1</xmax><xmax>"), "needs one <xmax> with a value, but has 2"),
        (voc_xml("one.png", THING).replace("bndbox", "box"), "needs one <bndbox>, but has 0"),
        (voc_xml("one.png", THING, (60.5, 40)), "has a picture of 60.5 x 40 pixels"),
        (voc_xml("one.png", THING, (-60, 40)), "has a picture of -60 x 40"),
        (voc_xml("one.png", [("cat\u0007", (1, 2, 9, 9))]), "is no XML|no plain text"),
        (voc_xml("one.png", THING * 1001), "has 1,001 boxes, more than the 1,000 allowed"),
        ("<annotation>" + " " * voc.MAX_BYTES + "</annotation>", "has more than 2,000,000 bytes"),
    ],
)  # fmt: skip
def test_bad_xml_is_told(text, message, tmp_path):
    bad_xml(text, tmp_path, message)


def changed(part: str, number: int, **values) -> dict:
    content = coco_dict()
    content[part][number].update(values)
    return content


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "is no JSON, or is cut off"),
        ("[" * 100_000, "lists in lists without end|is no JSON"),
        ("[]", "has no list 'images'"),
        ({"images": [], "annotations": {}, "categories": []}, "has no list 'annotations'"),
        (json.dumps(coco_dict()).replace("[5, 6,", "[NaN, 6,"), "NaN is no number"),
        (json.dumps(coco_dict()).replace("[5, 6,", "[1e999, 6,"), "bbox of annotation 0 .* must be four numbers"),
        (json.dumps(coco_dict()).replace("[5, 6,", f"[{'9' * 5000}, 6,"), "is no JSON|must be four numbers"),
        (changed("annotations", 0, bbox=[1, 2, 3]), "must be four numbers"),
        (changed("annotations", 0, bbox=["1", 2, 3, 4]), "must be four numbers"),
        (changed("annotations", 0, bbox=[True, 2, 3, 4]), "must be four numbers"),
        (changed("annotations", 0, bbox=[5, 6, -3, 9]), "corners the wrong way round"),
        (changed("annotations", 0, iscrowd=1), "annotation 0 of annotations.json is of a crowd"),
        (changed("annotations", 0, image_id=99), "has the image_id 99, which nothing in the file has"),
        (changed("annotations", 0, image_id=[1]), "has the image_id"),
        (changed("annotations", 0, category_id=True), "has the category_id True"),
        (changed("categories", 0, id=6), "two of categories in annotations.json have the id 6"),
        (changed("categories", 0, name=""), "category 5 of annotations.json has no name"),
        (changed("categories", 0, name=None), "category 5 of annotations.json has no name"),
        (changed("categories", 0, name="dog"), "names a class twice: 'dog' and 'dog'"),
        (changed("images", 0, id="x"), "id of number 1 of images"),
        (changed("images", 0, width=9), "says that images/one.png is 9 x 40, but it is 60 x 40"),
        (changed("images", 0, file_name=7), "file_name of image 0"),
        (changed("images", 0, file_name="images/two.png"), "images 0 and 1 of annotations.json are both of images/two.png"),
        (changed("images", 0, file_name="no.png"), "is of picture 'no.png', which is not in"),
        ({**coco_dict(), "images": [7]}, "is not what COCO has there"),
        ({**coco_dict(), "annotations": [None]}, "is not what COCO has there"),
    ],
)  # fmt: skip
def test_bad_json_is_told(content, message, tmp_path):
    told(write_coco(tmp_path / "own", content), message)


@pytest.mark.parametrize(
    "line, message",
    [
        ("0 0.5 0.5 0.2", "one.txt, line 1, has 4 values, not the 5 of a box"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2", "has 7 values.*outlines"),
        ("2 0.5 0.5 0.2 0.2", "is of class 2, but the 2 classes are 0 to 1"),
        ("-1 0.5 0.5 0.2 0.2", "is of class -1"),
        ("cat 0.5 0.5 0.2 0.2", "is of class cat"),
        ("0 nan 0.5 0.2 0.2", "line 1 must be a number, but is 'nan'"),
        ("0 30 20 12 8", "must be shares of the picture, 0 to 1, not pixels"),
        ("0 0.5 0.5 -0.2 0.2", "corners the wrong way round"),
        ("0 0.9 0.5 0.5 0.2", "is outside its picture"),
        ("0 0.5 0.5 0 0.2", "less than 2 pixels"),
    ],
)
def test_a_bad_line_of_yolo_is_told(line, message, tmp_path):
    folder = write_yolo(tmp_path / "own")
    (folder / "labels" / "one.txt").write_text(line)
    told(folder, message)


def test_texts_that_are_no_labels_are_left_alone_and_others_are_told(tmp_path):
    folder = write_yolo(tmp_path / "own")
    for name in ("README.txt", "readme.roboflow.txt", "train.txt"):
        (folder / name).write_text("images/one.png")
    assert len(load(folder)) == 3
    (folder / "labels" / "four.txt").write_text("0 0.5 0.5 0.2 0.2")
    told(folder, "labels/four.txt is of a picture 'four', which is not in")
    (folder / "labels" / "four.txt").write_bytes(b"\xff\xfe0")
    told(folder, "is of a picture 'four'")
    (folder / "labels" / "four.txt").unlink()
    (folder / "classes.txt").write_bytes(b"caf\xe9\ndog")
    told(folder, "classes.txt is no text in UTF-8")
    (folder / "classes.txt").unlink()
    told(folder, "needs one file that names the classes")
    (folder / "data.yaml").write_text("train: ../images\nnc: 2\nnames: ['cat', 'dog']\n")
    assert load(folder).class_names == ("cat", "dog")


@pytest.mark.parametrize(
    "text",
    [
        "names: [a, b c]",
        "nc: 2\nnames: ['a', \"b c\"]  # two\nval: x",
        "names:\n  - a\n  - b c\nnc: 2",
        "names:\n- a\n- 'b c'\n",
        "names:\n  0: a\n  1: b c\nroboflow:\n  name: x",
        "names: {0: a, 1: 'b c'}",
        "names: [\n  a,\n  b c,\n]\nnc: 2",
    ],
)
def test_names_are_read_from_yaml(text):
    assert yaml_names(text, "data.yaml") == ["a", "b c"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("nc: 2", "0 entries 'names:'"),
        ("names: [a]\nnames: [b]", "2 entries"),
        ("names: a", "neither a list nor numbered"),
        ("names:\n  1: a\n  2: b", "must number its names 0, 1, 2"),
        ("names: [[a], b]", "cannot be told apart|cannot read"),
        ("names: [*x, b]", "cannot read from YAML"),
        ("names: ['a, b]", "cannot be told apart|do not close|cannot read"),
        ("names: !!python/object:os.system [a]", "neither a list"),
        ("names:\n  - a: b", "cannot read"),
        ("names: [a,, b]", "cannot be told apart"),
    ],
)
def test_other_yaml_is_told(text, message):
    with pytest.raises(ValueError, match=message):
        yaml_names(text, "data.yaml")


@pytest.mark.parametrize(
    "write, file",
    [(write_voc, "Annotations/one.xml"), (write_coco, "annotations.json"), (write_yolo, "labels/one.txt"), (write_yolo, "classes.txt")],
)
def test_what_is_damaged_at_random_is_read_or_told(tmp_path, write, file):
    """Bytes changed, cut out and doubled, and numbers put for one another: success or one clear error, never another exception."""
    path, chance = write(tmp_path / "own") / file, random.Random(0)
    sound = path.read_bytes()
    words = [b"0", b"-1", b"1e9", b"null", b"[]", b"{}", b'""', b"true", b"&lt;", b"\xff", b"\x00", b"9" * 20]
    n_told = 0
    for _ in range(80):
        content, at = bytearray(sound), chance.randrange(len(sound))
        length = chance.choice((0, 1, 1, 5, 30))
        content[at : at + length] = chance.choice([*words, bytes([chance.randrange(256)]), content[at : at + 40] * 2])
        path.write_bytes(content)
        try:
            load(tmp_path / "own", 32)
        except ValueError as error:
            assert len(str(error)) < 1000
            n_told += 1
    assert n_told > 5


def test_the_limits_are_those_named():
    assert annotations.LEAST_SIDE == 2 and annotations.MAX_BOXES == 1000
