"""mini-ImageNet and FC100: what is given is checked against the published split; pictures are mapped from the disk, not held."""

import io
import json
import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot_kit.data import mapped, mini_imagenet
from fewshot_kit.data.datasets import has_photographs, load_dataset
from fewshot_kit.data.images import ImageError
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.trees import open_tree

DATA = Path(os.environ.get("FEWSHOT_DATA") or "no data folder")
needs_data = pytest.mark.skipif(not (DATA / "mini_imagenet").is_dir(), reason="FEWSHOT_DATA names no folder with mini_imagenet/")
EACH = 3  # pictures a class of the small stand-in


def picture(shade: int, mode: str = "RGB", size: tuple[int, int] = (20, 20)) -> bytes:
    buffer = io.BytesIO()
    if mode == "16 bit":
        Image.fromarray(np.full(size, shade * 257, dtype=np.uint16)).save(buffer, "PNG")
    else:
        color = Image.new("RGB", size, (shade, 255 - shade, 40)).convert(mode)
        color.save(buffer, "JPEG" if mode == "CMYK" else "PNG")
    return buffer.getvalue()


def wnids(split: str) -> list[str]:
    return list(mini_imagenet.class_names()[split])


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """A data folder and an empty cache, and a mini-ImageNet of three pictures a class."""
    monkeypatch.setenv("FEWSHOT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mini_imagenet, "IMAGES_A_CLASS", EACH)
    (tmp_path / "data" / "mini_imagenet").mkdir(parents=True)
    return tmp_path / "data" / "mini_imagenet"


def give(data: Path, split: str, files: dict[str, bytes] | None = None, as_folder: bool = False) -> None:
    files = files or {f"{split}/{wnid}/{i}.png": picture(10 * k + i) for k, wnid in enumerate(wnids(split)) for i in range(EACH)}
    if as_folder:
        for name, content in files.items():
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            (data / name).write_bytes(content)
        return
    with zipfile.ZipFile(data / f"{split}.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def files_of(split: str) -> dict[str, bytes]:
    return {f"{split}/{wnid}/{i}.png": picture(i) for wnid in wnids(split) for i in range(EACH)}


def load(split: str, size: int = 16, channels: int = 3):
    return load_dataset("mini_imagenet", split, preprocessing=Preprocessing(size, channels), progress=False)


def test_the_split_has_64_16_and_20_classes_and_none_twice():
    names = mini_imagenet.class_names()
    assert [len(names[split]) for split in ("train", "val", "test")] == [64, 16, 20]
    assert len({wnid for classes in names.values() for wnid in classes}) == 100
    assert len({name for classes in names.values() for name in classes.values()}) == 100
    assert has_photographs("mini_imagenet") and has_photographs("fc100") and has_photographs("photo_patches")


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_split_is_read_by_class_from_an_archive_or_a_folder(data, as_folder):
    give(data, "val", as_folder=as_folder)
    images = load("val")
    assert images.counts == (EACH,) * 16 and images.class_names[:2] == ("goose", "Ibizan hound")
    assert images.of_class(3)[1, :, 5, 5].tolist() == [31, 224, 40]
    assert (images.name, images.split) == ("mini_imagenet", "val")


def test_the_second_load_decodes_nothing_and_a_damaged_file_is_decoded_anew(data, monkeypatch, caplog):
    give(data, "val")
    first = load("val").images.clone()
    (cache,) = (data.parent.parent / "cache").rglob("*.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(mapped, "decoded", lambda *_: pytest.fail("decoded again"))
        assert torch.equal(load("val").images, first)
    cache.write_bytes(cache.read_bytes()[:-7])
    assert torch.equal(load("val").images, first)
    assert "damaged" in caplog.text
    give(data, "val", {**files_of("val"), f"val/{wnids('val')[0]}/0.png": picture(200)})
    assert load("val").images[0, 0, 5, 5] == 200, "another archive of the same name"


def test_without_room_for_the_cache_the_pictures_are_held_in_memory(data, monkeypatch, caplog):
    give(data, "val")

    def no_room(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    assert load("val").counts == (EACH,) * 16
    assert "held in memory" in caplog.text
    assert not list((data.parent.parent / "cache").rglob("*.part"))


def without(files: dict[str, bytes], part: str) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if part not in name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: without(f, wnids("train")[5]), r"63 of the 64 train classes: n01843383 \(toucan\) is missing"),
        (lambda f: without(f, f"{wnids('train')[7]}/1"), r"2 pictures of n02074367 \(dugong\), not 3"),
        (lambda f: {**f, f"train/{wnids('test')[0]}/1.png": picture(1)}, r"n01930112 \(nematode\), a class of the test split, among train"),
        (lambda f: {**f, "train/n00000000/1.png": picture(1)}, r"'n00000000', which is no class of mini-ImageNet"),
        (lambda f: {**f, f"train/{wnids('train')[0]}/3.png": picture(1)}, r"4 pictures of n01532829 \(house finch\), not 3"),
    ],
)
def test_what_is_not_the_published_split_is_refused_and_named(data, change, message):
    give(data, "train", change(files_of("train")))
    with pytest.raises(ValueError, match=message) as caught:
        load("train")
    assert "train.zip" in str(caught.value) and "get the data set again" in str(caught.value)


@pytest.mark.parametrize("mode", ["L", "CMYK", "16 bit", "P", "1"])
def test_a_picture_of_another_kind_among_colour_ones_is_a_photograph_too(data, mode):
    give(data, "val", {**files_of("val"), f"val/{wnids('val')[0]}/0.png": picture(90, mode)})
    assert load("val").images.shape == (16 * EACH, 3, 16, 16)


def test_a_picture_that_cannot_be_read_is_named(data):
    give(data, "val", {**files_of("val"), f"val/{wnids('val')[0]}/0.png": b"no picture"})
    with pytest.raises(ImageError, match=rf"{wnids('val')[0]}/0.png"):
        load("val")
    assert not list((data.parent.parent / "cache").rglob("*.safetensors"))


def test_without_the_data_set_the_error_says_how_to_get_it(data):
    with pytest.raises(FileNotFoundError, match=r"no official download.*mini_imagenet/test\.zip.*photo_patches"):
        load("test")


@needs_data
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_real_archives_are_the_published_split(split):
    with open_tree(DATA / "mini_imagenet" / f"{split}.zip") as tree:
        classes = mini_imagenet._checked(tree, split)
    assert {len(pictures) for pictures in classes.values()} == {600}


def test_a_large_set_is_mapped_and_not_held(tmp_path):
    """Of 160 MB of pictures a process that looks at a few holds less than 40 MB more than without any."""
    n, shape = 20_000, (3, 52, 52)
    header = {
        "__metadata__": {"class_names": json.dumps(["a", "b"])},
        "counts": {"dtype": "I64", "shape": [2], "data_offsets": [0, 16]},
        "images": {"dtype": "U8", "shape": [n, *shape], "data_offsets": [16, 16 + n * int(np.prod(shape))]},
    }
    text = json.dumps(header).encode()
    with open(tmp_path / "big.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + np.array([n // 2, n // 2], dtype="<i8").tobytes())
        file.truncate(8 + len(text) + 16 + n * int(np.prod(shape)))
    program = (
        "import resource, sys; from pathlib import Path; from fewshot_kit.data.mapped import _map;"
        "from fewshot_kit.data.preprocessing import Preprocessing; import torch;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "d = _map(Path(sys.argv[1]), 'x', Preprocessing(52, 3)); d.images[torch.arange(0, 20000, 400)].float().mean();"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, len(d.images))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "big.safetensors")], capture_output=True, text=True, check=True)
    kilobytes, found = map(int, done.stdout.split())
    assert found == n and kilobytes < 40_000, resource.RUSAGE_SELF


@pytest.mark.skipif(not (DATA / "cifar100").is_dir(), reason="FEWSHOT_DATA names no folder with cifar100/")
def test_fc100_is_the_published_list_and_its_splits_share_no_superclass():
    splits = {split: (DATA / "cifar100" / f"fc100_{split}.txt").read_text().split() for split in ("train", "val", "test")}
    packaged = json.loads((Path(mini_imagenet.__file__).parent / "splits" / "fc100.json").read_text())
    assert {split: sorted(names) for split, names in packaged.items()} == {split: sorted(names) for split, names in splits.items()}
    assert [len(packaged[split]) for split in ("train", "val", "test")] == [60, 20, 20]
    superclass = json.loads((DATA / "cifar100" / "superclass.json").read_text())
    of = {split: {superclass[name] for name in names} for split, names in packaged.items()} if "apple" in superclass else None
    assert of is None or not (of["train"] & of["test"] or of["train"] & of["val"] or of["val"] & of["test"])
    images = load_dataset("fc100", "test", preprocessing=Preprocessing(8, 3), progress=False)
    assert images.counts == (600,) * 20


def test_photo_patches_are_twenty_pieces_of_each_photograph():
    for split, n in (("train", 7), ("val", 5), ("test", 6)):
        images = load_dataset("photo_patches", split, preprocessing=Preprocessing(32, 3), progress=False)
        assert images.counts == (20,) * n
    red, _, blue = images.of_class(images.class_names.index("coffee")).float().mean((0, 2, 3))
    assert red > 1.5 * blue, "in colour"
