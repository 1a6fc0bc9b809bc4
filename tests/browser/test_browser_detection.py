"""A person who looks for things: the panel of detection, and boxes drawn with the mouse on pictures of their own."""

import re
from pathlib import Path

import nbformat
import pytest
import test_browser
from PIL import Image
from test_browser import ERRORS, HAS_RUN, STARTUP, Person, jupyter, person_at
from test_browser_states import set_theme

from fewshot_kit.detection.datasets import load_annotated
from fewshot_kit.training.checkpoint_folder import PRETRAINED

CHECKPOINT = "repmet_detector-scenes"
CELLS = (
    "import torch; torch.set_num_threads(1)",
    "from fewshot_kit.demo.detection import DetectionSession",
    "from fewshot_kit.widgets import DetectionPanel",
    "session = DetectionSession({checkpoint!r})",
    "panel = DetectionPanel(session)",
    "panel",
)


class Finder(Person):
    """A person at the panel of detection."""

    def run_all(self) -> None:
        self.page.locator(".lm-MenuBar-item", has_text=re.compile("^Run$")).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_function(HAS_RUN, arg=ERRORS, timeout=STARTUP)
        self.sees_no_error()
        self.page.wait_for_function("() => document.querySelector('img.fewshot-found-image').naturalWidth > 0")

    def upload(self, *paths: Path) -> None:
        self.page.locator("input.fewshot-upload-input").set_input_files([str(path) for path in paths])
        self.page.get_by_text(f"of {len(paths)}: ").wait_for()

    def draw_box(self, box: tuple[float, float, float, float], side: int) -> None:
        """Draw a box, given in pixels of a picture of `side` x `side`, with the mouse."""
        picture = self.page.locator(".fewshot-marked-picture .image").first
        picture.scroll_into_view_if_needed()
        place = picture.bounding_box()
        scale = min(place["width"], place["height"]) / side
        left, top, right, bottom = (edge * scale for edge in box)
        self.page.mouse.move(place["x"] + left, place["y"] + top)
        self.page.mouse.down()
        self.page.mouse.move(place["x"] + right, place["y"] + bottom, steps=6)
        self.page.mouse.up()


@pytest.fixture
def notebook(tmp_path, monkeypatch) -> Path:
    """Write a notebook with the panel in it, for a `Finder` to open."""
    cells = [nbformat.v4.new_code_cell(cell.format(checkpoint=CHECKPOINT)) for cell in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), tmp_path / "panel.ipynb")
    monkeypatch.setattr(test_browser, "NOTEBOOK", tmp_path / "panel.ipynb")
    monkeypatch.setattr(test_browser, "Person", Finder)
    return tmp_path / "panel.ipynb"


@pytest.fixture
def own_pictures(tmp_path) -> tuple[list[Path], list[tuple[float, float, float, float]]]:
    """Save three scenes with the same kind of thing in them, and return the box of the thing in the first."""
    scenes = load_annotated("scenes", "test", size=224, progress=False)
    label = scenes.class_names.index("umbrella")
    chosen = sorted(scenes.pictures_of[label].tolist(), key=lambda i: len(scenes.labels[i]))[:3]
    paths = []
    for number, i in enumerate(chosen):
        paths.append(tmp_path / f"my picture {number}.png")
        Image.fromarray(scenes.images[i].permute(1, 2, 0).numpy()).resize((448, 448)).save(paths[-1])
    return paths, scenes.boxes[chosen[0]][scenes.marked_box(chosen[0], label)].tolist()


@pytest.mark.skipif(not (PRETRAINED / CHECKPOINT).is_dir(), reason=f"there is no {CHECKPOINT} in pretrained/")
@pytest.mark.parametrize(("theme", "width"), [("Dark", 900), ("Light", 1400)], ids=["dark-narrow", "light-wide"])
def test_a_person_marks_a_thing_and_sees_it_found(tmp_path, notebook, own_pictures, theme, width):
    set_theme(tmp_path, theme)
    paths, box = own_pictures
    with (
        jupyter("jupyterlab", tmp_path) as (address, token),
        person_at(f"{address}/lab/tree/{notebook.name}?token={token}", width) as person,
    ):
        name = f"detection_{theme.lower()}"
        person.show_top()
        person.shoot(f"{name}_1_opening")
        person.sees_status("5 classes, 1 picture each.*things found")
        with person.sees_change("found"):
            person.type_number("show from", "0.05")
        with person.sees_change("found"):
            person.type_number("epochs", "3")
        person.sees_status("3 epochs")
        with person.sees_change("support", "found"):
            person.press("Sample classes")
        person.type_number("show from", "0.3")
        person.sees_status("things found")
        person.shoot(f"{name}_2_sampled")

        person.unfold("Mark things in pictures of your own")
        person.upload(*paths)
        person.page.get_by_placeholder("for instance: mug, key").fill("umbrella")
        person.page.get_by_placeholder("for instance: mug, key").press("Enter")
        person.press("Find in my pictures")
        person.page.get_by_text("no box marks a 'umbrella'").wait_for()
        person.shoot(f"{name}_3_nothing_marked")
        person.draw_box(box, 224)
        person.page.get_by_text("1 box", exact=False).first.wait_for()
        person.press("Find in my pictures")
        person.page.get_by_text(re.compile(r"my picture 1.png: (\d+|nothing) found; my picture 2.png")).wait_for()
        person.page.locator("img.fewshot-own-found-image").scroll_into_view_if_needed()
        person.shoot(f"{name}_4_found")
        person.sees_no_error()
