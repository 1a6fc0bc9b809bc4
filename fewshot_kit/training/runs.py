"""Runs to look at: settings, curves and results of a run's or a checkpoint's folder, tables of them, and a training that is watched."""

import html
import json
import math
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fewshot_kit.results import Interval, describe_mode
from fewshot_kit.training.checkpoint_folder import WEIGHTS
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.train import CONFIG, LAST, LOG, RESULT, Run, has_begun, open_run, train

RESULTS = "results"  # a folder of a run: what `evaluate --json` is told to write there is in the table of results
_ROW = ("step", "train_loss", "val_accuracy", "val_loss")
_RESULT = ("accuracy", "loss", "dataset", "split", "n_way", "n_shot", "n_episodes", "transductive", "settings")


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run, or of the checkpoint that was made from one."""

    name: str
    folder: Path
    learner: str
    settings: dict = field(repr=False)  # config.json as read
    rows: tuple[dict, ...] = field(repr=False)  # the lines of log.jsonl, one a validation
    results: tuple[dict, ...] = field(repr=False)  # `Evaluation`s as dictionaries

    def curves(self) -> dict[str, np.ndarray]:
        """Return the log by column, each (n_rows,): NaN where there is no value, as in the interval of a single episode."""
        columns = {name: [row[name] for row in self.rows] for name in ("step", "train_loss")}
        for name in ("val_loss", "val_accuracy"):
            columns[name] = [row[name]["mean"] for row in self.rows]
            columns[f"{name}_half_width"] = [row[name]["half_width"] for row in self.rows]
        return {name: np.array(values, dtype=float) for name, values in columns.items()}


def read_run(folder: str | Path) -> RunRecord:
    """Read the folder of a run, finished or not, or of a checkpoint.

    Raises FileNotFoundError where there is none, ValueError for a file that is damaged. The last line of a log may be cut short.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(f"{folder} holds no run: there is no {CONFIG}; give the folder of a run or of a checkpoint")
    settings = _read_json(folder / CONFIG)
    if not {"learner", "training"} <= settings.keys():
        raise ValueError(f"{folder / CONFIG} names no learner and training: it is no run of this kit; choose another folder")
    files = [*[folder / RESULT][: (folder / RESULT).is_file()], *sorted((folder / RESULTS).glob("*.json"))]
    results = [_check_result(_read_json(file), file) for file in files]
    results += [_check_result(result, folder / CONFIG) for result in settings.get("results", ())]
    return RunRecord(folder.resolve().name, folder, settings["learner"], settings, tuple(read_log(folder / LOG)), tuple(results))


def find_runs(folder: str | Path) -> list[Path]:
    """Name the folders of runs and checkpoints in `folder`, itself included, in alphabetical order; hidden folders are passed over."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder} is no folder; give one that holds runs or checkpoints")
    found = (path.parent for path in Path(folder).rglob(CONFIG) if not _is_hidden(path.relative_to(folder)))
    return sorted(path for path in found if any((path / name).is_file() for name in (LOG, LAST, WEIGHTS)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); mend it or take it away") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object; mend it or take it away")
    return content


def read_log(path: Path) -> list[dict]:
    """Return the validations of a log.jsonl; a last line that is being written, or was cut short, is passed over."""
    lines, rows = path.read_text(encoding="utf-8").splitlines() if path.is_file() else [], []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            if number == len(lines):  # it is being written, or the process was killed while it wrote
                break
            raise ValueError(f"{path}, line {number} is not valid JSON ({error}); take the line away") from error
        if not isinstance(rows[-1], dict) or not rows[-1].keys() >= set(_ROW):
            raise ValueError(f"{path}, line {number} is no validation: it needs {', '.join(_ROW)}; take the line away")
    return rows


def _check_result(result: dict, path: Path) -> dict:
    missing = [name for name in _RESULT if name not in result]
    if missing:
        raise ValueError(f"{path} is no measurement of `evaluate --json`: it lacks {', '.join(missing)}; take it away")
    return result


# Tables


def results_table(records: Iterable[RunRecord]) -> list[dict]:
    """Return a row a measurement: accuracy and loss (`Interval`s, fractions and nats) with their protocol, and what was trained on."""
    return [
        {
            "run": record.name,
            "learner": record.learner,
            "samples_per_class": record.settings["training"].get("source", {}).get("samples_per_class"),  # in training; None: all
            **{name: result[name] for name in ("dataset", "split", "n_way", "n_shot", "n_episodes")},
            "accuracy": Interval(**result["accuracy"]),
            "loss": Interval(**result["loss"]),
            "mode": describe_mode(result),
            "settings": result["settings"],
        }
        for record in records
        for result in record.results
    ]


_COLUMNS: dict[str, Callable[[dict], str]] = {
    "run": lambda row: row["run"],
    "learner": lambda row: row["learner"],
    "trained on, pictures a class": lambda row: str(row["samples_per_class"] or "all"),
    "data set": lambda row: f"{row['dataset']} {row['split']}",
    "way": lambda row: str(row["n_way"]),
    "shot": lambda row: str(row["n_shot"]),
    "accuracy": lambda row: row["accuracy"].percent(),
    "cross entropy": lambda row: str(row["loss"]),
    "episodes": lambda row: f"{row['n_episodes']}, {row['mode']}",
    "settings": lambda row: ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in row["settings"].items()) or "–",
}


def markdown_table(rows: Sequence[dict]) -> str:
    """Write the rows of `results_table` as a Markdown table; no name in it can break it."""
    lines = [list(_COLUMNS), ["---"] * len(_COLUMNS)]
    lines += [[_escape_markdown(text(row)) for text in _COLUMNS.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*\[\]$|~])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def html_table(rows: Sequence[dict]) -> str:
    """Write the rows of `results_table` as an HTML table, every text escaped."""
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    body = ("".join(f"<td>{html.escape(text(row))}</td>" for text in _COLUMNS.values()) for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{cells}</tr>' for cells in body)}</tbody></table>"


def to_tensorboard(record: RunRecord, folder: str | Path) -> Path:
    """Write the curves of a run for TensorBoard, into a folder of the run's name; return that folder.

    Raises ImportError without the package `tensorboard`, which this kit does not install.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("TensorBoard is not installed; pip install tensorboard") from error
    place = Path(folder) / record.name
    with SummaryWriter(str(place)) as writer:
        for row in record.rows:
            values = {"loss/training": row["train_loss"], "loss/validation": row["val_loss"]["mean"]}
            values["accuracy/validation"] = row["val_accuracy"]["mean"]
            for name, value in values.items():
                if value is not None:
                    writer.add_scalar(name, value, row["step"], walltime=row.get("seconds"))
    return place


# A training that is watched


@dataclass(frozen=True)
class Progress:
    """Where a training stands."""

    step: int
    n_steps: int
    loss: float  # of training, smoothed over some ten steps
    steps_per_second: float  # since it was started, validations included; NaN until there are two steps

    def __str__(self) -> str:
        text = f"step {self.step} of {self.n_steps}"
        if math.isfinite(self.steps_per_second):
            left = round((self.n_steps - self.step) / self.steps_per_second)
            minutes, seconds = divmod(left, 60)
            hours, minutes = divmod(minutes, 60)
            text += f" · {self.steps_per_second:.3g} steps/s · {f'{hours}:{minutes:02d}' if hours else minutes}:{seconds:02d} left"
        return f"{text} · training loss {self.loss:.3f} (smoothed)"


def describe_row(row: dict) -> str:
    """Write a line of the log for a person."""
    accuracy, loss = Interval(**row["val_accuracy"]), Interval(**row["val_loss"])
    best = ", the best so far" if row.get("best") else ""
    return f"validation at step {row['step']}: {accuracy.percent()}, cross entropy {loss}{best}; training loss {row['train_loss']:.3f}"


class TrainingSession:
    """A training that is watched: what a panel shows of a run, without a widget in it."""

    def __init__(self, folder: str | Path, learner_name: str, learner_config, config: TrainConfig):
        self.folder, self.learner_name, self.learner_config, self.config = Path(folder), learner_name, learner_config, config
        self.run: Run | None = None  # once it was opened

    @property
    def is_new(self) -> bool:
        return not has_begun(self.folder)

    @property
    def is_finished(self) -> bool:
        """Say whether the run was trained to its end; of a folder that was not opened yet, it is not known."""
        return self.run is not None and self.run.step == self.config.outer_steps

    def record(self) -> RunRecord | None:
        return None if self.is_new else read_run(self.folder)

    def train(
        self,
        *,
        resume: bool = False,
        on_step: Callable[[Progress], None] | None = None,
        on_evaluation: Callable[[dict], None] | None = None,
    ) -> bool:
        """Begin the run, or go on with it; return whether it is finished. Raise `Cancelled` in `on_step` to stop: the state is saved."""
        self.run = open_run(self.folder, self.learner_config, self.config, resume=resume)
        n_losses, smoothed, started = 0, 0.0, 0.0

        def note(run: Run, loss: float) -> None:
            nonlocal n_losses, smoothed, started
            n_losses, smoothed = n_losses + 1, 0.9 * smoothed + 0.1 * loss
            started = started or time.perf_counter()  # not before: the data had to be loaded
            rate = (n_losses - 1) / (time.perf_counter() - started) if n_losses > 1 else math.nan
            if on_step is not None:
                on_step(Progress(run.step, self.config.outer_steps, smoothed / (1 - 0.9**n_losses), rate))

        return train(self.run, on_step=note, on_evaluation=on_evaluation)
