"""A sweep's results read again: seeds pooled, pairs by the same episodes, and nothing compared that was not measured alike."""

import itertools
import json
import time

import numpy as np
import pandas
import pytest
from scipy import stats

from fewshot_kit.batch.leaderboard import chosen, protocol_text, standings
from fewshot_kit.batch.pairs import holm, paired_differences
from fewshot_kit.batch.results_file import (
    AGAIN,
    DONE,
    EXAMPLE,
    FAILED,
    PARQUET,
    UNUSABLE,
    ResultsError,
    model_name,
    read_results,
)
from sweeps import failed, few_models, measured, write_results


def read(folder, *rows: dict) -> pandas.DataFrame:
    return read_results(write_results(folder, *rows))


def accuracies(seed: int, n: int = 50, mean: float = 0.7) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(mean, 0.1, n).round(2), 0, 1)


# --- the standings ---


def test_seeds_are_pooled_as_if_their_episodes_were_one_list(tmp_path):
    seeds = {seed: accuracies(seed, mean=0.5 + 0.1 * seed) for seed in range(3)}
    (row,) = standings(read(tmp_path, *(measured("a", seed, values) for seed, values in seeds.items()))).itertuples()
    everything = np.concatenate(list(seeds.values()))
    assert row.n == 150 and row.seeds == (0, 1, 2) and row.accuracy == pytest.approx(everything.mean())
    assert row.half_width == pytest.approx(1.96 * everything.std(ddof=1) / np.sqrt(150))
    assert row.seconds == pytest.approx(6 / 150), "of an episode"


def test_the_best_is_first_under_each_protocol_and_one_episode_has_no_interval(tmp_path):
    rows = standings(read(tmp_path, measured("a", 0, [0.2]), measured("b", 0, [0.9]), measured("a", 0, [0.4], n_shot=5)))
    assert rows[["n_shot", "model", "place"]].values.tolist() == [[1, "b", 1], [1, "a", 2], [5, "a", 1]]
    assert rows["half_width"].isna().all()
    pooled = standings(read(tmp_path, measured("a", 0, [0.2]), measured("a", 1, [0.4])))
    assert pooled.loc[0, "half_width"] == pytest.approx(1.96 * np.std([0.2, 0.4], ddof=1) / np.sqrt(2))


def test_what_was_measured_in_another_way_is_another_row(tmp_path):
    changes = (
        {},
        {"n_query": 15},
        {"split": "val"},
        {"transductive": True},
        {"within_group": True},
        {"dataset": "drawings"},
        {"n_way": 20},
    )
    cells = read(tmp_path, *(measured("a", 0, **change) for change in changes), measured("a", 0, [0.5] * 9))
    assert len(standings(cells)) == len(changes) + 1 and (cells["status"] == DONE).all()
    assert "all queries seen together" in " ".join(protocol_text(row) for _, row in standings(cells).iterrows())


def test_models_are_named_by_what_they_were_measured_with(tmp_path):
    assert model_name("a") == "a" and model_name("a", "logistic", "b=2  a=1", "32.0") == "a, by logistic, a=1, b=2, 32 pixels"
    cells = read(
        tmp_path, measured("a"), measured("a", learner="logistic"), measured("a", **{"param.settings": "x=1 y=2"}), measured("a", 1),
        measured("a", 1, **{"param.settings": "y=2 x=1"}),
    )  # fmt: skip
    assert standings(cells)["model"].tolist() == ["a", "a, by logistic", "a, x=1, y=2"]
    assert sorted(standings(cells)["n"]) == [2, 4, 4]


def test_two_folders_of_one_name_are_two_models(tmp_path):
    rows = [
        measured("best", accuracies=[value] * 4, **{"param.checkpoint": f"runs/{name}/best"}) for name, value in (("a", 0.9), ("b", 0.5))
    ]
    assert standings(read(tmp_path, *rows))[["model", "accuracy"]].values.tolist() == [["runs/a/best", 0.9], ["runs/b/best", 0.5]]


def test_the_same_cell_twice_is_counted_once_and_said(tmp_path):
    once, twice = (standings(read(tmp_path / str(n), *[measured(key=str(i)) for i in range(n)])) for n in (1, 2))
    pandas.testing.assert_frame_equal(once, twice)
    cells = read(tmp_path, measured(), measured(episode_accuracies=None))
    assert cells["status"].tolist() == [DONE, AGAIN], "that with its episodes counts"


# --- pairs ---


def test_a_pair_is_compared_by_the_same_episodes(tmp_path):
    mine, other = ({seed: accuracies(10 * model + seed, mean=0.7 - 0.03 * model) for seed in (0, 1)} for model in (0, 1))
    rows = [measured(name, seed, values) for name, of in (("a", mine), ("b", other)) for seed, values in of.items()]
    (pair,) = paired_differences(read(tmp_path, *reversed(rows), measured("a", 7, accuracies(99)))).itertuples()
    first, second = (np.concatenate([of[0], of[1]]) for of in (mine, other))
    difference = first - second
    assert (pair.first, pair.second, pair.n, pair.seeds) == ("a", "b", 100, (0, 1)), "seed 7 is of one of them alone"
    assert pair.difference == pytest.approx(difference.mean())
    assert pair.half_width == pytest.approx(1.96 * difference.std(ddof=1) / 10)
    assert pair.p == pytest.approx(stats.ttest_rel(first, second).pvalue) == pytest.approx(pair.p_holm)


def test_the_order_of_seeds_and_rows_changes_nothing(tmp_path):
    rows = few_models(4)
    pairs = [paired_differences(read(tmp_path / str(i), *order)) for i, order in enumerate((rows, rows[::-1]))]
    pandas.testing.assert_frame_equal(*pairs)
    assert pairs[0]["is_ahead"].all() and pairs[0]["n"].eq(80).all()
    assert {(pair.first, pair.second) for pair in pairs[0].itertuples()} == set(itertools.combinations([f"model{i}" for i in range(4)], 2))


def test_pairing_sees_what_two_intervals_do_not(tmp_path):
    hard = accuracies(0, 200, 0.7)
    rows = standings(cells := read(tmp_path, measured("a", 0, hard), measured("b", 0, np.clip(hard + np.tile([0.0, 0.02], 100), 0, 1))))
    assert rows["accuracy"].diff().abs().max() < rows["half_width"].min() and paired_differences(cells).loc[0, "is_ahead"]


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, np.nan, 0.03, 0.005])), [0.06, 0.03, np.nan, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.6, 0.7])), [1, 1])
    assert len(holm(np.zeros(0))) == 0 and np.isnan(holm(np.array([np.nan]))).all()


def test_equals_are_never_ahead_and_a_few_episodes_prove_nothing(tmp_path):
    same = [measured(name, 0, accuracies(3)) for name in "abc"]
    pairs = paired_differences(read(tmp_path, *same))
    assert len(pairs) == 3 and (pairs["p"] == 1).all() and not pairs["is_ahead"].any()
    pair = paired_differences(read(tmp_path, measured("a", 0, [0.5, 0.5]), measured("b", 0, [0.7, 0.7]))).loc[0]
    assert pair["first"] == "b" and pair["p"] == 0.5 and not pair["is_ahead"], "two differences alike are no proof"
    alone = paired_differences(read(tmp_path, measured("a", 0, [0.5]), measured("b", 0, [0.7]))).loc[0]
    assert np.isnan(alone["p"]) and alone["why"] == "one episode has no interval" and not alone["is_ahead"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"n_query": 15}, "queries a class: 5 and 15"),
        ({"split": "val"}, "split: test and val"),
        ({"transductive": True}, "queries seen together: no and yes"),
        ({"within_group": True}, "classes of one group: no and yes"),
        ({"n_way": 20}, "no data set, way and shot in common"),
        ({"n_shot": 5}, "no data set, way and shot in common"),
        ({"dataset": "drawings"}, "no data set, way and shot in common"),
        ({"seed": 1}, "no seed in common (0 and 1)"),
        ({"episode_accuracies": None}, "no accuracies of single episodes were kept of b"),
        ({"episode_accuracies": "[0.5]"}, "no accuracies of single episodes were kept of b"),
        ({"episode_accuracies": "[0.5, NaN]"}, "no accuracies of single episodes were kept of b"),
        ({"episode_accuracies": "{"}, "no accuracies of single episodes were kept of b"),
    ],
)
def test_cells_of_another_protocol_are_never_paired_and_it_is_said_why(tmp_path, changes, why):
    (pair,) = paired_differences(read(tmp_path, measured("a"), {**measured("b"), **changes})).itertuples()
    assert {pair.first, pair.second} == {"a", "b"} and pair.n == 0 and why in pair.why and np.isnan(pair.p) and not pair.is_ahead


def test_episodes_of_another_number_are_not_paired(tmp_path):
    (pair,) = paired_differences(read(tmp_path, measured("a", 0, [0.5] * 4), measured("b", 0, [0.5] * 5))).itertuples()
    assert pair.n == 0 and "episodes a seed: 4 and 5" in pair.why


def test_all_pairs_are_corrected_for_together(tmp_path):
    rows = [row for shot in (1, 5) for row in few_models(3, 10)]
    rows = [{**row, "n_shot": shot} for shot in (1, 5) for row in rows[:6]]
    pairs = paired_differences(read(tmp_path, *rows))
    assert len(pairs) == 6 and pairs["p_holm"].tolist() == pytest.approx(holm(pairs["p"].to_numpy()).tolist())
    smallest = pairs["p"].idxmin()
    assert pairs.loc[smallest, "p_holm"] == pytest.approx(6 * pairs.loc[smallest, "p"])


def test_filters_leave_what_fits_of_cells_standings_and_pairs(tmp_path):
    cells = read(tmp_path, *few_models(3), measured("model0", n_shot=5), failed())
    assert chosen(standings(cells), n_shot=5)["model"].tolist() == ["model0"]
    assert len(chosen(paired_differences(cells), models=["model0", "model1"])) == 1
    assert len(chosen(standings(cells), dataset="nothing")) == 0 and len(chosen(cells, transductive=False)) == 8


# --- what is read ---


def test_a_failed_cell_is_kept_with_its_error_and_what_it_was_given(tmp_path):
    cells = read(tmp_path, measured(), failed("b", "boom", n_way=20), {"key": "x", "status": "failed"})
    assert cells["status"].tolist() == [DONE, FAILED, FAILED] and cells["error"].tolist() == ["", "boom", "no error was kept"]
    assert cells.loc[1, ["model", "n_way", "n_episodes"]].tolist() == ["b", 20, 2] and cells.loc[2, "model"] == "no name"
    assert len(standings(cells)) == 1 and len(paired_differences(cells)) == 0


def test_a_sweep_that_failed_throughout_is_read(tmp_path):
    cells = read(tmp_path, failed("a"), failed("b"))
    assert (cells["status"] == FAILED).all() and len(standings(cells)) == len(paired_differences(cells)) == 0


@pytest.mark.parametrize("changes", [{"accuracy.mean": None}, {"accuracy.mean": 3.0}, {"n_way": None}, {"n_query": 2.5}, {"dataset": None}])
def test_a_cell_without_what_is_needed_is_told_apart(tmp_path, changes):
    cells = read(tmp_path, measured("a"), {**measured("b"), **changes})
    assert cells["status"].tolist() == [DONE, UNUSABLE] and cells.loc[1, "error"] and standings(cells)["model"].tolist() == ["a"]


def test_what_is_no_table_of_a_sweep_is_said(tmp_path):
    for rows, message in (
        ([], "no cell of the sweep has ended yet"),
        ([{"status": "done", "square": 9}], "of another notebook"),
        ([{"square": 9}], "no column status"),
    ):
        with pytest.raises(ResultsError, match=message):
            read(tmp_path, *rows)
    pandas.DataFrame({"status": []}).to_parquet(tmp_path / PARQUET)
    with pytest.raises(ResultsError, match="no cell of the sweep has ended yet"):
        read_results(tmp_path)
    (tmp_path / PARQUET).write_bytes(b"PAR1 and more")
    with pytest.raises(ResultsError, match="cannot be read as a table"):
        read_results(tmp_path)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(ResultsError, match="no such folder"):
        read_results(tmp_path / "nowhere")
    with pytest.raises(ResultsError, match=r"no results.parquet; give"):
        read_results(tmp_path)
    (tmp_path / "results.csv").write_text("status\ndone")
    with pytest.raises(ResultsError, match=r"only results.csv"):
        read_results(str(tmp_path))
    with pytest.raises(ResultsError, match="without the episodes"):
        read_results(tmp_path / "results.csv")
    (tmp_path / PARQUET).mkdir()
    with pytest.raises(ResultsError, match="cannot be read"):
        read_results(tmp_path)


def test_the_example_has_several_models_and_seeds_and_their_episodes():
    cells = read_results()
    assert (cells["status"] == DONE).all() and cells["model"].nunique() >= 3 and cells["seed"].nunique() >= 2
    assert paired_differences(cells)["n"].gt(0).any() and (EXAMPLE / PARQUET).stat().st_size < 300_000
    table = pandas.read_parquet(EXAMPLE / PARQUET)
    for text, mean in zip(table["episode_accuracies"], table["accuracy.mean"], strict=True):
        assert np.mean(json.loads(text)) == pytest.approx(mean)


def test_ten_thousand_cells_are_quick(tmp_path):
    base = measured("a", 0, [0.5] * 20)
    rng = np.random.default_rng(0)
    names = [(f"model{i % 100}", i // 100 % 5, i // 500) for i in range(10_000)]
    episodes = [json.dumps((rng.integers(0, 26, 20) / 25).tolist()) for _ in names]
    table = pandas.DataFrame([base] * len(names))
    table[["param.checkpoint", "seed", "n_shot"]], table["episode_accuracies"] = names, episodes
    table.to_parquet(tmp_path / PARQUET)
    started = time.process_time()
    cells = read_results(tmp_path)
    rows, pairs = standings(cells), paired_differences(cells)
    assert time.process_time() - started < 30 and len(rows) == 2_000 and len(pairs) == 20 * 4950
