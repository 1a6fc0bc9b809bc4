"""Folders of a stranger in JupyterLab: their cards, names and errors are shown as text, and nothing of them runs."""

import json
import shutil
from pathlib import Path

import nbformat
from hostile import RUN, TEXTS, words
from sessions import write_pictures
from test_browser import STARTUP, jupyter
from test_browser_train import Watcher, watcher_at

from fewshot_kit.training.checkpoint_folder import PRETRAINED

IMAGE = f'<img src=x onerror="{RUN.replace("/", "")}">'  # as the name of a folder can be
SCRIPT = "<script>window.hacked=1<∕script>$x^2$"
CELLS = """
from IPython.display import Markdown
from fewshot_kit import plots
from fewshot_kit.demo.session import DemoSession
from fewshot_kit.training import tables
from fewshot_kit.training.checkpoints import load_checkpoint
from fewshot_kit.widgets import FewShotPanel, RunsPanel
---
Markdown(load_checkpoint({rich!r}).card)
---
Markdown(load_checkpoint({poor!r}).card)
---
runs = RunsPanel([{place!r}])
runs.choose(record.folder for record in runs.records)
runs.of.value, runs.training.value = "loss", True
runs
---
Markdown(tables.markdown_table(tables.results_table(runs.records)))
---
session = DemoSession({rich!r}, {data!r}, n_way=3, n_shot=1, n_query=1, device="cpu")
panel = FewShotPanel(session)
panel
---
support = session.episode.support
plots.show(plots.support_figure(support.images.numpy(), support.labels.numpy(), support.class_names))
---
DemoSession({missing!r})
"""
LEFT = "img[src='x'], img[src^='javascript'], a[href^='javascript' i], a[href^='data' i], [onerror], [onload], [onmouseover], iframe"
HAS_RUN = """() => {
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(prompt => prompt.textContent);
    return prompts.length == 8 && prompts.every(prompt => /\\[\\d+\\]/.test(prompt));
}"""


def strange_folders(place: Path) -> tuple[Path, Path]:
    """Make two checkpoints of a stranger: one with a whole config, one whose config says too little for a card."""
    of = PRETRAINED / "reptile-omniglot"
    rich, poor = (shutil.copytree(of, place / name) for name in (IMAGE, f"poor {SCRIPT}"))
    config = json.loads((of / "config.json").read_text(encoding="utf-8"))
    for folder in (rich, poor):
        (folder / "README.md").write_text("# Stranger\n\n" + "\n\n".join(TEXTS), encoding="utf-8")
    config["results"] = [{**config["results"][0], "dataset": text, "split": text, "command": text} for text in TEXTS]
    config["training"] |= {"command": TEXTS[1], "source": {**config["training"]["source"], "dataset": TEXTS[0]}}
    (rich / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (poor / "config.json").write_text(json.dumps({**config, "training": {}, "results": []}), encoding="utf-8")
    broken = place / f"broken {IMAGE}"
    broken.mkdir()
    for name in ("config.json", "log.jsonl"):
        (broken / name).write_text("{", encoding="utf-8")
    return rich, poor


def write_notebook(path: Path, **values: str) -> None:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS.format(**values).split("---")]
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


def listen(person: Watcher) -> list[str]:
    """Note every dialog, and every request that only a stranger's text would make."""
    heard: list[str] = []
    person.page.on("dialog", lambda dialog: (heard.append(f"dialog {dialog.message}"), dialog.dismiss()))
    person.page.on("request", lambda request: heard.append(request.url) if request.url.endswith(("/stolen", "/x")) else None)
    return heard


def runs_nothing(person: Watcher, heard: list[str]) -> None:
    person.page.wait_for_timeout(2000)  # what would run runs late: after pictures have failed to load
    assert person.page.evaluate("window.hacked") is None and not heard
    assert person.page.locator(".jp-Notebook").locator(LEFT).count() == 0
    assert person.page.locator("mjx-container").count() == 0, "no text becomes a formula"


def test_nothing_of_a_stranger_s_folders_runs(tmp_path):
    rich, poor = strange_folders(tmp_path / "runs")
    names = (SCRIPT, IMAGE, "[here](javascript:alert(1))")
    data = write_pictures(tmp_path / f"data {IMAGE}", dict.fromkeys(names, 4))
    values = {"rich": str(rich), "poor": str(poor), "place": str(tmp_path / "runs"), "data": f"folder:{data}", "missing": IMAGE}
    with jupyter("jupyterlab", tmp_path) as (address, token):
        write_notebook(tmp_path / "root" / "stranger.ipynb", **values)
        with watcher_at(f"{address}/lab/tree/stranger.ipynb?token={token}") as person:
            heard = listen(person)
            person.run("Run All Cells")
            person.page.wait_for_function(HAS_RUN, timeout=STARTUP)
            person.sees_status("learned in")
            runs_nothing(person, heard)
            all_is_text(person)
            a_person_meets_errors(person)
            runs_nothing(person, heard)


def all_is_text(person: Watcher) -> None:
    """See the names, the class names and every text of the card as they are."""
    cells = person.page.locator(".jp-CodeCell")
    card, readme, _, table, _, _, error = (cells.nth(number).locator(".jp-OutputArea") for number in range(1, 8))
    for number, output in enumerate((card, readme, table)):
        output.first.evaluate("output => output.scrollIntoView()")
        person.shoot(f"hostile_{number}")
        shown = words(output.first.text_content())  # the inner text is of what is in sight alone
        missing = [text for text in TEXTS if words(text) not in shown]
        assert not missing or (output is readme and "Stranger" in shown), missing
    assert IMAGE in words(card.first.text_content()) and "no checkpoint" in error.first.text_content()
    person.sees("trouble", "broken <img")
    person.sees("table", "<svg/onload=")
    person.page.locator(".fewshot-runs").first.evaluate("list => list.scrollIntoView()")
    person.shoot("hostile_3_runs")


def a_person_meets_errors(person: Watcher) -> None:
    person.page.locator(".fewshot-columns").first.evaluate("columns => columns.scrollIntoView()")
    person.unfold("Choose the classes by hand")
    person.page.get_by_text("next ▶").wait_for()
    person.shoot("hostile_4_panel")
    person.open_folder(f"/none/{TEXTS[1]}")
    person.sees_status("Error.*<img src=x onerror=")
    person.shoot("hostile_5_error")
