"""Every notebook: it runs from anywhere, shows what is committed (pictures too, which nbval passes over), and keeps to its shape."""

import ast
import math
import re
import statistics
import subprocess
import sys
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from PIL import Image

from fewshot_kit.results import Interval

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
TIMEOUT = 300

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def parameters(path: Path) -> list[ast.stmt]:
    (cell,) = (cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", ()))
    return ast.parse(cell.source).body


def errors(notebook: nbformat.NotebookNode) -> list[str]:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.evalue for output in outputs if output.output_type == "error"]


def n_lines(source: str) -> int:
    return sum(bool(line.strip()) for line in source.splitlines())


def run(path: Path, folder: Path, *words: str) -> nbformat.NotebookNode:
    """Run a notebook as a batch job does, from a folder of its own."""
    command = [sys.executable, "-m", "papermill", str(path), "out.ipynb", "-k", "python3", "--no-progress-bar", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr[-3000:]
    return read(folder / "out.ipynb")


def test_there_are_notebooks():
    assert NOTEBOOKS


@every_notebook
def test_it_runs_from_another_folder_and_shows_what_is_committed(path, tmp_path):
    committed, new = code_cells(path), [cell for cell in run(path, tmp_path).cells if cell.cell_type == "code"]
    for before, now in zip(committed, new, strict=True):
        assert before.source == now.source
        if not any(WIDGET in output.get("data", {}) for output in before.outputs):
            assert differences(before.outputs, now.outputs, slack(path)) == [], before.source


@pytest.mark.parametrize("stem", ["01_reptile", "04_prototypical_networks"])
def test_its_parameters_are_those_of_a_batch_job(stem, tmp_path):
    (path,) = (path for path in NOTEBOOKS if path.stem == stem)
    notebook = run(path, tmp_path, "-p", "episodes", "10", "-p", "dataset", "drawings")
    assert not errors(notebook)
    (injected,) = (cell for cell in notebook.cells if "injected-parameters" in cell.metadata.get("tags", ()))
    assert "episodes = 10" in injected.source
    assert any("(10 episodes, " in output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))


# --- what is shown, before and now ---

WIDGET = "application/vnd.jupyter.widget-view+json"
NUMBER = re.compile(r"\d+(?:\.(\d+))?")
HASH = re.compile(r", data [0-9a-f]{12}")
PASSING = re.compile(r", data [0-9a-f]{12}|\"seconds\": [0-9.e-]+")  # which differs from run to run


def slack(path: Path) -> float:
    """Return the share by which numbers may differ between machines: rounding grows in a training."""
    return 0.1 if path.stem in ("train", "05_magnet_loss") else 0.005


def same_text(before: str, now: str, share: float) -> bool:
    """Say whether two texts have the same words, and numbers that differ by this share and two of the last digit at most."""
    before, now = (PASSING.sub("", text) for text in (before, now))
    if NUMBER.sub("#", before) != NUMBER.sub("#", now):
        return False
    pairs = zip(NUMBER.finditer(before), NUMBER.finditer(now), strict=True)
    return all(abs(float(a[0]) - float(b[0])) <= share * float(a[0]) + 2 * 10.0 ** -len(a[1] or "") * bool(a[1]) for a, b in pairs)


def same_picture(before: str, now: str, share: float) -> bool:
    """Say whether two PNGs, base64, are of one size and hardly differ."""
    first, second = (np.asarray(Image.open(BytesIO(b64decode(png))).convert("RGB"), dtype=float) for png in (before, now))
    return first.shape == second.shape and np.abs(first - second).mean() <= 255 * share


def merged(outputs: list) -> list:
    """Join what was printed in pieces: how a text is cut is chance."""
    found = []
    for output in outputs:
        if output.output_type == "stream" and found and found[-1].output_type == "stream":
            found[-1] = nbformat.from_dict({**found[-1], "text": found[-1].text + output.text})
        else:
            found.append(output)
    return found


def differences(before: list, now: list, share: float) -> list[str]:
    """Name what a cell shows now and did not when it was committed."""
    before, now = merged(before), merged(now)
    if [output.output_type for output in before] != [output.output_type for output in now]:
        return [f"other outputs: {[output.output_type for output in now]}"]
    found = []
    for old, new in zip(before, now, strict=True):
        shown = {"text/plain": (old.get("text", ""), new.get("text", ""))} if old.output_type == "stream" else {}
        shown |= {kind: (old.data[kind], new.data.get(kind, "")) for kind in old.get("data", {}) if kind in SAME}
        found += [f"{kind}: {pair[1][:300]}" for kind, pair in shown.items() if not SAME[kind](*pair, share)]
        if "The support: " in str(shown) and HASH.findall(str(old.data)) != HASH.findall(str(new.data)):
            found.append("pictures of a data set are the same to the last bit")
    return found


SAME = {"text/plain": same_text, "text/markdown": same_text, "image/png": same_picture}


def test_a_difference_that_matters_is_one():
    def shown(text: str, gray: int = 0) -> list:
        buffer = BytesIO()
        Image.new("RGB", (4, 4), (gray, gray, gray)).save(buffer, "PNG")
        return [nbformat.v4.new_output("display_data", {"text/plain": text, "image/png": b64encode(buffer.getvalue()).decode()})]

    assert not differences(shown("97.1 %, data 0123456789ab"), shown("97.2 %, data 0123456789ff", 1), 0.005)
    assert len(differences(shown("97.1 %"), shown("95.1 %"), 0.005)) == 1
    assert len(differences(shown("9 of 9 right"), shown("8 of 9 right"), 0.005)) == 1
    assert len(differences(shown("9 of 9 right"), shown("9 of 9 wrong"), 0.005)) == 1
    assert len(differences(shown("a"), shown("a", 30), 0.005)) == 1
    assert differences(shown("a"), [], 0.005)


# --- its shape ---


@every_notebook
def test_its_parameters_are_flat_literals(path):
    for statement in parameters(path):
        assert isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        assert ast.unparse(statement.annotation) in ("str", "int", "float", "bool"), statement.target.id
        value = ast.literal_eval(statement.value)
        assert type(value).__name__ == ast.unparse(statement.annotation), statement.target.id


@every_notebook
def test_it_is_plain_python(path):
    for cell in code_cells(path):
        ast.parse(cell.source)  # no magics, no shell
        assert "get_ipython" not in cell.source and "chdir" not in cell.source


@every_notebook
def test_its_cells_and_functions_are_short(path):
    cells = code_cells(path)
    (imports,) = (cell for cell in cells if any(isinstance(statement, ast.Import) for statement in ast.parse(cell.source).body))
    assert n_lines(imports.source) <= 12
    assert statistics.median(n_lines(cell.source) for cell in cells) <= 6
    for cell in cells:
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 5, node.name


@every_notebook
def test_it_opens_and_closes_with_prose(path):
    cells = read(path).cells
    assert cells[0].cell_type == cells[-1].cell_type == "markdown" and cells[0].source.startswith("# ")


@every_notebook
def test_its_outputs_are_committed_whole_and_small(path):
    cells = code_cells(path)
    assert path.stat().st_size < 1_500_000
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run it from its top before it is committed"
    assert not errors(read(path))
    shows = [cell for cell in cells if any(output.output_type != "stream" for output in cell.outputs)]
    assert len(shows) >= 3
    assert all(output.get("name") != "stderr" for cell in cells for output in cell.outputs)


@every_notebook
def test_numbers_that_differ_between_machines_are_not_compared(path):
    for cell in code_cells(path):
        text = "".join(output.get("text", "") for output in cell.outputs)
        if any(character.isdigit() for character in text):
            assert "nbval-ignore-output" in cell.metadata.get("tags", ()), cell.source


def chance_asserts() -> list:
    """Name every assertion of a notebook that an accuracy is above chance."""
    return [
        pytest.param(statement, id=path.stem)
        for path in NOTEBOOKS
        for cell in code_cells(path)
        if "half_width > 1 / n_way" in cell.source
        for statement in cell.source.splitlines()
        if "half_width > 1 / n_way" in statement
    ]


@pytest.mark.parametrize("statement", chance_asserts())
def test_one_episode_has_no_interval_and_is_not_blamed_on_chance(statement):
    def check(episodes: int, accuracies: list[float]) -> None:
        result = SimpleNamespace(accuracy=Interval.of(np.array(accuracies)))
        exec(statement, {"episodes": episodes, "result": result, "n_way": 5, "inner_steps": 5})

    assert math.isnan(Interval(1.0, None).half_width)
    exec(statement, {"episodes": 1, "result": SimpleNamespace(accuracy=Interval(1.0, None)), "n_way": 5, "inner_steps": 5})
    check(3, [0.9, 1.0, 0.95])
    with pytest.raises(AssertionError, match="chance"):
        check(3, [0.2, 0.3, 0.1])
