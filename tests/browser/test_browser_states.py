"""What a person meets at the panel beside its first state: both themes, narrow and wide pages, errors, a stop, no queries, photographs."""

import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
import test_browser
from PIL import Image
from test_browser import ERRORS, STARTUP, Person, jupyter, person_at

from fewshot_kit.training.checkpoint_folder import list_checkpoints

CELL = """from fewshot_kit.demo.session import DemoSession
from fewshot_kit.widgets import FewShotPanel
FewShotPanel(DemoSession("{checkpoint}", "characters", n_way=5, n_shot=1, n_query=5))"""
CONTRAST = """element => {
    const luminance = color => {
        const numbers = color.match(/[\\d.]+/g).slice(0, 3).map(Number);
        const parts = color.startsWith("color") ? numbers : numbers.map(number => number / 255);
        const linear = parts.map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const root = getComputedStyle(document.body);
    const probe = document.body.appendChild(document.createElement("div"));
    probe.style.background = root.getPropertyValue("--jp-layout-color0");
    const lights = [getComputedStyle(element).color, getComputedStyle(probe).backgroundColor].map(luminance).sort((a, b) => b - a);
    probe.remove();
    return (lights[0] + 0.05) / (lights[1] + 0.05);
}"""


class PanelUser(Person):
    """A person in a notebook of one cell."""

    def run_all(self) -> None:
        self.page.locator(".lm-MenuBar-item", has_text=re.compile("^Run$")).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_selector(f".fewshot-columns, {ERRORS}", timeout=STARTUP)
        self.sees_no_error()
        self.page.wait_for_function("() => document.querySelector('img.fewshot-learning-image').naturalWidth > 0")
        self.show_top()

    def box(self, selector: str) -> dict:
        return self.page.locator(selector).first.bounding_box()

    def contrast(self, selector: str) -> float:
        return self.page.locator(selector).first.evaluate(CONTRAST)


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """Write the notebook and let the browser's tests open it; returns its name."""
    path = tmp_path / "panel.ipynb"
    checkpoint = next(name for name in list_checkpoints() if name.startswith("reptile-omniglot"))
    written = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL.format(checkpoint=checkpoint))])
    written.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(written, path)
    monkeypatch.setattr(test_browser, "NOTEBOOK", path)
    monkeypatch.setattr(test_browser, "Person", PanelUser)
    return path.name


def set_theme(tmp_path: Path, theme: str) -> None:
    folder = tmp_path / "home" / "settings" / "@jupyterlab" / "apputils-extension"
    folder.mkdir(parents=True)
    (folder / "themes.jupyterlab-settings").write_text(json.dumps({"theme": f"JupyterLab {theme}"}))


def write_photographs(folder: Path) -> Path:
    for name in "abcd":
        (folder / name).mkdir(parents=True)
        for i in range(6):
            small = np.random.default_rng(ord(name) + 9 * i).integers(0, 255, (5, 5, 3), dtype=np.uint8)
            Image.fromarray(small).resize((90, 90), Image.Resampling.BILINEAR).save(folder / name / f"{i}.jpg")
    return folder


@pytest.mark.parametrize(("theme", "width"), [("Light", 1700), ("Dark", 1280), ("Light", 900)])
def test_every_state_of_the_panel_can_be_read(tmp_path, notebook, theme, width):
    set_theme(tmp_path, theme)
    photographs = write_photographs(tmp_path / "photographs")
    with jupyter("jupyterlab", tmp_path) as (address, token), person_at(f"{address}/lab/tree/{notebook}?token={token}", width) as person:
        page = person.page
        assert person.contrast(".fewshot-status span") >= 4.5
        assert page.get_by_role("img", name=re.compile("The support: 5 classes with 1 picture each")).is_visible()
        assert page.get_by_role("img", name=re.compile("loss on the support fell")).is_visible()

        person.type_number("pictures each (shot)", "10")
        person.sees_status("10 pictures each: learned")
        columns, panel = person.box(".fewshot-columns"), page.locator(".jp-OutputArea-output").first.bounding_box()
        assert columns["width"] <= panel["width"] + 1, "nothing runs out of the page"
        if width == 1700:  # beside one another, and all of both on one screen
            assert person.box(".fewshot-groups")["x"] < person.box(".fewshot-status")["x"] - 300 and columns["height"] < 800
        support, picture = person.box(".fewshot-picture-box"), person.box("img.fewshot-learning-image")
        person.shoot(f"states_{width}_ten_shot")
        person.type_number("pictures each (shot)", "1")
        person.sees_status("1 picture each: learned")
        assert person.box(".fewshot-picture-box") == support and person.box("img.fewshot-learning-image") == picture, "nothing jumped"

        person.open_folder("/no/such/folder")
        person.sees_status("Error.*no/such/folder")
        assert person.contrast(".fewshot-status [role=alert]") >= 4.5
        assert page.get_by_label("data set").input_value() == "characters"
        assert page.get_by_label("your own folder").input_value() == "/no/such/folder"
        person.shoot(f"states_{width}_error")

        person.open_folder(photographs)
        person.sees_status("4 classes, not 5.*learned")
        assert page.get_by_text("These are photographs").is_visible() and page.get_by_label("data set").input_value() == "own folder …"
        person.shoot(f"states_{width}_photographs")

        person.choose_dataset("characters")
        person.sees_status("characters, 4 classes")
        assert not page.get_by_text("These are photographs").is_visible()
        person.type_number("queries a class", "0")
        person.sees_status("no queries to answer")
        assert page.get_by_role("button", name="Evaluate").is_disabled()
        person.shoot(f"states_{width}_no_queries")
        person.sees_no_error()


def test_a_slider_under_the_hand_a_stop_and_a_look_back(tmp_path, notebook):
    with jupyter("jupyterlab", tmp_path) as (address, token), person_at(f"{address}/lab/tree/{notebook}?token={token}") as person:
        page = person.page
        row = page.locator(".fewshot-numbered", has=page.get_by_text("learning rate", exact=True))
        handle, number, picture = (
            row.locator(".noUi-handle").bounding_box(),
            row.locator("input").bounding_box(),
            person.picture("learning"),
        )
        page.mouse.move(handle["x"] + 8, handle["y"] + 8)
        page.mouse.down()
        page.mouse.move(handle["x"] + 48, handle["y"] + 8, steps=6)
        readout = row.locator(".widget-readout")
        readout.wait_for()
        moving, place = readout.inner_text(), readout.bounding_box()
        assert abs(place["x"] - number["x"]) < 6 and abs(place["y"] - number["y"]) < 6, "it runs in the place of the number box"
        page.wait_for_timeout(700)
        assert person.picture("learning") == picture, "nothing is learned before the hand lets go"
        person.shoot("states_slider_held")
        with person.sees_change("learning"):
            page.mouse.up()
        person.sees_status(f"learning rate {float(moving):.3g},")
        assert float(row.locator("input").input_value()) == pytest.approx(float(moving), rel=0.01)

        person.type_number("classes (way)", "10")
        person.type_number("pictures each (shot)", "10")
        person.sees_status("10 classes, 10 pictures each: learned")
        with person.sees_change("learning"):  # to a frame of the learning under way
            person.type_number("epochs", "50")
        person.press("Stop")
        person.sees_status(r"stopped after epoch \d+ of 50")
        person.shoot("states_stopped")
        with person.sees_change("learning"):
            person.type_number("look back at epoch", "0")
        with person.sees_change("learning"):
            page.get_by_title("the next page of queries").click()
        person.sees_no_error()
