"""A person with classes of their own: three letters drawn with the mouse, photographs from a folder, a camera, and what is taken along."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import pytest
import test_browser
from PIL import Image
from test_browser import (
    BROWSER,
    ERRORS,
    FLAGS,
    HAS_RUN,
    STARTUP,
    Person,
    jupyter,
    jupyter_environment,
    person_at,
    playwright,
    wait_for_server,
)
from test_browser_states import set_theme

CELLS = (
    "import torch; torch.set_num_threads(1)",
    "from fewshot_kit.widgets import OwnClassesPanel",
    "panel = OwnClassesPanel()",
    "a = 1",
    "b = 2",
    "panel",
)
PANEL = Path(__file__).parents[2] / "notebooks" / "10_your_own_classes.ipynb"
LETTERS = {  # three letters that were invented, as strokes in a square of side 1
    "zog": [[(0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8)]],
    "pim": [[(0.5, 0.15), (0.5, 0.85)], [(0.2, 0.4), (0.8, 0.4)], [(0.3, 0.85), (0.7, 0.85)]],
    "ulo": [[(0.25, 0.2), (0.25, 0.7), (0.5, 0.85), (0.75, 0.7), (0.75, 0.2)], [(0.45, 0.45), (0.55, 0.45)]],
}

HAS_PICTURES = """([card, n]) =>
    document.querySelectorAll('.fewshot-class-card')[card].querySelectorAll('.fewshot-thumbnail').length == n"""


def variant(strokes, number: int):
    """Return the strokes slanted, scaled and moved: another drawing of the same letter."""
    slant, scale = (-0.15, 0.0, 0.2, -0.1)[number % 4], (0.75, 0.95, 0.85, 0.65)[number % 4]
    return [[(0.5 + scale * (x - 0.5 + slant * (0.5 - y)), 0.5 + scale * (y - 0.5)) for x, y in stroke] for stroke in strokes]


class Inventor(Person):
    """A person at the panel for classes of their own."""

    def run_all(self) -> None:
        self.page.locator(".lm-MenuBar-item", has_text=re.compile("^Run$")).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_function(HAS_RUN, arg=ERRORS, timeout=STARTUP)
        self.sees_no_error()
        self.page.get_by_text("To begin:").wait_for()

    def draw_on(self, canvas: int, strokes) -> None:
        """Draw on the canvas of the support (0) or of the query (1)."""
        place = self.page.locator(".fewshot-drawing canvas").nth(canvas)
        place.scroll_into_view_if_needed()
        box = place.bounding_box()
        for stroke in strokes:
            (x, y), *rest = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in stroke]
            self.page.mouse.move(x, y)
            self.page.mouse.down()
            for x, y in rest:
                self.page.mouse.move(x, y, steps=5)
            self.page.mouse.up()

    def card(self, number: int):
        return self.page.locator(".fewshot-class-card").nth(number)

    def choose(self, number: int) -> None:
        self.card(number).get_by_role("button", name="add pictures").click()
        self.card(number).get_by_role("button", name="pictures go here").wait_for()

    def n_pictures(self, number: int) -> int:
        return self.card(number).locator(".fewshot-thumbnail").count()


@pytest.fixture
def notebook(tmp_path, monkeypatch) -> Path:
    """Write a notebook with the panel in it, for an `Inventor` to open."""
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), tmp_path / "panel.ipynb")
    monkeypatch.setattr(test_browser, "NOTEBOOK", tmp_path / "panel.ipynb")
    monkeypatch.setattr(test_browser, "Person", Inventor)
    return tmp_path / "panel.ipynb"


def photographs(folder: Path, n: int = 2) -> list[Path]:
    """Save pictures in colour: coloured noise, finer and finer."""
    chance, paths = np.random.default_rng(0), []
    for i in range(n):
        pixels = (chance.random((8 + 4 * i, 8 + 4 * i, 3)) * 255).astype(np.uint8)
        paths.append(folder / f"photo {i}.jpg")
        Image.fromarray(pixels).resize((400, 300), Image.Resampling.BILINEAR).save(paths[-1])
    return paths


def test_three_invented_letters_are_learned_and_told_apart(tmp_path, notebook):
    set_theme(tmp_path, "Dark")
    with (
        jupyter("jupyterlab", tmp_path) as (address, token),
        person_at(f"{address}/lab/tree/{notebook.name}?token={token}", 1000) as person,
    ):
        person.show_top()
        person.shoot("own_classes_1_opening")
        person.draw_on(1, LETTERS["zog"])
        person.page.get_by_text("no picture yet of class 1").first.wait_for()
        started = time.perf_counter()
        for number, (name, strokes) in enumerate(LETTERS.items()):
            if number:
                person.choose(number)
            person.card(number).locator("input").fill(name)
            person.card(number).locator("input").press("Enter")
            for i in range(3):
                person.draw_on(0, variant(strokes, i))
                person.press("Add drawing")
                person.page.wait_for_function(HAS_PICTURES, arg=[number, i + 1])
        person.page.get_by_text("It has learned 3 classes: zog, pim, ulo").wait_for()
        person.page.get_by_text(re.compile(r"\d of 9 right")).wait_for()
        for name, strokes in LETTERS.items():
            person.page.get_by_role("button", name="Clear").last.click()
            person.draw_on(1, variant(strokes, 3))
            person.page.get_by_text(re.compile(f"takes it for [ABC] {name}")).wait_for()  # after each of its strokes it is answered anew
        print(f"from the first stroke to the third answer: {time.perf_counter() - started:.0f} s by script")
        person.shoot("own_classes_2_learned")
        person.card(2).get_by_role("button", name="remove drawing 9.png").click()
        person.page.get_by_text(re.compile(r"\d of 8 right")).wait_for()
        person.unfold("3. How it learns")
        person.unfold("4. Take it along")
        person.press("Save")
        person.page.get_by_text("saved in").wait_for()
        person.shoot("own_classes_3_saved")
        with person.page.expect_download() as download:
            person.page.locator("button.fewshot-download").click()
        assert download.value.suggested_filename == "my_classes.zip"
        person.sees_no_error()


def test_photographs_take_another_network_and_what_is_wrong_is_said(tmp_path, notebook):
    set_theme(tmp_path, "Light")
    paths = photographs(tmp_path, 4)
    with (
        jupyter("jupyterlab", tmp_path) as (address, token),
        person_at(f"{address}/lab/tree/{notebook.name}?token={token}", 1600) as person,
    ):
        person.card(2).locator("button").last.click()
        person.page.get_by_text("no picture yet of class 1, class 2.").first.wait_for()
        person.card(1).locator("input").fill("class 1")
        person.card(1).locator("input").press("Enter")
        person.page.get_by_text("two classes would be called").wait_for()
        person.shoot("own_classes_4_two_of_one_name")
        person.page.get_by_role("tab", name="Upload").click()
        person.page.locator("input.fewshot-upload-input").first.set_input_files([str(path) for path in paths[:2]])
        person.page.wait_for_function("() => document.querySelectorAll('.fewshot-thumbnail').length == 2")
        person.choose(1)
        person.page.locator("input.fewshot-upload-input").first.set_input_files([str(path) for path in paths[2:]])
        person.page.get_by_text("It has learned 2 classes").wait_for()
        person.unfold("3. How it learns")
        chosen = person.page.locator("select").filter(has_text="(photographs)")
        assert chosen.locator("option:checked").inner_text().startswith("resnet12-mini_imagenet")
        person.page.locator("input.fewshot-upload-input").nth(1).set_input_files(str(paths[0]))  # under "2. Ask"
        person.page.get_by_text("takes it for A class 1").wait_for()
        person.page.get_by_role("tab", name="Camera").click()
        person.page.get_by_role("button", name="Start the camera").click()
        person.page.get_by_text(re.compile("Error: (no camera was found|the camera was refused)")).wait_for()
        person.shoot("own_classes_5_photographs")
        person.sees_no_error()


@contextmanager
def app(notebook: Path, tmp_path: Path) -> Iterator[str]:
    """Serve a notebook as an app, and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "voila", str(notebook), "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1"]
    with open(tmp_path / "app.log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=jupyter_environment(tmp_path / "home"), cwd=tmp_path)
        try:
            wait_for_server(server, f"http://127.0.0.1:{port}/voila/static/voila.js", tmp_path / "app.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(60)


def test_as_an_app_two_visitors_have_classes_of_their_own(tmp_path):
    with app(PANEL, tmp_path) as address, playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=[f"--{flag}" for flag in FLAGS])
        visitors = []
        for width in (1300, 800):
            page = browser.new_context(viewport={"width": width, "height": 1000}).new_page()
            visitors.append(Inventor(page))
            page.goto(address, timeout=STARTUP)
            page.locator(".fewshot-class-card").first.wait_for(timeout=STARTUP)
        one, other = visitors
        assert one.page.locator(".jp-InputArea-editor").count() == 0, "an app shows no code"
        one.draw_on(0, LETTERS["zog"])
        one.press("Add drawing")
        one.page.wait_for_function(HAS_PICTURES, arg=[0, 1])
        one.shoot("own_classes_6_app")
        other.shoot("own_classes_7_app_narrow")
        assert other.n_pictures(0) == 0
        for visitor in visitors:
            page = visitor.page
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), "cut off at the side"
            visitor.unfold("4. Take it along")
            assert page.get_by_role("button", name="Save").count() == 0 and page.locator("button.fewshot-download").count() == 1
            assert not visitor.problems
        browser.close()
