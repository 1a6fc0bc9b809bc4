"""The tables of a leaderboard as HTML, every text escaped: standings, pairs, and the cells that do not count."""

import html
import re
from collections.abc import Iterable, Mapping

import pandas

from fewshot_kit.batch.leaderboard import protocol_text
from fewshot_kit.batch.results_file import FAILED, PROTOCOL, UNUSABLE
from fewshot_kit.results import Interval
from fewshot_kit.widgets.controls import ALARM, TEXT

MOST_ROWS = 200  # of a table
MOST_ERROR = 300  # letters
ANSI = re.compile(r"\x1b\[[0-9;]*m")
BOX = "overflow:auto;contain:inline-size;border:1px solid var(--jp-border-color2);border-radius:3px;padding:2px 8px"
CELL = "padding:2px 8px 2px 0;text-align:left;vertical-align:top;overflow-wrap:anywhere;border-bottom:1px solid var(--jp-border-color2)"
STANDINGS = {"place": 7, "model": 33, "accuracy": 14, "ahead of": 13, "episodes": 13, "seconds an episode": 10, "parameters": 10}
PAIRS = {"pair": 42, "difference": 15, "episodes": 12, "p": 8, "measured on": 23}  # percent of the table's width


def standings_html(standings: pandas.DataFrame, pairs: pandas.DataFrame) -> str:
    """Write a table a protocol: place, model, accuracy, and the places of those it is ahead of."""
    ahead = pairs[pairs["is_ahead"]].groupby(list(PROTOCOL)) if pairs["is_ahead"].any() else None
    pages, left = [], MOST_ROWS
    for protocol, rows in standings.groupby(list(PROTOCOL)):
        if left <= 0:
            break
        winners = ahead.get_group(protocol) if ahead is not None and protocol in ahead.groups else pairs.head(0)
        pages.append(f'<p style="margin:8px 0 2px"><b>{_text(protocol_text(rows.iloc[0]))}</b></p>{_one_table(rows.head(left), winners)}')
        left -= len(rows)
    return f'<div style="{BOX};max-height:440px">{"".join(pages)}{_rest(len(standings), "rows")}</div>'


def _one_table(rows: pandas.DataFrame, winners: pandas.DataFrame) -> str:
    places = dict(zip(rows["model"], rows["place"], strict=True))
    beaten = {first: sorted(places[name] for name in group if name in places) for first, group in winners.groupby("first")["second"]}
    lines = [
        (
            str(row.place), row.model, Interval(row.accuracy, row.half_width).percent().replace("± nan", "± ?"),
            ", ".join(map(str, beaten.get(row.model, []))) or "–", f"{row.n:.0f} ({_seeds(row.seeds)})",
            _number(row.seconds, ".2g"), _number(row.n_parameters, ",.0f"),
        )
        for row in rows.itertuples()
    ]  # fmt: skip
    return _table(STANDINGS, lines)


def _seeds(seeds: tuple[int, ...]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"


def _number(value: float, how: str) -> str:
    return "–" if pandas.isna(value) else format(value, how)


def pairs_html(pairs: pandas.DataFrame, n_corrected: int) -> str:
    """Write every pair that was compared with its difference and p, and below them those that were not, with the reason."""
    compared, others = pairs[pairs["p"].notna()], pairs[pairs["p"].isna()]
    lines = [
        (
            f"{row.first} {'is ahead of' if row.is_ahead else 'is not significantly ahead of'} {row.second}",
            f"{100 * row.difference:+.1f} ± {100 * row.half_width:.1f} points", f"{row.n} ({_seeds(row.seeds)})", _p(row.p_holm),
            f"{row.dataset} {row.split}, {row.n_way}-way {row.n_shot}-shot",
        )
        for row in compared.head(MOST_ROWS).itertuples()
    ]  # fmt: skip
    found = ""
    if lines:
        corrected = f"p corrected for {_counted(n_corrected, 'pair')}, all of these results."
        found = f"{_counted(len(compared), 'pair')} compared by the same episodes; {corrected}"
        found += _table(PAIRS, lines) + _rest(len(compared), "pairs")
    if len(others):
        items = [f"{row.first} and {row.second}{_where(row)}: {row.why}" for row in others.head(MOST_ROWS).itertuples()]
        said = f"{_counted(len(others), 'pair')} could not be paired:"
        found += f'<p style="margin:8px 0 2px">{said}</p>{_list(items)}{_rest(len(others), "pairs")}'
    return f'<div style="{BOX};max-height:300px">{found or "no two models to compare"}</div>'


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _where(row) -> str:
    return "" if pandas.isna(row.dataset) else f" ({row.dataset}, {row.n_way}-way {row.n_shot}-shot)"


def trouble_html(cells: pandas.DataFrame) -> str:
    """Write the cells that failed, or that cannot be used, each with its error."""
    bad = cells[cells["status"].isin([FAILED, UNUSABLE])]
    if not len(bad):
        return ""
    items = [f"{_cell(row)}: {_error(row.error)}" for row in bad.head(MOST_ROWS).itertuples()]
    return (
        f'<div role="alert" style="color:{ALARM}">⚠ {_counted(len(bad), "cell")} failed or cannot be used, whatever the filters show:'
        f'<div style="{BOX};max-height:200px">{_list(items)}{_rest(len(bad), "cells")}</div></div>'
    )


def _cell(row) -> str:
    task = f"{row.n_way}-way {row.n_shot}-shot, seed {row.seed}".replace("<NA>", "?")
    return f"{row.model}, {row.dataset or 'no data set'}, {task}"


def _error(error: str) -> str:
    """Return what an error ends with: of a traceback, that is what went wrong."""
    lines = [" ".join(line.split()) for line in ANSI.sub("", error).splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return last if len(last) <= MOST_ERROR else f"{last[:MOST_ERROR]} …"


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def _rest(n: int, what: str) -> str:
    return f'<p style="margin:2px 0">… and {n - MOST_ROWS:,} {what} more: choose by the filters</p>' if n > MOST_ROWS else ""


def _text(value: object) -> str:
    return html.escape(str(value))


def _list(items: Iterable[str]) -> str:
    return f'<ul style="margin:0">{"".join(f"<li>{_text(item)}</li>" for item in items)}</ul>'


def _table(widths: Mapping[str, int], lines: Iterable[Iterable[str]]) -> str:
    """Write a table with columns of these widths, whatever is in them; where there is no room, it scrolls."""
    style = f"table-layout:fixed;min-width:680px;width:100%;border-collapse:collapse;font-size:12px;line-height:1.4;color:{TEXT}"
    head = "".join(f'<th style="{CELL};width:{width}%">{_text(name)}</th>' for name, width in widths.items())
    rows = "".join("<tr>" + "".join(f'<td style="{CELL}">{_text(text)}</td>' for text in line) + "</tr>" for line in lines)
    return f'<table style="{style}"><tr>{head}</tr>{rows}</table>'
