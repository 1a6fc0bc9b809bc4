"""A person compares learners: turns a slider, unticks one, draws a picture, measures all and stops; in both themes, wide and narrow."""

import re
from pathlib import Path

import nbformat
import pytest
import test_browser
from test_browser import ERRORS, HAS_RUN, STARTUP, Person, jupyter, person_at
from test_browser_states import CONTRAST, set_theme

from fewshot_kit.demo.photographs import checkpoints_for

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "compare.ipynb"
SHOWN = "() => { const image = document.querySelector('img.fewshot-answers-image'); return image && image.naturalWidth > 0 }"
SLOW = (  # whose measurements take long
    "maml-omniglot_vinyals",
    "meta_sgd-quickdraw",
    "reptile-omniglot",
    "protonet-omniglot-alphabets",
    "protonet-omniglot_vinyals-hands",
)
EVERYBODY = tuple(checkpoints_for(in_colour=False))
SOME = ("maml-quickdraw", "protonet-omniglot_vinyals", "protonet-omniglot_vinyals-augmented", "repmet-omniglot_vinyals", "reptile-omniglot")
UNCLIPPED = (
    """() => [...document.querySelectorAll('.fewshot-groups .widget-checkbox label')].every(e => e.scrollWidth <= e.clientWidth + 1)"""
)


class Judge(Person):
    """A person at the panel of a comparison."""

    def run_all(self) -> None:
        self.page.locator(".lm-MenuBar-item", has_text=re.compile("^Run$")).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_function(HAS_RUN, arg=ERRORS, timeout=STARTUP)
        self.sees_no_error()
        self.page.wait_for_function(SHOWN)

    def place(self) -> list[float]:
        """Return where the pictures are, below the first one, and how large."""
        boxes = [self.page.locator(f"img.fewshot-{name}-image").bounding_box() for name in ("support", "answers", "disputed", "agreement")]
        return [round(number) for box in boxes for number in (box["y"] - boxes[0]["y"], box["width"], box["height"])]

    def look_at(self, selector: str) -> None:
        self.page.locator(selector).first.evaluate("element => element.scrollIntoView({block: 'start'})")


@pytest.fixture
def notebook(monkeypatch):
    """Let the browser's tests open the notebook that compares."""
    monkeypatch.setattr(test_browser, "NOTEBOOK", NOTEBOOK)
    monkeypatch.setattr(test_browser, "Person", Judge)


def opens_with(names: tuple[str, ...], folder: Path, monkeypatch) -> None:
    """Let the notebook begin with these learners, as a person who sets its parameter does."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    cell.source = re.sub(r'^checkpoints: str = ""', f'checkpoints: str = "{" ".join(names)}"', cell.source, flags=re.M)
    assert names[0] in cell.source
    (folder / "begun").mkdir()
    nbformat.write(notebook, folder / "begun" / NOTEBOOK.name)
    monkeypatch.setattr(test_browser, "NOTEBOOK", folder / "begun" / NOTEBOOK.name)


@pytest.mark.parametrize(
    ("theme", "width", "names"), [("Light", 900, EVERYBODY), ("Dark", 1400, SOME)], ids=["Light-900-all", "Dark-1400-some"]
)
def test_a_person_compares_learners(tmp_path, notebook, monkeypatch, theme, width, names):
    set_theme(tmp_path, theme)
    if names == SOME:
        opens_with(names, tmp_path, monkeypatch)
    slow = [name for name in SLOW if name in names]
    n = len(names)
    few = n - 1 - len(slow)
    with (
        jupyter("jupyterlab", tmp_path) as (address, token),
        person_at(f"{address}/lab/tree/{NOTEBOOK.name}?token={token}", width) as person,
    ):
        page = person.page
        person.show_top()
        person.shoot(f"compare_{width}_1_opening")
        columns, output = (
            page.locator(place).first.bounding_box() for place in (".fewshot-columns", ".jp-OutputArea-output:has(.fewshot-columns)")
        )
        assert columns["width"] <= output["width"] + 1, "nothing runs out of the page"
        assert page.locator(".fewshot-status span").first.evaluate(CONTRAST) >= 4.5
        assert page.evaluate(UNCLIPPED), "names of learners are whole"
        person.look_at("img.fewshot-answers-image")
        person.shoot(f"compare_{width}_2_answers")
        place = person.place()

        with person.sees_change("answers"):
            person.type_number("epochs", "1")
        person.sees_status(f"epochs 1 for all who have it; {n} learners")
        assert person.place() == place, "nothing jumped"
        with person.sees_change("answers", "agreement"):
            page.get_by_label("maml-quickdraw", exact=True).uncheck()
        person.sees_status(f"{n - 1} learners")
        person.show_top()
        person.shoot(f"compare_{width}_3_turned_and_unticked")
        person.press("Each its own best again")
        person.sees_status(f"each at its own best; {n - 1} learners")

        person.unfold("Try a picture of your own")
        person.draw()
        page.locator("img.fewshot-answer-image:visible").wait_for()
        page.get_by_text(re.compile(rf"Your picture: [1-9]\d* of {n - 1} learners")).wait_for()
        person.shoot(f"compare_{width}_4_own_picture")
        person.unfold("Try a picture of your own")

        for name in slow:
            page.get_by_label(name, exact=True).uncheck()
        person.sees_status(f"{few} learners")
        person.press(r"Evaluate on \d+ episodes")
        page.locator(".fewshot-result", has_text=re.compile(f"{few} learners on the same 200 episodes.*Chance: 20.0 %")).wait_for()
        page.locator("img.fewshot-paired-image:visible").wait_for()
        person.look_at(".fewshot-result")
        person.shoot(f"compare_{width}_5_measured")
        page.get_by_label("compared with").select_option("protonet-omniglot_vinyals")
        page.get_by_role("img", name=re.compile("Accuracy above that of protonet-omniglot_vinyals on")).wait_for()
        person.look_at("img.fewshot-agreement-image")
        person.shoot(f"compare_{width}_6_compared_with_another")

        page.get_by_label("maml-quickdraw", exact=True).check()
        person.sees_status(f"{few + 1} learners")
        person.press(r"Evaluate on \d+ episodes")
        page.locator(".fewshot-result", has_text="measuring maml-quickdraw").wait_for()
        person.press("Stop")
        person.sees_status("stopped; on show: ")
        person.open_folder("/no/such/folder")
        person.sees_status("Error.*no/such/folder")
        person.show_top()
        person.shoot(f"compare_{width}_7_error")
        person.sees_no_error()
