"""What a person waits for after a move of a slider: from the key in a real browser to the new picture in the page.

    python benchmarks/slider.py

Starts JupyterLab and Chromium (as the browser's tests do), moves the learning rate of the Reptile panel 15 times, and prints the median
and the worst wait in milliseconds. To be felt as immediate the median should be 150 ms or less and the worst 400 ms, on an idle machine.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import nbformat

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("tests", "tests/browser")]
import test_browser
from test_browser_states import CELL, PanelUser

from fewshot_kit.training.checkpoint_folder import list_checkpoints

MOVES = 15
# Waits for the line that says what was learned, which comes after the last picture of a learning, and for the picture's pixels.
MOVE = """key => new Promise(resolve => {
    const picture = document.querySelector("img.fewshot-learning-image"), status = document.querySelector(".fewshot-status");
    const row = [...document.querySelectorAll(".fewshot-numbered")].find(row => row.textContent.includes("learning rate"));
    let shown = 0;
    const pictures = new MutationObserver(() => picture.decode().then(() => { shown = performance.now(); }));
    const texts = new MutationObserver(() => {
        if (!status.textContent.includes("learned in")) return;
        pictures.disconnect();
        texts.disconnect();
        setTimeout(() => resolve(shown - start), 50);
    });
    pictures.observe(picture, {attributes: true, attributeFilter: ["src"]});
    texts.observe(status, {subtree: true, childList: true, characterData: true});
    const start = performance.now();
    row.querySelector(".noUi-handle").dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
})"""


def waits(folder: Path) -> list[float]:
    """Return the milliseconds of each move."""
    checkpoint = next(name for name in list_checkpoints() if name.startswith("reptile-omniglot"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL.format(checkpoint=checkpoint))])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    test_browser.NOTEBOOK, test_browser.Person = folder / "slider.ipynb", PanelUser
    nbformat.write(notebook, test_browser.NOTEBOOK)
    with (
        test_browser.jupyter("jupyterlab", folder) as (address, token),
        test_browser.person_at(f"{address}/lab/tree/slider.ipynb?token={token}") as person,
    ):
        person.page.wait_for_timeout(3000)  # until the page is at rest
        return [person.page.evaluate(MOVE, "ArrowLeft" if move % 4 < 2 else "ArrowRight") for move in range(MOVES + 1)][1:]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found = waits(Path(folder))
    print(f"slider to new picture, {len(found)} moves: median {statistics.median(found):.0f} ms, worst {max(found):.0f} ms")
