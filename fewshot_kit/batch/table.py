"""The results of all cells in a folder as one table: a row a cell, with its whole protocol."""

import io
import json
from pathlib import Path
from typing import Any

import pandas

from fewshot_kit.batch.cells import CELLS, ERROR, RESULT
from fewshot_kit.batch.results_file import CSV, EPISODES, PARQUET
from fewshot_kit.data.files import write_together
from fewshot_kit.data.locks import locked

WAITED = 60.0  # seconds for another sweep that writes its table


def write_table(out: Path) -> pandas.DataFrame:
    """Write results.parquet and results.csv of all cells below `out` that are done or have failed, both whole, and return the table."""
    with locked(out / ".table.lock", out, WAITED):
        table = read_cells(out).apply(_of_one_type)
        parquet = io.BytesIO()
        table.to_parquet(parquet, index=False)
        short = table.drop(columns=EPISODES, errors="ignore")
        write_together({out / PARQUET: parquet.getvalue(), out / CSV: short.to_csv(index=False).encode("utf-8")})
    return table


def read_cells(out: Path) -> pandas.DataFrame:
    """Return a row for each cell: `status` (done or failed), `param.<name>`, `<metric>.mean`, ..., `error`; sorted by key.

    Of cells of one notebook and the same parameters, the newest: the weights, the pictures or the code of the others are no longer there.
    """
    rows: dict[str, tuple[int, dict[str, Any]]] = {}
    for folder in sorted((out / CELLS).glob("*/")):
        done, failed = folder / RESULT, folder / ERROR
        file = done if done.is_file() else failed
        if not file.is_file():
            continue
        try:
            values, written = json.loads(file.read_text(encoding="utf-8")), file.stat().st_mtime_ns
            asked = json.dumps([values["notebook"], values["parameters"]], sort_keys=True)
            rows[asked] = max(rows.get(asked, (-1, {})), (written, _row(folder.name, values, is_done=file == done)), key=lambda row: row[0])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file} is damaged ({error!r}); delete {folder}, and the sweep runs that cell again") from error
    return pandas.DataFrame(sorted((row for _, row in rows.values()), key=lambda row: row["key"]))


def _row(key: str, values: dict[str, Any], *, is_done: bool) -> dict[str, Any]:
    parameters = _flat("param", values["parameters"])
    if not is_done:
        return {"key": key, "status": "failed", **parameters, "error": values["error"]}
    rest = {name: values[name] for name in ("cell_seconds", "kit_version", "notebook")}
    ours = {"key": key, "status": "done", **parameters}
    taken = {*ours, *rest, "error"}
    result = {f"result.{name}" if name in taken else name: value for name, value in _flat("", values["result"]).items()}
    return {**ours, **result, **rest}


def _of_one_type(column: pandas.Series) -> pandas.Series:
    """Return a column as it is, or as texts where its values are of several types or too large: Parquet knows none such."""
    kinds = set(map(type, column.dropna()))
    if column.dtype != object or kinds <= {str} or kinds <= {bool}:
        return column
    return column.map(lambda value: value if value is None or isinstance(value, str) or value != value else json.dumps(value))


def _flat(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return nested values by dotted names; lists as JSON."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        place = f"{prefix}.{name}" if prefix else name
        if isinstance(value, dict):
            found |= _flat(place, value)
        else:
            found[place] = json.dumps(value) if isinstance(value, list) else value
    return found
