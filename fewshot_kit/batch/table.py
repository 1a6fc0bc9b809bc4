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
        table = read_cells(out)
        parquet = io.BytesIO()
        table.to_parquet(parquet, index=False)
        short = table.drop(columns=EPISODES, errors="ignore")
        write_together({out / PARQUET: parquet.getvalue(), out / CSV: short.to_csv(index=False).encode("utf-8")})
    return table


def read_cells(out: Path) -> pandas.DataFrame:
    """Return a row for each cell: `status` (done or failed), `param.<name>`, `<metric>.mean`, ..., `error`; sorted by key."""
    rows = []
    for folder in sorted((out / CELLS).glob("*/")):
        done, failed = folder / RESULT, folder / ERROR
        if done.is_file():
            values = json.loads(done.read_text(encoding="utf-8"))
            rest = {name: values[name] for name in ("cell_seconds", "kit_version", "notebook")}
            rows.append(
                {"key": folder.name, "status": "done", **_flat("param", values["parameters"]), **_flat("", values["result"]), **rest}
            )
        elif failed.is_file():
            values = json.loads(failed.read_text(encoding="utf-8"))
            rows.append({"key": folder.name, "status": "failed", **_flat("param", values["parameters"]), "error": values["error"]})
    return pandas.DataFrame(rows)


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
