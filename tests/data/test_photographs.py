"""Data sets of colour photographs: what is in them, how they are split, and the archives that they are read from."""

import gzip
import io
import json
import os
import socket
import tarfile
import zipfile
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot_kit.data import decoding, photographs
from fewshot_kit.data.archives import ArchiveError
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.datasets import dataset_splits, is_available, load_dataset
from fewshot_kit.data.photographs import grocery_splits
from fewshot_kit.data.preprocessing import Preprocessing

DATA = Path(os.environ.get("FEWSHOT_DATA") or "no data folder")
GROCERY, CIFAR = DATA / photographs.GROCERY_PICTURES, DATA / photographs.CIFAR_PICTURES
needs_grocery = pytest.mark.skipif(not GROCERY.is_file(), reason="FEWSHOT_DATA names no folder with grocery_store/images.zip")
needs_cifar = pytest.mark.skipif(not CIFAR.is_file(), reason="FEWSHOT_DATA names no folder with cifar100/images.zip")
SPLITS = ("train", "val", "test")
CIFAR_SPLITS = json.loads((Path(photographs.__file__).parent / "splits" / "cifar_fs.json").read_text())
CIFAR_NAMES = sorted(chain(*CIFAR_SPLITS.values()))
FINE = sorted(name for classes in grocery_splits().values() for fine in classes.values() for name in fine)


@pytest.fixture(autouse=True)
def _only_this_machine(monkeypatch, own_cache):
    def connect(*_arguments, **_options):
        raise OSError("this test has no network")

    monkeypatch.setattr(socket, "getaddrinfo", connect)
    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """An empty data folder and an empty cache."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("FEWSHOT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


def load(name: str, split: str, size: int = 0, channels: int = 3) -> ClassImages:
    size = size or (32 if name == "cifar_fs" else 84)
    return load_dataset(name, split, preprocessing=Preprocessing(size, channels), progress=False)


def of_name(images: ClassImages, name: str) -> torch.Tensor:
    return images.of_class(images.class_names.index(name))


def decoded(path: Path, entry: str) -> torch.Tensor:
    """Read one picture of an archive with Pillow alone, (3, height, width)."""
    with zipfile.ZipFile(path) as archive:
        return torch.from_numpy(np.array(Image.open(io.BytesIO(archive.read(entry))).convert("RGB"))).permute(2, 0, 1)


def entries(path: Path) -> list[list[str]]:
    with zipfile.ZipFile(path) as archive:
        return sorted(name.split("/") for name in archive.namelist() if name.endswith(".webp"))


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (32, 32)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


# --- Grocery Store: the splits ---


def test_grocery_splits_are_the_seeded_draw_and_no_coarse_class_is_in_two():
    splits = grocery_splits()
    coarse = {name: fine for classes in splits.values() for name, fine in classes.items()}
    assert sum(map(len, splits.values())) == len(coarse) == 43  # none is in two
    assert len(set(FINE)) == len(FINE) == 81
    room, drawn = {"train": 52, "val": 13, "test": 16}, {split: set() for split in SPLITS}
    for i in torch.randperm(43, generator=torch.Generator().manual_seed(0)).tolist():
        name = sorted(coarse)[i]
        split = next(split for split in SPLITS if room[split] >= len(coarse[name]))
        room[split] -= len(coarse[name])
        drawn[split].add(name)
    assert drawn == {split: set(classes) for split, classes in splits.items()}
    assert set(room.values()) == {0}


@needs_grocery
def test_grocery_folders_agree_on_what_is_of_one_kind():
    split_of = {name: split for split, classes in grocery_splits().items() for fine in classes.values() for name in fine}
    splits_of_folder = {}
    for _split, _kind, folder, *rest in entries(GROCERY):
        splits_of_folder.setdefault(folder, set()).add(split_of[rest[0] if len(rest) == 2 else folder])
    # The mushroom is Mushroom/Brown-Cap-Mushroom in the official test split, and without the first folder in the others.
    assert len(splits_of_folder) == 43 + 1 and all(len(splits) == 1 for splits in splits_of_folder.values())


@needs_grocery
def test_grocery_store_has_81_classes_and_all_5421_images():
    parts = [load("grocery_store", split) for split in SPLITS]
    assert [len(part) for part in parts] == [52, 13, 16]
    assert sorted(chain(*(part.class_names for part in parts))) == FINE
    expected = Counter(entry[-2] for entry in entries(GROCERY))
    assert {name: n for part in parts for name, n in zip(part.class_names, part.counts, strict=True)} == expected
    assert expected.total() == 5421 and parts[0].images.shape[1:] == (3, 84, 84)


@needs_grocery
def test_grocery_store_images_is_the_official_split():
    train, val, test = (load("grocery_store_images", split) for split in SPLITS)
    assert [sum(part.counts) for part in (train, val, test)] == [2640, 296, 2485]
    assert list(train.class_names) == list(test.class_names) == FINE
    assert len(val) == 60 and set(val.class_names) < set(FINE)
    assert dict(zip(val.class_names, val.counts, strict=True)) == Counter(entry[-2] for entry in entries(GROCERY) if entry[0] == "val")


@needs_grocery
@pytest.mark.parametrize("name", ["Brown-Cap-Mushroom", "Watermelon", "Arla-Standard-Milk"])
def test_a_grocery_class_is_its_official_images_one_split_after_the_other(name):
    split = next(split for split in SPLITS if name in chain(*grocery_splits()[split].values()))
    official = [of_name(load("grocery_store_images", part), name) for part in SPLITS]
    assert torch.equal(of_name(load("grocery_store", split), name), torch.cat(official))
    for part, images in zip(SPLITS, official, strict=True):
        of_class = ["/".join(entry) for entry in entries(GROCERY) if entry[0] == part and entry[-2] == name]
        assert len(images) == len(of_class)
        for i in (0, len(of_class) - 1):  # bit for bit: a picture that has the size already is not resampled
            assert torch.equal(images[i], decoded(GROCERY, of_class[i]))


# --- Grocery Store: the archive ---


def grocery_files(root: str = "", without: str = "") -> dict[str, bytes]:
    """Small pictures laid out as the official repository lays them out; each has its class number in red and its split in green."""
    files = {}
    for i, name in enumerate(FINE):
        for j, split in enumerate(SPLITS):
            if name != without and (split != "val" or i % 2):
                files[f"{root}{split}/Fruit/{'Apple/' if i < 5 else ''}{name}/{name}_001.png"] = plain((i, 100 * j, 7), (20, 30))
    return files


@pytest.mark.parametrize("root", ["", "dataset/", "GroceryStoreDataset-master/dataset/"])
def test_the_repository_as_it_is_downloaded_is_read_and_its_product_pictures_are_not(root, data):
    others = {f"{root}iconic-images-and-descriptions/Fruit/Kiwi/Kiwi_Iconic.jpg": plain((9, 9, 9)), f"{root}sample/Kiwi.jpg": b"?"}
    write_zip(data / "grocery_store" / "images.zip", grocery_files(root) | others)
    test = load("grocery_store_images", "test", size=8)
    assert test.class_names == tuple(FINE) and set(test.counts) == {1} and is_available("grocery_store")
    assert test.images[:, :, 4, 4].tolist() == [[i, 200, 7] for i in range(81)]
    pooled = load("grocery_store", "train", size=8)
    assert of_name(pooled, FINE[1])[:, :, 0, 0].tolist() == [[1, 0, 7], [1, 100, 7], [1, 200, 7]]


def test_an_archive_of_something_else_is_an_error_that_says_what_is_missing(data):
    path = write_zip(data / "grocery_store" / "images.zip", grocery_files(without="Kiwi"))
    with pytest.raises(ValueError, match=r"images\.zip is not the Grocery Store .* lacks 1 of the 81 classes \['Kiwi'\].*github\.com"):
        load("grocery_store", "train")
    write_zip(path, grocery_files() | {"train/Fruit/Durian/1.png": plain((0, 0, 0))})
    with pytest.raises(ValueError, match=r"lacks 0 .* 1 others \['Durian'\]"):
        load("grocery_store", "train")


@pytest.mark.parametrize("name", ["grocery_store", "grocery_store_images"])
def test_without_the_grocery_pictures_the_error_says_where_to_get_and_where_to_put_them(name, data):
    assert not is_available(name) and dataset_splits(name) == SPLITS
    with pytest.raises(FileNotFoundError, match=r"github\.com/marcusklasson.* save the file as .*cache.grocery_store.images\.zip.*bundled"):
        load(name, "train")


@pytest.mark.parametrize("name", ["cifar_fs", "grocery_store"])
def test_with_one_channel_photographs_are_gray_and_not_turned_into_light_ink(name, data):
    write_zip(data / "cifar100" / "images.zip", {f"{name}/0.png": plain((200, 200, 200)) for name in CIFAR_NAMES})
    write_zip(data / "grocery_store" / "images.zip", dict.fromkeys(grocery_files(), plain((200, 200, 200))))
    assert set(load(name, "val", size=28, channels=1).images.flatten().tolist()) == {200}


def test_a_second_load_decodes_nothing(data, monkeypatch):
    write_zip(data / "grocery_store" / "images.zip", grocery_files())
    first = load("grocery_store", "val", size=8)
    monkeypatch.setattr(decoding, "read_image", None)
    assert torch.equal(load("grocery_store", "val", size=8).images, first.images)
    load("grocery_store_images", "val", size=8)  # of the same decoded pictures


# --- CIFAR-FS ---


def test_cifar_fs_has_64_16_and_20_of_the_100_classes():
    assert [len(CIFAR_SPLITS[split]) for split in SPLITS] == [64, 16, 20] and len(set(CIFAR_NAMES)) == 100


@needs_cifar
@pytest.mark.parametrize("split", SPLITS)
def test_cifar_fs_is_the_published_list_of_classes_with_600_images_each(split):
    assert CIFAR_SPLITS[split] == sorted((DATA / "cifar100" / f"cifar_fs_{split}.txt").read_text().split())
    counts = Counter(entry[0] for entry in entries(CIFAR))
    assert {counts[name] for name in CIFAR_SPLITS[split]} == {600} and counts.total() == 60_000


@needs_cifar
def test_cifar_fs_reads_its_pictures_bit_for_bit(data):
    """Of all classes the first two pictures and the last: to decode all 60,000 takes a minute."""
    wanted = [f"{name}/{number:03d}.webp" for name in CIFAR_NAMES for number in (599, 0, 1)]
    with zipfile.ZipFile(CIFAR) as archive:
        path = write_zip(data / "cifar100" / "images.zip", {entry: archive.read(entry) for entry in wanted})
    for split in SPLITS:
        loaded = load("cifar_fs", split)
        assert list(loaded.class_names) == CIFAR_SPLITS[split] and set(loaded.counts) == {3}
        for name in CIFAR_SPLITS[split][::8]:
            expected = [decoded(path, f"{name}/{number}.webp") for number in ("000", "001", "599")]
            assert torch.equal(of_name(loaded, name), torch.stack(expected))


def test_a_cifar_archive_without_a_class_is_named(data):
    write_zip(data / "cifar100" / "images.zip", {f"{name}/0.png": plain((1, 2, 3)) for name in CIFAR_NAMES if name != "whale"})
    assert len(load("cifar_fs", "train")) == 64
    with pytest.raises(ValueError, match=r"images\.zip has no pictures of class 'whale' \(1 missing\)"):
        load("cifar_fs", "test")


def cifar_records(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pixels (100 n, 3, 32, 32), n of each class in shuffled order, and their labels."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(100, dtype=np.uint8), n))
    return random.integers(0, 256, (100 * n, 3, 32, 32), dtype=np.uint8), labels


def record_bytes(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    """Lay records out as the official page says: coarse label, fine label, then the red, green and blue planes, row by row."""
    return b"".join(bytes([255 - label, label]) + picture.tobytes() for picture, label in zip(pixels, labels, strict=True))


def cifar_files() -> dict[str, bytes]:
    return {
        "coarse_label_names.txt": b"fish\n",
        "fine_label_names.txt": "\n".join(CIFAR_NAMES).encode() + b"\n\n",
        "train.bin": record_bytes(*cifar_records(2, seed=0)),
        "test.bin": record_bytes(*cifar_records(1, seed=1)),
    }


def write_binary(data: Path, files: dict[str, bytes]) -> Path:
    path = data / photographs.CIFAR_BINARY.place
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-100-binary/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_the_official_binary_archive_is_read_train_before_test(data):
    write_binary(data, cifar_files())
    assert is_available("cifar_fs")
    (train, train_labels), (test, test_labels) = cifar_records(2, seed=0), cifar_records(1, seed=1)
    for split in SPLITS:
        loaded = load("cifar_fs", split)
        assert list(loaded.class_names) == CIFAR_SPLITS[split] and set(loaded.counts) == {3}
        for name in CIFAR_SPLITS[split]:
            label = CIFAR_NAMES.index(name)
            expected = np.concatenate([train[train_labels == label], test[test_labels == label]])
            assert np.array_equal(of_name(loaded, name).numpy(), expected)


def test_a_local_archive_of_pictures_goes_before_the_binary_one(data):
    write_binary(data, cifar_files())
    write_zip(data / "cifar100" / "images.zip", {f"{name}/0.png": plain((1, 2, 3)) for name in CIFAR_NAMES})
    assert set(load("cifar_fs", "val").counts) == {1}


DAMAGED_MEMBERS = {
    "cut records": ({"train.bin": cifar_files()["train.bin"][:-100]}, r"gz is cut short or damaged"),
    "no names": ({"fine_label_names.txt": None}, r"gz has no fine_label_names\.txt; delete it"),
    "other names": ({"fine_label_names.txt": b"airplane\nbird\n"}, r"does not name 'baby'; delete the archive"),
    "no pictures of a class": ({"train.bin": b"", "test.bin": b""}, r"no pictures of class 'baby'"),
}


@pytest.mark.parametrize("kind", DAMAGED_MEMBERS)
def test_a_binary_archive_with_wrong_contents_is_named(kind, data):
    change, message = DAMAGED_MEMBERS[kind]
    write_binary(data, {name: content for name, content in (cifar_files() | change).items() if content is not None})
    with pytest.raises(ArchiveError, match=message):
        load("cifar_fs", "test")


@pytest.mark.parametrize("damage", [lambda x: b"", lambda x: x[:1000], lambda x: b"<html>"], ids=str.split("empty cut page"))
def test_a_damaged_binary_archive_is_named(damage, data):
    path = write_binary(data, cifar_files())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArchiveError, match=r"cifar-100-binary\.tar\.gz is cut short or damaged"):
        load("cifar_fs", "test")


def test_a_member_larger_than_cifar_has_is_not_unpacked(data, monkeypatch):
    write_binary(data, cifar_files())
    monkeypatch.setattr(photographs, "_MAX_MEMBER_BYTES", 100_000)
    with pytest.raises(ArchiveError, match="unpacks to more than CIFAR-100 has"):
        load("cifar_fs", "test")


def test_without_a_network_the_error_names_the_binary_archive_and_where_to_put_it(data):
    assert not is_available("cifar_fs")
    with pytest.raises(ConnectionError, match=r"https://www\.cs\.toronto\.edu/.*binary\.tar\.gz could not.*by hand as .*cifar100"):
        load("cifar_fs", "test")
    assert not list(data.parent.rglob("*.gz"))


def test_a_binary_archive_cut_off_between_two_entries_is_refused(data):
    path = write_binary(data, cifar_files())
    content = gzip.decompress(path.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        last = archive.getmembers()[-1]
    end = last.offset_data + -(-last.size // 512) * 512
    path.write_bytes(gzip.compress(content[:end]))
    with pytest.raises(ValueError, match="is cut off: it lacks its end mark"):
        load("cifar_fs", "test")
