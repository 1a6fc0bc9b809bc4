"""A person with a picture of their own: drawn with a mouse, drawn with a finger, uploaded. All in JupyterLab's dark theme."""

import base64
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import pytest
import test_browser
from PIL import Image
from test_browser import BROWSER, ERRORS, FLAGS, STARTUP, Person, jupyter, playwright

SIDE = 196
# The "model" answers with what it was given: what it sees can be held against what the canvas shows.
CELL = """
import io
from PIL import Image
from fewshot_kit.widgets.own_picture import OwnPicture

def answer(picture):
    if picture.shape == (13, 13):
        raise ValueError("thirteen is refused")
    buffer = io.BytesIO()
    Image.fromarray(picture).resize((196, 196)).save(buffer, "PNG")
    own.show(buffer.getvalue(), f"answer: {picture.shape}")

own = OwnPicture(answer)
own
"""
ANSWER, CANVAS = "img.fewshot-answer-image", ".fewshot-drawing canvas"
PIXELS = """element => {
    const copy = document.createElement('canvas');
    copy.width = copy.height = 196;
    copy.getContext('2d').drawImage(element, 0, 0, 196, 196);
    return copy.toDataURL('image/png');
}"""


def write_notebook(folder: Path) -> Path:
    path = folder / "own.ipynb"
    kernel = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)], metadata={"kernelspec": kernel}), path)
    return path


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("lab")
    themes = folder / "home" / "settings" / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"
    themes.parent.mkdir(parents=True)
    themes.write_text(json.dumps({"theme": "JupyterLab Dark"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_browser, "NOTEBOOK", write_notebook(folder))
        with jupyter("jupyterlab", folder) as (address, token):
            yield f"{address}/lab/tree/own.ipynb?reset&token={token}"


class Drawer(Person):
    """What a person does with the canvas and the upload box."""

    devtools = None

    def run_all(self) -> None:
        self.page.locator(".lm-MenuBar-item", has_text=re.compile("^Run$")).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.locator(".fewshot-upload-choose").wait_for(timeout=STARTUP)
        self.page.locator(ANSWER).scroll_into_view_if_needed()
        self.sees_no_error()

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point of the canvas lies in the page."""
        box = self.page.locator(CANVAS).bounding_box()
        return box["x"] + x, box["y"] + y

    def draw(self, *points: tuple[float, float]) -> None:
        self.page.mouse.move(*self.place(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.place(*point), steps=6)
        self.page.mouse.up()

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        places = [self.place(*point) for point in points]
        touches = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        self.devtools = self.devtools or self.page.context.new_cdp_session(self.page)  # one for all: a finger stays down in its own
        self.devtools.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": touches})

    def choose(self, *paths: Path) -> None:
        self.page.locator("input.fewshot-upload-input").set_input_files(list(paths))

    def sees(self, text: str) -> None:
        self.page.get_by_text(re.compile(text)).first.wait_for()

    def pixels(self, element: str) -> np.ndarray:
        """Return what an element shows, (SIDE, SIDE, 4); transparent pixels are black."""
        url = self.page.locator(element).evaluate(PIXELS)
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))

    def canvas(self) -> np.ndarray:
        return self.pixels(CANVAS)

    def ink(self, element: str = CANVAS) -> np.ndarray:
        return self.pixels(element)[..., 0] < 128

    def waits_for_ink_seen_as_drawn(self) -> None:
        """Wait until the picture that was answered is the drawn one, but for the soft edges of the canvas."""
        self.page.wait_for_timeout(100)
        for _ in range(80):
            if self.page.locator(f"{ANSWER}:visible").count() and not self.page.locator(".fewshot-old-answer").count():
                drawn, seen = self.ink(), self.ink(ANSWER)
                if drawn.any() and (drawn != seen).sum() < 0.2 * drawn.sum():
                    return
            self.page.wait_for_timeout(250)
        said = self.page.locator("[role=status]").all_inner_texts()
        raise AssertionError(f"{self.ink().sum()} pixels of ink are on the canvas, {self.ink(ANSWER).sum()} in what was answered: {said}")


@contextmanager
def drawer_at(url: str, width: int = 1280, **options) -> Iterator[Drawer]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=[f"--{flag}" for flag in FLAGS])
        person = Drawer(browser.new_context(viewport={"width": width, "height": 900}, **options).new_page())
        try:
            person.open(url)
            person.run_all()
            yield person
            person.sees_no_error()
        finally:
            person.shoot("own_99_at_the_end")
            browser.close()


@pytest.fixture(scope="module")
def photograph(tmp_path_factory) -> Path:
    """Make a JPEG above Jupyter's limit of 10 MB a message, which noise cannot be packed below."""
    path = tmp_path_factory.mktemp("pictures") / "photograph.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, size=(3200, 3200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=95)
    assert path.stat().st_size > 10.7e6
    return path


def write_picture(path: Path, size: tuple[int, int] = (40, 30), color: str = "navy") -> Path:
    Image.new("RGB", size, color).save(path)
    return path


def test_what_is_drawn_is_seen_by_person_and_model(url):
    with drawer_at(url) as person:
        assert (person.canvas() == 255).all(), "white, also in the dark theme"
        person.shoot("own_01_empty")
        person.draw((40, 40))
        person.waits_for_ink_seen_as_drawn()
        assert person.ink()[40, 40] and person.ink().sum() < 80, "a click is a dot"
        person.draw((60, 60), (150, 60), (150, 150))
        person.waits_for_ink_seen_as_drawn()
        person.shoot("own_02_drawn")
        person.press("Undo")
        person.waits_for_ink_seen_as_drawn()
        assert person.ink()[40, 40] and person.ink().sum() < 80
        person.press("Clear")
        person.page.locator(ANSWER).wait_for(state="hidden")
        assert (person.canvas() == 255).all()


def test_a_drawing_outlives_a_reload_of_the_page(url):
    with drawer_at(url) as person:
        person.draw((60, 60), (150, 60))
        person.waits_for_ink_seen_as_drawn()
        person.press("Clear")
        person.draw((20, 20), (150, 20))
        person.waits_for_ink_seen_as_drawn()
        person.page.locator(".lm-MenuBar-item", has_text=re.compile("^File$")).click()
        person.page.get_by_role("menuitem", name=re.compile("^Save Notebook(?! As)")).click()
        person.page.wait_for_timeout(2000)
        person.open(url.replace("?reset&", "?"))
        person.page.locator(CANVAS).wait_for(timeout=STARTUP)
        person.waits_for_ink_seen_as_drawn()
        person.draw((150, 60), (150, 150))
        person.waits_for_ink_seen_as_drawn()
        assert person.ink()[20, 60] and person.ink()[100, 150]


def test_a_pen_that_leaves_and_returns_draws_no_line_across(url):
    with drawer_at(url) as person:
        page = person.page
        page.mouse.move(*person.place(20, 20))
        page.mouse.down()
        page.mouse.move(*person.place(-40, 20), steps=6)
        page.mouse.move(*person.place(-40, 170), steps=6)
        page.mouse.move(*person.place(170, 170), steps=6)
        page.mouse.up()
        person.waits_for_ink_seen_as_drawn()
        assert person.ink()[20, :20].all(), "to the edge"
        assert not person.ink()[40:].any()


def test_a_finger_draws(url):
    with drawer_at(url, has_touch=True) as person:
        person.page.touchscreen.tap(*person.place(30, 30))
        person.waits_for_ink_seen_as_drawn()
        assert person.ink()[30, 30]
        person.touch("Start", (60, 60))
        person.touch("Move", (90, 60))
        person.touch("Start", (90, 60), (60, 170))  # a second finger
        person.touch("Move", (120, 60), (120, 170))
        person.touch("End")
        person.waits_for_ink_seen_as_drawn()
        assert person.ink()[60, 60:120].all() and not person.ink()[140:].any()


def test_a_photograph_above_jupyters_limit_arrives_again_and_again(url, photograph):
    with drawer_at(url) as person:
        person.draw((60, 60), (150, 150))
        person.waits_for_ink_seen_as_drawn()
        with person.sees_change("answer"):
            person.choose(photograph)
        files = person.page.locator("input.fewshot-upload-input").evaluate("input => input.files.length")
        assert files == 0, "else a browser takes the same file chosen again for no change"
        person.sees("photograph.jpg, 3200 × 3200 pixels")
        person.sees(r"answer: \(3200, 3200, 3\)")
        canvas = person.canvas()[..., :3]
        assert (canvas != canvas[..., :1]).any(axis=2).mean() > 0.9, "the colours of the photograph, in place of the drawing"
        person.shoot("own_03_photograph")
        for clear_first in (True, False):
            if clear_first:
                person.press("Clear")
                person.page.locator(ANSWER).wait_for(state="hidden")
            else:
                person.draw((30, 30), (90, 90))
                person.waits_for_ink_seen_as_drawn()
            person.choose(photograph)
            person.sees("photograph.jpg, 3200 × 3200 pixels")
            person.page.locator(f"{ANSWER}:visible").wait_for()
        person.draw((60, 60), (150, 150))
        person.waits_for_ink_seen_as_drawn()
        assert person.ink().mean() < 0.1, "a fresh canvas"


def test_an_upload_can_be_cancelled(url, tmp_path):
    large = tmp_path / "large.png"
    large.write_bytes(bytes(150 * 10**6))
    with drawer_at(url) as person:
        person.choose(large)
        person.sees(r"^\d+\.\d of 150.0 MB")
        person.shoot("own_04_progress")
        person.page.get_by_role("button", name="Cancel").click()
        person.page.locator(".fewshot-upload-bar").wait_for(state="hidden")
        person.choose(write_picture(tmp_path / "small.png"))
        person.sees("small.png, 40 × 30 pixels")


def test_an_error_stands_beside_the_box_until_the_next_good_picture(url, tmp_path):
    text, empty, heic = tmp_path / f"<b>{'long ' * 40}<script>alert(1)<.png", tmp_path / "empty.png", tmp_path / "a.heic"
    text.write_text("no picture")
    empty.touch()
    heic.write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    wide = write_picture(tmp_path / "wide.png", (20_000, 3_000))
    with drawer_at(url, 900) as person:
        for path, said in ((text, "not a picture"), (empty, "empty.png is empty"), (heic, "HEIC.*JPEG"), (wide, "20000 x 3000")):
            person.choose(path)
            error = person.page.locator(".fewshot-upload-error", has_text=re.compile(said))
            error.wait_for()
            near, box = error.bounding_box(), person.page.locator(".fewshot-upload-zone").bounding_box()
            assert 0 < near["y"] - box["y"] < 200 and near["x"] >= box["x"] - 4
            assert not person.page.locator(".fewshot-upload-told *").count(), "a name is text, not HTML"
            person.shoot(f"own_05_error_{said[:5]}")
        person.choose(write_picture(tmp_path / "thirteen.png", (13, 13)))
        person.sees("thirteen is refused")
        person.choose(write_picture(tmp_path / "good.png"))
        person.sees("good.png, 40 × 30 pixels")
        assert not person.page.locator(".fewshot-upload-error").count()


def test_several_dropped_files_are_one_and_said_so(url, tmp_path):
    script = """zone => {
        const drop = new DataTransfer();
        for (const name of ['a.png', 'b.png']) drop.items.add(new File([new Uint8Array(9)], name));
        zone.dispatchEvent(new DragEvent('drop', {dataTransfer: drop, bubbles: true, cancelable: true}));
        return drop.files.length;
    }"""
    with drawer_at(url) as person:
        assert person.page.locator(".fewshot-upload-zone").evaluate(script) == 2
        person.sees("Only the last of 2 files was taken")
        person.sees("b.png is not a picture")
        person.page.locator(".fewshot-upload-zone").evaluate(script.replace("['a.png', 'b.png']", "[]"))
        person.sees("nothing to upload came")


@pytest.mark.parametrize("width", [900, 1280])
def test_nothing_jumps_or_is_cut_off(url, tmp_path, width):
    parts = (CANVAS, ".fewshot-upload-zone", ".fewshot-upload-told", "button:has-text('Undo')", ANSWER)
    with drawer_at(url, width) as person:
        person.shoot(f"own_06_{width}_empty")
        before = [person.page.locator(part).bounding_box() for part in parts]
        output = person.page.locator(".jp-OutputArea-output").last.bounding_box()
        assert all(box["x"] + box["width"] <= output["x"] + output["width"] for box in before)
        person.choose(write_picture(tmp_path / f"{'x' * 200}.png"))
        person.page.locator(f"{ANSWER}:visible").wait_for()
        assert [person.page.locator(part).bounding_box() for part in parts] == before
        person.shoot(f"own_07_{width}_answered")
        assert not person.page.locator(ERRORS).count()
