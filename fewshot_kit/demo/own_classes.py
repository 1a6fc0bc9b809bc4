"""A person's own classes: their names, and their pictures as they were given. Texts here are for a panel: in a person's words."""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from fewshot_kit.data.cancelling import Check, go_on
from fewshot_kit.data.images import ImageError, read_image
from fewshot_kit.data.opening import open_regular
from fewshot_kit.data.trees import open_tree, pictures_by_class
from fewshot_kit.demo.photographs import SHARE, coloured_share

MOST_CLASSES = 20
MOST_PICTURES = 200  # of a class
MOST_BYTES = 300_000_000  # of all pictures as they were given, which are held in memory
LONGEST_NAME = 80  # letters of a class


@dataclass(frozen=True, eq=False)
class GivenPicture:
    """A picture as a person gave it."""

    name: str  # of its file, or of what made it
    content: bytes = field(repr=False)

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def colours(self) -> float:
        """Return the share of its pixels that have a colour of their own; decoded for it once."""
        return coloured_share(self.pixels())

    def pixels(self) -> np.ndarray:
        """Decode it, (h, w) or (h, w, 3) uint8. Raises ImageError, which names it."""
        return _decoded(self.content, self.name)


@lru_cache(maxsize=1)
def _decoded(content: bytes, name: str) -> np.ndarray:
    """Decode a picture; the last one is remembered, since a picture that was just given is checked, shown and learned."""
    return read_image(content, name=name)


@dataclass(frozen=True, eq=False)
class OwnClass:
    """A class that a person named."""

    name: str
    pictures: tuple[GivenPicture, ...] = ()


@dataclass(frozen=True, eq=False)
class OwnClasses:
    """All classes of a person, in the order in which they came; every change makes new ones."""

    classes: tuple[OwnClass, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    def pictures(self) -> Iterator[tuple[int, GivenPicture]]:
        """Yield every picture with the place of its class."""
        for number, one in enumerate(self.classes):
            for picture in one.pictures:
                yield number, picture

    # What a person changes. Each raises ValueError for what cannot be, and says what to do.

    def with_class(self, name: str | None = None) -> "OwnClasses":
        """Add a class; without a name, with one that is free."""
        if len(self) >= MOST_CLASSES:
            raise ValueError(f"there are {MOST_CLASSES} classes already, which is the most; remove one first")
        if name is None:
            name = next(free for n in range(1, MOST_CLASSES + 2) if (free := f"class {n}") not in self.names)
        return OwnClasses((*self.classes, OwnClass(self._checked(name))))

    def renamed(self, number: int, name: str) -> "OwnClasses":
        return self._with(number, replace(self.classes[number], name=self._checked(name, number)))

    def without_class(self, number: int) -> "OwnClasses":
        return OwnClasses((*self.classes[:number], *self.classes[number + 1 :]))

    def with_picture(self, number: int, picture: GivenPicture) -> "OwnClasses":
        """Add a picture, which can be decoded, to a class."""
        one = self.classes[number]
        if len(one.pictures) >= MOST_PICTURES:
            raise ValueError(f"{one.name} has {MOST_PICTURES} pictures already, which is the most; remove some first")
        total = sum(len(other.content) for _, other in self.pictures()) + len(picture.content)
        if total > MOST_BYTES:
            most = f"{MOST_BYTES / 1e6:.0f} MB"
            raise ValueError(
                f"with {picture.name} all pictures together have {total / 1e6:.0f} MB, but at most {most} fit; give smaller ones"
            )
        if any(other.digest == picture.digest for other in one.pictures):
            raise ValueError(f"{picture.name} is among the pictures of {one.name} already; give another")
        picture.pixels()
        return self._with(number, replace(one, pictures=(*one.pictures, picture)))

    def without_picture(self, number: int, place: int) -> "OwnClasses":
        one = self.classes[number]
        return self._with(number, replace(one, pictures=(*one.pictures[:place], *one.pictures[place + 1 :])))

    def _with(self, number: int, one: OwnClass) -> "OwnClasses":
        return OwnClasses((*self.classes[:number], one, *self.classes[number + 1 :]))

    def _checked(self, name: str, own: int | None = None) -> str:
        """Return the name as it is kept: without spaces around it."""
        name = " ".join(name.split())
        if not name:
            raise ValueError("a class needs a name of at least one letter; give it one")
        if len(name) > LONGEST_NAME:
            raise ValueError(f"the name of a class has at most {LONGEST_NAME} letters, but {name[:20]!r}… has {len(name)}; shorten it")
        if not name.isprintable():
            raise ValueError(f"the name {name!r} has signs that cannot be shown; give it another")
        taken = {other.casefold() for number, other in enumerate(self.names) if number != own}
        if name.casefold() in taken:
            raise ValueError(f"two classes would be called {name!r}; give one of them another name")
        return name

    # What is to be said of them.

    def missing(self) -> str:
        """Say what is still missing before they can be learned, "" where nothing is."""
        if len(self) < 2:
            return f"{len(self)} of at least 2 classes: add {'another' if len(self) else 'two'}"
        empty = [one.name for one in self.classes if not one.pictures]
        return f"no picture yet of {', '.join(empty[:3])}{' …' if len(empty) > 3 else ''}" if empty else ""

    def shared(self) -> list[str]:
        """Say which pictures are in two classes, which cannot both be right."""
        seen: dict[str, int] = {}
        found = []
        for number, picture in self.pictures():
            first = seen.setdefault(picture.digest, number)
            if first != number:
                found.append(f"{picture.name} is in {self.names[first]} and in {self.names[number]}: remove it from one of them")
        return found

    def are_photographs(self) -> bool:
        """Say whether they are photographs rather than drawings in ink."""
        shares = [picture.colours for _, picture in self.pictures()]
        return bool(shares) and float(np.median(shares)) > SHARE


def read_classes(
    path: Path, check: Check = go_on, *, only: Sequence[str] | None = None, first: int | None = None
) -> tuple[OwnClasses, list[str]]:
    """Read a folder or archive of one sub-folder a class; also say which pictures cannot be used, and why. The others are kept.

    `only` takes these classes, `first` so many pictures of each. Raises ValueError for a class that is not there.
    """
    found, problems = OwnClasses(), []
    with open_tree(path, check) as tree:
        classes = pictures_by_class(tree, check)
        if missing := [name for name in only or () if name not in classes]:
            raise ValueError(f"{path} has no class {missing[0]!r}; it has {', '.join(list(classes)[:20])}")
        for name in only or classes:
            found = found.with_class(name)
            for picture in classes[name][:first]:
                check()
                try:
                    found = found.with_picture(len(found) - 1, GivenPicture(picture.name, _content(tree.read(picture))))
                except ValueError as error:
                    problems.append(str(error))
    return found, problems


@contextmanager
def uploaded(name: str, content: bytes) -> Iterator[Path]:
    """Give an archive that was uploaded as a file, for as long as the block lasts; errors in it call the archive by its own name."""
    with ExitStack() as stack:
        try:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory()), "pictures.zip")
            path.write_bytes(content)
        except OSError as error:
            raise ValueError(f"there is no place to unpack {name} ({error.strerror or error}); make room, then give it again") from error
        try:
            yield path
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), name)) from error


def holds_classes(path: Path) -> bool:
    """Say whether the pictures of a folder or archive lie in several folders, a class each; those beside such folders do not count."""
    with open_tree(path) as tree:
        parents = {picture.parent for picture in tree.pictures}
    return len(parents - {above for parent in parents for above in parent.parents}) > 1


def read_pictures(path: Path, check: Check = go_on) -> Iterator[GivenPicture]:
    """Yield the pictures of a folder or archive, whatever sub-folders they are in; they may yet turn out to be damaged."""
    with open_tree(path, check) as tree:
        if not tree.pictures:
            raise ImageError(f"{path} has no picture in it; give one that has")
        for picture in sorted(tree.pictures):
            check()
            yield GivenPicture(str(PurePosixPath(picture)), _content(tree.read(picture)))


def read_picture(path: Path) -> GivenPicture:
    """Return the picture that a file is; it may yet turn out to be damaged. Raises ImageError for one that cannot be opened."""
    try:
        with open_regular(path) as file:
            return GivenPicture(str(path), file.read())
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist; check the path") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be opened ({error}); give the path of a picture that you may read") from error


def _content(read: bytes | Path) -> bytes:
    return read if isinstance(read, bytes) else read.read_bytes()
