"""The leaderboard's panel without a browser: filters reach all of it, nothing failed is hidden, and no name can do harm."""

import html

import ipywidgets as widgets
import pytest
from hostile import ATTRIBUTES, PANEL_TAGS, TEXTS, Seen
from panels import tree

from fewshot_kit.batch.results_file import read_results
from fewshot_kit.widgets.boards import MOST_MODELS
from fewshot_kit.widgets.leaderboard_panel import LeaderboardPanel
from sweeps import failed, few_models, measured, write_results


def panel_of(folder, *rows: dict) -> LeaderboardPanel:
    return LeaderboardPanel(read_results(write_results(folder, *rows)))


def words(page: str) -> str:
    return " ".join(Seen(page).text.split())


@pytest.fixture
def panel(tmp_path) -> LeaderboardPanel:
    more = [measured("model0", n_shot=5), measured("other", dataset="drawings", n_way=20), measured("model1", transductive=True)]
    return panel_of(tmp_path, *few_models(3), *more, failed("model9", "\x1b[31mTraceback\x1b[0m\nValueError: no such picture"))


def shown(panel: LeaderboardPanel) -> tuple:
    return panel.table.value, panel.pair_table.value, panel.ahead_image.value, panel.cost_image.value


def test_at_first_all_is_shown(panel):
    status = html.unescape(panel.status.value)
    assert "10 cells: 9 done, 1 failed" in status and "4 models under 4 protocols" in status
    table, pairs = panel.table.value, words(panel.pair_table.value)
    assert "characters test, 5-way 1-shot: 5 queries a class, 40 episodes a seed" in table and "80 (2 seeds)" in table
    assert "model0 is ahead of model1" in pairs and "model0 and other: no data set, way and shot in common" in pairs
    assert "model0 ahead of model1" in panel.ahead_image.tooltip and "100k parameters" in panel.cost_image.tooltip


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("dataset", "drawings", "other"),
        ("way", 20, "other"),
        ("shot", 5, "model0"),
        ("mode", True, "model1"),
        ("models", ("model2",), "model2"),
    ],
)
def test_each_filter_reaches_tables_and_pictures(panel, name, value, left):
    before = shown(panel)
    getattr(panel, name).value = value
    assert all(now != then for now, then in zip(shown(panel), before, strict=True))
    assert set(panel.fitting(panel.standings)["model"]) == {left} and left in panel.table.value
    assert left in panel.cost_image.tooltip and "no two models" in panel.pair_table.value
    assert "no such picture" in panel.trouble.value, "what failed is never hidden"


def test_no_verdict_changes_by_looking_at_fewer(panel):
    before = panel.pairs.set_index(["first", "second"]).loc[("model0", "model1"), "p_holm"]
    panel.models.value = ("model0", "model1")
    (pair,) = panel.fitting(panel.pairs).query("p == p").itertuples()
    assert pair.p_holm == before.min() and "p corrected for 3 pairs" in words(panel.pair_table.value)


def test_filters_that_fit_nothing_say_so_and_come_back(panel):
    before = shown(panel)
    panel.dataset.value, panel.shot.value = "drawings", 5
    assert (
        "No cell that is done fits" in panel.status.value and panel.table.value == "" and "Nothing to compare" in panel.ahead_image.tooltip
    )
    panel.dataset.value = panel.shot.value = ""
    assert shown(panel) == before


def test_what_failed_is_counted_and_shown_with_its_error(tmp_path, panel):
    assert "1 cell failed" in panel.trouble.value
    assert (
        "model9, characters, 5-way 1-shot, seed 0: ValueError: no such picture" in panel.trouble.value and "\x1b" not in panel.trouble.value
    )
    everything = panel_of(tmp_path / "bad", *(failed(f"m{i}") for i in range(300)))
    assert "300 cells failed" in everything.trouble.value and "100 cells more" in everything.trouble.value
    assert "There is nothing to compare" in everything.status.value and everything.table.value == ""


def test_one_model_and_one_episode_are_shown(tmp_path):
    alone = panel_of(tmp_path / "a", measured("a", 0, [0.5]))
    assert "1 cell: 1 done" in alone.status.value and "50.0 ± ? %" in alone.table.value and "no two models" in alone.pair_table.value


def test_forty_models_are_listed_and_the_best_drawn(tmp_path):
    crowd = panel_of(tmp_path, *few_models(40, 20, (0,)))
    assert f"the {MOST_MODELS} best models" in crowd.status.value and "40 models" in crowd.status.value
    assert all(f"model{i}<" in crowd.table.value for i in range(40)) and "780 pairs compared" in crowd.pair_table.value
    assert "580 pairs more" in crowd.pair_table.value


def test_a_model_keeps_its_look_while_others_go(panel, monkeypatch):
    from fewshot_kit import plots

    drawn = []
    original = plots.cost_figure
    monkeypatch.setattr(plots, "cost_figure", lambda boards: (drawn.append(boards), original(boards))[1])
    for models in ((), ("model1", "model2"), ("model2",)):
        panel.models.value = models
    looks = {model.look for boards in drawn for board in boards for model in board.models if model.name == "model2"}
    assert len(drawn) == 2 and len(looks) == 1, "no choice was made by the first"


@pytest.mark.parametrize("text", [*TEXTS[:16], "w" * 300])
def test_hostile_names_and_errors_are_text(tmp_path, text):
    made = panel_of(tmp_path, measured(text), measured("b", dataset=text), failed(text, text, dataset=text))
    for widget in tree(made):
        assert not getattr(widget, "description_allow_html", False)
        if isinstance(widget, widgets.HTML) and "<style>" not in widget.value:
            page = Seen(widget.value)
            assert page.tags <= PANEL_TAGS and page.attributes <= ATTRIBUTES
    assert " ".join(text.split()) in words(made.table.value)


def test_nothing_captures_output_and_every_control_has_a_name(panel):
    assert not [widget for widget in tree(panel) if isinstance(widget, widgets.Output)]
    controls = [widget for widget in tree(panel) if isinstance(widget, (widgets.Dropdown, widgets.SelectMultiple))]
    assert len(controls) == 5 and all(control.description for control in controls)
