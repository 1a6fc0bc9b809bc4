"""The commands for a person's own classes: `learn` them from a folder, and `classify` pictures by them.

torch takes seconds to import, so it is imported only after a first word to the person.
"""

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from csv import writer
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from fewshot_kit.data.files import write_text
from fewshot_kit.learners.settings import parse_settings
from fewshot_kit.training.progress import Bar, say

if TYPE_CHECKING:
    from torch import Tensor

    from fewshot_kit.demo.own_classes import GivenPicture
    from fewshot_kit.demo.saved_task import SavedPredictor

TOGETHER = 512  # pictures that are held, as small as the network sees them, and answered at a time: enough for two threads
UNKNOWN = "unknown"


def learn_command(
    folder: Path, checkpoint: str | None = None, out: Path = Path("my_classes"), settings: tuple[str, ...] = (), replace: bool = False
) -> None:
    """Learn the classes of a folder or archive, a sub-folder of pictures each, and save a classifier of them.

    Args:
        folder: with a sub-folder a class.
        checkpoint: a name in pretrained/, a folder, or hf:<a vision model of Hugging Face>; what suits the pictures if left out.
        out: the folder that is written.
        settings: of how it learns, as inner_lr=0.01 inner_steps=20; those found best if left out.
        replace: write over classes that were saved there.
    """
    given = parse_settings(settings)
    say("loading PyTorch …")
    from fewshot_kit.demo.own_classes import read_classes
    from fewshot_kit.demo.own_task import PROPOSED, OwnTask
    from fewshot_kit.demo.photographs import advice
    from fewshot_kit.demo.saved_task import describe_estimate, save_task

    say(f"reading {folder} …")
    classes, problems = read_classes(folder)
    for problem in problems:
        say(f"note: left out: {problem}")
    are_photographs = classes.are_photographs()
    task = OwnTask(checkpoint or PROPOSED[are_photographs])
    if warning := advice(are_photographs, task.preprocessing):
        say(f"note: {warning}")
    for problem in classes.shared():
        say(f"note: {problem}")
    say(f"learning {len(classes)} classes from {sum(1 for _ in classes.pictures())} pictures by {task.checkpoint.name} …")
    learning = task.estimated(task.learn(classes, given), classes)
    print(f"wrote {save_task(out, classes, learning, task.checkpoint, given, replace=replace)}")
    print(describe_estimate(learning.estimate, learning.class_names))


def classify_command(classes: Path, pictures: list[Path], csv: Path | None = None, unknown: float | None = None) -> int:
    """Answer pictures by classes that were saved: which class each shows, and how sure that is.

    Args:
        classes: a folder that `learn` or the notebook saved.
        pictures: files, and folders or archives of them.
        csv: write a table to this file: file, class, probability, familiarity, and the probability of every class.
        unknown: say "unknown" of pictures less familiar than this, 0..1: of 0.1, of one in ten pictures that are known.
    """
    if unknown is not None and not 0 <= unknown <= 1:
        raise ValueError(f"unknown must be from 0 to 1, not {unknown:g}; 0.1 takes one in ten known pictures for unknown")
    if csv is not None and csv.is_dir():
        raise IsADirectoryError(f"{csv} is a folder; name a file for the table, as answers.csv")
    say("loading PyTorch …")
    from fewshot_kit.demo.saved_task import load_predictor

    predictor = load_predictor(classes)
    if unknown is not None and not (predictor.learning.estimate and predictor.learning.estimate.n):
        raise ValueError("what is unknown can be told only with two pictures of a class or more; give more pictures and learn again")
    names, rows, failed = predictor.class_names, [], 0
    with Bar("classifying", sum(map(count_pictures, pictures)), unit="picture") as bar:
        for done, row in enumerate(answered(predictor, all_pictures(pictures), unknown), start=1):
            rows.append(row)
            failed += row[1] == ""
            bar.show(done)
    if csv is not None:
        header = ["file", "class", "probability", "familiarity", *names]
        write_text(csv, _table([header, *rows]))
        print(f"wrote {csv}: {len(rows) - failed} pictures")
    else:
        for file, answer, probability, familiarity, *_ in rows:
            print("\t".join([file, answer or "cannot be read", probability, familiarity]).rstrip())
    return 1 if failed else 0


def all_pictures(paths: Sequence[Path]) -> Iterator["GivenPicture"]:
    """Yield the pictures that these files, folders and archives are or hold, one read at a time."""
    from fewshot_kit.demo.own_classes import read_picture, read_pictures

    for path in paths:
        if _is_picture(path):
            yield read_picture(path)
        else:
            yield from (replace(picture, name=f"{path}/{picture.name}") for picture in read_pictures(path))


def count_pictures(path: Path) -> int:
    """Count them, none read."""
    from fewshot_kit.data.trees import open_tree

    if _is_picture(path):
        return 1
    with open_tree(path) as tree:
        return len(tree.pictures)


def _is_picture(path: Path) -> bool:
    from fewshot_kit.data.archives import PICTURE_SUFFIXES

    return not path.is_dir() and path.suffix.lower() in PICTURE_SUFFIXES


def answered(predictor: "SavedPredictor", pictures: Iterable["GivenPicture"], unknown: float | None) -> Iterator[list[str]]:
    """Yield a row for each picture, a few of them in memory at a time; one that cannot be read is told, and has no answer."""
    from fewshot_kit.data.images import ImageError
    from fewshot_kit.networks.devices import map_in_threads

    def seen(picture: "GivenPicture") -> "Tensor | None":
        try:
            return predictor.learning.seen([picture.pixels()])
        except ImageError as error:
            say(f"note: {error}")
            return None

    rest = iter(pictures)
    while part := list(islice(rest, TOGETHER)):
        yield from _rows(predictor, [picture.name for picture in part], map_in_threads(seen, part), unknown)


def _rows(predictor: "SavedPredictor", names: list[str], images: "list[Tensor | None]", unknown: float | None) -> Iterator[list[str]]:
    import torch

    good = [image for image in images if image is not None]
    answers = predictor(torch.cat(good)) if good else None
    at = 0
    for name, image in zip(names, images, strict=True):
        if image is None:
            yield [name, "", "", "", *([""] * len(predictor.class_names))]
            continue
        probabilities, familiarity = answers.probabilities[at], answers.familiarity[at].item()
        at += 1
        is_unknown = unknown is not None and familiarity < unknown
        answer = UNKNOWN if is_unknown else predictor.class_names[int(probabilities.argmax())]
        told = "" if math.isnan(familiarity) else f"{familiarity:.3f}"
        yield [name, answer, f"{probabilities.max():.4f}", told, *(f"{p:.4f}" for p in probabilities.tolist())]


def _table(rows: list[list[str]]) -> str:
    """Return rows as CSV. What a spreadsheet would take for a formula is written as a text."""
    text = io.StringIO()
    writer(text, lineterminator="\n").writerows([[_harmless(cell) for cell in row] for row in rows])
    return text.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
