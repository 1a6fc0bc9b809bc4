"""Archives that lie: what is read is counted, whatever a header says, and every damage is the kit's own error."""

import bz2
import gzip
import io
import lzma
import shutil
import struct
import subprocess
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot_kit.data.archives import MAX_ENTRY_BYTES, ArchiveError
from fewshot_kit.data.datasets import load_dataset

METHODS = {"stored": zipfile.ZIP_STORED, "deflate": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}
TARS = {"pets.tar": "w", "pets.tar.gz": "w:gz", "pets.tar.bz2": "w:bz2", "pets.tar.xz": "w:xz"}


def load(path: Path):
    return load_dataset(f"folder:{path}", progress=False)


def refusal(path: Path, most: int = 400_000_000) -> str:
    """Return the error of an archive, which must come soon and take at most so many bytes of memory."""
    begin = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError) as caught:
            load(path)
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()
    assert time.process_time() - begin < 5
    assert path.name in str(caught.value)
    return str(caught.value)


def png(gray: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(gray).integers(0, 256, (28, 28), dtype=np.uint8)  # so that there is something to cut off
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


PETS = {"cats/a.png": png(10), "cats/b.png": png(20), "dogs/a.png": png(30)}


def write_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return path


def member(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


MEMBERS = [member(name, content) for name, content in PETS.items()]


# --- what is good stays good ---


def test_every_way_of_packing_gives_the_same_pictures(tmp_path):
    paths = [write_zip(tmp_path / f"{name}.zip", PETS, method) for name, method in METHODS.items()]
    paths += [write_tar(tmp_path / name, MEMBERS, mode) for name, mode in TARS.items()]
    first, *others = (load(path) for path in paths)
    assert first.counts == (2, 1)
    assert all(np.array_equal(other.images, first.images) for other in others)


# --- zip ---


@pytest.mark.parametrize("method", ["deflate", "bzip2", "lzma"])
@pytest.mark.parametrize("told", [100, 5_000_000])
def test_an_entry_that_is_longer_than_it_says_is_read_no_further(tmp_path, method, told):
    path = write_zip(tmp_path / "bomb.zip", PETS, METHODS[method])
    with zipfile.ZipFile(path, "a", METHODS[method]) as archive, archive.open("dogs/bomb.png", "w", force_zip64=True) as file:
        for _ in range(60):
            file.write(bytes(1_000_000))
    content = path.read_bytes()
    at = content.rindex(b"PK\x01\x02")
    real = content[at + 24 : at + 28]
    assert real == struct.pack("<I", 60_000_000)
    path.write_bytes(content[: at + 24] + struct.pack("<I", told) + content[at + 28 :])
    assert "dogs/bomb.png, is cut short or damaged" in refusal(path, 30_000_000)


@pytest.mark.parametrize("method", METHODS)
def test_an_entry_that_says_it_is_huge_is_refused(tmp_path, method):
    path = write_zip(tmp_path / "pets.zip", PETS, METHODS[method])
    content = path.read_bytes()
    at = content.rindex(b"PK\x01\x02")
    path.write_bytes(content[: at + 24] + struct.pack("<I", 1_900_000_000) + content[at + 28 :])
    assert f"more than the {MAX_ENTRY_BYTES:,} that one may have" in refusal(path)


@pytest.mark.parametrize("name", ["\0cats/a.png", "cats\0/a.png"])
def test_a_name_with_a_zero_is_refused(tmp_path, name):
    path = write_zip(tmp_path / "pets.zip", PETS | {"xxxx/yyyyyy"[: len(name)]: png(1)})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"xxxx/yyyyyy"[: len(name)], name.encode()))
    assert "a name that no file has" in refusal(path)


def test_a_wrong_checksum_and_an_unknown_method_are_refused(tmp_path):
    path = write_zip(tmp_path / "pets.zip", PETS, zipfile.ZIP_STORED)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(PETS["dogs/a.png"][50:60], b"?" * 10))
    assert "checksum" in refusal(path)
    at = whole.rindex(b"PK\x01\x02")
    path.write_bytes(whole[: at + 10] + struct.pack("<H", 97) + whole[at + 12 :])
    assert "number 97" in refusal(path)


# --- tar ---


def raw_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    if size < 0 or size >= 8**11:
        header[124:136] = (size % 256**12).to_bytes(12, "big") if size < 0 else b"\x80" + size.to_bytes(11, "big")
    else:
        header[124:136] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize("size", [-512, -1, -(2**40)])
def test_a_member_of_less_than_nothing_is_refused(tmp_path, size):
    (tmp_path / "pets.tar").write_bytes(raw_header("cats/a.png", size) + bytes(10_240))
    assert "bytes" in refusal(tmp_path / "pets.tar")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
@pytest.mark.parametrize("size", [3_000_000_000, -512])
def test_a_header_of_gigabytes_is_refused(tmp_path, kind, size):
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    parts = [packer.compress(raw_header("x", size, kind))]
    parts += [packer.compress(bytes(10_000_000)) for _ in range(35)]  # more than may be read at once is there
    (tmp_path / "pets.tar.gz").write_bytes(b"".join(parts) + packer.flush())
    refusal(tmp_path / "pets.tar.gz")


def test_a_member_of_gigabytes_is_refused(tmp_path):
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    parts = [packer.compress(raw_header("cats/a.png", 307_200_000))]
    parts += [packer.compress(bytes(10_240_000)) for _ in range(30)]
    ends = b"".join(raw_header(name, 0) for name in ("cats/b.png", "dogs/a.png"))
    (tmp_path / "pets.tar.gz").write_bytes(b"".join(parts) + packer.compress(ends + bytes(10_240)) + packer.flush())
    assert f"has 307,200,000 bytes, more than the {MAX_ENTRY_BYTES:,}" in refusal(tmp_path / "pets.tar.gz")


@pytest.mark.parametrize("name", TARS)
@pytest.mark.parametrize("kept", [3, 7, 30, 0.35, 0.5])
def test_a_tar_cut_short_is_the_kits_error(tmp_path, name, kept):
    path = write_tar(tmp_path / name, MEMBERS * 20, TARS[name])
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    refusal(path)


@pytest.mark.parametrize("name", TARS)
def test_a_damaged_tar_is_the_kits_error_or_its_pictures(tmp_path, name):
    whole = write_tar(tmp_path / name, MEMBERS, TARS[name]).read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(whole)
        for position in random.integers(0, len(content), 3):
            content[position] = random.integers(256)
        (tmp_path / name).write_bytes(content)
        try:
            load(tmp_path / name)
        except ValueError as error:
            assert name in str(error)


@pytest.mark.parametrize("name", TARS)
@pytest.mark.parametrize("kept", [1, 2])
def test_a_tar_cut_off_between_two_entries_is_refused(tmp_path, name, kept):
    write_tar(tmp_path / "whole.tar", MEMBERS)
    whole = (tmp_path / "whole.tar").read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as archive:
        ends = [entry.offset for entry in archive]
    packed = {"w": bytes, "w:gz": gzip.compress, "w:bz2": bz2.compress, "w:xz": lzma.compress}[TARS[name]]
    for end in (ends[kept], ends[kept] + 100):  # between two, and in the middle of a header
        (tmp_path / name).write_bytes(packed(whole[:end]))
        assert "is cut off: it lacks its end mark; fetch it again" in refusal(tmp_path / name)
    (tmp_path / name).write_bytes(packed(whole[: ends[kept]] + b"?" + whole[ends[kept] + 1 :]))  # a header with another checksum
    assert "is damaged: what follows its first" in refusal(tmp_path / name)


def test_a_tar_ends_with_one_block_of_zeros_or_more(tmp_path):
    """POSIX wants two; `tar` and Python fill up a record of twenty, and all of them read one as the end."""
    path = write_tar(tmp_path / "pets.tar", MEMBERS)
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    for n_blocks in (1, 2, 3, 20, 100):
        path.write_bytes(whole[:end] + bytes(512 * n_blocks))
        assert load(path).counts == (2, 1)


@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar here")
@pytest.mark.parametrize("how", ["gnu", "ustar", "pax", "v7"])
def test_what_the_program_tar_packs_is_read(tmp_path, how):
    for name, content in PETS.items():
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pets" / name).write_bytes(content)
    for flags in ([], ["-b", "1"]):
        command = ["tar", f"--format={how}", *flags, "-cf", str(tmp_path / "pets.tar"), "pets"]
        if subprocess.run(command, cwd=tmp_path, capture_output=True).returncode:
            pytest.skip("this tar does not know the format")
        assert load(tmp_path / "pets.tar").counts == (2, 1)


# --- both ---


@pytest.mark.parametrize("name", ["pets.zip", "pets.tar", "pets.tar.gz"])
@pytest.mark.parametrize("depth", [33, 5_000])
def test_paths_too_deep_are_refused(tmp_path, name, depth):
    files = PETS | {"d/" * depth + "a.png": png(1)}
    members = [member(path, content) for path, content in files.items()]
    path = write_zip(tmp_path / name, files) if name == "pets.zip" else write_tar(tmp_path / name, members, TARS[name])
    assert "more than 32 deep" in refusal(path)


@pytest.mark.parametrize("name", ["pets.zip", "pets.tar", "pets.tar.gz"])
def test_a_name_as_long_as_a_book_is_refused_and_not_repeated_whole(tmp_path, name):
    files = PETS | {"cats/" + "x" * 50_000 + ".png": png(1)}
    members = [member(path, content) for path, content in files.items()]
    path = write_zip(tmp_path / name, files) if name == "pets.zip" else write_tar(tmp_path / name, members, TARS[name])
    message = refusal(path)
    assert "a name that no file has ('cats/xxx" in message and len(message) < 1_000


def test_two_names_of_an_entry_that_differ_are_not_repeated_whole(tmp_path):
    path = write_zip(tmp_path / "pets.zip", PETS, zipfile.ZIP_STORED)
    content = path.read_bytes()
    path.write_bytes(content[:26] + struct.pack("<H", 800) + content[28:])  # the length of the first name, before its content
    message = refusal(path)
    assert "File name in directory" in message and len(message) < 1_000


def test_gzip_of_nothing_is_refused(tmp_path):
    (tmp_path / "pets.tar.gz").write_bytes(gzip.compress(b""))
    refusal(tmp_path / "pets.tar.gz")
