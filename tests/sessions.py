"""A session on a tiny learner and folders of made-up pictures: what the tests of session and panel run on."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from synthetic import tiny_reptile

from fewshot_kit.demo.session import DemoSession
from fewshot_kit.training.checkpoints import Checkpoint


def demo_session(dataset: str = "characters", **settings) -> DemoSession:
    return DemoSession(Checkpoint("tiny", Path("nowhere"), tiny_reptile(), {}, ""), dataset, device="cpu", **settings)


def write_pictures(folder: Path, counts: Mapping[str, int]) -> Path:
    """Write `counts[name]` pictures of each class: a polygon of its own, moved a little from picture to picture."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        corners = rng.integers(6, 34, size=(4, 2))
        (folder / name).mkdir(parents=True)
        for i in range(count):
            picture = Image.new("L", (40, 40), 255)
            ImageDraw.Draw(picture).polygon([tuple(corner) for corner in (corners + i % 4).tolist()], outline=0, width=3)
            picture.save(folder / name / f"{i}.png")
    return folder


def bad_folders(root: Path) -> dict[str, tuple[str, str]]:
    """Make folders that cannot serve a 3-way 1-shot episode with 2 queries: name -> (data set, a part of the error)."""
    text = write_pictures(root / "text", {"a": 3, "b": 3, "c": 3})
    (text / "b" / "1.png").write_text("this is no picture")
    one_class = write_pictures(root / "one_class", {"a": 9})
    too_few = write_pictures(root / "too_few", {"a": 3, "b": 3, "lonely": 2})
    return {
        "missing": (f"folder:{root / 'missing'}", "missing"),
        "one class": (f"folder:{one_class}", "at least two of them"),
        "a text file called .png": (f"folder:{text}", "1.png is not a picture"),
        "a class with too few": (f"folder:{too_few}", "'lonely' has 2"),
    }
