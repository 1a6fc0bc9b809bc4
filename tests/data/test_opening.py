"""What is no regular file is refused at once, wherever it lies; folders are looked through to an end."""

import io
import os
import shutil
import signal
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot_kit.data import archives, trees
from fewshot_kit.data.archives import ArchiveError
from fewshot_kit.data.datasets import is_available, load_dataset
from fewshot_kit.data.images import ImageError, read_image
from fewshot_kit.data.opening import expanded, open_regular
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.quickdraw import load_drawings, load_pictures

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes among its files")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch, tmp_path) -> Iterator[None]:
    """Fail a test that waits for ever, and give it a cache of its own."""

    def give_up(*_):
        raise AssertionError("it hangs")

    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FEWSHOT_DATA", raising=False)
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def load(path: Path | str):
    return load_dataset(f"folder:{path}", progress=False)


def picture(path: Path, gray: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((28, 28), gray, dtype=np.uint8)).save(path, "PNG")
    return path


@pytest.fixture
def pets(tmp_path) -> Path:
    for name in ("cats/a.png", "cats/b.png", "dogs/a.png"):
        picture(tmp_path / "pets" / name)
    return tmp_path / "pets"


@pytest.fixture
def pipe(tmp_path) -> Path:
    os.mkfifo(tmp_path / "pipe.png")
    return tmp_path / "pipe.png"


# --- what is no file ---


def test_a_regular_file_is_opened_and_a_link_to_one_too(pets):
    (pets / "link.png").symlink_to(pets / "cats" / "a.png")
    for path in (pets / "cats" / "a.png", pets / "link.png"):
        with open_regular(path) as file:
            assert file.read(4) == b"\x89PNG"


def test_a_pipe_a_device_and_a_folder_are_named(pipe, tmp_path):
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for path, kind in ((pipe, "a pipe"), (tmp_path / "zero.png", "a device"), (tmp_path, "a folder")):
        with pytest.raises(ValueError, match=rf"{path.name} is {kind}, not a regular file"):
            open_regular(path)
        with pytest.raises(ImageError, match=f"{kind}, not a regular file"):
            read_image(path)


def test_what_becomes_a_pipe_after_it_was_looked_at_is_refused(pipe, pets, monkeypatch):
    status, regular = os.stat, os.stat(pets / "cats" / "a.png")
    monkeypatch.setattr(os, "stat", lambda path, **options: regular if path == pipe else status(path, **options))
    with pytest.raises(ValueError, match="a pipe"):
        open_regular(pipe)


def test_a_pipe_among_the_pictures_is_named(pets):
    os.mkfifo(pets / "cats" / "c.png")
    with pytest.raises(ImageError, match=r"c\.png .*a pipe"):
        load(pets)


@pytest.mark.parametrize("path", ["pipe", "/dev/zero", "/dev/null"])
def test_a_pipe_or_device_is_no_archive(pipe, path):
    with pytest.raises(ArchiveError, match="not a regular file"):
        load(pipe if path == "pipe" else path)


@pytest.mark.parametrize("name", ["cat.ndjson", "cat.npy", "simplified.zip", "cat-first5.ndjson"])
def test_a_pipe_among_the_drawings_is_named(tmp_path, name):
    (tmp_path / "cache" / "quickdraw").mkdir(parents=True)
    os.mkfifo(tmp_path / "cache" / "quickdraw" / name)
    with pytest.raises(ValueError, match="a pipe, not a regular file"):
        load_pictures(["cat"], Preprocessing(), progress=False)
    if name != "cat.npy":
        with pytest.raises(ValueError, match="a pipe, not a regular file"):
            load_drawings("cat")


def test_the_home_folder_of_nobody_is_an_error(monkeypatch):
    for ask in (load_dataset, is_available):
        with pytest.raises(ValueError, match=r"~nouser_of_this_name.*give the whole path"):
            ask("folder:~nouser_of_this_name/pets")
    monkeypatch.setenv("FEWSHOT_DATA", "~nouser_of_this_name")
    with pytest.raises(ValueError, match="give the whole path"):
        load_dataset("mnist")
    assert expanded("~/a") == Path.home() / "a"


# --- folders without an end ---


def test_links_are_followed_once(pets, tmp_path):
    (pets / "cats" / "again").symlink_to(pets / "cats")
    (pets / "here").symlink_to(".")
    (pets / "aaa").symlink_to(pets / "dogs")  # sorted before what it leads to
    outside = picture(tmp_path / "elsewhere" / "a.png").parent
    (pets / "mice").symlink_to(outside)
    (pets / "rats").symlink_to(outside)
    loaded = load(pets)
    assert loaded.class_names == ("cats", "dogs", "mice") and loaded.counts == (2, 1, 1)


def test_folders_too_deep_are_refused(tmp_path):
    deep = tmp_path.joinpath("pets", *"d" * 33)
    picture(deep / "a.png")
    with pytest.raises(ArchiveError, match="more than 32 deep"):
        load(tmp_path / "pets")


def test_folders_deeper_than_a_path_may_be_long_are_refused(pets):
    here = os.getcwd()
    os.chdir(pets)
    try:
        for _ in range(1_000):
            os.mkdir("deep")
            os.chdir("deep")
    finally:
        os.chdir(here)
    with pytest.raises(ArchiveError, match="more than 32 deep"):
        load(pets)
    shutil.move(pets / "deep", pets.parent / "deep")  # rmtree of what is so deep is beyond pytest
    os.system(f"rm -rf '{pets.parent / 'deep'}'")


@pytest.mark.parametrize("root", ["/", "/proc"])
def test_the_whole_machine_is_no_data_set(root, monkeypatch):
    monkeypatch.setattr(trees, "MAX_SECONDS", 1)
    begin = time.monotonic()
    with pytest.raises((ArchiveError, ValueError)):
        load(root)
    assert time.monotonic() - begin < 15


def test_entries_are_counted_whatever_they_are(pets, monkeypatch):
    for number in range(30):
        (pets / f"note{number}.txt").touch()
    monkeypatch.setattr(archives, "MAX_ARCHIVE_ENTRIES", 20)
    with pytest.raises(ArchiveError, match="more than 20 entries"):
        load(pets)


def test_a_class_folder_that_may_not_be_read_is_named(pets, monkeypatch):
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("cats"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    picture(pets / "mice" / "a.png")
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ArchiveError, match=r"folder 'cats' of .*pets cannot be read \(Permission denied\)"):
        load(pets)


def test_a_member_of_a_tar_cannot_be_a_pipe(pets, tmp_path):
    with tarfile.open(tmp_path / "pets.tar", "w") as archive:
        archive.add(pets, "pets")
        member = tarfile.TarInfo("pets/cats/c.png")
        member.type = tarfile.FIFOTYPE
        archive.addfile(member, io.BytesIO())
    with pytest.raises(ArchiveError, match="link or a device"):
        load(tmp_path / "pets.tar")
