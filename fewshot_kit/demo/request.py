"""What a person asks a panel for, and how much of it a data set can serve. Texts here are for a panel: in a person's words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.detection.annotated import AnnotatedImages
from fewshot_kit.learners.settings import CHOSEN, Setting

FOLDER, BOXES = "folder:", "boxes:"  # what comes before the path of a person's own pictures: by class, or with boxes
MOST_PICTURES = 10  # of a class that a slider offers, as support and as queries


@dataclass(frozen=True)
class Request:
    """Everything that the controls of a panel say, at one moment."""

    dataset: str
    n_way: int
    n_shot: int
    n_query: int  # a class
    seed: int
    class_ids: tuple[int, ...] | None = None  # taken by hand; None: by chance
    settings: tuple[Setting, ...] = ()
    view: str = ""  # how it is drawn, where a panel knows several ways
    left_aside: tuple[str, ...] = ()  # learners that take no part, where a panel compares several
    opened: int = 0  # counts a person's openings of a data set: the same folder opened again is read again

    def episode(self) -> dict:
        """Return which episode it is, as `DemoSession.lay` takes it."""
        return {name: getattr(self, name) for name in ("n_way", "n_shot", "n_query", "seed", "class_ids")}

    def source(self) -> tuple[str, int]:
        """Return what tells apart two readings of a data set."""
        return self.dataset, self.opened

    def values(self) -> dict[str, float]:
        """Return the settings by name, as `DemoSession.learn` takes them."""
        return {setting.name: setting.value for setting in self.settings}

    def by_hand(self) -> dict[str, float]:
        """Return those of the settings that were turned by hand."""
        return {setting.name: setting.value for setting in self.settings if setting.source == CHOSEN}

    def changed(self, **changes) -> "Request":
        """Return it with these changes; classes taken by hand end with another data set, number of classes or seed."""
        others = any(changes.get(name, getattr(self, name)) != getattr(self, name) for name in ("dataset", "n_way", "seed", "opened"))
        return replace(self, **({"class_ids": None} if others else {}) | changes)

    def with_value(self, name: str, value: float) -> "Request":
        """Return it with a setting turned by hand, to four digits; the very same where that has the value already."""
        if self.values()[name] in (value, value := _rounded(value)):
            return self
        turned = [replace(setting, value=value, source=CHOSEN) if setting.name == name else setting for setting in self.settings]
        return replace(self, settings=tuple(turned))

    def with_defaults(self, settings: Sequence[Setting]) -> "Request":
        """Return it with these settings, but for those that were turned by hand."""
        by_hand = {setting.name: setting for setting in self.settings if setting.source == CHOSEN}
        return replace(self, settings=tuple(by_hand.get(setting.name, setting) for setting in settings))


@dataclass(frozen=True)
class Shelf:
    """The data sets that a panel offers."""

    names: tuple[str, ...]
    is_available: Callable[[str], bool]
    own: str  # the prefix of a person's own folder
    hint: str  # what such a folder holds


@dataclass(frozen=True)
class Limits:
    """The most that a data set can serve, and a learner tell apart."""

    n_way: int
    pictures: int  # of a class, support and queries together
    scarce: str  # the class that has no more

    @classmethod
    def of(cls, images: ClassImages | AnnotatedImages, max_way: int | None) -> "Limits":
        pictures, scarce = min(zip(images.counts, images.class_names, strict=True))
        n_classes = len(images.class_names)
        return cls(min(n_classes, max_way or n_classes), pictures, scarce)

    def fit(self, asked: Request, before: Request | None = None) -> tuple[Request, list[str]]:
        """Return as much of a request as there is, and what had to be lowered, in words.

        Where pictures and queries are too many together, the slider that was moved since `before` wins and the other gives way.
        """
        n_way = min(asked.n_way, self.n_way)
        n_shot, n_query = self._share(asked, before)
        notes = [
            f"{fitted} {what}, not {wanted}: {why}"
            for fitted, wanted, what, why in (
                (n_way, asked.n_way, "classes", f"there are no more than {self.n_way}"),
                (n_shot, asked.n_shot, "pictures each" if n_shot != 1 else "picture each", self._scarcity()),
                (n_query, asked.n_query, "queries a class" if n_query != 1 else "query a class", self._scarcity()),
            )
            if fitted != wanted
        ]
        return asked.changed(n_way=n_way, n_shot=n_shot, n_query=n_query), notes

    def _share(self, asked: Request, before: Request | None) -> tuple[int, int]:
        n_shot, n_query = asked.n_shot, asked.n_query
        if n_shot + n_query <= self.pictures:
            return n_shot, n_query
        same_set = before is not None and before.source() == asked.source()
        if same_set and before.n_shot == n_shot and before.n_query != n_query:
            n_query = min(n_query, self.pictures - 1)
            return self.pictures - n_query, n_query
        # Another data set leaves a query a class where it can; a person who wants every picture as support moves the slider.
        most = self.pictures - 1 if n_query and not same_set else self.pictures
        n_shot = min(n_shot, max(most, 1))
        return n_shot, min(n_query, self.pictures - n_shot)

    def _scarcity(self) -> str:
        return f"class {self.scarce!r} has {self.pictures} picture{'s' if self.pictures != 1 else ''}"


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.4g}")


def is_own(dataset: str) -> bool:
    """Say whether a data set is a person's own folder."""
    return dataset.startswith((FOLDER, BOXES))


def title(dataset: str) -> str:
    """Name a data set for a person: a folder by its last part."""
    return f"own folder {Path(dataset.partition(':')[2]).name!r}" if is_own(dataset) else dataset
