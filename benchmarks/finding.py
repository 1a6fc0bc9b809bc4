"""What a person waits for after pressing "Sample classes": from the click in a real browser to the boxes on the page.

    python benchmarks/finding.py repmet_detector-fod_a fod_a
    python benchmarks/finding.py repmet_detector-scenes scenes

Starts JupyterLab and Chromium (as the browser's tests do), opens the panel of detection with 5 classes, 1 marked picture each and 10 query
pictures, presses the button 15 times, and prints the median and the worst wait in milliseconds. Every press draws other classes: all 15
pictures are looked at anew. At most 1,000 ms is the aim on an idle machine.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import nbformat

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("tests", "tests/browser")]
import test_browser
from test_browser_detection import Finder

PRESSES = 15
CELL = """
from fewshot_kit.demo.detection import DetectionSession
from fewshot_kit.widgets import DetectionPanel
DetectionPanel(DetectionSession({checkpoint!r}, {dataset!r}, n_way=5, n_shot=1, n_query=2))
"""
PRESS = """() => new Promise(resolve => {
    const picture = document.querySelector("img.fewshot-found-image");
    const button = [...document.querySelectorAll("button.jupyter-button")].find(b => b.textContent.trim() === "Sample classes");
    const watch = new MutationObserver(() => picture.decode().then(() => { watch.disconnect(); resolve(performance.now() - start); }));
    watch.observe(picture, {attributes: true, attributeFilter: ["src"]});
    const start = performance.now();
    button.click();
})"""


def waits(checkpoint: str, dataset: str, folder: Path) -> list[float]:
    """Return the milliseconds of each press."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL.format(checkpoint=checkpoint, dataset=dataset).strip())])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    test_browser.NOTEBOOK, test_browser.Person = folder / "finding.ipynb", Finder
    nbformat.write(notebook, test_browser.NOTEBOOK)
    with (
        test_browser.jupyter("jupyterlab", folder) as (address, token),
        test_browser.person_at(f"{address}/lab/tree/finding.ipynb?token={token}") as person,
    ):
        found = []
        for _ in range(PRESSES + 1):
            person.page.wait_for_timeout(1500)  # until the page is at rest
            found.append(person.page.evaluate(PRESS))
        return found[1:]


if __name__ == "__main__":
    checkpoint, dataset = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as folder:
        found = waits(checkpoint, dataset, Path(folder))
    print(f"{checkpoint}: press to boxes, {len(found)} presses: median {statistics.median(found):.0f} ms, worst {max(found):.0f} ms")
