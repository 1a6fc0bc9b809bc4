"""Read archives of pictures without unpacking them to the disk, and without believing what they say of themselves.

Every size is counted as it is read, and reading stops at the limits below, whatever a header promised.
"""

import bz2
import gzip
import io
import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from fewshot_kit.data.cancelling import Cancelled, Check, go_on

MAX_ARCHIVE_BYTES = 2_000_000_000  # uncompressed, of all entries together
MAX_ARCHIVE_ENTRIES = 500_000
MAX_ENTRY_BYTES = 300_000_000  # uncompressed, of one entry that is read, and of a header
MAX_DEPTH = 32  # folders in one another
MAX_NAME = 1_000  # letters of an entry's name, with its folders
PICTURE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm"))
TEXT_SUFFIXES = frozenset((".xml", ".json", ".txt", ".yaml", ".yml"))  # of files that may say what is in the pictures

_LZMA_MEMORY = 300_000_000  # bytes: a dictionary may claim 4 GB


class ArchiveError(ValueError):
    """A folder or archive that cannot or must not be read; the message names it, says what is wrong and what to do."""


@dataclass(frozen=True)
class PictureTree:
    """The folders, pictures and texts inside a folder or an archive; hidden and other files are left out."""

    origin: str  # for messages
    folders: tuple[PurePosixPath, ...]
    pictures: tuple[PurePosixPath, ...]  # in the order in which they are read fastest
    read: Callable[[PurePosixPath], bytes | Path]  # what `read_image` takes
    texts: tuple[PurePosixPath, ...] = ()  # files that may say what is in the pictures


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn everything that reading an archive can raise into an ArchiveError that says what was read."""
    try:
        yield
    except (ArchiveError, Cancelled):
        raise
    except Exception as error:  # damaged headers make zipfile, tarfile and the decompressors raise nearly anything
        # zipfile and tarfile repeat whole names, and what they take for names
        raise ArchiveError(f"{what} is cut short or damaged ({str(error)[:200]}); download or pack it again") from error


# --- zip ---


def zip_tree(archive: zipfile.ZipFile, origin: str, check: Check = go_on) -> PictureTree:
    """List a zip archive. Raises ArchiveError for what must not be read: links, devices, passwords, paths that lead out, too much."""
    entries = archive.infolist()
    check_totals(origin, len(entries), sum(entry.file_size for entry in entries))
    paths = {}
    for entry in entries:
        check()
        path = _safe_path(origin, entry.orig_filename)
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveError(f"{origin} has a link or a device ({entry.filename!r}); pack plain files and folders only")
        if entry.flag_bits & 1:
            raise ArchiveError(f"{origin} is encrypted; pack it again without a password")
        paths[path] = entry

    def read(picture: PurePosixPath) -> bytes:
        return read_zip_entry(archive, paths[picture], f"{origin}, entry {picture},")

    return _archive_tree(origin, {path: entry.is_dir() for path, entry in paths.items()}, read)


def read_zip_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, what: str) -> bytes:
    """Return the content of an entry, unpacked no further than it says that it is long, and checked against its checksum."""
    _check_entry(what, max(entry.file_size, entry.compress_size))
    packed = copy(entry)  # zipfile unpacks what was packed by bzip2 and LZMA a block at a time, and a block may hold gigabytes
    packed.compress_type, packed.file_size, packed.CRC = zipfile.ZIP_STORED, entry.compress_size, None
    with reading(what):
        with archive.open(packed) as file:
            content = _unpacked(entry, file.read(MAX_ENTRY_BYTES + 1), what)
        if len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
            raise ValueError(f"its {entry.file_size:,} bytes are not those of its checksum")
        return content


def _unpacked(entry: zipfile.ZipInfo, packed: bytes, what: str) -> bytes:
    """Unpack an entry, no more than a byte further than it says that it is long."""
    most = entry.file_size + 1
    if entry.compress_type == zipfile.ZIP_STORED:
        return packed
    if entry.compress_type == zipfile.ZIP_DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, most)
    if entry.compress_type == zipfile.ZIP_BZIP2:
        return bz2.BZ2Decompressor().decompress(packed, most)
    if entry.compress_type == zipfile.ZIP_LZMA:  # two numbers of two bytes, then what a .lzma file has but for the size
        has_end = bool(entry.flag_bits & 2)
        size = struct.pack("<Q", 2**64 - 1 if has_end else entry.file_size)
        return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY).decompress(packed[4:9] + size + packed[9:], most)
    raise ArchiveError(f"{what} is packed by a method (number {entry.compress_type}) unknown to this kit; pack it again")


# --- tar ---


def opened_tar(file: BinaryIO, origin: str) -> tarfile.TarFile:
    """Open a tar, packed by gzip, bzip2, xz or not at all, so that reading it stops at the limits; it raises nearly anything."""
    file.seek(0)
    beginning = file.read(6)
    file.seek(0)
    openers = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open))
    unpack = next((opener for magic, opener in openers if beginning.startswith(magic)), None)
    return tarfile.TarFile(fileobj=_Counted(unpack(file) if unpack else file, origin))


class _Counted(io.RawIOBase):
    """What an archive unpacks to, read no further and no more at a time than the limits allow."""

    def __init__(self, file: BinaryIO, origin: str):
        super().__init__()
        self._file, self._origin, self.last_read = file, origin, b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_ENTRY_BYTES:
            raise ArchiveError(f"{self._origin} has a header or an entry of {size:,} bytes, not 0 to {MAX_ENTRY_BYTES:,}; pack it again")
        self._check(self.tell() + size)
        self.last_read = self._file.read(size)
        return self.last_read

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        self._check(position)
        return self._file.seek(position, whence)

    def tell(self) -> int:
        return self._file.tell()

    def _check(self, position: int) -> None:
        if position > 2 * MAX_ARCHIVE_BYTES:  # entries were counted before: these are headers and what fills up blocks
            raise ArchiveError(f"{self._origin} unpacks to more than {MAX_ARCHIVE_BYTES:,} bytes; choose fewer or smaller pictures")


def tar_tree(archive: tarfile.TarFile, origin: str, check: Check = go_on) -> PictureTree:
    """List a tar archive, which is read through for it. Raises ArchiveError for what must not be read."""
    paths: dict[PurePosixPath, tarfile.TarInfo] = {}
    n_bytes = 0
    with reading(origin):
        for n_entries, member in enumerate(tar_entries(archive, origin), start=1):
            check()
            if member.size < 0:  # the next entry would be an earlier one, again and again
                raise ArchiveError(f"{origin} has an entry of {member.size} bytes ({member.name!r}); download or pack it again")
            n_bytes += member.size
            check_totals(origin, n_entries, n_bytes)  # before going on: that would unpack this entry
            path = _safe_path(origin, member.name)
            if not (member.isreg() or member.isdir()):
                raise ArchiveError(f"{origin} has a link or a device ({member.name!r}); pack plain files and folders only")
            paths[path] = member

    def read(picture: PurePosixPath) -> bytes:
        return read_tar_entry(archive, paths[picture], f"{origin}, entry {picture},")

    return _archive_tree(origin, {path: member.isdir() for path, member in paths.items()}, read)


def tar_entries(archive: tarfile.TarFile, origin: str) -> Iterator[tarfile.TarInfo]:
    """Yield the entries of an `opened_tar`. Raises ArchiveError where it ends without its mark, which tarfile takes for the end."""
    yield from archive
    block = archive.fileobj.last_read  # read again, a packed archive would have to be unpacked again from its beginning
    if len(block) < tarfile.BLOCKSIZE:
        raise ArchiveError(f"{origin} is cut off: it lacks its end mark; fetch it again, or pack it again")
    if any(block):  # the mark is two blocks of zeros, but some programs write only one
        raise ArchiveError(
            f"{origin} is damaged: what follows its first {archive.offset:,} bytes is no entry; fetch it again, or pack it again"
        )


def read_tar_entry(archive: tarfile.TarFile, member: tarfile.TarInfo, what: str) -> bytes:
    """Return the content of an entry."""
    _check_entry(what, member.size)
    with reading(what):
        content = archive.extractfile(member).read()
        if len(content) != member.size:
            raise ValueError(f"it ends after {len(content):,} of {member.size:,} bytes")
        return content


# --- what holds for both ---


def _archive_tree(origin: str, is_folder: dict[PurePosixPath, bool], read: Callable[[PurePosixPath], bytes]) -> PictureTree:
    folders = tuple(path for path, is_dir in is_folder.items() if is_dir and is_visible(path))
    pictures = tuple(path for path, is_dir in is_folder.items() if not is_dir and is_picture(path))
    texts = tuple(path for path, is_dir in is_folder.items() if not is_dir and is_text(path))
    return PictureTree(origin, folders, pictures, read, texts)


def check_totals(origin: str, n_entries: int, n_bytes: int) -> None:
    """Raise ArchiveError where there are too many entries, or too many bytes in them together."""
    if n_entries > MAX_ARCHIVE_ENTRIES:
        raise ArchiveError(f"{origin} has more than {MAX_ARCHIVE_ENTRIES:,} entries; choose fewer pictures")
    if n_bytes > MAX_ARCHIVE_BYTES:
        raise ArchiveError(f"{origin} unpacks to more than {MAX_ARCHIVE_BYTES:,} bytes; choose fewer or smaller pictures")


def check_depth(origin: str, path: PurePosixPath) -> None:
    """Raise ArchiveError for a path of too many folders in one another."""
    if len(path.parts) > MAX_DEPTH:
        raise ArchiveError(f"{origin} has folders more than {MAX_DEPTH} deep ({'/'.join(path.parts[:3])}/...); put the classes higher")


def _check_entry(what: str, n_bytes: int) -> None:
    if n_bytes > MAX_ENTRY_BYTES:
        raise ArchiveError(f"{what} has {n_bytes:,} bytes, more than the {MAX_ENTRY_BYTES:,} that one may have; take it out")


def _safe_path(origin: str, name: str) -> PurePosixPath:
    """Turn an entry's name into a path below the archive's root. Nothing is unpacked, yet such a name is no accident."""
    path = PurePosixPath(name.replace("\\", "/"))  # Windows packs backslashes
    check_depth(origin, path)
    if not name or "\0" in name or len(name) > MAX_NAME:
        raise ArchiveError(f"{origin} has an entry with a name that no file has ({name[:100]!r}); pack it again")
    if path.is_absolute() or re.match("[A-Za-z]:/", str(path)) or ".." in path.parts:
        raise ArchiveError(f"{origin} has an entry outside itself ({name!r}); pack it again from inside its folder")
    return path


def is_visible(path: PurePosixPath) -> bool:
    """Say whether neither a file nor a folder above it is hidden."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def is_picture(path: PurePosixPath) -> bool:
    """Say whether a file is a picture by its name."""
    return is_visible(path) and path.suffix.lower() in PICTURE_SUFFIXES


def is_text(path: PurePosixPath) -> bool:
    """Say whether a file is by its name one that may say what is in the pictures."""
    return is_visible(path) and path.suffix.lower() in TEXT_SUFFIXES
