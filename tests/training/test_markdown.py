"""What files supply is text in a notebook: no tag, link or picture comes of it, whatever it says, and it is all there to be read."""

import json
import re
from pathlib import Path

import mistune
import pytest
from hostile import ATTRIBUTES, MARKDOWN_TAGS, TEXTS, Seen, words
from hypothesis import example, given
from hypothesis import strategies as st
from synthetic import tiny_reptile

from fewshot_kit.training.cards import render_card, safe_card
from fewshot_kit.training.checkpoints import load_checkpoint, save_checkpoint
from fewshot_kit.training.markdown import code, code_block, escaped, safe_markdown
from fewshot_kit.training.runs import RunRecord
from fewshot_kit.training.tables import markdown_table, results_table

RENDER = mistune.create_markdown(escape=False, plugins=["table", "strikethrough", "math", "footnotes", "url"])  # HTML goes through as it is
DANGEROUS = st.lists(
    st.sampled_from([*TEXTS, *"<>[]()!`~$\\|&#\"'\n_*-=:; ", "script", "javascript:", "&#60;", "&lt;", "```", "    ", "a"])
).map("".join)
INTERVAL = {"mean": 0.5, "half_width": 0.1}
START = {"name": "", "sha256": "", "training": {}}


def seen(markdown: str) -> Seen:
    """Look at Markdown as a notebook shows it, and see that nothing in it can run."""
    found = Seen(RENDER(markdown))
    assert found.tags <= MARKDOWN_TAGS and found.attributes <= ATTRIBUTES, (found.tags, found.attributes)
    return found


def hostile_config(text: str, config: dict) -> dict:
    """Put a text wherever a config.json may have one that is no name of the kit's own."""
    training = {
        "source": {"dataset": text, "samples_per_class": text, "rotations": None}, "seed": text, "minutes": text, "threads": text,
        "device": text, "trained_with": {"torch": text}, "best_step": text, "val_way": text, "val_shot": text, "command": text,
    }  # fmt: skip
    result = dict.fromkeys(("dataset", "split", "n_way", "n_shot", "n_query", "n_episodes", "seed", "command"), text)
    result |= {"transductive": False, "accuracy": INTERVAL, "loss": INTERVAL}
    training["start"] = {"name": text, "sha256": text, "training": {**training, "start": {**START, "name": text}}}
    return {**config, "training": training, "results": [result], "sha256": text}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("pretrained") / "tiny", tiny_reptile(), training={}, results=[], card="")


@pytest.fixture(scope="module")
def config(folder) -> dict:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("text", TEXTS)
def test_no_text_of_a_config_is_more_than_text_in_a_card(text, config):
    card = seen(render_card(text, hostile_config(text, config)))
    plain = seen(render_card("harmless", hostile_config("harmless", config)))
    assert card.tags <= plain.tags | {"span"}
    assert words(card.text).count(words(text)) == words(plain.text).count("harmless") > 20


@pytest.mark.parametrize("text", TEXTS)
def test_the_markdown_of_others_runs_nothing_wherever_it_stands(text):
    for markdown in (
        text,
        f"# Title\n\n{text}\n",
        f"- a\n- {text}",
        f"> {text}",
        f"| a |\n|---|\n| {text} |\n",
        f"    {text}",
        f"`{text}`",
    ):
        seen(safe_markdown(markdown))


def test_the_markdown_of_others_keeps_its_shape():
    found = seen(
        safe_markdown("# Title\n\n- one\n- **two**\n\n| a |\n|---|\n| b |\n\n    python -m fewshot_kit list\n\n[kit](https://kit.org)\n")
    )
    assert {"h1", "ul", "strong", "table", "pre"} <= found.tags and "[kit](https://kit.org)" in found.text


@given(DANGEROUS)
def test_no_text_whatever_becomes_a_tag_a_link_or_a_picture(text):
    line = escaped(text)
    seen(f"# {line}\n\n| a | {line} |\n|---|---|\n| {line} | b |\n\nIn {code(text)} it is.\n\n{code_block(text)}\n")
    seen(safe_markdown(text))


@given(DANGEROUS)
@example("_leaning_ __thick__ a_b")
def test_in_a_sentence_a_text_is_shown_as_it_is(text):
    assert words(seen(f"It says {escaped(text)}.").text) == words(f"It says {words(text)}.")


@given(DANGEROUS)
def test_no_formula_is_found_in_the_page(text):
    class Strings(Seen):  # what MathJax looks at: each stretch of text between two tags
        def handle_data(self, data):
            assert not re.search(r"\$.*\$|\\[(\[b]", data, re.DOTALL)

    for markdown in (escaped(text), safe_markdown(text)):
        Strings(re.sub(r"<(code|pre)>.*?</\1>", "", RENDER(markdown), flags=re.DOTALL))  # where it does not look


@pytest.mark.parametrize("text", TEXTS)
def test_a_table_shows_every_text_as_it_is(text):
    result = {"dataset": text, "split": "test", "n_way": 5, "n_shot": 1, "n_episodes": 9, "transductive": False, "seed": 0}
    result |= {"accuracy": INTERVAL, "loss": INTERVAL, "settings": {text: text}}
    record = RunRecord(text, Path("x"), text, {"training": {"samples_per_class": text}}, (), (result,))
    table = seen(markdown_table(results_table([record])))
    assert words(table.text).count(words(text)) >= 5


def test_a_folder_s_readme_is_never_shown_as_it_was_found(folder):
    for text in TEXTS:
        (folder / "README.md").write_text(f"# tiny\n\n{text}\n\n{text}", encoding="utf-8")
        seen(load_checkpoint(folder).card)  # whose config says too little for a card


@pytest.mark.parametrize("damage", [{"training": 5}, {"training": {"source": "x"}}, {"results": 5}, {"results": [{}]}, {"settings": [5]}])
def test_a_config_of_another_shape_has_its_readme_for_a_card(damage, folder, config):
    (folder / "README.md").write_bytes(b"# tiny\n\xff<script>alert(1)</script>\n")
    whole = hostile_config("x", config)
    assert safe_card(folder, whole) == render_card("tiny", whole)
    found = seen(safe_card(folder, {**whole, **damage}))
    assert "h1" in found.tags and "<script>alert(1)</script>" in found.text
