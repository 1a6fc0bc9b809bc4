"""Folders and archives of one sub-folder a class: what is in them, and which pictures are of which class."""

import os
import tarfile
import time
import zipfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from fewshot_kit.data.archives import (
    PICTURE_SUFFIXES,
    ArchiveError,
    PictureTree,
    check_depth,
    check_totals,
    is_picture,
    is_text,
    is_visible,
    opened_tar,
    reading,
    tar_tree,
    zip_tree,
)
from fewshot_kit.data.cancelling import Check, checked, go_on
from fewshot_kit.data.opening import open_regular

MAX_SECONDS = 30  # of looking through a folder
LONGEST_SHOWN = 260  # letters of a path in an error


@contextmanager
def open_tree(path: Path, check: Check = go_on) -> Iterator[PictureTree]:
    """List a folder, or a .zip, .tar or .tar.gz archive, by its content; an archive stays open meanwhile.

    `check` is called at every entry; raise `Cancelled` in it to stop.
    Raises ArchiveError where one is damaged, encrypted, too large, too deep, or has an entry which could reach outside it.
    """
    if os.path.isdir(path):  # Path.is_dir raises on a name that is too long
        yield _folder_tree(path, check)
        return
    with _opened(path) as file:
        if zipfile.is_zipfile(file):
            with reading(str(path)):
                archive = zipfile.ZipFile(file)
                tree = zip_tree(archive, str(path), check)
        else:
            archive = _as_tar(file, path)
            tree = tar_tree(archive, str(path), check)
        with archive:
            yield tree


def shown(path: Path) -> str:
    """Return a path as an error names it: a very long one without its middle."""
    name = str(path)
    return name if len(name) <= LONGEST_SHOWN else f"{name[: LONGEST_SHOWN - 60]}…{name[-60:]}"


def _opened(path: Path) -> BinaryIO:
    wanted = "give a folder with one sub-folder a class, or an archive of one"
    try:
        return open_regular(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{shown(path)} does not exist; {wanted}") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error  # without the path once more
        raise ArchiveError(f"{shown(path)} cannot be opened ({why}); {wanted}") from error


def _as_tar(file: BinaryIO, path: Path) -> tarfile.TarFile:
    try:
        return opened_tar(file, str(path))
    except ArchiveError:
        raise
    except tarfile.ReadError as error:
        raise ArchiveError(f"{path} is neither a folder nor a readable .zip, .tar or .tar.gz archive; was it copied completely?") from error
    except Exception as error:
        raise ArchiveError(f"{path} is cut short or damaged ({str(error)[:200]}); download or pack it again") from error


# --- a folder ---


def _folder_tree(root: Path, check: Check) -> PictureTree:
    """Look through a folder: first what is in it, then where its links lead, unless that was looked through before."""
    folders, pictures, texts = [], [], []
    seen: set[tuple[int, int]] = set()
    inside, links = deque([PurePosixPath(".")]), deque()
    n_entries, deadline = 0, time.monotonic() + MAX_SECONDS
    while inside or links:
        folder = inside.popleft() if inside else links.popleft()
        check_depth(str(root), folder)
        with _looking_at(root, folder):
            status = os.stat(root / folder)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            folders.append(folder)
            entries = []
            with os.scandir(root / folder) as found:
                for entry in found:
                    check()
                    _check_effort(root, n_entries := n_entries + 1, deadline)
                    entries.append(entry)
            for entry in sorted(entries, key=lambda entry: entry.name):
                check()
                name = PurePosixPath(entry.name)
                if is_visible(name) and entry.is_dir():
                    (links if entry.is_symlink() else inside).append(folder / name)
                elif is_picture(name):
                    pictures.append(folder / name)
                elif is_text(name):
                    texts.append(folder / name)
    return PictureTree(str(root), tuple(folders), tuple(pictures), lambda picture: root / picture, tuple(texts))


@contextmanager
def _looking_at(root: Path, folder: PurePosixPath) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArchiveError(f"folder {str(folder)!r} of {root} cannot be read ({error.strerror}); allow it, or take it away") from error


def _check_effort(root: Path, n_entries: int, deadline: float) -> None:
    check_totals(str(root), n_entries, 0)
    if time.monotonic() > deadline:
        raise ArchiveError(f"looking through {root} takes more than {MAX_SECONDS} seconds; give a folder with nothing but the classes")


# --- classes ---


def pictures_by_class(tree: PictureTree, check: Check = go_on) -> dict[str, tuple[PurePosixPath, ...]]:
    """Group pictures by the folder that holds them, classes and pictures in order of their names.

    Folders that wrap everything are looked through; below them, nested classes are named by their path ("Greek/alpha").
    Pictures beside the class folders belong to none. Raises ValueError for an empty class folder or fewer than two classes.
    """
    by_folder: dict[PurePosixPath, list[PurePosixPath]] = {}
    for picture in checked(tree.pictures, check):
        by_folder.setdefault(picture.parent, []).append(picture)
    folders = set(tree.folders) | {folder for holder in checked(by_folder, check) for folder in (holder, *holder.parents)}
    folders.discard(PurePosixPath("."))
    root = _look_through(folders, check)
    classes = {str(folder.relative_to(root)): pictures for folder, pictures in checked(by_folder.items(), check) if root in folder.parents}
    _check_classes(tree, root, folders, classes, check)
    return {name: tuple(sorted(classes[name])) for name in checked(sorted(classes), check)}


def _look_through(folders: set[PurePosixPath], check: Check) -> PurePosixPath:
    """Descend while there is just one folder and it has folders in it."""
    root = PurePosixPath(".")
    while True:
        below = [folder for folder in checked(folders, check) if root in folder.parents]
        tops = {folder.parts[len(root.parts)] for folder in checked(below, check)}
        if len(tops) != 1 or len(below) == 1:
            return root
        root = root / tops.pop()


def _check_classes(tree: PictureTree, root: PurePosixPath, folders: set[PurePosixPath], classes: dict[str, list], check: Check) -> None:
    inner = {folder.parent for folder in checked(folders, check)}
    leaves = {str(folder.relative_to(root)) for folder in checked(folders - inner, check) if root in folder.parents}
    empty = sorted(leaves - set(classes))
    if empty:
        kinds = " ".join(sorted(PICTURE_SUFFIXES))
        raise ValueError(f"class folder {empty[0]!r} of {tree.origin} has no picture ({kinds}); fill it or delete it")
    if len(classes) < 2:
        loose = len(tree.pictures) - sum(map(len, classes.values()))
        found = f"{len(classes)} folder(s) with pictures ({', '.join(classes) or 'none'}) and {loose} picture(s) beside them"
        raise ValueError(f"{tree.origin} needs one sub-folder a class and at least two of them, but has {found}")
