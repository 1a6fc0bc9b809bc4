"""A person at the panel of a metric learner: a real Jupyter server and a real browser, without a window."""

import re

import test_browser
from test_browser import ERRORS, HAS_RUN, NOTEBOOK, STARTUP, Person, jupyter, person_at

PROTONET = NOTEBOOK.with_name("04_prototypical_networks.ipynb")


class MapReader(Person):
    """What a person does who looks at an embedding."""

    def run_all(self) -> None:
        self.page.locator(".lm-MenuBar-item", has_text=re.compile("^Run$")).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_function(HAS_RUN, arg=ERRORS, timeout=STARTUP)
        self.sees_no_error()
        self.page.wait_for_function("() => document.querySelector('img.fewshot-map-image').naturalWidth > 0")

    def show_top(self) -> None:
        self.page.locator("img.fewshot-map-image").scroll_into_view_if_needed()


def test_a_person_moves_the_prototypes(tmp_path, monkeypatch):
    monkeypatch.setattr(test_browser, "NOTEBOOK", PROTONET)
    monkeypatch.setattr(test_browser, "Person", MapReader)
    with jupyter("jupyterlab", tmp_path) as (address, token), person_at(f"{address}/lab/tree/{PROTONET.name}?token={token}") as person:
        person.show_top()
        person.shoot("embedding_01_initial")
        with person.sees_change("map"):
            person.nudge("pictures each (shot)", "ArrowRight")
        person.sees_status("5 classes, 2 pictures each")
        with person.sees_change("map"):
            person.type_number("pictures each (shot)", "5")
        person.sees_status("5 classes, 5 pictures each: .* right")
        person.shoot("embedding_02_five_shot")

        with person.sees_change("map"):
            person.type_number("query asked about", "7")
        with person.sees_change("map"):
            person.press("t-SNE")
        person.sees_status("queries: .* right")
        person.shoot("embedding_03_tsne")
        with person.sees_change("map"):
            person.type_number("pictures each (shot)", "1")
        person.shoot("embedding_04_tsne_one_shot")

        with person.sees_change("map"):
            person.press("PCA")
        with person.sees_change("map"):
            person.press("Sample classes")
        if test_browser.SHOTS:
            more_pictures(person)
        person.press(r"Evaluate on \d+ episodes")
        person.page.locator(".fewshot-result", has_text=re.compile(r"\d ± \d.*Chance: \d+.0 %")).wait_for()
        person.shoot("embedding_07_evaluated")
        person.sees_no_error()


def more_pictures(person: Person) -> None:
    """Look at what a short test has no time for."""
    person.unfold("Try a picture of your own")
    person.draw()
    person.page.locator("img.fewshot-answer-image:visible").wait_for()
    person.shoot("embedding_05_own_picture")
    person.unfold("Try a picture of your own")
    person.type_number("classes (way)", "20")
    person.sees_status("20 classes")
    person.show_top()
    person.shoot("embedding_06_twenty_way")
