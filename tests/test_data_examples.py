"""Check that the bundled archives are what `data_examples/make_examples.py` draws, and that their classes can be learned."""

import io
import runpy
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

FOLDER = Path(__file__).parents[1] / "data_examples"
SHAPES = {"characters": (40, 20), "drawings": (30, 12)}  # classes, pictures a class


def read_pictures(path: Path) -> dict[str, Image.Image]:
    """Return every picture of the archive by its path there, in the archive's order."""
    with zipfile.ZipFile(path) as archive:
        return {name: Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()}


def nearest_neighbour_accuracy(pictures: dict[str, Image.Image]) -> float:
    """Return the leave-one-out accuracy of one nearest neighbour on blurred 28 x 28 pixels."""
    small = [p.convert("L").filter(ImageFilter.GaussianBlur(3)).resize((28, 28), Image.Resampling.BOX) for p in pictures.values()]
    pixels = np.array([np.asarray(p, dtype=float).ravel() for p in small])
    labels = np.array([name.split("/")[0] for name in pictures])
    squares = (pixels**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * pixels @ pixels.T
    np.fill_diagonal(distances, np.inf)
    return float((labels[distances.argmin(axis=1)] == labels).mean())


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which the script has drawn both archives anew."""
    out = tmp_path_factory.mktemp("examples")
    subprocess.run([sys.executable, "-B", FOLDER / "make_examples.py", "--out", out], check=True, timeout=300)
    return out


@pytest.mark.parametrize("name", SHAPES)
def test_the_script_draws_the_shipped_pictures(name: str, regenerated: Path):
    # Pixels rather than bytes: how Pillow's zlib compresses a picture differs between its versions.
    shipped, anew = read_pictures(FOLDER / f"{name}.zip"), read_pictures(regenerated / f"{name}.zip")
    assert list(shipped) == list(anew)
    assert [path for path in shipped if shipped[path].tobytes() != anew[path].tobytes()] == []


def test_a_second_run_writes_the_same_bytes(regenerated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(FOLDER)  # the script imports its neighbour `strokes`
    script = runpy.run_path(str(FOLDER / "make_examples.py"))
    script["write_archive"](tmp_path / "drawings.zip", script["draw_drawings"]())
    assert (tmp_path / "drawings.zip").read_bytes() == (regenerated / "drawings.zip").read_bytes()


@pytest.mark.parametrize("name", SHAPES)
def test_archives_are_small_and_undated(name: str):
    path = FOLDER / f"{name}.zip"
    with zipfile.ZipFile(path) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert path.stat().st_size < 400_000


@pytest.mark.parametrize(("name", "shape"), SHAPES.items())
def test_one_folder_a_class(name: str, shape: tuple[int, int]):
    paths = [Path(path) for path in read_pictures(FOLDER / f"{name}.zip")]
    assert {len(path.parts) for path in paths} == {2}
    counts = Counter(path.parts[0] for path in paths)
    assert (len(counts), set(counts.values())) == (shape[0], {shape[1]})


def test_characters_come_from_several_alphabets():
    alphabets = {path.split("_")[0] for path in read_pictures(FOLDER / "characters.zip")}
    assert len(alphabets) >= 3


@pytest.mark.parametrize("name", SHAPES)
def test_pictures_are_black_ink_on_white(name: str):
    for path, picture in read_pictures(FOLDER / f"{name}.zip").items():
        assert (picture.format, picture.mode, picture.size) == ("PNG", "1", (105, 105)), path
        pixels = np.asarray(picture)
        assert 0.01 < 1 - pixels.mean() < 0.30, path
        border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert border.all(), f"{path} is cut off"


@pytest.mark.parametrize(("name", "shape"), SHAPES.items())
def test_no_two_pictures_are_identical(name: str, shape: tuple[int, int]):
    assert len({picture.tobytes() for picture in read_pictures(FOLDER / f"{name}.zip").values()}) == shape[0] * shape[1]


@pytest.mark.parametrize(("name", "shape"), SHAPES.items())
def test_classes_are_learnable_but_not_trivial(name: str, shape: tuple[int, int]):
    chance = 1 / shape[0]
    assert 15 * chance < nearest_neighbour_accuracy(read_pictures(FOLDER / f"{name}.zip")) < 0.95
