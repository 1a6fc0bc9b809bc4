"""Annotations in the text files of YOLO: a file a picture, and a line a box, `class x y width height`.

x and y are of the box's middle, and all four numbers are shares of the picture's width and height. The classes are numbered from 0 and
named in classes.txt, a name a line, or under `names` in data.yaml.
"""

import re
from pathlib import PurePosixPath

from fewshot_kit.data.archives import PictureTree
from fewshot_kit.data.cancelling import Check, checked, go_on
from fewshot_kit.detection.annotations import Annotation, Pictures, check_names, class_name, decoded_text, number, read_text

MAX_BYTES = 2_000_000  # of one file
NAMES = ("classes.txt", "data.yaml", "data.yml")
_ADVICE = "write the names into classes.txt instead, one a line"
_ITEM = re.compile(r"""\s*((?:\d{1,6}\s*:\s*)?(?:"[^"]*"|'[^']*'|[^,"'\[\]{}]+))\s*(?:,|$)""", re.ASCII)  # of a list in brackets
_PICTURE_LISTS = ("train.txt", "val.txt", "valid.txt", "test.txt")


def is_label_file(file: PurePosixPath) -> bool:
    """Say whether a text is about a picture: not the names, a list of pictures, or a note to the reader."""
    name = file.name.lower()
    return file.suffix.lower() == ".txt" and name not in (*NAMES, *_PICTURE_LISTS) and not name.startswith("readme")


def read_yolo(tree: PictureTree, files: list[PurePosixPath], check: Check = go_on) -> tuple[list[Annotation], tuple[str, ...]]:
    """Read all files: what they say of each picture, and the names of the classes in order."""
    names, pictures = _class_names(tree), Pictures(tree)
    return [_read(tree, file, names, pictures) for file in checked(files, check)], names


def _read(tree: PictureTree, file: PurePosixPath, names: tuple[str, ...], pictures: Pictures) -> Annotation:
    what = str(file)
    picture = pictures.beside(file, what)
    texts = decoded_text(read_text(tree, file, MAX_BYTES), what).splitlines()
    lines = [(f"line {i}", text.split()) for i, text in enumerate(texts, start=1) if text.strip()]
    boxes, labels = [], []
    for line, fields in lines:
        if len(fields) != 5:
            raise ValueError(
                f"{what}, {line}, has {len(fields)} values, not the 5 of a box (class x y width height); "
                f"outlines and confidences are not read"
            )
        if not re.fullmatch(r"\d{1,9}", fields[0], re.ASCII) or int(fields[0]) >= len(names):
            raise ValueError(
                f"{what}, {line}, is of class {fields[0]:.20}, but the {len(names)} classes are 0 to {len(names) - 1}; correct it"
            )
        x, y, width, height = (number(value, f"{what}, {line}") for value in fields[1:])
        if max(map(abs, (x, y, width, height))) > 1.1:
            raise ValueError(
                f"{what}, {line}: x, y, width and height must be shares of the picture, 0 to 1, not pixels; divide by its sides"
            )
        boxes.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        labels.append(names[int(fields[0])])
    return Annotation(picture, what, tuple(boxes), tuple(labels), in_shares=True, lines=tuple(line for line, _ in lines))


def _class_names(tree: PictureTree) -> tuple[str, ...]:
    files = [file for file in tree.texts if file.name.lower() in NAMES]
    if len(files) != 1:
        found = ", ".join(map(str, files)) or "none"
        raise ValueError(f"{tree.origin} needs one file that names the classes ({' or '.join(NAMES[:2])}), but has {found}")
    text, what = decoded_text(read_text(tree, files[0], MAX_BYTES), str(files[0])), str(files[0])
    lines = text.rstrip().splitlines() if files[0].suffix == ".txt" else yaml_names(text, what)
    names = tuple(class_name(name, f"class {i} of {what}") for i, name in enumerate(lines))
    check_names(names, what)
    return names


def yaml_names(text: str, what: str) -> list[str]:
    """Read the value of `names` from YAML as these files have it: [a, b], {0: a, 1: b}, or a line a name after "-" or its number.

    No more of YAML is read than that; anything else is an error that says what to do.
    """
    lines = [re.sub(r"(^|\s)#.*$", "", line).rstrip() for line in text.splitlines()]
    starts = [i for i, line in enumerate(lines) if re.match(r"names\s*:", line)]
    if len(starts) != 1:
        raise ValueError(f"{what} has {len(starts)} entries 'names:', not one; {_ADVICE}")
    first = lines[starts[0]].split(":", 1)[1].strip()
    block = []
    for line in lines[starts[0] + 1 :]:
        if line and not line[0].isspace() and not line.startswith("-") and not (first and line[0] in "]}"):
            break
        block.append(line.strip())
    if first:
        joined = " ".join([first, *block]).strip()
        if (joined[0], joined[-1]) not in (("[", "]"), ("{", "}")):
            raise ValueError(f"{what} has names that are neither a list nor numbered ({joined:.60}); {_ADVICE}")
        items = _split(joined[1:-1], what)
        return _numbered(items, what) if joined[0] == "{" else [_unquoted(item, what) for item in items]
    items = [line for line in block if line]
    if all(item.startswith("-") for item in items):
        return [_unquoted(item[1:].strip(), what) for item in items]
    return _numbered(items, what)


def _split(text: str, what: str) -> list[str]:
    """Split at commas outside quotes; one after the last name is allowed."""
    items, text, at = [], text.strip(), 0
    while at < len(text):
        found = _ITEM.match(text, at)
        if not found:
            raise ValueError(f"{what} has names that cannot be told apart ({text:.60}); {_ADVICE}")
        items.append(found[1])
        at = found.end()
    return items


def _numbered(items: list[str], what: str) -> list[str]:
    pairs = [re.fullmatch(r"(\d{1,6})\s*:\s*(.*)", item.strip(), re.ASCII) for item in items]
    if not all(pairs) or [int(pair[1]) for pair in pairs] != list(range(len(pairs))):
        raise ValueError(f"{what} must number its names 0, 1, 2, ... in order, but has {' '.join(items)[:60]!r}; {_ADVICE}")
    return [_unquoted(pair[2], what) for pair in pairs]


def _unquoted(text: str, what: str) -> str:
    text = text.strip()
    if text[:1] in ('"', "'"):
        if len(text) < 2 or text[-1] != text[0] or "\\" in text:
            raise ValueError(f"{what} has a name in quotes that do not close, or with a backslash ({text:.60}); {_ADVICE}")
        return text[1:-1]
    if re.search(r"""["'\[\]{}&*!|>%@`]|:\s""", text):
        raise ValueError(f"{what} has a name that this kit cannot read from YAML ({text:.60}); {_ADVICE}")
    return text
