"""Every command that README, a notebook or a card shows can be typed: the command line takes all its words."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from fewshot_kit import __main__ as command_line

ROOT = Path(__file__).parents[1]
COMMAND = re.compile(r"python -m fewshot_kit ((?:train|pretrain|evaluate|export|list)\b[^`\n]*)")


PLACES = ("README.md", "docs/*.md", "pretrained/*/README.md", "notebooks/*.ipynb")
FILES = [path for place in PLACES for path in sorted(ROOT.glob(place))]


def texts(notebook: Path) -> Iterator[str]:
    """Yield what a reader of a notebook sees beside its code: prose, and what the cells have shown."""
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "markdown":
            yield cell.source
        else:
            yield from (output["text"] for output in cell.outputs if output.output_type == "stream")
            for output in cell.outputs:
                yield from (str(text) for kind, text in output.get("data", {}).items() if kind in ("text/markdown", "text/plain"))


def shown() -> Iterator[tuple[str, str]]:
    """Yield (file, command) for every full command; one with a word to be filled in is none."""
    for path in FILES:
        for text in texts(path) if path.suffix == ".ipynb" else [path.read_text(encoding="utf-8")]:
            for command in COMMAND.findall(text):
                if "<" not in command and "..." not in command and (command == "list" or len(command.split()) > 1):
                    yield str(path.relative_to(ROOT)), command


COMMANDS = sorted(set(shown()))


@pytest.mark.parametrize("command", sorted({command for _, command in COMMANDS}))
def test_the_command_line_takes_every_word_of_it(command, monkeypatch, tmp_path, capsys):
    def understood(*_arguments, **_settings):
        raise ValueError("understood")

    for name in (
        "fewshot_kit.training.train.open_run",
        "fewshot_kit.training.checkpoints.load_checkpoint",
    ):  # what train and evaluate do first
        monkeypatch.setattr(name, understood)
    monkeypatch.setattr("fewshot_kit.training.preparation.with_statistics", understood)  # it would read the data set
    monkeypatch.setattr("fewshot_kit.demo.checkpoint_commands.list_checkpoints", understood)
    monkeypatch.chdir(tmp_path)  # where there is no run to be exported
    assert command_line.main(shlex.split(command, comments=True)) == 1  # a word it does not know ends in SystemExit
    # A backbone that is no checkpoint of the kit's, but made by the command that the card shows before.
    nothing_there = "holds no best.safetensors: train a run there first", "no classes were saved there"
    answers = ("understood", *nothing_there, "no checkpoint '(resnet12|conv4)-")
    assert re.search("|".join(answers), capsys.readouterr().err)


def test_they_are_found_in_readme_notebooks_and_cards():
    assert {Path(file).parts[0] for file, _ in COMMANDS} == {"README.md", "docs", "notebooks", "pretrained"}


LINK = re.compile(r"\]\(([^)#:]+)(#[^)]*)?\)")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file(path):
    prose = (
        [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
        if path.suffix == ".ipynb"
        else [path.read_text()]
    )
    missing = [target for text in prose for target, _ in LINK.findall(text) if not (path.parent / target).exists()]
    assert not missing


def test_the_readme_can_be_read_in_a_few_minutes():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120 and len(text.split()) <= 1300
