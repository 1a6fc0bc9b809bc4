"""A person at the leaderboard: filters reach tables and pictures, in both themes, on narrow and wide pages."""

import re

import nbformat
import pytest
import test_browser
from test_browser import ERRORS, STARTUP, jupyter, person_at
from test_browser_states import PanelUser, set_theme

from sweeps import failed, few_models, measured, write_results

CELL = """from fewshot_kit.batch.results_file import read_results
from fewshot_kit.widgets.leaderboard_panel import LeaderboardPanel
LeaderboardPanel(read_results({folder!r}))"""
LONG = f"<b onmouseover=alert(1)>{'w' * 300}"
AHEAD, COST = (f".fewshot-picture-box:has(img.fewshot-{name}-image)" for name in ("ahead", "cost"))
PARTS = AHEAD, COST, ".fewshot-table", ".fewshot-pair-table", ".fewshot-models"


class Reader(PanelUser):
    """A person in a notebook of one cell, who reads a leaderboard."""

    def run_all(self) -> None:
        self.page.locator(".lm-MenuBar-item", has_text=re.compile("^Run$")).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_selector(f"img.fewshot-cost-image, {ERRORS}", timeout=STARTUP)
        self.sees_no_error()
        self.page.wait_for_function("() => document.querySelector('img.fewshot-cost-image').naturalWidth > 0")

    def choose(self, filter_name: str, label: str) -> None:
        self.page.get_by_label(filter_name).select_option(label=label)

    def look_at(self, selector: str, name: str) -> None:
        self.page.locator(selector).first.evaluate("part => part.scrollIntoView({block: 'start'})")
        self.shoot(name)


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    more = [
        measured("model0", n_shot=5),
        measured("model1", n_shot=5),
        measured(LONG, dataset="drawings"),
        measured("t", transductive=True),
    ]
    folder = write_results(tmp_path / "sweep", *few_models(5), *more, failed("model9", "ValueError: <i>no such picture"))
    path = tmp_path / "board.ipynb"
    written = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL.format(folder=str(folder)))])
    written.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(written, path)
    monkeypatch.setattr(test_browser, "NOTEBOOK", path)
    monkeypatch.setattr(test_browser, "Person", Reader)
    return path.name


@pytest.mark.parametrize(("theme", "width"), [("Light", 1400), ("Dark", 900)])
def test_filters_reach_tables_and_pictures(tmp_path, notebook, theme, width):
    set_theme(tmp_path, theme)
    with jupyter("jupyterlab", tmp_path) as (address, token), person_at(f"{address}/lab/tree/{notebook}?token={token}", width) as person:
        page, table = person.page, person.page.locator(".fewshot-table")
        person.sees_status("15 cells: 14 done, 1 failed")
        assert table.get_by_text("model4").count() and table.get_by_text(LONG).count(), "as text"
        for selector in (".fewshot-status span", ".fewshot-table td", ".fewshot-pair-table td", ".fewshot-trouble [role=alert]"):
            assert person.contrast(selector) >= 4.5, selector
        output = person.box(".jp-OutputArea-output")
        for selector in PARTS:
            place = person.box(selector)
            assert place["x"] + place["width"] <= output["x"] + output["width"] + 1, f"{selector} is cut off"
        assert all(person.box(f"img.fewshot-{name}-image")["width"] >= 720 for name in ("ahead", "cost")), "large enough to be read"
        if test_browser.SHOTS:
            for name, selector in enumerate((".fewshot-models", *PARTS[:1], ".fewshot-pair-table", *PARTS[1:2], ".fewshot-trouble")):
                person.look_at(selector, f"board_{theme}_{width}_{name}")
        top = person.box(".fewshot-models")
        with person.sees_change("ahead", "cost"):
            person.choose("pictures each (shot)", "5")
        table.get_by_text("5-way 5-shot").first.wait_for()
        assert not table.get_by_text("model4").count() and person.box(".fewshot-models")["width"] == top["width"]
        person.look_at(".fewshot-models", f"board_{theme}_{width}_shot")
        with person.sees_change("ahead", "cost"):
            person.choose("data set", "drawings")
        person.sees_status("No cell that is done fits")
        assert page.locator(".fewshot-trouble", has_text="ValueError: <i>no such picture").is_visible()
        person.look_at(".fewshot-models", f"board_{theme}_{width}_nothing")
        person.choose("pictures each (shot)", "all")
        table.get_by_text(LONG).first.wait_for()
        person.look_at(".fewshot-models", f"board_{theme}_{width}_long")
        person.sees_no_error()
