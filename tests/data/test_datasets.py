"""Data sets by name: what is in them, where their files come from, and what happens when those are missing, broken or hostile."""

import gzip
import io
import os
import shutil
import socket
import stat
import struct
import tarfile
import zipfile
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot_kit.data import archives, digits
from fewshot_kit.data.archives import ArchiveError
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.datasets import dataset_names, is_available, load_dataset, rotates_in_training
from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.data.images import ImageError
from fewshot_kit.data.omniglot import OMNIGLOT_VAL_ALPHABETS
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.task_source import TaskSource

DATA = Path(os.environ.get("FEWSHOT_DATA") or "no data folder")
needs_omniglot = pytest.mark.skipif(not (DATA / "omniglot").is_dir(), reason="FEWSHOT_DATA names no folder with omniglot/")
needs_mnist = pytest.mark.skipif(not (DATA / "mnist").is_dir(), reason="FEWSHOT_DATA names no folder with mnist/")


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory) -> Path:
    """One cold cache for all tests: Omniglot is decoded once, not once a test."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _only_this_machine(monkeypatch, shared_cache):
    def connect(*_arguments, **_options):
        raise OSError("this test has no network")

    monkeypatch.setenv("FEWSHOT_CACHE", str(shared_cache))
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    monkeypatch.setattr(socket.socket, "connect", connect)


def load(name: str, split: str = "test", **options) -> ClassImages:
    return load_dataset(name, split, progress=False, **options)


def png(gray: int = 0) -> bytes:
    """A white picture with a blot of one gray."""
    picture = Image.new("L", (28, 28), 255)
    picture.paste(gray, (8, 8, 20, 20))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


TWO_CLASSES = {"cats/b.png": png(20), "cats/a.png": png(10), "dogs/a.png": png(30)}


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


WRITERS = {"folder": write_folder, "pets.zip": write_zip, "pets.tar": write_tar, "pets.tar.gz": write_tar}


def ramp(counts: tuple[int, ...], size: int = 3) -> ClassImages:
    """Class images in which every value is different (modulo 256)."""
    images = torch.arange(sum(counts) * size * size).remainder(256).to(torch.uint8).reshape(-1, 1, size, size)
    return ClassImages("ramp", "test", images, counts, tuple("abcdefgh"[: len(counts)]), Preprocessing(size=size))


# --- ClassImages ---


def test_of_class_views_the_images_that_offsets_bound():
    ramped = ramp((2, 1, 3))
    assert len(ramped) == 3 and ramped.offsets == (0, 2, 3, 6)
    assert torch.equal(torch.cat([ramped.of_class(i) for i in range(3)]), ramped.images)
    assert ramped.of_class(2).data_ptr() == ramped.images[3].data_ptr()
    with pytest.raises(IndexError, match=r"0\.\.2, not -1"):
        ramped.of_class(-1)


def test_select_keeps_order_counts_and_names():
    chosen = ramp((2, 1, 3)).select([2, 0])
    assert chosen.class_names == ("c", "a") and chosen.counts == (3, 2)
    assert torch.equal(chosen.of_class(0), ramp((2, 1, 3)).of_class(2))
    with pytest.raises(ValueError, match="at least one"):
        chosen.select([])
    with pytest.raises(ValueError, match="'a' is there twice"):
        chosen.select([1, 1])


def test_rotations_are_classes_of_their_own():
    ramped = ramp((2, 1))
    turned = ramped.with_rotations()
    assert turned.class_names[:5] == ("a/rot000", "a/rot090", "a/rot180", "a/rot270", "b/rot000")
    for class_id, turns in ((i, k) for i in range(2) for k in range(4)):
        expected = np.rot90(ramped.of_class(class_id).numpy(), turns, axes=(-2, -1))
        assert np.array_equal(turned.of_class(4 * class_id + turns).numpy(), expected)


@pytest.mark.parametrize("method", ["with_rotations", "with_reflections"])
def test_what_was_turned_or_mirrored_is_not_so_again(method):
    once = getattr(ramp((2, 1)), method)()
    with pytest.raises(ValueError, match="already"):
        getattr(once, method)()
    with pytest.raises(ValueError, match="already"):  # what is made of it knows too
        getattr(once.select([1, 0]).first(1), method)()
    other = once.with_reflections() if method == "with_rotations" else once.with_rotations()
    assert len(other) == 16


@needs_omniglot
@pytest.mark.parametrize(("name", "n_classes"), [("omniglot", 4 * 797), ("omniglot_vinyals", 4112)])
def test_a_training_has_every_class_in_four_orientations_once(name, n_classes):
    assert rotates_in_training(name) == (name == "omniglot")
    dataset = TaskSource(name).load(Preprocessing())
    pictures = {dataset.of_class(class_id).numpy().tobytes() for class_id in range(len(dataset))}
    assert len(dataset) == len(set(dataset.class_names)) == n_classes
    assert len(pictures) > 0.99 * n_classes  # but for characters that look the same when they are turned
    with pytest.raises(ValueError, match="rotated already"):
        TaskSource("omniglot_vinyals", rotations=True).load(Preprocessing())


def test_a_source_changes_images_only_if_it_says_so(generator):
    sampler = EpisodeSampler(ramp((4, 4, 4)), 3, 1, 2)
    episode = sampler.sample(generator)
    assert TaskSource(augment=False).changed(episode, generator, 28) is episode
    changed = TaskSource().changed(episode, generator, 28)
    assert not torch.equal(changed.support.images, episode.support.images) and torch.equal(changed.support.labels, episode.support.labels)


def test_mirror_images_are_classes_of_their_own():
    ramped = ramp((2, 1))
    mirrored = ramped.with_reflections()
    assert mirrored.class_names == ("a", "a/mirrored", "b", "b/mirrored") and mirrored.counts == (2, 2, 1, 1)
    for class_id in range(2):
        assert torch.equal(mirrored.of_class(2 * class_id), ramped.of_class(class_id))
        assert np.array_equal(mirrored.of_class(2 * class_id + 1).numpy(), np.flip(ramped.of_class(class_id).numpy(), axis=-1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(3, 1, 3, 3)}, "float32"),
        ({"images": torch.zeros(4, 1, 3, 3, dtype=torch.uint8)}, r"\(4, 1, 3, 3\)"),
        ({"class_names": ("a",)}, "each of its 1 classes"),
        ({"counts": (3, 0)}, r"\(3, 0\)"),
        ({"class_names": ("a", "a")}, "'a' is there twice"),
    ],
)
def test_class_images_are_checked_when_made(change, message):
    with pytest.raises(ValueError, match=message):
        replace(ramp((2, 1)), **change)


# --- the sets ---


@needs_omniglot
def test_omniglot_has_its_alphabets_and_twenty_drawings_of_each_character():
    train, val, test = (load("omniglot", split) for split in ("train", "val", "test"))
    assert len(train) + len(val) == 964 and len(test) == 659
    assert set(chain(train.counts, val.counts, test.counts)) == {20}
    alphabets = [{name.split("/")[0] for name in part.class_names} for part in (train, val, test)]
    assert [len(names) for names in alphabets] == [25, 5, 20] and len(set.union(*alphabets)) == 50
    drawn = torch.randperm(30, generator=torch.Generator().manual_seed(1))[:5].tolist()
    background = sorted(alphabets[0] | alphabets[1])
    assert {background[i] for i in drawn} == alphabets[1] == set(OMNIGLOT_VAL_ALPHABETS)


@needs_omniglot
def test_omniglot_is_light_ink_on_dark_and_matches_its_files():
    val = load("omniglot", "val", preprocessing=Preprocessing())
    assert val.images.float().mean() < 64 and val.images[..., 0, :].float().mean() < 16
    with zipfile.ZipFile(DATA / "omniglot" / "images_background.zip") as archive:
        name = sorted(entry for entry in archive.namelist() if "Bengali/character07/" in entry and entry.endswith(".png"))[3]
        picture = Image.open(io.BytesIO(archive.read(name))).convert("L")
    expected = np.asarray(picture.point(lambda value: 255 - value).resize((28, 28), Image.Resampling.LANCZOS))
    of_class = val.of_class(val.class_names.index("Bengali/character07"))
    assert np.array_equal(of_class[3, 0].numpy(), expected)


@needs_omniglot
@pytest.mark.parametrize(("split", "n_classes"), [("train", 4112), ("val", 688), ("test", 1692)])
def test_vinyals_split_is_the_published_list(split, n_classes):
    published = (DATA / "omniglot" / "splits" / "vinyals" / f"{split}.txt").read_text().split()
    loaded = load("omniglot_vinyals", split)
    assert len(loaded) == n_classes and set(loaded.class_names) == set(published) and set(loaded.counts) == {20}
    upright, turned = (loaded.of_class(loaded.class_names.index(published[0].replace("rot000", angle))) for angle in ("rot000", "rot090"))
    assert torch.equal(turned, torch.rot90(upright, dims=(-2, -1))) and not torch.equal(turned, upright)


@needs_mnist
def test_mnist_passes_bit_for_bit():
    pixels = gzip.decompress((DATA / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((DATA / "mnist" / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    mnist = load("mnist")
    assert mnist.class_names == tuple("0123456789")
    for digit in range(10):
        of_digit = b"".join(pixels[784 * i : 784 * (i + 1)] for i in range(10_000) if labels[i] == digit)
        assert mnist.of_class(digit).numpy().tobytes() == of_digit


@pytest.mark.parametrize("name", ["digits", "characters", "drawings"])
def test_bundled_sets_load_offline_as_light_ink(name, monkeypatch):
    monkeypatch.delenv("FEWSHOT_DATA", raising=False)
    assert is_available(name) and name in dataset_names()
    bundled = load(name)
    assert (bundled.name, bundled.split) == (name, "test") and len(bundled) >= 5 and min(bundled.counts) >= 5
    assert bundled.images.max() == 255 and bundled.images.float().mean() < 110
    assert bundled.images[..., :, 0].float().mean() < 32  # the ink of some digits touches the top, never the left


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    digits = load("digits", preprocessing=Preprocessing(size=8))
    expected = load_digits()
    assert digits.counts == tuple(np.bincount(expected.target))
    sixteenths = torch.round(digits.of_class(3)[:, 0] / 255 * 16).numpy()
    assert np.array_equal(sixteenths, expected.images[expected.target == 3])


def test_preprocessing_is_part_of_the_cache_key():
    small, large = (load("characters", preprocessing=Preprocessing(size=size)) for size in (14, 20))
    assert small.images.shape[-1] == 14 and large.images.shape[-1] == 20
    assert load("characters", preprocessing=Preprocessing(size=14, channels=3)).images.shape[1] == 3


# --- names and splits ---


def test_unknown_names_and_splits_are_errors_that_list_the_known_ones():
    for ask in (load, is_available):
        with pytest.raises(ValueError, match=r"'omniglott'; did you mean 'omniglot'\? There are .*mnist.*folder:"):
            ask("omniglott")
    with pytest.raises(ValueError, match="'digits' has no split 'train'; it has test"):
        load("digits", "train")
    with pytest.raises(ValueError, match="no split 'dev'; it has train, val, test"):
        load("omniglot", "dev")


# --- a person's own folder ---


@pytest.mark.parametrize("where", WRITERS)
@pytest.mark.parametrize("wrapper", ["", "my pets/", "outer/inner/"])
def test_a_folder_and_its_archives_are_the_same_data_set(where, wrapper, tmp_path):
    path = WRITERS[where](tmp_path / where, {wrapper + name: content for name, content in TWO_CLASSES.items()})
    own = load(f"folder:{path}")
    assert own.class_names == ("cats", "dogs") and own.counts == (2, 1) and is_available(f"folder:{path}")
    assert own.images[:, 0, 14, 14].tolist() == [245, 235, 225]  # 255 minus 10, 20, 30: sorted by name, and canonical ink


@pytest.mark.parametrize("where", WRITERS)
def test_other_files_are_skipped(where, tmp_path):
    clutter = ("README.txt", "cats/notes.txt", "cats/.hidden.png", "cats/Thumbs.db", "__MACOSX/cats/._a.png", ".git/x/a.png", "cover.png")
    path = WRITERS[where](tmp_path / where, TWO_CLASSES | dict.fromkeys(clutter, b"this is no picture"))
    assert load(f"folder:{path}").counts == (2, 1)


@pytest.mark.parametrize("where", WRITERS)
def test_a_picture_beside_the_folder_that_wraps_all_belongs_to_no_class(where, tmp_path):
    files = {f"my pets/{name}": content for name, content in TWO_CLASSES.items()} | {"cover.png": b"this is no picture"}
    assert load(f"folder:{WRITERS[where](tmp_path / where, files)}").counts == (2, 1)


@pytest.mark.parametrize("where", WRITERS)
def test_class_names_are_kept_as_they_are(where, tmp_path):
    names = {"<script>alert(1)</script>", "naïve 猫", "a & b"}
    path = WRITERS[where](tmp_path / where, {f"{name}/1.png": png() for name in names})
    assert set(load(f"folder:{path}").class_names) == names


def test_archives_packed_on_windows_have_folders_too(tmp_path):
    path = write_zip(tmp_path / "pets.zip", {name.replace("/", "\\"): content for name, content in TWO_CLASSES.items()})
    assert load(f"folder:{path}").class_names == ("cats", "dogs")


def test_a_persons_own_pictures_are_read_afresh_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path / "cache"))
    path = write_folder(tmp_path / "pets", TWO_CLASSES)
    load(f"folder:{path}")
    (path / "dogs" / "b.png").write_bytes(png())
    assert load(f"folder:{path}").counts == (2, 2) and not (tmp_path / "cache").exists()


BROKEN_FOLDERS = {
    "a text named .png": (TWO_CLASSES | {"dogs/fake.png": b"text"}, ImageError, r"dogs/fake\.png is not a picture"),
    "a cut picture": (TWO_CLASSES | {"dogs/cut.png": png()[:60]}, ImageError, r"dogs/cut\.png is cut short"),
    "one class": ({"cats/a.png": png()}, ValueError, r"one sub-folder a class.* 1 folder\(s\) with pictures \(cats\)"),
    "no folders": ({"a.png": png(), "b.png": png()}, ValueError, r"0 folder\(s\) with pictures \(none\) and 2 picture"),
    "nothing": ({"a.txt": b""}, ValueError, "one sub-folder a class"),
}


@pytest.mark.parametrize("where", WRITERS)
@pytest.mark.parametrize("kind", BROKEN_FOLDERS)
def test_a_broken_folder_is_an_error_that_names_what_is_wrong(kind, where, tmp_path):
    files, error, message = BROKEN_FOLDERS[kind]
    path = WRITERS[where](tmp_path / where, files)
    with pytest.raises(error, match=message):
        load(f"folder:{path}")


def test_an_empty_class_folder_is_named(tmp_path):
    path = write_folder(tmp_path / "pets", TWO_CLASSES)
    (path / "mice").mkdir()
    with pytest.raises(ValueError, match="class folder 'mice'"):
        load(f"folder:{path}")
    packed = Path(shutil.make_archive(str(tmp_path / "pets"), "zip", path))
    with pytest.raises(ValueError, match="class folder 'mice'"):
        load(f"folder:{packed}")


@pytest.mark.parametrize("name", ["x" * 5000, "x/" * 3000, "\0" * 5000])
def test_a_path_that_no_system_has_is_told_in_short(name):
    with pytest.raises((ArchiveError, FileNotFoundError), match="give a folder with one sub-folder a class") as caught:
        load(f"folder:{name}")
    assert len(str(caught.value)) < 500 and not is_available(f"folder:{name}")


def test_a_missing_folder_and_a_file_that_is_no_archive_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load(f"folder:{tmp_path}/nowhere")
    assert not is_available(f"folder:{tmp_path}/nowhere")
    (tmp_path / "pets.zip").write_bytes(b"text")
    with pytest.raises(ArchiveError, match=r"pets\.zip is neither a folder nor a readable"):
        load(f"folder:{tmp_path}/pets.zip")


# --- hostile archives ---


@pytest.mark.parametrize("where", ["pets.zip", "pets.tar", "pets.tar.gz"])
@pytest.mark.parametrize("name", ["../evil/a.png", "/etc/evil/a.png", "cats/../../evil/a.png", "..\\evil\\a.png", "C:\\evil\\a.png"])
def test_entries_outside_the_archive_are_refused(name, where, tmp_path):
    path = WRITERS[where](tmp_path / where, TWO_CLASSES | {name: png()})
    with pytest.raises(ArchiveError, match=r"entry outside itself.*evil"):
        load(f"folder:{path}")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(kind, tmp_path):
    path = write_tar(tmp_path / "pets.tar", TWO_CLASSES)
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("cats/link.png")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(ArchiveError, match=r"link or a device \('cats/link\.png'\)"):
        load(f"folder:{path}")


def test_links_in_a_zip_are_refused(tmp_path):
    link = zipfile.ZipInfo("cats/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = write_zip(tmp_path / "pets.zip", TWO_CLASSES | {link: b"/etc/passwd"})
    with pytest.raises(ArchiveError, match=r"link or a device \('cats/link\.png'\)"):
        load(f"folder:{path}")


@pytest.mark.parametrize("where", ["pets.zip", "pets.tar", "pets.tar.gz"])
@pytest.mark.parametrize("limit", ["MAX_ARCHIVE_BYTES", "MAX_ARCHIVE_ENTRIES"])
def test_too_large_archives_are_refused(limit, where, tmp_path, monkeypatch):
    path = WRITERS[where](tmp_path / where, TWO_CLASSES)
    monkeypatch.setattr(archives, limit, 2)
    with pytest.raises(ArchiveError, match=f"{where} .*more than 2 "):
        load(f"folder:{path}")


def test_a_tar_that_promises_too_much_is_refused_before_it_is_unpacked(tmp_path):
    member = tarfile.TarInfo("cats/huge.png")
    member.size = archives.MAX_ARCHIVE_BYTES + 1
    (tmp_path / "huge.tar.gz").write_bytes(gzip.compress(member.tobuf() + b"\0" * 4096))
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        load(f"folder:{tmp_path}/huge.tar.gz")


def test_an_encrypted_zip_is_refused(tmp_path):
    path = write_zip(tmp_path / "pets.zip", TWO_CLASSES)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the "encrypted" flag of the first entry
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="is encrypted"):
        load(f"folder:{path}")


def test_damaged_archives_are_named(tmp_path):
    path = write_zip(tmp_path / "pets.zip", TWO_CLASSES)
    path.write_bytes(path.read_bytes().replace(png(20)[-40:-20], b"?" * 20))
    with pytest.raises(ArchiveError, match=r"entry cats/b\.png, is cut short or damaged"):
        load(f"folder:{path}")
    path = write_tar(tmp_path / "pets.tar.gz", TWO_CLASSES | {"mice/a.png": os.urandom(20_000)})
    path.write_bytes(path.read_bytes()[:-8000])
    with pytest.raises(ArchiveError, match=r"pets\.tar\.gz.* is cut short or damaged"):
        load(f"folder:{path}")


# --- files of the official sets: data folder, cache, download ---


def test_without_a_network_the_error_names_url_place_and_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path))
    monkeypatch.delenv("FEWSHOT_DATA", raising=False)
    assert not is_available("mnist")
    with pytest.raises(
        ConnectionError, match=r"https://.*t10k-images.*by hand as .*mnist.t10k-images-idx3-ubyte\.gz.*\(digits, characters"
    ):
        load("mnist")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_download_with_the_wrong_checksum_is_refused_and_not_kept(tmp_path, monkeypatch):
    def send_a_login_page(_self, _url, output_file, _pooch, **_options):
        Path(output_file).write_bytes(b"<html>please log in</html>")

    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path))
    monkeypatch.delenv("FEWSHOT_DATA", raising=False)
    monkeypatch.setattr("pooch.HTTPDownloader.__call__", send_a_login_page)
    with pytest.raises(ConnectionError, match=r"https://.*images_evaluation\.zip sent is not the expected file.*by hand"):
        load("omniglot")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_wrong_data_folder_is_an_error_and_an_incomplete_one_is_filled_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSHOT_DATA", str(tmp_path / "typo"))
    with pytest.raises(FileNotFoundError, match=r"FEWSHOT_DATA names .*typo"):
        load("mnist")
    monkeypatch.setenv("FEWSHOT_DATA", str(tmp_path))
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path / "cache"))
    write_mnist(tmp_path / "cache" / "mnist")
    assert is_available("mnist") and load("mnist").counts == (1,) * 10


def write_mnist(folder: Path, magic: int = 0x803) -> None:
    pictures = np.arange(10 * 784).reshape(10, 28, 28).astype(np.uint8)
    images = struct.pack(">4I", magic, 10, 28, 28) + pictures.tobytes()
    labels = struct.pack(">2I", 0x801, 10) + bytes(range(10))
    write_folder(
        folder, {"t10k-images-idx3-ubyte.gz": gzip.compress(images, mtime=0), "t10k-labels-idx1-ubyte.gz": gzip.compress(labels, mtime=0)}
    )


def test_a_damaged_mnist_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSHOT_DATA", str(tmp_path))
    write_mnist(tmp_path / "mnist", magic=0x804)
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte\.gz is damaged .*0x804"):
        load("mnist")
    (tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b cut")
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte\.gz is damaged"):
        load("mnist")


@pytest.mark.parametrize(("labels", "message"), [(bytes(range(9)), "10 pictures and .* 9 labels"), (b"\0" * 10, r"the labels \[0\], not")])
def test_mnist_labels_that_do_not_fit_are_an_error(tmp_path, monkeypatch, labels, message):
    monkeypatch.setenv("FEWSHOT_DATA", str(tmp_path))
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path / "cache"))
    write_mnist(tmp_path / "mnist")
    packed = gzip.compress(struct.pack(">2I", 0x801, len(labels)) + labels)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(packed)
    with pytest.raises(ValueError, match=message):
        load("mnist")


# --- the cache of decoded pictures ---


@pytest.fixture
def small_mnist(tmp_path, monkeypatch) -> Path:
    """A tiny MNIST in a data folder, with a cache of its own; returns the folder of decoded pictures."""
    write_mnist(tmp_path / "data" / "mnist")
    monkeypatch.setenv("FEWSHOT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "decoded"


@pytest.mark.parametrize(
    "damage",
    [lambda x: b"", lambda x: x[:-100], lambda x: x[:500] + b"?" + x[501:], lambda x: b"\x80\x04N."],
    ids=str.split("empty cut bit pickle"),
)
def test_a_corrupt_cache_is_rebuilt(small_mnist, damage):
    expected = load("mnist")
    (cache,) = small_mnist.iterdir()
    whole = cache.read_bytes()
    cache.write_bytes(damage(whole))
    assert torch.equal(load("mnist").images, expected.images)
    assert cache.read_bytes()[:500] == whole[:500] and len(cache.read_bytes()) == len(whole)


def test_a_second_load_decodes_nothing_and_is_the_same(small_mnist, monkeypatch):
    first = load("mnist")
    monkeypatch.setattr(digits, "preprocess", None)
    second = load("mnist")
    assert torch.equal(second.images, first.images)
    assert (second.counts, second.class_names) == (first.counts, first.class_names)


def test_a_changed_file_is_decoded_again(small_mnist):
    load("mnist")
    images = Path(os.environ["FEWSHOT_DATA"]) / "mnist" / "t10k-images-idx3-ubyte.gz"
    os.utime(images, ns=(1, 1))
    load("mnist")
    assert len(list(small_mnist.iterdir())) == 2


def test_a_file_of_the_same_name_size_and_time_in_another_folder_is_another(small_mnist, tmp_path, monkeypatch):
    name = "mnist/t10k-images-idx3-ubyte.gz"
    write_mnist(tmp_path / "other" / "mnist")
    first, second = (tmp_path / folder / name for folder in ("data", "other"))
    pixels = bytearray(gzip.decompress(second.read_bytes()))
    pixels[16:] = pixels[16:][::-1]
    first.write_bytes(gzip.compress(gzip.decompress(first.read_bytes()), 0, mtime=0))  # not packed: of the same size
    second.write_bytes(gzip.compress(bytes(pixels), 0, mtime=0))
    for folder in ("data", "other"):
        for path in (tmp_path / folder / "mnist").iterdir():
            os.utime(path, ns=(1, 1))
    before = load("mnist").images
    monkeypatch.setenv("FEWSHOT_DATA", str(tmp_path / "other"))
    assert first.stat().st_size == second.stat().st_size and not torch.equal(load("mnist").images, before)
    first.write_bytes(second.read_bytes())  # and a small file that was changed within a tick of the clock is another too
    os.utime(first, ns=(1, 1))
    monkeypatch.setenv("FEWSHOT_DATA", str(tmp_path / "data"))
    assert not torch.equal(load("mnist").images, before)


@pytest.mark.parametrize("key", ["images", "counts", "class_names"])
def test_a_cache_file_that_lacks_an_array_is_rebuilt(small_mnist, key):
    expected = load("mnist")
    (cache,) = small_mnist.iterdir()
    with np.load(cache, allow_pickle=False) as arrays:
        rest = {name: arrays[name] for name in arrays if name != key}
    np.savez(cache, **rest)
    assert torch.equal(load("mnist").images, expected.images)
    with np.load(cache, allow_pickle=False) as arrays:
        assert key in arrays


def test_a_full_disk_costs_the_cache_and_nothing_else(small_mnist, monkeypatch, caplog):
    def fill_the_disk(file, *_array, **_flags):
        file.write(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", fill_the_disk)
    assert load("mnist").counts == (1,) * 10
    assert not small_mnist.exists() and "No space left on device" in caplog.text


def test_a_cache_that_cannot_be_made_costs_nothing(small_mnist, caplog):
    small_mnist.parent.write_bytes(b"a file where the folder should be")
    assert load("mnist").counts == (1,) * 10 and "could not be kept" in caplog.text


def test_the_progress_bar_can_be_turned_off(tmp_path, capsys):
    path = write_folder(tmp_path / "pets", TWO_CLASSES)
    load_dataset(f"folder:{path}", progress=False)
    assert capsys.readouterr().err == ""
    load_dataset(f"folder:{path}")
    assert "decoding pets" in capsys.readouterr().err
