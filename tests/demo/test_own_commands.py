"""`learn` and `classify`: from a folder of pictures to a table of answers, without a notebook."""

import csv
from pathlib import Path

import pytest
from own_pictures import needs_weights, picture

from fewshot_kit.__main__ import main

pytestmark = needs_weights


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, start in (("left", 0), ("right", 9)):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i in range(4):
            (tmp_path / "mine" / name / f"{i}.png").write_bytes(picture(level=start + i).content)
    return tmp_path / "mine"


def test_learn_then_classify(folder, tmp_path, capsys):
    (folder / "left" / "broken.png").write_bytes(b"half a picture")
    assert main(["learn", str(folder)]) == 0
    said = capsys.readouterr()
    assert "wrote my_classes" in said.out and "of 8 right" in said.out and "broken.png" in said.err
    assert main(["learn", str(folder)]) == 1 and "--replace" in capsys.readouterr().err
    assert main(["classify", "my_classes", str(folder), "mine/left/0.png", "--csv", "out.csv", "--unknown", "0.1"]) == 1
    said = capsys.readouterr()
    assert "broken.png" in said.err and "wrote out.csv: 9 pictures" in said.out
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    assert len(rows) == 10 and [row["class"] for row in rows].count("") == 1
    right = [row["class"] in ("unknown", Path(row["file"]).parent.name) for row in rows if row["class"]]
    assert all(right) and all(abs(float(row["left"]) + float(row["right"]) - 1) < 1e-3 for row in rows if row["class"])
    assert rows[-1]["file"] == "mine/left/0.png"


def test_answers_go_to_the_terminal_and_formulas_are_harmless(folder, tmp_path, capsys):
    assert main(["learn", str(folder), "--out", "two"]) == 0
    (tmp_path / "=cmd.png").write_bytes(picture(level=1).content)
    capsys.readouterr()
    assert main(["classify", "two", "=cmd.png"]) == 0
    assert capsys.readouterr().out.startswith("=cmd.png\tleft\t")
    assert main(["classify", "two", "=cmd.png", "--csv", "a.csv"]) == 0
    assert Path("a.csv").read_text().splitlines()[1].startswith("'=cmd.png,left,")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["learn", "nowhere"], "nowhere does not exist"),
        (["learn", "mine", "--checkpoint", "none-such"], "no checkpoint 'none-such'"),
        (["learn", "mine", "--checkpoint", "repmet_detector-scenes"], "finds things"),
        (["learn", "mine", "--set", "epochs=3"], "has no setting 'epochs'"),
        (["classify", "nowhere", "mine/left/0.png"], "holds no config.json"),
        (["classify", "two", "mine/left/none.png"], "does not exist"),
        (["classify", "two", "mine/left/0.png", "--unknown", "3"], "unknown must be from 0 to 1"),
        (["classify", "two", "mine/left/0.png", "--csv", "mine"], "mine is a folder"),
        (["classify", "mine", "mine/left/0.png"], "holds no config.json"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(folder, capsys, words, told):
    assert main(["learn", str(folder), "--out", "two"]) == 0
    capsys.readouterr()
    assert main(words) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and told in error
