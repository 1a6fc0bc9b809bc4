"""FOD-A: its splits, and that boxes fit the pictures they are scaled with."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from own_folders import voc_xml
from PIL import Image

from fewshot_kit.detection import fod_a
from fewshot_kit.detection.datasets import is_available, load_annotated

DATA = Path(os.environ.get("FEWSHOT_DATA") or "no data folder")
needs_fod_a = pytest.mark.skipif(not (DATA / fod_a.ARCHIVE).is_file(), reason="FEWSHOT_DATA names no folder with fod_a/voc.zip")
pytestmark = pytest.mark.usefixtures("own_cache")


def test_classes_are_split():
    assert len(fod_a.BASE) == 20 and len(fod_a.NOVEL) == 11 and not set(fod_a.BASE) & set(fod_a.NOVEL)
    assert set(fod_a.VAL) < set(fod_a.BASE) and len(fod_a.VAL) == 5
    drawn = torch.randperm(20, generator=torch.Generator().manual_seed(0))[:5].tolist()
    assert tuple(sorted(fod_a.BASE[i] for i in drawn)) == fod_a.VAL and tuple(sorted(fod_a.BASE)) == fod_a.BASE
    assert set(fod_a.CLASSES["train"]) | set(fod_a.VAL) == set(fod_a.BASE) and fod_a.CLASSES["test"] == fod_a.NOVEL


def made_up(path: Path, size: int = 40, per_class: int = 5) -> None:
    """Write an archive of all classes; a picture is black but for its box, whose gray is its number in the class."""
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for class_id, name in enumerate((*fod_a.BASE, *fod_a.NOVEL)):
            for i in range(per_class):
                pixels, stem = np.zeros((size, size, 3), np.uint8), f"{class_id:03}{i:03}"
                pixels[8:24, 4 : 20 + i] = 100 + i
                content = io.BytesIO()
                Image.fromarray(pixels).save(content, "PNG")
                archive.writestr(f"JPEGImages/{stem}.png", content.getvalue())
                archive.writestr(f"Annotations/{stem}.xml", voc_xml(f"{stem}.png", [(name, (4, 8, 20 + i, 24))], (size, size)))


def test_boxes_are_scaled_with_their_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSHOT_DATA", str(tmp_path))
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path / "cache"))
    made_up(tmp_path / fod_a.ARCHIVE)
    train, held_out, novel = (load_annotated("fod_a", split, size=80, progress=False) for split in ("train", "train_held_out", "test"))
    assert len(train) == 15 * 4 and len(held_out) == 15 and len(novel) == 11 * 5
    assert novel.class_names == fod_a.NOVEL and train.class_names == held_out.class_names
    every, others = (load_annotated("fod_a", split, size=80, progress=False) for split in ("trainval", "trainval_held_out"))
    assert every.class_names == others.class_names == fod_a.BASE and len(every) == 20 * 4 and len(others) == 20
    for dataset, numbers in ((every, range(4)), (others, [4]), (train, range(4)), (held_out, [4]), (novel, range(5))):
        for position, (image, boxes, labels) in enumerate(zip(dataset.images, dataset.boxes, dataset.labels, strict=True)):
            i = numbers[position % len(numbers)]
            assert labels.tolist() == [position // len(numbers)]
            assert boxes.tolist() == [[8, 16, 2 * (20 + i), 48]]
            assert image[0, 30, 20].item() in (99 + i, 100 + i, 101 + i) and image[0, 30, 2].item() < 3


def test_without_the_files_it_says_where_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSHOT_DATA", str(tmp_path))
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path / "cache"))
    assert not is_available("fod_a") and is_available("scenes")
    with pytest.raises(FileNotFoundError, match=r"FOD-A is not on this machine.*or use scenes"):
        load_annotated("fod_a")


@needs_fod_a
def test_the_whole_data_set():
    train, val, novel = (load_annotated("fod_a", split, size=32, progress=False) for split in ("train", "val", "test"))
    assert (len(train), len(val), len(novel)) == (15 * 48, 5 * 60, 11 * 60)
    shares = torch.cat([((b[:, 2:] - b[:, :2]) / 32).prod(1) for b in novel.boxes])
    assert len(shares) == 660 and shares.min() > 0.001 and shares.max() < 0.7
    again = load_annotated("fod_a", "val", size=32, progress=False)
    assert torch.equal(again.images, val.images)
