"""The results of a sweep as a leaderboard: seeds pooled, and what the filters leave."""

from collections.abc import Collection
from typing import Any

import pandas

from fewshot_kit.batch.results_file import DONE, PROTOCOL


def standings(cells: pandas.DataFrame) -> pandas.DataFrame:
    """Return a row for each model under each protocol, the best first: mean and 95 % half width over the episodes of all its seeds.

    Pooled from each seed's mean, interval and number of episodes, which gives what all the episodes together give. `seconds` is of one
    episode; `place` counts from 1 under each protocol; `seeds` is a tuple.
    """
    done = cells[cells["status"] == DONE]
    by, n = [*PROTOCOL, "model"], done["n_episodes"].astype(float)
    parts = done[[*by, "seed", "n_parameters"]].assign(n=n, total=n * done["accuracy"], seconds=done["seconds"])
    sums = parts.groupby(by)[["n", "total"]].transform("sum")
    variance = (done["half_width"] / 1.96) ** 2 * n
    parts["squares"] = (n - 1) * variance.where(n > 1, 0.0) + n * (done["accuracy"] - sums["total"] / sums["n"]) ** 2
    groups = parts.groupby(by, sort=False)
    pooled = groups[["n", "total"]].sum()
    for name in ("squares", "seconds"):
        pooled[name] = groups[name].sum(min_count=1).where(groups[name].count() == groups["n"].count())  # not of a few of its seeds
    pooled["seeds"] = groups["seed"].agg(lambda seeds: tuple(sorted(map(int, seeds))))
    pooled["n_parameters"] = groups["n_parameters"].max()
    pooled["accuracy"], pooled["seconds"] = pooled["total"] / pooled["n"], pooled["seconds"] / pooled["n"]
    more = pooled["n"].where(pooled["n"] > 1)
    pooled["half_width"] = 1.96 * (pooled["squares"] / (more - 1) / more) ** 0.5
    table = pooled.reset_index().drop(columns=["total", "squares"])
    table = table.sort_values([*PROTOCOL, "accuracy", "model"], ascending=[True] * len(PROTOCOL) + [False, True], ignore_index=True)
    return table.assign(place=table.groupby(list(PROTOCOL)).cumcount() + 1)


def chosen(
    rows: pandas.DataFrame,
    *,
    dataset: str | None = None,
    n_way: int | None = None,
    n_shot: int | None = None,
    transductive: bool | None = None,
    models: Collection[str] | None = None,
) -> pandas.DataFrame:
    """Return the cells, standings or pairs that fit; None lets all through. A pair fits where both of its models do."""
    wanted = {"dataset": dataset, "n_way": n_way, "n_shot": n_shot, "transductive": transductive}
    fits = pandas.Series(True, index=rows.index)
    for name, value in wanted.items():
        if value is not None:
            fits &= (rows[name] == value).fillna(False).astype(bool)
    for name in {"model", "first", "second"} & set(rows.columns):
        if models is not None:
            fits &= rows[name].isin(list(models))
    return rows[fits]


def protocol_text(row: Any) -> str:
    """Write the protocol of a row as a person says it."""
    mode = "all queries seen together" if row["transductive"] else "one query at a time"
    group = ", classes of one group" if row["within_group"] else ""
    where = f"{row['dataset']} {row['split']}, {row['n_way']}-way {row['n_shot']}-shot"
    n_query, n_episodes = row["n_query"], row["n_episodes"]
    queries, episodes = "query" if n_query == 1 else "queries", "episode" if n_episodes == 1 else "episodes"
    return f"{where}: {n_query} {queries} a class, {n_episodes} {episodes} a seed, {mode}{group}"
