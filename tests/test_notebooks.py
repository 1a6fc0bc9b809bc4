"""Every notebook: it runs from anywhere, reads well where nobody runs it, and keeps to its shape. `pytest --nbval` compares its outputs."""

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
QUICK = {"episodes": 10}  # parameters that make a run short, where a notebook has them
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


def test_there_are_notebooks():
    assert NOTEBOOKS


@every_notebook
def test_it_runs_from_another_folder(path, tmp_path):
    names = {statement.target.id for statement in parameters(path)}
    quick = [word for name in names & QUICK.keys() for word in ("-p", name, str(QUICK[name]))]
    command = [sys.executable, "-m", "papermill", str(path), "out.ipynb", "-k", "python3", "--no-progress-bar", *quick]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT)
    assert run.returncode == 0, run.stderr[-3000:]
    notebook = read(tmp_path / "out.ipynb")
    assert not errors(notebook)
    assert len([cell for cell in notebook.cells if "injected-parameters" in cell.metadata.get("tags", ())]) == bool(quick)


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
