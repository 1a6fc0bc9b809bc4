"""A person at the panel: a real Jupyter server and a real browser, without a window."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat
import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if BROWSER is None:
    pytest.skip("no Chromium or Chrome on the PATH", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01_reptile.ipynb"
FLAGS = ("no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update", "disable-sync", "no-first-run")
SHOTS = os.environ.get("FEWSHOT_SCREENSHOTS")
SECONDS = 1000  # playwright counts milliseconds
STARTUP, WORK = 120 * SECONDS, 60 * SECONDS  # generous: the machine may be busy
ERRORS = "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']"
HAS_RUN = """(errors) => {
    if (document.querySelector(errors)) return true;
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(prompt => prompt.textContent);
    return prompts.length > 5 && prompts.every(prompt => /\\[\\d+\\]/.test(prompt));
}"""


def quick_copy(folder: Path) -> Path:
    """Copy the notebook without outputs and with few episodes."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.source = re.sub(r"^episodes: int = \d+", "episodes: int = 10", cell.source, flags=re.M)
    nbformat.write(notebook, folder / NOTEBOOK.name)
    return folder


def jupyter_environment(home: Path) -> dict[str, str]:
    """Return an environment in which Jupyter writes nothing outside `home`, and asks no question at its first start."""
    config = home / "config" / "labconfig"
    config.mkdir(parents=True)
    (config / "page_config.json").write_text(json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}))
    folders = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython"}
    folders |= {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    return {**os.environ, **{name: str(home / folder) for name, folder in folders.items()}}


@contextmanager
def jupyter(application: str, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Run a server and yield its address and token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token, root = secrets.token_hex(16), tmp_path / "root"
    root.mkdir()
    options = {"port": port, "port_retries": 0, "root_dir": quick_copy(root), "token": token, "ip": "127.0.0.1"}
    command = [sys.executable, "-m", application, "--no-browser", "--allow-root"]
    command += [f"--{'IdentityProvider' if name == 'token' else 'ServerApp'}.{name}={value}" for name, value in options.items()]
    with open(tmp_path / "server.log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=jupyter_environment(tmp_path / "home"), cwd=tmp_path)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for_server(server, f"{address}/api/status?token={token}", tmp_path / "server.log")
            yield address, token
        finally:
            server.terminate()  # it ends its kernels; a kernel whose server was killed ends by itself
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(30)


def wait_for_server(server: subprocess.Popen, url: str, log: Path) -> None:
    for _ in range(STARTUP // SECONDS * 4):
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.25)
    raise AssertionError(f"the server did not answer; its log ends with\n{log.read_text()[-3000:]}")


class Person:
    """What a person does at the panel, and what they see."""

    def __init__(self, page):
        self.page, self.problems = page, []
        page.set_default_timeout(WORK)
        page.on("pageerror", lambda error: self.problems.append(f"page error: {error.stack}"))
        page.on("console", self._note)

    def _note(self, message) -> None:
        place = message.location.get("url", "") if message.location else ""
        if message.type == "error" and re.search("widget|ipycanvas", message.text + place):
            self.problems.append(f"console: {message.text} ({place})")

    def open(self, url: str) -> None:
        self.page.goto(url, timeout=STARTUP)
        self.page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=STARTUP)
        address, token = url.split("/", 3)[:3], url.rpartition("=")[2]
        api = f"{'/'.join(address)}/api/kernels?token={token}"
        for _ in range(STARTUP // SECONDS * 4):
            with suppress(urllib.error.URLError), urllib.request.urlopen(api, timeout=30) as reply:  # 500 while a kernel starts
                if any(kernel["execution_state"] == "idle" and kernel["connections"] for kernel in json.load(reply)):
                    self.page.wait_for_timeout(SECONDS)  # until the page has heard of it too
                    self.problems.clear()  # of Jupyter's own start (Notebook 7.6: a plugin without settings); ours come after
                    return
            self.page.wait_for_timeout(SECONDS / 4)
        raise AssertionError("the kernel did not start")

    def run_all(self) -> None:
        self.page.locator(".lm-MenuBar-item", has_text=re.compile("^Run$")).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_function(HAS_RUN, arg=ERRORS, timeout=STARTUP)
        self.sees_no_error()
        self.page.wait_for_function("() => document.querySelector('img.fewshot-learning-image').naturalWidth > 0")

    def picture(self, name: str) -> str:
        return self.page.locator(f"img.fewshot-{name}-image").get_attribute("src")

    @contextmanager
    def sees_change(self, *names: str) -> Iterator[None]:
        """Wait after the block until each of these pictures is another."""
        before = {name: self.picture(name) for name in names}
        yield
        for name, src in before.items():
            script = "([name, src]) => document.querySelector(`img.fewshot-${name}-image`).src !== src"
            self.page.wait_for_function(script, arg=[name, src])

    def sees_no_error(self) -> None:
        assert not self.page.locator(ERRORS).all_inner_texts()
        assert not self.problems

    def sees_status(self, pattern: str) -> None:
        self.page.locator(".fewshot-status", has_text=re.compile(pattern)).wait_for()

    def press(self, text: str) -> None:
        self.page.locator("button.jupyter-button", has_text=re.compile(rf"^\s*{text}\s*$")).click()

    def type_number(self, slider: str, value: str) -> None:
        row = self.page.locator(".fewshot-numbered", has=self.page.get_by_text(slider, exact=True))
        row.locator("input[type=number]").first.fill(value)
        row.locator("input[type=number]").first.press("Enter")

    def nudge(self, slider: str, key: str) -> None:
        self.page.locator(".widget-slider", has=self.page.get_by_text(slider, exact=True)).locator(".noUi-handle").press(key)

    def open_folder(self, path: object) -> None:
        self.page.get_by_label("your own folder").fill(str(path))
        self.page.get_by_label("your own folder").press("Enter")

    def choose_dataset(self, name: str) -> None:
        self.page.get_by_label("data set").select_option(label=name)

    def unfold(self, title: str) -> None:
        self.page.locator(".jupyter-widget-Collapse-header", has_text=title).click()

    def draw(self) -> None:
        canvas = self.page.locator("canvas").first
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        points = [(0.3, 0.2), (0.3, 0.8), (0.7, 0.5), (0.3, 0.45)]
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*point, steps=8)
        self.page.mouse.up()

    def shoot(self, name: str) -> None:
        """Keep a picture of the panel where FEWSHOT_SCREENSHOTS names a folder."""
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            self.page.wait_for_timeout(600)
            self.page.screenshot(path=str(Path(SHOTS, f"{name}.png")))

    def show_top(self) -> None:
        self.page.locator(".fewshot-columns").evaluate("columns => columns.scrollIntoView({block: 'start'})")


@contextmanager
def person_at(url: str, width: int = 1400) -> Iterator[Person]:
    """Open a notebook in a browser, and run all of it."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=[f"--{flag}" for flag in FLAGS])
        person = Person(browser.new_page(viewport={"width": width, "height": 1150}))
        try:
            person.open(url)
            person.run_all()
            yield person
        finally:
            person.shoot("99_at_the_end")
            browser.close()


def test_a_person_at_the_panel_in_jupyterlab(tmp_path):
    with jupyter("jupyterlab", tmp_path) as (address, token), person_at(f"{address}/lab/tree/{NOTEBOOK.name}?token={token}") as person:
        person.show_top()
        person.shoot("01_initial")

        with person.sees_change("learning"):
            person.nudge("learning rate", "ArrowLeft")
        person.sees_status("learning rate 0.00178")
        person.shoot("02_slider_moved")
        with person.sees_change("learning"):
            person.type_number("learning rate", "0.0003")
        person.sees_status("learning rate 0.0003")
        with person.sees_change("learning"):
            person.type_number("epochs", "0")
        person.sees_status("0 epochs")
        with person.sees_change("learning"):
            person.type_number("epochs", "12")
        person.sees_status("12 epochs")

        person.page.locator(".fewshot-status").evaluate("status => { status.querySelector('span').textContent = 'old' }")
        person.press("Learn")
        person.sees_status("learned in")

        with person.sees_change("support", "learning"):
            person.press("Sample classes")
        person.unfold("Choose the classes by hand")
        person.page.get_by_text("next ▶").wait_for()
        person.shoot("03_class_picker")
        person.page.locator(".jupyter-widgets.widget-toggle-button").nth(1).click()
        person.page.locator(".jupyter-widgets.widget-toggle-button").nth(3).click()
        with person.sees_change("support"):
            person.press("Use these classes")
        person.sees_status("2 classes")
        person.unfold("Choose the classes by hand")

        person.type_number("learning rate", "0.01")
        person.unfold("Try a picture of your own")
        person.draw()
        person.page.locator("img.fewshot-answer-image:visible").wait_for()
        person.shoot("04_own_picture")
        person.unfold("Try a picture of your own")

        person.press(r"Evaluate on \d+ episodes")
        person.page.locator(".fewshot-result", has_text=re.compile(r"\d ± \d.*Chance: 50.0 %")).wait_for()
        person.shoot("05_evaluated")

        person.open_folder("/no/such/folder")
        person.sees_status("Error.*no/such/folder")
        person.shoot("06_error")
        if SHOTS:
            more_pictures(person)

        person.sees_no_error()


def more_pictures(person: Person) -> None:
    """Look at the sizes that a short test has no time for."""
    person.type_number("classes (way)", "5")
    person.type_number("queries a class", "2")
    person.sees_status("5 classes")
    person.show_top()
    person.shoot("07_five_way")
    person.type_number("classes (way)", "10")
    person.sees_status("10 classes")
    person.shoot("08_ten_way")
    person.type_number("pictures each (shot)", "5")
    person.sees_status("5 pictures each")
    person.shoot("09_five_shot")


def test_the_panel_works_in_notebook_7(tmp_path):
    with jupyter("notebook", tmp_path) as (address, token), person_at(f"{address}/notebooks/{NOTEBOOK.name}?token={token}") as person:
        with person.sees_change("support", "learning"):
            person.press("Sample classes")
        person.sees_status("learned in")
        person.shoot("10_notebook_7")
        person.sees_no_error()
