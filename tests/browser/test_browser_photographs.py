"""A person with photographs: the notebooks of meta-transfer learning and of Meta-LSTM, dark and light, with a folder of their own."""

import re
from pathlib import Path

import pytest
import test_browser
from PIL import Image
from test_browser import NOTEBOOK, Person, jupyter, person_at
from test_browser_states import set_theme

from fewshot_kit.data.datasets import load_dataset
from fewshot_kit.data.preprocessing import Preprocessing

COLOURS = """name => {
    const image = document.querySelector(`img.fewshot-${name}-image`);
    const canvas = Object.assign(document.createElement("canvas"), {width: image.naturalWidth, height: image.naturalHeight});
    const pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0);
    const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    let found = 0;
    for (let i = 0; i < data.length; i += 4)
        found += Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) > 60;
    return found;
}"""


@pytest.fixture
def photographs(tmp_path) -> Path:
    """A folder of a sub-folder a class, as a person has them."""
    dataset, folder = load_dataset("photo_patches", "test", preprocessing=Preprocessing(size=84, channels=3)), tmp_path / "my photographs"
    for class_id, name in enumerate(dataset.class_names[:4]):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            pixels = dataset.images[dataset.offsets[class_id] + i].permute(1, 2, 0).numpy()
            Image.fromarray(pixels).resize((320, 320)).save(folder / name / f"{i}.jpg")
    return folder


@pytest.mark.parametrize(
    ("stem", "theme", "width", "views"),
    [("08_meta_transfer_learning", "Dark", 900, ", 2 views a picture"), ("07_meta_lstm", "Light", 1400, "")],
    ids=["mtl-dark-narrow", "meta_lstm-light-wide"],
)
def test_a_person_with_photographs(tmp_path, monkeypatch, photographs, stem, theme, width, views):
    set_theme(tmp_path, theme)
    notebook = NOTEBOOK.with_name(f"{stem}.ipynb")
    monkeypatch.setattr(test_browser, "NOTEBOOK", notebook)
    with (
        jupyter("jupyterlab", tmp_path) as (address, token),
        person_at(f"{address}/lab/tree/{notebook.name}?token={token}", width) as person,
    ):
        page = person.page
        assert page.locator(".jp-OutputArea-output img[src^='data:image/png']").count() >= 5, "every figure is there"
        if test_browser.SHOTS:
            read_through(person, stem)
        person.show_top()
        assert page.evaluate(COLOURS, "support") > 2000 and page.evaluate(COLOURS, "learning") > 1000, "photographs are in colour"
        person.shoot(f"{stem}_panel")

        with person.sees_change("learning"):
            person.type_number("epochs", "3")
        person.sees_status(f"3 epochs{views};")
        person.open_folder(photographs)
        person.sees_status("4 classes, not 5.*learned")
        person.shoot(f"{stem}_folder")
        person.choose_dataset("drawings")
        person.sees_status("drawings, 4 classes")
        assert page.get_by_text("These pictures have no colours").is_visible()
        person.shoot(f"{stem}_drawings")
        person.open_folder(photographs)
        person.sees_status("4 classes.*learned")

        person.unfold("Try a picture of your own")
        assert not page.get_by_text("Draw", exact=True).count(), "there is nothing to draw before a network for photographs"
        upload(person, next(photographs.glob("*/5.jpg")))
        person.shoot(f"{stem}_own_picture")
        person.sees_no_error()


def upload(person: Person, path: Path) -> None:
    person.page.locator("input.fewshot-upload-input").set_input_files(str(path))
    person.page.locator("img.fewshot-answer-image").wait_for()
    person.page.locator("[role=status]", has_text=re.compile(r"\d+ %")).first.wait_for()


def read_through(person: Person, stem: str) -> None:
    """Look at every figure of the notebook."""
    figures = person.page.locator(".jp-OutputArea-output img[src^='data:image/png']")
    for i in range(figures.count()):
        figures.nth(i).scroll_into_view_if_needed()
        person.shoot(f"{stem}_{i:02d}_figure")
