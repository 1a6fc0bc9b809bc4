"""Tables of what was measured: every measurement is there, with its protocol, and no name breaks a table."""

import re
from pathlib import Path

import pytest
from synthetic import noisy_images

from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.evaluate import evaluate
from fewshot_kit.learners.nearest_prototype import NearestPrototype
from fewshot_kit.training.runs import RunRecord
from fewshot_kit.training.tables import markdown_table, results_table, table_texts

AWKWARD = ("<script>alert(1)</script>", "a|b\nc", "$x^2$ `*[link](http://x)*`", "& <b>bold</b>")


def measure(seed: int = 0, *, transductive: bool = False):
    sampler = EpisodeSampler(noisy_images(noise=0.4), 3, 1, 2)
    return evaluate(NearestPrototype(), sampler, n_episodes=5, seed=seed, transductive=transductive)


def record(name: str, *results: dict, **training) -> RunRecord:
    return RunRecord(name, Path(name), name, {"training": training}, (), results)


def test_the_table_holds_every_measurement_with_its_protocol():
    measured = [measure(seed=1), measure(seed=2, transductive=True)]
    table = results_table([record("run", *(result.to_dict() for result in measured), samples_per_class=5)])
    assert [row["accuracy"] for row in table] == [result.accuracy for result in measured]
    assert [row["loss"] for row in table] == [result.loss for result in measured]
    assert [row["mode"] for row in table] == ["inductive", "transductive"]
    assert {(row["run"], row["samples_per_class"], row["n_way"], row["n_shot"], row["n_episodes"]) for row in table} == {
        ("run", 5, 3, 1, 5)
    }


def test_what_it_was_adapted_by_is_told_where_it_is_known():
    old = measure().to_dict()
    del old["settings"]
    new = {**measure().to_dict(), "settings": {"inner_lr": 0.5, "support_clusters": 2, "rule": "sgd"}}
    texts = [line[-1] for line in table_texts(results_table([record("run", old, new, measure().to_dict())]))]
    assert texts == ["settings", "–", "learning rate 0.5, support clusters 2, rule sgd", "–"]


@pytest.mark.parametrize("name", AWKWARD)
def test_no_name_breaks_a_table(name):
    table = results_table([record(text, {**measure().to_dict(), "dataset": text}) for text in (name, "plain")])
    lines = markdown_table(table).splitlines()
    assert len(lines) == 4 and len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "<" not in re.sub("</?span>", "", lines[2]) and not re.search(r"(?<!\\)[$`\[*]", lines[2])
    assert table_texts(table)[1][:2] == [name, name], "whoever shows them escapes them"


def test_both_ways_to_write_it_say_the_same():
    result = measure()
    table = results_table([record("run", result.to_dict())])
    (line,) = markdown_table(table).splitlines()[2:]
    assert [cell.strip() for cell in line.strip("|").split("|")] == table_texts(table)[1]
    assert result.accuracy.percent() in line and "| noisy test | 3 | 1 |" in line and "| all pictures |" in line
    assert markdown_table([]).count("\n") == 1
