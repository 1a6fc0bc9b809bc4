"""Find the files behind a data set, and read folders and archives of pictures without unpacking them.

A file is looked for in the folder that `FEWSHOT_DATA` names, then in the cache (`FEWSHOT_CACHE`, or the usual place of the
operating system), and is downloaded into the cache, against a checksum, if it is in neither.
"""

import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pooch

MAX_ARCHIVE_BYTES = 2_000_000_000  # uncompressed, of all entries together
MAX_ARCHIVE_ENTRIES = 500_000
PICTURE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm"))

_UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error, tarfile.TarError)


class ArchiveError(ValueError):
    """An archive that cannot or must not be read; the message names it, says what is wrong and what to do."""


def cache_folder() -> Path:
    """Name the folder of downloads and decoded pictures; it need not exist yet."""
    return Path(os.environ.get("FEWSHOT_CACHE") or pooch.os_cache("fewshot_kit")).expanduser()


def data_folder() -> Path | None:
    """Name the folder that `FEWSHOT_DATA` gives, None where it is not set."""
    given = os.environ.get("FEWSHOT_DATA")
    if not given:
        return None
    if not Path(given).expanduser().is_dir():
        raise FileNotFoundError(f"FEWSHOT_DATA names {given}, which is not a folder; correct it, or unset it to use downloads")
    return Path(given).expanduser()


def find_file(place: str) -> Path | None:
    """Return the file at this place below the data folder or the cache, if it is on this machine."""
    folders = (data_folder(), cache_folder())
    return next((folder / place for folder in folders if folder and (folder / place).is_file()), None)


@dataclass(frozen=True)
class RemoteFile:
    """One official file: where it is below the data folder or the cache, and where it comes from."""

    place: str
    url: str
    md5: str

    def find(self) -> Path | None:
        """Return the file if it is on this machine. It is not checked again: downloads were, and a person's own may differ."""
        return find_file(self.place)

    def fetch(self, progress: bool = True) -> Path:
        """Return the file, downloaded first if need be."""
        return self.find() or self._download(progress)

    def _download(self, progress: bool) -> Path:
        target = cache_folder() / self.place
        by_hand = f"Save the file by hand as {target}, or use a bundled data set (digits, characters, drawings): they need no network"
        downloader = pooch.HTTPDownloader(progressbar=progress)
        try:  # pooch writes to a temporary file beside the target, and moves it when its checksum is right
            pooch.retrieve(self.url, f"md5:{self.md5}", fname=target.name, path=target.parent, downloader=downloader)
        except OSError as error:  # requests' exceptions are all OSErrors
            raise ConnectionError(f"{self.url} could not be downloaded ({root_cause(error)}). {by_hand}") from error
        except ValueError as error:
            raise ConnectionError(f"what {self.url} sent is not the expected file ({error}). {by_hand}") from error
        return target


def root_cause(error: BaseException) -> BaseException:
    """Return the error that all began with: requests wraps "Name or service not known" in three of its own."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return error


@dataclass(frozen=True)
class PictureTree:
    """The folders and pictures inside a folder or an archive; hidden and other files are left out."""

    origin: str  # for messages
    folders: tuple[PurePosixPath, ...]
    pictures: tuple[PurePosixPath, ...]  # in the order in which they are read fastest
    read: Callable[[PurePosixPath], bytes | Path]  # what `read_image` takes


@contextmanager
def open_tree(path: Path) -> Iterator[PictureTree]:
    """List a folder, or a .zip, .tar or .tar.gz archive, by its content; an archive stays open meanwhile.

    Raises ArchiveError where an archive is damaged, encrypted, too large, or has an entry which could reach outside it.
    """
    if path.is_dir():
        yield _folder_tree(path)
    elif zipfile.is_zipfile(path):
        with reading(str(path)):
            archive = zipfile.ZipFile(path)
        with archive:
            yield _zip_tree(archive, str(path))
    elif path.is_file() and tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            yield _tar_tree(archive, str(path))
    elif path.exists():
        raise ArchiveError(f"{path} is neither a folder nor a readable .zip, .tar or .tar.gz archive; was it copied completely?")
    else:
        raise FileNotFoundError(f"{path} does not exist; give a folder with one sub-folder a class, or an archive of one")


def pictures_by_class(tree: PictureTree) -> dict[str, tuple[PurePosixPath, ...]]:
    """Group pictures by the folder that holds them, classes and pictures in order of their names.

    Folders that wrap everything are looked through; below them, nested classes are named by their path ("Greek/alpha").
    Pictures beside the class folders belong to none. Raises ValueError for an empty class folder or fewer than two classes.
    """
    by_folder: dict[PurePosixPath, list[PurePosixPath]] = {}
    for picture in tree.pictures:
        by_folder.setdefault(picture.parent, []).append(picture)
    folders = set(tree.folders) | {folder for holder in by_folder for folder in (holder, *holder.parents)}
    folders.discard(PurePosixPath("."))
    root = _look_through(folders)
    classes = {str(folder.relative_to(root)): pictures for folder, pictures in by_folder.items() if root in folder.parents}
    _check_classes(tree, root, folders, classes)
    return {name: tuple(sorted(classes[name])) for name in sorted(classes)}


def _look_through(folders: set[PurePosixPath]) -> PurePosixPath:
    """Descend while there is just one folder and it has folders in it."""
    root = PurePosixPath(".")
    while True:
        below = [folder for folder in folders if root in folder.parents]
        tops = {folder.parts[len(root.parts)] for folder in below}
        if len(tops) != 1 or len(below) == 1:
            return root
        root = root / tops.pop()


def _check_classes(tree: PictureTree, root: PurePosixPath, folders: set[PurePosixPath], classes: dict[str, list]):
    inner = {folder.parent for folder in folders}
    leaves = {str(folder.relative_to(root)) for folder in folders - inner if root in folder.parents}
    empty = sorted(leaves - set(classes))
    if empty:
        kinds = " ".join(sorted(PICTURE_SUFFIXES))
        raise ValueError(f"class folder {empty[0]!r} of {tree.origin} has no picture ({kinds}); fill it or delete it")
    if len(classes) < 2:
        loose = len(tree.pictures) - sum(map(len, classes.values()))
        found = f"{len(classes)} folder(s) with pictures ({', '.join(classes) or 'none'}) and {loose} picture(s) beside them"
        raise ValueError(f"{tree.origin} needs one sub-folder a class and at least two of them, but has {found}")


def _folder_tree(root: Path) -> PictureTree:
    folders, pictures = [], []
    for where, below, files in os.walk(root, followlinks=True):
        below[:] = sorted(name for name in below if _is_visible(PurePosixPath(name)))
        folder = PurePosixPath(Path(where).relative_to(root).as_posix())
        folders.append(folder)
        pictures += [folder / name for name in sorted(files) if _is_picture(PurePosixPath(name))]
        _check_totals(str(root), len(folders) + len(pictures), 0)  # a link to a parent would go on for ever
    return PictureTree(str(root), tuple(folders), tuple(pictures), lambda picture: root / picture)


def _zip_tree(archive: zipfile.ZipFile, origin: str) -> PictureTree:
    entries = archive.infolist()
    _check_totals(origin, len(entries), sum(entry.file_size for entry in entries))
    paths = {}
    for entry in entries:
        path = _safe_path(origin, entry.filename)
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveError(f"{origin} has a link or a device ({entry.filename!r}); pack plain files and folders only")
        if entry.flag_bits & 1:
            raise ArchiveError(f"{origin} is encrypted; pack it again without a password")
        paths[path] = entry

    def read(picture: PurePosixPath) -> bytes:
        with reading(f"{origin}, entry {picture},"):
            return archive.read(paths[picture])

    return _archive_tree(origin, {path: entry.is_dir() for path, entry in paths.items()}, read)


def _tar_tree(archive: tarfile.TarFile, origin: str) -> PictureTree:
    paths: dict[PurePosixPath, tarfile.TarInfo] = {}
    n_bytes = 0
    with reading(origin):
        for n_entries, member in enumerate(archive, start=1):
            n_bytes += member.size
            _check_totals(origin, n_entries, n_bytes)  # before going on: that would unpack this entry
            path = _safe_path(origin, member.name)
            if not (member.isreg() or member.isdir()):
                raise ArchiveError(f"{origin} has a link or a device ({member.name!r}); pack plain files and folders only")
            paths[path] = member

    def read(picture: PurePosixPath) -> bytes:
        with reading(f"{origin}, entry {picture},"):
            return archive.extractfile(paths[picture]).read()

    return _archive_tree(origin, {path: member.isdir() for path, member in paths.items()}, read)


def _archive_tree(origin: str, is_folder: dict[PurePosixPath, bool], read: Callable[[PurePosixPath], bytes]) -> PictureTree:
    folders = tuple(path for path, is_dir in is_folder.items() if is_dir and _is_visible(path))
    pictures = tuple(path for path, is_dir in is_folder.items() if not is_dir and _is_picture(path))
    return PictureTree(origin, folders, pictures, read)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn everything that reading an archive can raise into an ArchiveError that says what was read."""
    try:
        yield
    except ArchiveError:
        raise
    except _UNREADABLE as error:
        raise ArchiveError(f"{what} is cut short or damaged ({error}); download or pack it again") from error


def _check_totals(origin: str, n_entries: int, n_bytes: int):
    if n_entries > MAX_ARCHIVE_ENTRIES:
        raise ArchiveError(f"{origin} has more than {MAX_ARCHIVE_ENTRIES:,} entries; choose fewer pictures")
    if n_bytes > MAX_ARCHIVE_BYTES:
        raise ArchiveError(f"{origin} unpacks to more than {MAX_ARCHIVE_BYTES:,} bytes; choose fewer or smaller pictures")


def _safe_path(origin: str, name: str) -> PurePosixPath:
    """Turn an entry's name into a path below the archive's root. Nothing is unpacked, yet such a name is no accident."""
    path = PurePosixPath(name.replace("\\", "/"))  # Windows packs backslashes
    if path.is_absolute() or re.match("[A-Za-z]:/", str(path)) or ".." in path.parts:
        raise ArchiveError(f"{origin} has an entry outside itself ({name!r}); pack it again from inside its folder")
    return path


def _is_visible(path: PurePosixPath) -> bool:
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _is_picture(path: PurePosixPath) -> bool:
    return _is_visible(path) and path.suffix.lower() in PICTURE_SUFFIXES
