"""A person in the notebook of MAML: a real Jupyter server and a real browser, without a window."""

import test_browser
from test_browser import NOTEBOOK, Person, jupyter, person_at

MAML = NOTEBOOK.with_name("02_maml.ipynb")


def test_a_person_reads_the_notebook_of_maml_and_moves_its_sliders(tmp_path, monkeypatch):
    monkeypatch.setattr(test_browser, "NOTEBOOK", MAML)
    with jupyter("jupyterlab", tmp_path) as (address, token), person_at(f"{address}/lab/tree/{MAML.name}?token={token}") as person:
        assert person.page.locator(".jp-OutputArea-output img[src^='data:image/png']").count() >= 6, "every figure is there"
        if test_browser.SHOTS:
            read_through(person)
        person.show_top()
        person.shoot("maml_08_panel")

        with person.sees_change("learning"):
            person.nudge("learning rate", "ArrowRight")
        person.sees_status("learning rate 0.000562")
        with person.sees_change("learning"):
            person.type_number("epochs", "1")
        person.sees_status("1 epoch;")
        person.page.locator(".fewshot-status").evaluate("status => { status.querySelector('span').textContent = 'old' }")
        person.press("Learn")
        person.sees_status("learned in")
        person.shoot("maml_09_learned")
        person.sees_no_error()


def read_through(person: Person) -> None:
    """Look at every figure of the notebook."""
    figures = person.page.locator(".jp-OutputArea-output img[src^='data:image/png']")
    for i in range(figures.count()):
        figures.nth(i).scroll_into_view_if_needed()
        person.shoot(f"maml_{i:02d}_figure")
