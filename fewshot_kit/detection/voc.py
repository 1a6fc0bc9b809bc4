"""Annotations in the XML of Pascal VOC (Everingham et al. 2010): a file a picture.

Edges are taken as they stand, from 0; the original files count pixels from 1, which moves a box by one. What is marked as difficult or
truncated is a thing like another, and the parts of a thing are left out.
"""

from pathlib import PurePosixPath
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from fewshot_kit.data.archives import PictureTree
from fewshot_kit.data.cancelling import Check, checked, go_on
from fewshot_kit.detection.annotations import MAX_BOXES, Annotation, Pictures, class_name, number, read_text

MAX_BYTES = 2_000_000  # of one file
MAX_DEPTH = 32  # of elements in one another
EDGES = ("xmin", "ymin", "xmax", "ymax")


def read_voc(tree: PictureTree, files: list[PurePosixPath], check: Check = go_on) -> list[Annotation]:
    """Read all files. Raises ValueError, which names the file and the box, for whatever is not as it must be."""
    pictures = Pictures(tree)
    return [parse_voc(read_text(tree, file, MAX_BYTES), str(file), pictures) for file in checked(files, check)]


def parse_voc(content: bytes, file: str, pictures: Pictures) -> Annotation:
    """Read one file, whose name in messages is `file`."""
    root = parse_xml(content, file)
    if root.tag != "annotation":
        raise ValueError(f"{file} is no annotation of Pascal VOC: its outermost element is <{root.tag:.50}>; take it away")
    picture = pictures.named(_text(root, "filename", file), file)
    objects = root.findall("object")
    if len(objects) > MAX_BOXES:
        raise ValueError(f"{file} has {len(objects):,} boxes, more than the {MAX_BOXES:,} allowed a picture; choose fewer")
    names = tuple(class_name(thing.findtext("name"), f"{file}, box {i}") for i, thing in enumerate(objects, start=1))
    boxes = tuple(_box(thing, f"{file}, box {i} ({name!r})") for i, (thing, name) in enumerate(zip(objects, names, strict=True), start=1))
    return Annotation(picture, file, boxes, names, _size(root, file))


def parse_xml(content: bytes, file: str) -> Element:
    """Parse XML that somebody else wrote. A document type is refused before anything in it is followed: it may define entities, which
    grow without end or read files, and no annotation needs one.
    """
    builder, depth = TreeBuilder(), 0
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise ValueError(f"{file} has a document type or an entity (<!DOCTYPE, <!ENTITY), which this kit does not follow; take it out")

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"{file} has elements more than {MAX_DEPTH} deep in one another, as no annotation has; take it away")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = parser.ExternalEntityRefHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, builder.data
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise ValueError(f"{file} is no XML, or is cut off ({error}); save it again") from error
    except LookupError as error:
        raise ValueError(f"{file} has an encoding that is not known ({error}); save it as UTF-8") from error
    return builder.close()


def _text(parent: Element, tag: str, what: str) -> str:
    found = parent.findall(tag)
    if len(found) != 1 or not (found[0].text or "").strip():
        raise ValueError(f"{what} needs one <{tag}> with a value, but has {len(found)}; save it again")
    return found[0].text


def _box(thing: Element, what: str) -> tuple[float, ...]:
    frames = thing.findall("bndbox")
    if len(frames) != 1:
        raise ValueError(f"{what} needs one <bndbox>, but has {len(frames)}; mark it again")
    return tuple(number(_text(frames[0], edge, what), f"{edge} of {what}") for edge in EDGES)


def _size(root: Element, file: str) -> tuple[int, int] | None:
    """Return width and height where the file names them; some programs write 0 for what they do not know."""
    if root.find("size") is None:
        return None
    width, height = (number(_text(root, f"size/{side}", file), f"{side} of {file}") for side in ("width", "height"))
    if width == height == 0:
        return None
    if min(width, height) < 1 or width % 1 or height % 1:
        raise ValueError(f"{file} has a picture of {width:g} x {height:g} pixels; correct its <size>, or take that out")
    return int(width), int(height)
