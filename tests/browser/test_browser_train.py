"""A person who watches a training: a real Jupyter server and a real browser, without a window."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from test_browser import BROWSER, FLAGS, SECONDS, STARTUP, Person, jupyter, playwright

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "train.ipynb"
QUICK = {"outer_steps": 40, "evaluate_every": 10, "evaluation_episodes": 10, "episodes": 10}
ALL_RUN = """() => {
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(prompt => prompt.textContent);
    return prompts.length > 5 && prompts.every(prompt => /\\[\\d+\\]/.test(prompt));
}"""


def quick_copy(folder: Path) -> None:
    """Copy the notebook without outputs, and with parameters that make it short."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            for name, value in QUICK.items():
                cell.source = re.sub(rf"^{name}: int = \d+", f"{name}: int = {value}", cell.source, flags=re.M)
    nbformat.write(notebook, folder / NOTEBOOK.name)


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

    def can_press(self) -> list[str]:
        buttons = [self.page.locator("button.jupyter-button", has_text=re.compile(name)) for name in ("Start", "Stop", "Resume")]
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
        quick_copy(tmp_path / "root")
        with watcher_at(f"{address}/lab/tree/{NOTEBOOK.name}?token={token}") as person:
            person.run("Run All Cells")
            person.sees("progress", r"step [1-9]\d* of 40")
            person.page.locator(".fewshot-progress").evaluate("text => text.closest('.jp-Cell').scrollIntoView()")
            assert person.can_press() == ["Stop"]
            place = person.place_of_the_picture()
            person.shoot("train_01_running")
            person.press("Stop")
            person.sees("status", r"stopped at step \d+")
            assert person.can_press() == ["Resume"]
            person.shoot("train_02_stopped")
            person.page.get_by_text("press Resume, and when it is").first.wait_for()  # the waiting cell, and those below have not run

            with person.sees_change("curves"):
                person.press("Resume")
            person.sees("status", "^finished")
            person.sees("progress", "step 40 of 40")
            person.sees("validation", r"validation at step 40: .* %, cross entropy \d")
            assert person.can_press() == [] and person.place_of_the_picture() == place, "the picture does not jump"
            person.shoot("train_03_finished")

            person.run("Run Selected Cell and All Below")
            person.page.wait_for_function(ALL_RUN, timeout=STARTUP)
            person.page.wait_for_timeout(SECONDS / 2)
            person.sees_no_error()
