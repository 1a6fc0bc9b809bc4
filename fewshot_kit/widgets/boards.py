"""What the pictures of a leaderboard draw, from its tables."""

from collections.abc import Mapping

import numpy as np
import pandas

from fewshot_kit.batch.leaderboard import protocol_text
from fewshot_kit.batch.results_file import PROTOCOL
from fewshot_kit.plots.leaderboard import Board, Model

MOST_BOARDS = 6
MOST_MODELS = 30  # of each
MOST_ROWS = 48  # of all together


def boards(standings: pandas.DataFrame, pairs: pandas.DataFrame, looks: Mapping[str, int] | None = None) -> list[Board]:
    """Return the protocols of some standings as pictures draw them, the first six or fewer, with the 30 best models of each.

    `looks` gives each model its colour and marker; without, their order does.
    """
    looks = looks or {model: place for place, model in enumerate(sorted(set(standings["model"])))}
    compared = dict(list(pairs[pairs["n"] > 1].groupby(list(PROTOCOL))))
    groups = [(protocol, rows.head(MOST_MODELS)) for protocol, rows in standings.groupby(list(PROTOCOL))]
    ends = np.cumsum([len(rows) for _, rows in groups])
    groups = groups[: max(1, min(MOST_BOARDS, int((ends <= MOST_ROWS).sum())))]
    return [_board(rows, compared.get(protocol, pairs.head(0)), looks) for protocol, rows in groups]


def _board(rows: pandas.DataFrame, pairs: pandas.DataFrame, looks: Mapping[str, int]) -> Board:
    models = [
        Model(row.model, row.accuracy, row.half_width, row.seconds, row.n_parameters, looks.get(row.model, 0)) for row in rows.itertuples()
    ]
    places = {model.name: place for place, model in enumerate(models)}
    differences, half_widths, verdicts = (np.full((len(models), len(models)), np.nan) for _ in range(3))
    for pair in pairs.itertuples():
        if pair.first in places and pair.second in places:
            first, second = places[pair.first], places[pair.second]
            differences[first, second], differences[second, first] = pair.difference, -pair.difference
            half_widths[first, second] = half_widths[second, first] = pair.half_width
            verdicts[first, second], verdicts[second, first] = int(pair.is_ahead), -int(pair.is_ahead)
    return Board(protocol_text(rows.iloc[0]), models, differences, half_widths, verdicts)
