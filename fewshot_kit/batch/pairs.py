"""Who is ahead of whom: models compared by the very same episodes, and every pair corrected for all the others."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations, islice, product

import numpy as np
import pandas
from scipy.special import stdtr

from fewshot_kit.batch.results_file import DONE, PROTOCOL, TASK

LEVEL = 0.05  # of the corrected p below which one is ahead
MOST_MODELS = 100  # under one protocol: pairs grow with their square
MOST_NEVER_MET = 500  # pairs without a data set, way and shot in common
COLUMNS = [*PROTOCOL, "first", "second", "seeds", "n", "difference", "half_width", "p", "p_holm", "is_ahead", "why"]
WORDS = {
    "split": "split", "n_query": "queries a class", "within_group": "classes of one group", "transductive": "queries seen together",
    "n_episodes": "episodes a seed",
}  # fmt: skip


def paired_differences(cells: pandas.DataFrame) -> pandas.DataFrame:
    """Compare every two models under each protocol, by their differences in the very same episodes, those of the seeds that both have.

    `first` has the larger mean; `difference` is first minus second, a fraction, with its 95 % `half_width` (1.96 s / sqrt(n)) over `n`
    episodes; `p` is of the paired t-test, `p_holm` corrected over all the pairs returned (Holm 1979), and `is_ahead` where that is below
    0.05. A pair that could not be compared has n = 0, and `why`. Of more than 100 models under a protocol, the 100 best are compared.
    """
    done = cells[cells["status"] == DONE]
    rows = [row for protocol, group in done.groupby(list(PROTOCOL)) for row in _compared(dict(zip(PROTOCOL, protocol, strict=True)), group)]
    pairs = pandas.DataFrame([*rows, *_other_protocols(done), *_never_met(done)], columns=COLUMNS)
    pairs[["difference", "half_width", "p"]] = pairs[["difference", "half_width", "p"]].astype(float)
    whole = ["n_way", "n_shot", "n_query", "n_episodes"]
    pairs[whole] = pairs[whole].astype("Int64")  # not 5.0 beside a pair that has no way
    pairs = pairs.sort_values(
        [*PROTOCOL, "difference", "first", "second"], ascending=[True] * len(PROTOCOL) + [False, True, True], ignore_index=True
    )
    pairs["p_holm"] = holm(pairs["p"].to_numpy(dtype=float))
    pairs["is_ahead"] = pairs["p_holm"] < LEVEL
    return pairs


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p values (n,) for their number, so that the chance of one false finding or more stays below the level (Holm 1979).

    NaN stays NaN and is not counted.
    """
    corrected = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: int(np.isfinite(p).sum())]  # NaN is sorted last
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(factors * p[order]))
    return corrected


def _compared(protocol: dict, group: pandas.DataFrame) -> Iterator[dict]:
    """Yield a row for every two models of one protocol."""
    models = sorted(group.groupby("model")["accuracy"].mean().sort_values(ascending=False).index[:MOST_MODELS])
    seeds, accuracies = _by_seed(group, models)
    for place, model in enumerate(models[:-1]):
        found = _differences(accuracies[place] - accuracies[place + 1 :])
        for other, n, mean, half_width, p in zip(models[place + 1 :], *(values.tolist() for values in found), strict=True):
            first, second = (other, model) if mean < 0 else (model, other)
            row = {**protocol, "first": first, "second": second, "seeds": tuple(sorted(seeds[first] & seeds[second])), "n": n}
            if n > 1:
                yield {**row, "difference": abs(mean), "half_width": half_width, "p": p}
            else:
                yield {**row, "why": "one episode has no interval" if n else _reason(group, seeds, first, second)}


def _by_seed(group: pandas.DataFrame, models: list[str]) -> tuple[dict[str, set[int]], np.ndarray]:
    """Return the seeds of each model, and accuracies (models, episodes of all seeds), NaN where a model has none."""
    seeds: dict[str, set[int]] = defaultdict(set)
    kept = group[group["model"].isin(models)]
    places = {seed: place for place, seed in enumerate(sorted(set(kept["seed"])))}
    length = max((len(episodes) for episodes in kept["episodes"] if episodes is not None), default=0)
    accuracies = np.full((len(models), len(places), length), np.nan)
    rows = {model: row for row, model in enumerate(models)}
    for model, seed, episodes in zip(kept["model"], kept["seed"], kept["episodes"], strict=True):
        seeds[model].add(int(seed))
        if episodes is not None:
            accuracies[rows[model], places[seed]] = episodes
    return seeds, accuracies.reshape(len(models), -1)


def _differences(values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return n, mean, half width and p, each (pairs,), of differences (pairs, episodes), NaN where one of the two has no such episode."""
    is_known = np.isfinite(values)
    n = is_known.sum(axis=1)
    mean = np.where(is_known, values, 0).sum(axis=1) / np.maximum(n, 1)
    squares = np.where(is_known, values - mean[:, None], 0) ** 2
    error = np.sqrt(squares.sum(axis=1) / np.maximum(n - 1, 1) / np.maximum(n, 1))
    t = np.divide(np.abs(mean), error, out=np.where(mean == 0, 0.0, np.inf), where=error > 0)
    # Of n differences, chance alone gives all of them one sign with 2 / 2^n: where all are alike, the t-test would be surer than that.
    p = np.maximum(2 * stdtr(np.maximum(n - 1, 1), -t), 2.0 ** (1.0 - n))
    return n, mean, 1.96 * error, np.minimum(p, 1)


def _reason(group: pandas.DataFrame, seeds: dict[str, set[int]], first: str, second: str) -> str:
    if not seeds[first] & seeds[second]:
        return f"no seed in common ({_listed(seeds[first])} and {_listed(seeds[second])})"
    lacking = set(group.loc[group["episodes"].isna(), "model"])
    return f"no accuracies of single episodes were kept of {' and '.join(name for name in (first, second) if name in lacking)}"


def _listed(values: set[int]) -> str:
    return ", ".join(map(str, sorted(values)[:10])) + ", …" * (len(values) > 10)


def _other_protocols(done: pandas.DataFrame) -> Iterator[dict]:
    """Yield the pairs that have a data set, way and shot in common, but were measured there in other ways."""
    for task, group in done.groupby(list(TASK)):
        ways: dict[str, set[tuple]] = defaultdict(set)
        for model, *rest in group[["model", *WORDS]].drop_duplicates().itertuples(index=False):
            ways[model].add(tuple(rest))
        for first, second in combinations(sorted(ways)[:MOST_MODELS], 2):
            if not ways[first] & ways[second]:
                mine, other = min(product(ways[first], ways[second]), key=lambda pair: len(_unlike(*pair)))
                yield {**dict(zip(TASK, task, strict=True)), "first": first, "second": second, "n": 0, "why": _say_unlike(mine, other)}


def _unlike(mine: tuple, other: tuple) -> list[tuple]:
    return [(name, a, b) for name, a, b in zip(WORDS, mine, other, strict=True) if a != b]


def _say_unlike(mine: tuple, other: tuple) -> str:
    told = [f"{WORDS[name]}: {_value(a)} and {_value(b)}" for name, a, b in _unlike(mine, other)]
    return f"measured in other ways ({', '.join(told)})"


def _value(value: object) -> str:
    return str(value) if not isinstance(value, bool | np.bool_) else "yes" if value else "no"


def _never_met(done: pandas.DataFrame) -> Iterator[dict]:
    tasks: dict[str, set[tuple]] = defaultdict(set)
    for model, *task in done[["model", *TASK]].drop_duplicates().itertuples(index=False):
        tasks[model].add(tuple(task))
    pairs = (pair for pair in combinations(sorted(tasks)[:MOST_MODELS], 2) if not tasks[pair[0]] & tasks[pair[1]])
    for first, second in islice(pairs, MOST_NEVER_MET):
        yield {"first": first, "second": second, "n": 0, "why": "no data set, way and shot in common"}
