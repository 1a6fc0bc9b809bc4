"""Tables of what was measured: a row a measurement, with its protocol."""

from collections.abc import Callable, Iterable, Sequence

from fewshot_kit.results import Interval, describe_mode
from fewshot_kit.training.markdown import escaped
from fewshot_kit.training.runs import RunRecord


def results_table(records: Iterable[RunRecord]) -> list[dict]:
    """Return a row a measurement: accuracy and loss (`Interval`s, fractions and nats) with their protocol, and what was trained on.

    Of a detector, the accuracy is its mAP50, as `metric` says, and there is no loss.
    """
    return [
        {
            "run": record.name,
            "learner": record.learner,
            "samples_per_class": record.training.get("samples_per_class"),  # in training; None: all
            **{name: result[name] for name in ("dataset", "split", "n_way", "n_shot", "n_episodes")},
            "metric": result.get("primary", "accuracy"),
            "accuracy": Interval(**result[result.get("primary", "accuracy")]),
            "loss": Interval(**result["loss"]) if "loss" in result else None,
            "mode": describe_mode(result),
            "settings": result.get("settings", {}),
        }
        for record in records
        for result in record.results
    ]


_COLUMNS: dict[str, Callable[[dict], str]] = {
    "run": lambda row: row["run"],
    "learner": lambda row: row["learner"],
    "trained on": lambda row: f"{row['samples_per_class']} pictures a class" if row["samples_per_class"] else "all pictures",
    "measured on": lambda row: f"{row['dataset']} {row['split']}",
    "classes": lambda row: str(row["n_way"]),
    "pictures each": lambda row: str(row["n_shot"]),
    "accuracy": lambda row: f"{'mAP50 ' * (row['metric'] == 'map50')}{row['accuracy'].percent()}",
    "cross entropy": lambda row: "–" if row["loss"] is None else str(row["loss"]),
    "episodes": lambda row: f"{row['n_episodes']}, {row['mode']}",
    "settings": lambda row: ", ".join(_setting(name, value) for name, value in row["settings"].items()) or "–",
}
_WORDS = {"inner_lr": "learning rate", "inner_steps": "epochs"}


def _setting(name: str, value: object) -> str:
    words = _WORDS.get(name, name.replace("_", " "))
    return f"{words} {value:.3g}" if isinstance(value, (int, float)) else f"{words} {value}"


def table_texts(rows: Sequence[dict]) -> list[list[str]]:
    """Return the head and the rows of `results_table` as plain texts: whoever shows them escapes them."""
    return [list(_COLUMNS), *([text(row) for text in _COLUMNS.values()] for row in rows)]


def markdown_table(rows: Sequence[dict]) -> str:
    """Write the rows of `results_table` as a Markdown table; no name in it can break it."""
    head, *lines = table_texts(rows)
    lines = [head, ["---"] * len(head), *(map(escaped, line) for line in lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
