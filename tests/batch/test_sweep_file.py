"""What a sweep is: rows of a list times a grid, checked against the notebook before anything starts."""

from pathlib import Path

import nbformat
import pytest

from fewshot_kit.batch.sweep_file import SweepError, notebook_parameters, read_sweep
from sweeps import notebook

SWEEPS = Path(__file__).parents[2] / "sweeps"


def write(folder: Path, text: str, name: str = "s.yaml") -> Path:
    notebook(folder)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_every_row_of_the_list_with_every_combination_of_the_grid(tmp_path):
    text = "notebook: work.ipynb\nparameters: {rate: 1}\ngrid: {number: [1, 2], is_on: [true, false]}\nlist: [{word: a}, {word: b}]"
    sweep = read_sweep(write(tmp_path, text))
    expected = [
        {"number": number, "rate": 1.0, "word": word, "is_on": is_on} for word in "ab" for number in (1, 2) for is_on in (True, False)
    ]
    assert list(sweep.cells) == expected and sweep.notebook == tmp_path / "work.ipynb"
    assert type(sweep.cells[0]["rate"]) is float
    toml = 'notebook = "work.ipynb"\nlist = [{word = "a"}, {word = "b"}]\n[parameters]\nrate = 1\n[grid]\n'
    toml += "number = [1, 2]\nis_on = [true, false]"
    assert read_sweep(write(tmp_path, toml, "s.toml")).cells == sweep.cells


def test_the_parameters_are_those_of_the_notebook(tmp_path):
    assert notebook_parameters(notebook(tmp_path)) == {
        "number": ("int", 1), "rate": ("float", 0.5), "word": ("str", "a"), "is_on": ("bool", False),
    }  # fmt: skip
    assert read_sweep(write(tmp_path, "notebook: work.ipynb")).cells == ({"number": 1, "rate": 0.5, "word": "a", "is_on": False},)


@pytest.mark.parametrize("path", sorted(SWEEPS.iterdir()), ids=lambda path: path.name)
def test_the_sweeps_that_are_here_can_be_read(path):
    sweep = read_sweep(path)
    assert len(sweep.cells) >= 12 and len({tuple(sorted(cell.items())) for cell in sweep.cells}) == len(sweep.cells)


BOMB = "".join(f"  - &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30))  # a list of 10 ** 29 letters


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no table"),
        ("- 1", "no table"),
        ("grid: {seed: [1]}", "names no notebook"),
        ("notebook: other.ipynb", "there is no notebook"),
        ("notebook: [1]", "names no notebook"),
        ("notebook: work.ipynb\ngrids: {}", "grids"),
        ("notebook: work.ipynb\ngrid: {nomber: [1]}", "nomber, but work.ipynb takes number, rate"),
        ("notebook: work.ipynb\ngrid: {number: 1}", "without a list"),
        ("notebook: work.ipynb\ngrid: {number: []}", "without a list"),
        ("notebook: work.ipynb\ngrid: {number: [1.5]}", "wants int"),
        ("notebook: work.ipynb\ngrid: {number: [true]}", "wants int"),
        ("notebook: work.ipynb\ngrid: {number: ['1']}", "wants int"),
        ("notebook: work.ipynb\ngrid: {number: [[1]]}", "wants int"),
        ("notebook: work.ipynb\ngrid: {rate: [.nan]}", "wants float"),
        ("notebook: work.ipynb\ngrid: {rate: [1" + "0" * 400 + "]}", "wants float"),
        ("notebook: work.ipynb\ngrid: {number: [1" + "0" * 20 + "]}", "wants int"),
        ("notebook: work.ipynb\ngrid:\n  word:\n  - &a0 [x]\n" + BOMB, "wants str"),
        ("notebook: work.ipynb\ngrid: {rate: [fast]}", "wants float"),
        ("notebook: work.ipynb\ngrid: {word: [no]}", "wants str"),
        ("notebook: work.ipynb\ngrid: {is_on: [1]}", "wants bool"),
        ("notebook: work.ipynb\nparameters: {number: 1}\ngrid: {number: [1]}", "in two places"),
        ("notebook: work.ipynb\nlist: [{number: 1}, {number: 2}]\ngrid: {number: [1]}", "in two places"),
        ("notebook: work.ipynb\nlist: {number: 1}", "none of tables"),
        ("notebook: work.ipynb\nlist: []", "none of tables"),
        ("notebook: work.ipynb\nparameters: [1]", "no table of names"),
        ("notebook: work.ipynb\ngrid: {1: [2]}", "no table of names"),
        ("notebook: {a", "not valid YAML"),
        ("notebook: !!python/object/apply:os.system ['touch ran']", "not valid YAML"),
        ("notebook: work.ipynb\ngrid: {number: [" + "1," * 400 + "], rate: [" + "1," * 400 + "]}", "160,000 cells"),
        ("[" * 2000, "not valid YAML"),
    ],
)
def test_what_cannot_be_run_is_told_before_anything_starts(text, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SweepError, match=told):
        read_sweep(write(tmp_path, text))
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_gone_or_a_notebook_that_is_none_is_told(tmp_path):
    with pytest.raises(SweepError, match="cannot be read"):
        read_sweep(tmp_path / "nothing.yaml")
    (tmp_path / "bad.ipynb").write_text("{")
    (tmp_path / "s.yaml").write_text("notebook: bad.ipynb")
    with pytest.raises(SweepError, match="cannot be read as a notebook"):
        read_sweep(tmp_path / "s.yaml")


def test_a_parameter_without_a_type_takes_a_number_a_text_or_a_truth_and_no_more(tmp_path):
    path = write(tmp_path, "notebook: work.ipynb\ngrid: {number: [1, a, true]}")
    untyped = nbformat.read(tmp_path / "work.ipynb", 4)
    untyped.cells[0].source = "number = 1\nword: list = 2"
    nbformat.write(untyped, tmp_path / "work.ipynb")
    assert [cell["number"] for cell in read_sweep(path).cells] == [1, "a", True]
    for wrong in ("number: [null]", "number: [[1]]", "word: [2026-01-01]"):
        path.write_text(f"notebook: work.ipynb\ngrid: {{{wrong}}}")
        with pytest.raises(SweepError, match="wants a number, a text, true or false"):
            read_sweep(path)


def test_a_parameter_that_the_notebook_computes_is_told(tmp_path):
    path = write(tmp_path, "notebook: work.ipynb")
    (tmp_path / "work.ipynb").write_text((tmp_path / "work.ipynb").read_text().replace("0.5", "2**-1"))
    with pytest.raises(SweepError, match="computes its parameter rate"):
        read_sweep(path)
