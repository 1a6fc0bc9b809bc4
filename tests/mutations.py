"""Inputs of a fuzz: valid files and command lines, and what chance makes of them. Everything is drawn from the `random.Random` given."""

import bz2
import dataclasses
import gzip
import io
import json
import lzma
import struct
import tarfile
import typing
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from fewshot_kit.learners.configs import CLASSIFIERS
from fewshot_kit.networks.configs import Conv4Config
from fewshot_kit.training.config import TrainConfig

WHOLE = (0, 1, -1, 2, 3, 7, 8, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1)
LONG = 10_000  # letters

# --- bytes ---


def damaged(content: bytes, random: Random, n: int | None = None) -> bytes:
    """Change a few places of some bytes; half of the changes are near the beginning, where headers are."""
    for _ in range(random.choice((1, 1, 2, 3, 8)) if n is None else n):
        content = random.choice(_BYTE_CHANGES)(content, random)
    return content


def _place(content: bytes, random: Random) -> int:
    return random.randrange(1 + min(len(content), random.choice((64, 512, 10**9, 10**9))))


def _flipped(content: bytes, random: Random) -> bytes:
    at = _place(content, random)
    return content[:at] + bytes(value ^ (1 << random.randrange(8)) for value in content[at : at + 1]) + content[at + 1 :]


def _overwritten(content: bytes, random: Random) -> bytes:
    at, new = _place(content, random), random.randbytes(random.choice((1, 1, 2, 4, 16)))
    return content[:at] + new + content[at + len(new) :]


def _extreme(content: bytes, random: Random) -> bytes:
    at, size = _place(content, random), random.choice((1, 2, 4, 8))
    new = (random.choice(WHOLE) % 256**size).to_bytes(size, random.choice(("little", "big")))
    return content[:at] + new + content[at + size :]


def _cut(content: bytes, random: Random) -> bytes:
    return content[: _place(content, random)]


def _taken_out(content: bytes, random: Random) -> bytes:
    at = _place(content, random)
    return content[:at] + content[at + random.choice((1, 2, 4, 64, 512)) :]


def _inserted(content: bytes, random: Random) -> bytes:
    at, n = _place(content, random), random.choice((1, 2, 4, 64, 512))
    return content[:at] + (bytes(n) if random.random() < 0.3 else random.randbytes(n)) + content[at:]


def _repeated(content: bytes, random: Random) -> bytes:
    begin, n = _place(content, random), random.choice((1, 4, 64, 512))
    return content[: begin + n] + content[begin : begin + n] * random.choice((1, 2, 50)) + content[begin + n :]


def _swapped(content: bytes, random: Random) -> bytes:
    a, b = sorted((_place(content, random), _place(content, random)))
    n = random.choice((1, 4, 64))
    return content[:a] + content[b : b + n] + content[a + n : b] + content[a : a + n] + content[b + n :] if a + n <= b else content


_BYTE_CHANGES = (_flipped, _overwritten, _extreme, _extreme, _cut, _taken_out, _inserted, _repeated, _swapped)

# --- pictures ---


def _saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


@cache
def pictures() -> dict[str, bytes]:
    """Return valid pictures of every kind, depth and colour that the kit reads."""
    noise = np.random.default_rng(0).integers(0, 256, (19, 23, 4), dtype=np.uint8)
    gray, rgb, rgba = Image.fromarray(noise[..., 0]), Image.fromarray(noise[..., :3]), Image.fromarray(noise)
    deep = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    floats, long = Image.fromarray(noise[..., 0].astype(np.float32)), Image.fromarray(noise[..., 0].astype(np.int32))
    frames = {"save_all": True, "append_images": [gray.rotate(90, expand=True), gray], "duration": 50}
    turned = Image.Exif()
    turned[0x0112] = 6
    modes = {"1": gray.convert("1"), "L": gray, "LA": rgba.convert("LA"), "P": rgb.convert("P"), "RGB": rgb, "RGBA": rgba}
    found = {f"png {mode}": _saved(image, "PNG") for mode, image in modes.items()}
    found |= {"png 16": _saved(deep, "PNG"), "png exif": _saved(rgb, "PNG", exif=turned), "apng": _saved(gray, "PNG", **frames)}
    found |= {"png transparent": _saved(modes["P"], "PNG", transparency=3), "jpeg exif": _saved(rgb, "JPEG", exif=turned)}
    found |= {"jpeg": _saved(rgb, "JPEG"), "jpeg gray": _saved(gray, "JPEG"), "jpeg cmyk": _saved(rgb.convert("CMYK"), "JPEG")}
    found |= {"jpeg progressive": _saved(rgb, "JPEG", progressive=True), "gif": _saved(modes["P"], "GIF", transparency=3)}
    found |= {"gif moving": _saved(gray, "GIF", **frames), "webp": _saved(rgb, "WEBP"), "webp exact": _saved(rgba, "WEBP", lossless=True)}
    found |= {"webp moving": _saved(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(180)]), "ppm": _saved(rgb, "PPM")}
    found |= {"pgm": _saved(gray, "PPM"), "pgm 16": _saved(long, "PPM"), "pbm": _saved(modes["1"], "PPM")}
    found |= {f"bmp {mode}": _saved(modes[mode], "BMP") for mode in ("1", "L", "P", "RGB", "RGBA")}
    tiffs = {**modes, "I;16": deep, "F": floats, "I": long, "CMYK": rgb.convert("CMYK"), "YCbCr": rgb.convert("YCbCr")}
    found |= {f"tiff {mode}": _saved(image, "TIFF") for mode, image in tiffs.items()}
    found |= {f"tiff {how}": _saved(rgb, "TIFF", compression=how) for how in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")}
    return found | {"tiff fax": _saved(modes["1"], "TIFF", compression="group4"), "tiff exif": _saved(rgb, "TIFF", exif=turned)}


SCREENS = ((30_000, 30_000), (30_000, 30_000), (20_001, 3), (1, 20_000), (65_535, 700), (7_000, 7_000), (0, 0))


def picture(random: Random) -> bytes:
    """Draw a picture and damage it; of a PNG the chunks too, with checksums that fit."""
    if random.random() < 0.002:
        return _large(random)
    if random.random() < 0.015:  # the screen of a GIF may be larger than what is drawn on it
        content = pictures()[random.choice(("gif", "gif moving"))]
        return content[:6] + struct.pack("<HH", *random.choice(SCREENS)) + content[10:]
    name, content = random.choice(sorted(pictures().items()))
    if "png" in name and random.random() < 0.6:
        content = _with_changed_chunks(content, random)
        return content if random.random() < 0.7 else damaged(content, random)
    return damaged(content, random)


def _large(random: Random) -> bytes:
    """Return a PNG of about as many pixels as may be, most of them black."""
    width, height = random.choice(((7_071, 7_071), (20_000, 2_500), (2_500, 20_000)))
    depth, color, channels = random.choice(((1, 0, 1), (8, 0, 1), (16, 0, 1), (8, 2, 3), (8, 4, 2), (8, 6, 4), (16, 6, 4)))
    row = bytes(1 + (width * channels * depth + 7) // 8)
    packer = zlib.compressobj(1)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, (b"IHDR", b"IDAT", b"IEND"), (header, pixels, b"")))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _with_changed_chunks(content: bytes, random: Random) -> bytes:
    chunks, at = [], 8
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(chunks))
        kind, inside = chunks[at]
        change = random.randrange(5)
        if change == 0:
            chunks[at] = (kind, damaged(inside, random))
        elif change == 1:
            chunks.insert(random.randrange(len(chunks)), chunks[at])
        elif change == 2 and len(chunks) > 1:
            del chunks[at]
        elif change == 3:
            names = (b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"gAMA", b"pHYs", b"IHDR", b"xxxx")
            made = zlib.compress(bytes(random.choice((0, 10, 10**6)))) if random.random() < 0.5 else random.randbytes(random.randrange(900))
            chunks.insert(at, (random.choice(names), b"x\0\0" + made))
        else:
            size = struct.pack(">I", random.choice((0, 1, 19, 20_000, 20_001, 50_000_000, 2**31 - 1, 2**32 - 1)))
            of = random.choice((0, 4))
            chunks[0] = (chunks[0][0], chunks[0][1][:of] + size + chunks[0][1][of + 4 :])
    return content[:8] + b"".join(_chunk(*chunk) for chunk in chunks)


# --- archives ---

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": lambda content: gzip.compress(content, 1, mtime=0),
    ".tar.bz2": lambda content: bz2.compress(content, 1),
    ".tar.xz": lambda content: lzma.compress(content, preset=0),
}
NAMES = (
    *("../a.png", "a/../../b.png", "/cats/a.png", "C:/a.png", "c:\\a\\b.png", "cats\\c.png", "cats/\0.png", "", ".", "/", "a", "a.png"),
    *("cats", "cats/", "cats/a.png", "cats//a.png", "./cats/./a.png", "cats/a.png/b.png", ".cats/a.png", "__MACOSX/a.png", "cats/.a.png"),
    *("d/" * 33 + "a.png", "d/" * 3_000 + "a.png", "x" * 300 + "/a.png", "x" * 60_000 + ".png", "\udcff/a.png", "\u202e/a.png"),
    *("cats/caf\xe9.png", "cats/\u732b.PNG", "cats/a.txt", "new\nline/a.png", "dogs/a.gif", "birds/", "birds/x/", "CATS/a.png", "~/a.png"),
)
TYPES = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CONTTYPE)
TYPES += (tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, b"Z", b"\0")
PAX = ("path", "size", "linkpath", "hdrcharset", "GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.major", "GNU.sparse.name", "mtime", "uid")


def _class_folders(random: Random) -> dict[str, bytes]:
    found = [pictures()[name] for name in ("png L", "jpeg", "gif", "png 1")]
    files = {"cats/a.png": found[0], "cats/b.png": found[3], "dogs/a.jpg": found[1], "dogs/b.gif": found[2]}
    if random.random() < 0.2:
        files[random.choice(sorted(files))] = picture(random)
    return files


def archive(random: Random) -> tuple[str, bytes]:
    """Draw an archive of class folders, damaged or of an odd structure: (suffix, content)."""
    if random.random() < 0.5:
        content = _zip(random)
        return ".zip", damaged(content, random) if random.random() < 0.4 else content
    suffix = random.choice(sorted(PACKERS))
    content = _tar(random)
    if random.random() < 0.3:
        content = damaged(content, random)
    content = PACKERS[suffix](content)
    return suffix, damaged(content, random) if random.random() < 0.3 else content


def _zip(random: Random) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w", random.choice(METHODS)) as file:  # of names twice
        for name, content in _class_folders(random).items():
            file.writestr(zipfile.ZipInfo(name), content, file.compression)  # of no date: else it would be that of the clock
        for _ in range(random.choice((0, 0, 1, 2))):
            name = random.choice(NAMES).encode("utf-8", "replace").decode()
            info = zipfile.ZipInfo(name[:60_000] or "e")
            info.external_attr = random.choice((0, 0o100644, 0o120777, 0o40755, 0o10644, 0o60644, 0o177777)) << 16
            file.writestr(info, pictures()["png L"], random.choice(METHODS))
        file.comment = random.choice((b"", b"", b"PK\x05\x06" + bytes(18), bytes(65_535)))
    content = bytearray(buffer.getvalue())
    fields = {b"PK\x01\x02": (6, 8, 10, 16, 20, 24, 28, 30, 32, 34, 36, 38, 42), b"PK\x03\x04": (4, 6, 8, 14, 18, 22, 26, 28)}
    fields[b"PK\x05\x06"] = (4, 6, 8, 10, 12, 16, 20)
    for _ in range(random.choice((0, 1, 1, 2))):
        mark = random.choice(sorted(fields))
        places = [at for at in range(len(content) - 46) if content[at : at + 4] == mark]
        if places:
            at, size = random.choice(places) + random.choice(fields[mark]), random.choice((2, 4))
            content[at : at + size] = (random.choice((*WHOLE, 40, 99, 300_000_001, 1_999_999_999)) % 256**size).to_bytes(size, "little")
    return bytes(content)


def _tar(random: Random) -> bytes:
    members = [(tarfile.TarInfo(name), content) for name, content in _class_folders(random).items()]
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        info = tarfile.TarInfo(random.choice(NAMES))
        info.type = random.choice((tarfile.REGTYPE, tarfile.REGTYPE, *TYPES))
        info.linkname = random.choice(("", "cats/a.png", "/etc/passwd", "../.."))
        if random.random() < 0.3:
            info.pax_headers = {random.choice(PAX): random.choice(("", "0", "-1", "x", "99999999999", "1,2,3", "\0", "1e9", "../a"))}
        members.insert(random.randrange(1 + len(members)), (info, pictures()["png L"]))
    how, blocks = random.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)), []
    for info, content in members:
        info.size = len(content)
        try:
            header = info.tobuf(how, errors="surrogateescape")
        except ValueError:  # this format cannot say it
            header = info.tobuf(tarfile.PAX_FORMAT, errors="replace")
        if random.random() < 0.15:
            header = _lying(header, random)
        blocks += [header, content, bytes(-len(content) % 512)]
    return b"".join(blocks) + bytes(random.choice((0, 512, 1_024, 10_240, 10_240, 10_240)))


def _lying(header: bytes, random: Random) -> bytes:
    """Change a field of a tar's header, with a checksum that fits."""
    begin, end = random.choice(((0, 100), (100, 108), (124, 136), (124, 136), (136, 148), (156, 157), (157, 257), (257, 265), (345, 500)))
    values = [b"%0*o" % (end - begin - 1, abs(value)) for value in WHOLE] + [b"\xff" * (end - begin), b"\x80" + bytes(end - begin - 1)]
    new = bytearray(header[-512:])
    new[begin:end] = random.choice([*values, random.randbytes(end - begin)])[: end - begin].ljust(end - begin, b"\0")
    new[148:156] = b" " * 8
    new[148:156] = b"%06o\0 " % sum(new)
    return header[:-512] + bytes(new)


# --- data sets of other formats ---


def mnist(random: Random) -> tuple[bytes, bytes]:
    """Draw the two files of MNIST, packed by gzip: pictures and labels."""
    pixels, labels = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8), bytes(list(range(10)) * 2)
    files = [struct.pack(">4I", 0x803, 20, 28, 28) + pixels.tobytes(), struct.pack(">2I", 0x801, 20) + labels]
    which = random.randrange(2)
    if random.random() < 0.6:
        files[which] = damaged(files[which], random)
    packed = [gzip.compress(file, 1, mtime=0) for file in files]
    if random.random() < 0.5:
        packed[which] = damaged(packed[which], random)
    return packed[0], packed[1]


def drawings(random: Random, word: str) -> tuple[str, bytes]:
    """Draw a file of Quick, Draw!: (name, content)."""
    kind = random.choice(("ndjson", "ndjson", "npy", "zip"))
    if kind == "npy":
        buffer = io.BytesIO()
        np.save(buffer, np.random.default_rng(0).integers(0, 256, (5, 784), dtype=np.uint8))
        return f"{word}.npy", damaged(buffer.getvalue(), random)
    record = {"word": word, "key_id": "1", "drawing": [[[0, 10, 200], [5, 255, 30]], [[3], [4]]]}
    lines = [json.dumps(record)] * 3
    lines[random.randrange(3)] = changed_json(record, random)
    content = "\n".join(lines).encode() + b"\n" * random.randrange(2)
    if random.random() < 0.3:
        content = damaged(content, random)
    if kind == "ndjson":
        return f"{word}.ndjson", content
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", random.choice(METHODS)) as file:
        file.writestr(zipfile.ZipInfo(f"{word}.ndjson"), content, file.compression)
    return "simplified.zip", damaged(buffer.getvalue(), random) if random.random() < 0.5 else buffer.getvalue()


@cache
def _cifar() -> tuple[bytes, bytes]:
    from fewshot_kit.data.photographs import _SPLITS

    splits = json.loads((_SPLITS / "cifar_fs.json").read_text(encoding="utf-8"))
    names = sorted(name for split in splits.values() for name in split)
    return "\n".join(names).encode(), b"".join(bytes([0, label]) + bytes([label]) * 3_072 for label in range(100))


def cifar(random: Random) -> bytes:
    """Draw the binary archive of CIFAR-100, of a picture a class."""
    text, records = _cifar()
    files, buffer = {"fine_label_names.txt": text, "train.bin": records, "test.bin": records[:30_740]}, io.BytesIO()
    if random.random() < 0.6:
        name = random.choice(sorted(files))
        files[name] = damaged(files[name], random)
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-100-binary/{name}")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    content = buffer.getvalue()
    content = gzip.compress(damaged(content, random) if random.random() < 0.4 else content, 1, mtime=0)
    return damaged(content, random) if random.random() < 0.4 else content


# --- JSON ---

VALUES = (
    *(None, True, False, 0, 1, -1, 2, 3, 1.5, -0.0, 0.1, 1e-320, 1e30, 1e308, -1e308, 2**31, 2**53 + 1, 2**63, 2**64 - 1, 2**64, 10**400),
    *(float("nan"), float("inf"), -float("inf"), "", "x", "0", "nan", "\0", "\ud800", "\u202e", "\n", "x" * LONG, "../..", "maml", "conv4"),
    *([], {}, [1], [[]], [{}], [None], {"a": 1}, {"network": {}}, {"mean": 1, "half_width": None}, list(range(3_000)), {"dataset": "x"}),
)
TEXTS_OF_OTHERS = ("\ud800", "\udcff", "\0", "\u2028", "\u202e", "<script>", "| a |", "x" * LONG, "../..", "\x1b[31m")
ODD_JSON = (
    '"training": 3,',
    '"learner": "maml",',
    "1e999,",
    "-",
    "NaN,",
    "\ufeff",
    "0x10,",
    "\0",
    "[" * 5_000,
    '{"a":' * 5_000,
    "9" * 5_000 + ",",
)


def changed_json(value: Any, random: Random) -> str:
    """Return JSON text of a value with a few places of other types or extremes, or none, or twice, or nested deep."""
    value = json.loads(json.dumps(value))
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        places = list(_places(value))
        if not places:
            break
        holder, key = random.choice(places)
        change = random.randrange(10)
        if change == 0 and isinstance(holder[key], str):
            holder[key] = random.choice((*TEXTS_OF_OTHERS, holder[key] + random.choice(TEXTS_OF_OTHERS)))
        elif change < 6:
            holder[key] = json.loads(json.dumps(random.choice(VALUES)))
        elif change == 6:
            del holder[key]
        elif change == 7:
            other, its_key = random.choice(places)
            holder[key], other[its_key] = json.loads(json.dumps((other[its_key], holder[key])))
        elif change == 8 and isinstance(holder, dict):
            name = random.choice(("magic", "", "kind", "settings", "results", "step", "start", "network"))
            holder[name] = random.choice((1, None, [], {}, holder[key]))
        else:
            n = random.choice((1, 2, 30, 97, 99, 150))
            for _ in range(n):
                holder[key] = [holder[key]] if random.random() < 0.5 else {"a": holder[key]}
    text = json.dumps(value)
    if random.random() < 0.15:  # what json.dumps would not write
        at = text.find(random.choice(("{", "[", ":", '"', ",")), random.randrange(1 + len(text) // 2)) + 1
        text = text[:at] + random.choice(ODD_JSON) + text[at:]
    return text


def _places(value: Any) -> typing.Iterator[tuple[Any, Any]]:
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()):
        yield value, key
        yield from _places(item)


def changed_file(value: Any, random: Random) -> bytes:
    """Return a JSON file of a value that was changed, or whose bytes were."""
    content = json.dumps(value, indent=2).encode() if random.random() < 0.1 else changed_json(value, random).encode()
    return damaged(content, random) if random.random() < 0.15 else content


ODD_LINES = ("", " ", "{}", "null", "[]", "3", '"x"', "{", "}", '{"step": 1}', "x" * LONG, "\u2028", "\x0c", "\ufeff")


def changed_log(rows: list[dict], random: Random) -> bytes:
    """Return a log.jsonl, of which some lines were changed, taken out, repeated, or joined."""
    lines = [json.dumps(row) for row in rows]
    for _ in range(random.choice((1, 1, 2, 3))):
        at = random.randrange(len(lines))
        change = random.randrange(8)
        if change < 5:
            lines[at] = changed_json(rows[at % len(rows)], random)
        elif change == 5:
            lines[at] = random.choice(ODD_LINES)
        elif change == 6:
            lines.insert(at, random.choice(lines))
        elif len(lines) > 1:
            del lines[at]
    content = random.choice(("\n", "\n", "\n", "\r\n", "\n\n", "")).join(lines).encode() + random.choice((b"\n", b"\n", b"", b"\n{"))
    return damaged(content, random) if random.random() < 0.2 else content


# --- weights ---

DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "C64", "X", "", None, 3)
SHAPES = ([], [0], [-1], [2**63], [2**32, 2**32], [1] * 200, [1.5], None, "x")
TENSORS = ("x", "", "x" * LONG, "model.", "model.x", "optimizer.0", "optimizer.99.step", "optimizer.a.step", "optimizer.x.y.z", "generator")
METADATA = (None, {}, {"step": "x"}, {"step": "-1"}, {"step": "9" * 5_000}, {"step": "1.5"}, {"counters": "3"}, {"counters": "{}"})


def changed_weights(content: bytes, random: Random) -> bytes:
    """Return a safetensors file with another header, other tensors, or other bytes."""
    how = random.random()
    if how < 0.15:
        return damaged(content, random)
    return _with_other_tensors(content, random) if how < 0.75 else _with_another_header(content, random)


def _header(content: bytes) -> tuple[dict, bytes]:
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def _with_another_header(content: bytes, random: Random) -> bytes:
    header, data = _header(content)
    for _ in range(random.choice((1, 1, 2))):
        name = random.choice(sorted(header))
        part = header[name]
        change = random.randrange(6)
        if change == 0:
            part["dtype"] = random.choice(DTYPES)
        elif change == 1:
            part["shape"] = random.choice((*SHAPES, [*part.get("shape", [])[::-1], 1]))
        elif change == 2:
            begin, end = part.get("data_offsets", (0, 4))
            part["data_offsets"] = random.choice(([begin, end + 4], [end, begin], [0, 2**63], [-1, 3], [begin], [0, 0], [1.5, 3], None))
        elif change == 3:
            header[random.choice((*TENSORS, "\ud800"))] = header.pop(name)
        elif change == 4:
            header["__metadata__"] = random.choice((*METADATA, {"step": 3}, [], {"a": "x" * LONG}))
            break
        elif len(header) > 1:
            del header[name]
    text = changed_json(header, random).encode() if random.random() < 0.2 else json.dumps(header).encode()
    told = len(text) if random.random() < 0.9 else random.choice((0, 1, len(text) - 1, len(text) + 8, 10**8, 2**63, 2**64 - 1))
    return told.to_bytes(8, "little") + text + data


def _with_other_tensors(content: bytes, random: Random) -> bytes:
    """Write the tensors again, one or two of them of other shape, type, values or name: a file that safetensors reads."""
    metadata, tensors = _header(content)[0].get("__metadata__"), safetensors.torch.load(content)
    for _ in range(random.choice((0, 1, 1, 2))):
        name = random.choice(sorted(tensors))
        tensors[name] = _other_tensor(tensors[name], random).contiguous().clone()
        if random.random() < 0.2:
            tensors[random.choice((name + "x", *TENSORS))] = tensors.pop(name)
    if metadata and "counters" in metadata and random.random() < 0.6:
        counters = json.loads(metadata["counters"])
        one = json.dumps({**counters, random.choice(sorted(counters)): random.choice(VALUES)})
        metadata = {"counters": one if random.random() < 0.7 else changed_json(counters, random)}
    elif metadata and random.random() < 0.3:
        metadata = random.choice(METADATA)
    return safetensors.torch.save(tensors, metadata)


def _other_tensor(tensor: torch.Tensor, random: Random) -> torch.Tensor:
    flat, change = tensor.flatten(), random.randrange(6)
    if change == 0:
        return flat
    if change == 1:
        return tensor.to(random.choice((torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool, torch.bfloat16)))
    if change == 2:
        return torch.empty(random.choice(((0,), (1,), (3, 0), (7, 7)))).to(tensor.dtype)
    if change == 3:
        return torch.cat([flat, flat])[: max(1, len(flat) + random.choice((-1, 1)))]
    value = random.choice((float("nan"), float("inf"), -1.0, 0.0, 1e38, 1e-45)) if tensor.is_floating_point() else 255
    changed = tensor.clone()
    changed.flatten()[slice(1) if change == 4 else slice(None)] = value
    return changed


# --- the command line ---

WORDS = (
    *("nan", "inf", "-inf", "-1", "0", "1", "2", "3", "5", "1.5", "1e400", "-0.0", "1e-400", "2147483648", "9223372036854775808"),
    *("18446744073709551616", "9" * 5_000, "", " ", "x", "x" * 100_000, "\u732b", "\u202e", "\ud800", "\udcff", "a\0b", "\n"),
    *("True", "False", "None", "none", "-", "--", "---", "-x", "..", ".", "new/folder", "~", "~nobody-here/x", "/dev/null", "/dev/full"),
    *("/dev/zero", "/proc/self/mem/x", "x" * 300, "a/" * 3_000, "1,2", "cpu", "cuda", "cuda:99", "auto", "train", "val", "test"),
    *("characters", "digits", "drawings", "omniglot", "quickdraw", "folder:", "folder:x", "folder:\0", "folder:~nobody-here"),
    *("folder:/dev/zero", "folder:.", "reptile", "group", "batch", "running", "inner_lr=0.1", "inner_steps=3", "inner_lr=nan"),
    *("inner_steps=1e9", "=", "a=b", "inner_steps=\u00b2", "inner_steps=" + "9" * 5_000, "5way-1shot:inner_lr=0.1", "0way-0shot:"),
    *("5way-1shot:", "9" * 5_000 + "way-1shot:inner_lr=1", "\u0665way-1shot:inner_lr=1", "$(id)", "%s", "{}", "*", "[1]", "a=b=c"),
)
EVALUATE = ("dataset", "split", "n-way", "n-shot", "n-query", "episodes", "seed", "transductive", "within-group", "set", "device", "json")
EVALUATE += ("record", "help")
NUMBERS = ("0", "1", "2", "3", "4", "5", "-1", "1000", "2147483648", "9223372036854775808", "18446744073709551616")
FRACTIONS = (*NUMBERS, "0.1", "1.5", "nan", "inf", "-inf", "-0.0", "1e400", "1e-400", "1e30", "1e31")
SWITCHES = {"transductive", "within-group", "record", "replace", "resume", "help", "augment", "reflections", "take-turns"}
TEXTS = {"dataset", "split", "set", "device", "json", "name", "settings", "out", "start-from", "norm", "head", "update-rule", "rotations"}
EXPORT = ("name", "settings", "out", "replace")


@cache
def _train_flags(learner: str) -> tuple[str, ...]:
    kinds = (CLASSIFIERS[learner], Conv4Config, TrainConfig, typing.get_type_hints(TrainConfig)["source"])
    names = (field.name.replace("_", "-") for kind in kinds for field in dataclasses.fields(kind))
    return (*names, "out", "resume", "help")


def command_line(random: Random, checkpoint: str, run: str) -> list[str]:
    """Draw the words of a command: a small one that works, some of its words changed, others added."""
    command = random.choice(("train", "train", "evaluate", "evaluate", "export", "list", ""))
    learner = random.choice(sorted(CLASSIFIERS))
    words, flags = _small_command(command, learner, checkpoint, run)
    for _ in range(random.choice((0, 1, 1, 2, 3, 6))):
        change = random.randrange(6)
        at = random.randrange(1 + len(words))
        if change < 3 and flags:
            words += _flag(random.choice(flags), random)
        elif change == 3 and words:
            words[min(at, len(words) - 1)] = random.choice(WORDS)
        elif change == 4 and words:
            del words[min(at, len(words) - 1)]
        else:
            words.insert(at, random.choice((*WORDS, "--help", "-h", "--magic", *words)))
    return words


def _flag(name: str, random: Random) -> list[str]:
    """Draw a flag and its value: mostly one of its type, so that more is asked than whether it can be understood."""
    if random.random() < 0.3:
        return [f"--{random.choice(('', 'no-'))}{name}", *random.choices(WORDS, k=random.choice((0, 1, 2)))]
    if name in SWITCHES:
        return [f"--{name}"]
    is_fraction = any(part in name for part in ("lr", "alpha", "sigma", "scale", "strength", "mean", "std"))
    return [f"--{name}", random.choice(WORDS if name in TEXTS else FRACTIONS if is_fraction else NUMBERS)]


def _small_command(command: str, learner: str, checkpoint: str, run: str) -> tuple[list[str], tuple[str, ...]]:
    data = ["--dataset", "characters_by_alphabet"]
    if command == "train":
        steps = ["--outer-steps", "1", "--evaluate-every", "1", "--evaluation-episodes", "2", "--val-way", "2", "--val-query", "1"]
        words = ["train", learner, "--width", "8", "--size", "18", *data, "--no-augment", "--rotations", "False", *steps]
        return [*words, *(["--train-way", "3"] if "train-way" in _train_flags(learner) else [])], _train_flags(learner)
    if command == "evaluate":
        return ["evaluate", checkpoint, *data, "--n-way", "2", "--episodes", "2", "--device", "cpu"], EVALUATE
    if command == "export":
        return ["export", run, "--name", "mine", "--out", "exported"], EXPORT
    return ([command], ("help",)) if command else ([], ("help", "version"))
