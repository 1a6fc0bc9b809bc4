"""A person who watches a training, and looks at runs: a real Jupyter server and a real browser, without a window."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from test_browser import BROWSER, FLAGS, SECONDS, STARTUP, Person, jupyter, playwright

from fewshot_kit.training.checkpoint_folder import PRETRAINED

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NOTEBOOK, RUNS = NOTEBOOKS / "train.ipynb", NOTEBOOKS / "runs.ipynb"
QUICK = {"outer_steps": 140, "evaluate_every": 70, "evaluation_episodes": 10, "episodes": 10}
HOSTILE = "<img src=x onerror=document.title='hacked'>"
ALL_RUN = """() => {
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(prompt => prompt.textContent);
    return prompts.length > 5 && prompts.every(prompt => /\\[\\d+\\]/.test(prompt));
}"""


def quick_copy(path: Path, folder: Path, **values: object) -> None:
    """Copy a notebook without outputs, and with other parameters."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            for name, value in values.items():
                cell.source = re.sub(rf"^({name}: \w+) = [^#\n]*", rf"\1 = {value!r}  ", cell.source, flags=re.M)
    nbformat.write(notebook, folder / path.name)


class Watcher(Person):
    """What a person does who watches a training."""

    def run(self, what: str) -> None:
        self.page.locator(".lm-MenuBar-item", has_text=re.compile("^Run$")).click()
        self.page.get_by_role("menuitem", name=what, exact=True).click()

    def sees(self, place: str, pattern: str) -> None:
        self.page.locator(f".fewshot-{place}", has_text=re.compile(pattern)).wait_for()

    def place_of_the_picture(self) -> tuple[float, ...]:
        """Return its place below the bar, and its size."""
        image, progress = (self.page.locator(f".fewshot-{name}").bounding_box() for name in ("curves-image", "progress"))
        return image["x"] - progress["x"], image["y"] - progress["y"], image["width"], image["height"]

    def runs_on_without_error(self) -> None:
        """Wait until every cell has run."""
        self.page.wait_for_function(ALL_RUN, timeout=STARTUP)
        self.sees_no_error()

    def runs_again_from(self, text: str) -> None:
        """Run the cell of this text and those below."""
        self.page.locator(".jp-CodeCell", has_text=text).first.locator(".jp-InputPrompt").click()
        self.run("Run Selected Cell and All Below")
        self.page.wait_for_timeout(SECONDS / 2)

    def can_press(self) -> list[str]:
        buttons = [self.page.locator("button.jupyter-button", has_text=re.compile(name)) for name in ("Start", "Stop", "Resume", "New run")]
        return [button.inner_text().strip() for button in buttons if button.is_enabled()]


@contextmanager
def watcher_at(url: str) -> Iterator[Watcher]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=[f"--{flag}" for flag in FLAGS])
        watcher = Watcher(browser.new_page(viewport={"width": 1400, "height": 1150}))
        try:
            watcher.open(url)
            yield watcher
        finally:
            watcher.shoot("train_99_at_the_end")
            browser.close()


def test_a_person_stops_and_resumes_a_training_in_jupyterlab(tmp_path):
    with jupyter("jupyterlab", tmp_path) as (address, token):
        quick_copy(NOTEBOOK, tmp_path / "root", **QUICK)
        with watcher_at(f"{address}/lab/tree/{NOTEBOOK.name}?token={token}") as person:
            person.run("Run All Cells")
            person.sees("progress", r"step [1-9]\d* of 140")
            person.page.locator(".fewshot-progress").evaluate("text => text.closest('.jp-Cell').scrollIntoView()")
            assert person.can_press() == ["Stop"]
            place = person.place_of_the_picture()
            person.press("Stop")  # before the first validation
            person.sees("status", r"stopped at step \d+: Resume goes on")
            assert person.can_press() == ["Resume", "New run"]
            person.shoot("train_01_stopped")
            person.runs_on_without_error()  # the notebook says that nothing was validated, and goes on
            assert person.page.get_by_text("validation: nothing was validated yet").count() == 1

            person.press("Resume")
            person.sees("validation", "validation at step 70")
            person.press("Stop")
            person.sees("status", "stopped at step")
            person.runs_again_from("await panel.finished()")
            person.runs_on_without_error()  # after it: the best weights so far are measured
            assert person.page.get_by_text(re.compile(r"test, maml: \d")).count() == 1

            with person.sees_change("curves"):
                person.press("Resume")
            person.sees("status", "^finished")
            person.sees("progress", "step 140 of 140")
            person.sees("validation", r"validation at step 140: .* %, cross entropy \d")
            assert person.can_press() == ["New run"] and person.place_of_the_picture() == place, "the picture does not jump"
            assert "best" in person.page.locator("img.fewshot-curves-image").get_attribute("title")
            person.shoot("train_02_finished")
            person.runs_again_from("await panel.finished()")
            person.runs_on_without_error()
            a_person_takes_a_new_run(person, place)
            person.sees_no_error()


def a_person_takes_a_new_run(person: Watcher, place: tuple[float, ...]) -> None:
    def put(label: str, value: str) -> None:
        box = person.page.locator(".widget-text", has=person.page.get_by_text(label, exact=True)).locator("input")
        box.fill(value)
        box.press("Enter")

    person.press("New run")
    person.sees("place", "maml-characters_by_alphabet-2")
    put("outer steps", "0")
    person.sees("settings", "⚠ at least 1 step is needed, not 0")
    assert person.can_press() == []
    put("outer steps", "4")
    person.sees("progress", "step 0 of 4")
    person.page.locator(".widget-dropdown", has=person.page.get_by_text("learner", exact=True)).locator("select").select_option("protonet")
    person.sees("place", "protonet-characters_by_alphabet$")
    person.press("Start")
    person.sees("status", "^finished")
    assert person.place_of_the_picture() == place
    person.shoot("train_03_new_run")


def test_a_person_looks_at_runs(tmp_path):
    kept = shutil.copytree(PRETRAINED / sorted(path.parent.name for path in PRETRAINED.glob("*/log.jsonl"))[0], tmp_path / "runs" / HOSTILE)
    settings = json.loads((kept / "config.json").read_text(encoding="utf-8"))
    (kept / "config.json").write_text(json.dumps({**settings, "learner": HOSTILE}), encoding="utf-8")
    (tmp_path / "runs" / "broken<b>").mkdir()
    for name in ("config.json", "log.jsonl"):
        (tmp_path / "runs" / "broken<b>" / name).write_text("{", encoding="utf-8")
    with jupyter("jupyterlab", tmp_path) as (address, token):
        quick_copy(RUNS, tmp_path / "root", folders=f"{PRETRAINED}, {tmp_path / 'runs'}")
        with watcher_at(f"{address}/lab/tree/{RUNS.name}?token={token}") as person:
            person.run("Run All Cells")
            person.page.locator("img.fewshot-comparison-image").wait_for(timeout=STARTUP)
            person.page.wait_for_function("() => document.querySelector('img.fewshot-comparison-image').naturalWidth > 0")
            person.page.locator(".fewshot-runs").evaluate("list => list.closest('.jp-Cell').scrollIntoView()")
            person.shoot("runs_01_at_first")
            place = person.page.locator("img.fewshot-comparison-image").bounding_box()
            with person.sees_change("comparison"):
                person.page.locator(".fewshot-runs select").select_option(index=list(range(9)))
            with person.sees_change("comparison"):
                person.page.locator(".widget-dropdown", has=person.page.get_by_text("show", exact=True)).locator("select").select_option(
                    "loss"
                )
            person.shoot("runs_02_nine_losses")
            with person.sees_change("comparison"):
                learner = person.page.locator(".widget-dropdown", has=person.page.get_by_text("learner", exact=True)).locator("select")
                learner.select_option(label=HOSTILE)
            person.page.wait_for_function("document.querySelectorAll('.fewshot-runs option').length == 1")
            (option,) = person.page.locator(".fewshot-runs option").all_inner_texts()
            assert option.replace("\xa0", " ").startswith(HOSTILE)
            assert person.page.locator("img.fewshot-comparison-image").bounding_box() == place, "the picture does not jump"
            person.sees("table", re.escape(HOSTILE))
            person.sees("trouble", "broken<b>")
            person.shoot("runs_03_hostile")
            assert "hacked" not in person.page.title() and person.page.locator("img[src=x]").count() == 0
            person.sees_no_error()
