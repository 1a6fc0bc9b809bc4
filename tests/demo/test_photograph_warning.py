"""Photographs are told from ink drawings by their colours."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fewshot_kit.data.datasets import dataset_names, load_dataset
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.demo.photographs import are_photographs, checkpoints_for, coloured_share, warn_of_pictures
from fewshot_kit.training.checkpoints import load_checkpoint


def drawing(pen: tuple[int, ...], paper: tuple[int, ...], seed: int) -> Image.Image:
    """Strokes on a sheet under a lamp: lighter on one side, with a camera's noise."""
    rng = np.random.default_rng(seed)
    sheet = np.array(paper) * np.linspace(0.6, 1, 200)[:, None, None] + rng.normal(0, 4, (200, 200, 3))
    picture = Image.fromarray(sheet.clip(0, 255).astype(np.uint8))
    points = [tuple(point) for point in rng.integers(30, 170, (6, 2)).tolist()]
    ImageDraw.Draw(picture).line(points, fill=pen, width=5)
    return picture


def photograph(seed: int) -> Image.Image:
    """Large soft areas of many colours."""
    small = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((200, 200), Image.Resampling.BILINEAR)


@pytest.fixture
def folder(tmp_path):
    def write(make):
        for name in "ab":
            (tmp_path / name).mkdir()
            for i in range(4):
                make(ord(name) + i).save(tmp_path / name / f"{i}.png")
        return f"folder:{tmp_path}"

    return write


@pytest.mark.parametrize("pen", [(0, 0, 0), (20, 40, 170), (190, 30, 30)])
@pytest.mark.parametrize("paper", [(250, 250, 250), (235, 215, 180)])
def test_ink_of_any_colour_on_paper_of_any_tint_is_no_photograph(folder, pen, paper):
    assert not are_photographs(folder(lambda seed: drawing(pen, paper, seed)))


def test_a_folder_of_photographs_is_known_by_its_files(folder):
    dataset = folder(photograph)
    assert are_photographs(dataset)
    assert load_dataset(dataset, progress=False).preprocessing.channels == 1, "whose decoded pictures are grey"
    warning = warn_of_pictures(dataset, Preprocessing(channels=1))
    assert any(name in warning for name in checkpoints_for(in_colour=True)) and "nearest pixels" in warning
    assert warn_of_pictures(dataset, Preprocessing(channels=3)) == ""


@pytest.mark.parametrize("dataset", ["characters", "digits", "folder"])
def test_ink_before_a_network_for_photographs_is_told_too(folder, dataset):
    if dataset == "folder":
        dataset = folder(lambda seed: drawing((0, 0, 0), (250, 250, 250), seed))
    warning = warn_of_pictures(dataset, Preprocessing(channels=3))
    assert "no colours" in warning and any(name in warning for name in checkpoints_for(in_colour=False))
    assert warn_of_pictures(dataset, Preprocessing(channels=1)) == ""


def test_grey_pictures_have_no_colour():
    assert coloured_share(np.zeros((9, 9), np.uint8)) == 0
    assert coloured_share(np.full((9, 9, 3), 130, np.uint8)) == 0


def test_of_the_named_data_sets_those_of_photographs_are_known():
    photographs = {"cifar_fs", "fc100", "grocery_store", "grocery_store_images", "mini_imagenet", "photo_patches"}
    assert {name for name in dataset_names() if are_photographs(name)} == photographs


def test_the_checkpoints_for_photographs_take_colours():
    names = checkpoints_for(in_colour=True)
    assert names and all(load_checkpoint(name).learner.preprocessing.channels == 3 for name in names)
