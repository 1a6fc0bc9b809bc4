"""What a run's folder says, or a checkpoint's: its settings, the curve of its training and what was measured of it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fewshot_kit.data.opening import open_regular
from fewshot_kit.results import describe_metrics
from fewshot_kit.training.checkpoint_folder import WEIGHTS
from fewshot_kit.training.run_folder import CONFIG, LAST, LOG, RESULT
from fewshot_kit.training.schema import MAX_BYTES, SchemaError, check_run, read_json

MOST = 1e300  # of a number that is drawn
RESULTS = "results"  # a folder of a run: what `evaluate --json` is told to write there is in the table of results
_TEXTS, _NUMBERS = ("dataset", "split"), ("n_way", "n_shot", "n_episodes")
NO_VALUE = {"mean": None, "half_width": None}

# What each learner means by its training loss: all are of training tasks, and none can be compared with the validation's.
TRAINING_LOSSES = {
    "reptile": "cross entropy on the pictures of training tasks, just before the last inner step",
    "maml": "cross entropy on the queries of training tasks, after the inner loop",
    "meta_sgd": "cross entropy on the queries of training tasks, after the inner loop",
    "meta_lstm": "cross entropy on the queries of training tasks, after the inner loop",
    "mtl": "cross entropy on the queries of training tasks, after the inner loop",
    "protonet": "cross entropy on the queries of training tasks",
    "magnet": "Magnet loss: how close clusters are to those of other classes",
    "repmet": "RepMet's loss over the classes of training, by distance to their representatives",
    "softmax": "cross entropy over all classes of training at once",
    "nearest_mean": "cross entropy over all classes of training at once, with smoothed labels",
    "logistic": "cross entropy over all classes of training at once, with smoothed labels",
    "linear_head": "cross entropy over all classes of training at once, with smoothed labels",
    "repmet_detector": "of proposals, of edges, and RepMet's loss over the classes of training and the background",
    "softmax_detector": "of proposals, of edges, and the cross entropy over the classes of training and the background",
}
OWN_TASKS = "of its own training tasks"  # of a learner that is not in the list


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run, or of the checkpoint that was made from one."""

    name: str
    folder: Path
    learner: str
    settings: dict = field(repr=False)  # config.json as read
    rows: tuple[dict, ...] = field(repr=False)  # the lines of log.jsonl, one a validation
    results: tuple[dict, ...] = field(repr=False)  # `Evaluation`s as dictionaries
    problems: tuple[str, ...] = ()  # the measurements that could not be read, and why

    @property
    def training(self) -> dict:
        """The settings of its training by name, those of its source of tasks among them."""
        training = self.settings["training"]
        return {**training, **training.get("source", {})} if isinstance(training.get("source", {}), dict) else training

    @property
    def dataset(self) -> str:
        """What it was trained on, "" where that is not recorded."""
        return str(self.training.get("dataset") or "")

    @property
    def validated_on(self) -> tuple[str, int | None, int | None]:
        """Data set, classes and pictures each of its validation: accuracies of other tasks cannot be compared."""
        training = self.training  # n_way and n_shot: as older runs call it
        way, shot = (training.get(f"val_{name}", training.get(f"n_{name}")) for name in ("way", "shot"))
        return self.dataset, way if isinstance(way, int) else None, shot if isinstance(shot, int) else None

    def best(self) -> dict | None:
        """Return the line of the best validation, by its primary metric, None before the first."""
        known = [row for row in self.rows if score_of(row)["mean"] is not None]
        return max(known, key=lambda row: score_of(row)["mean"], default=None)

    def curves(self) -> dict[str, np.ndarray]:
        """Return the log by column, each (n_rows,): NaN where there is no value, as in the interval of a single episode.

        Of a detector, `val_accuracy` is its mAP50, and there is no validation loss.
        """
        columns = {name: [row[name] for row in self.rows] for name in ("step", "train_loss")}
        of_validation = {"val_loss": [row.get("val_loss", NO_VALUE) for row in self.rows], "val_accuracy": [*map(score_of, self.rows)]}
        for name, intervals in of_validation.items():
            columns[name] = [interval["mean"] for interval in intervals]
            columns[f"{name}_half_width"] = [interval["half_width"] for interval in intervals]
        return {name: np.array(values, dtype=float) for name, values in columns.items()}


def find_runs(folder: str | Path) -> list[Path]:
    """Name the folders of runs and checkpoints in `folder`, itself included, in alphabetical order; hidden folders are passed over."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder} is no folder; give one that holds runs or checkpoints")
    found = (path.parent for path in Path(folder).rglob(CONFIG) if not _is_hidden(path.relative_to(folder)))
    return sorted(path for path in found if any((path / name).is_file() for name in (LOG, LAST, WEIGHTS)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def read_runs(places: Iterable[str | Path]) -> tuple[list[RunRecord], list[str]]:
    """Read every run and checkpoint in these folders; also return what could not be read, a sentence each: the others do not suffer."""
    records: dict[Path, RunRecord] = {}
    problems: list[str] = []
    for place in places:
        try:
            folders = find_runs(place)
        except OSError as error:
            problems.append(str(error))
            continue
        for folder in folders:
            try:
                records[folder.resolve()] = read_run(folder)
            except (OSError, ValueError) as error:
                problems.append(str(error))
    return list(records.values()), problems + [problem for record in records.values() for problem in record.problems]


def read_run(folder: str | Path) -> RunRecord:
    """Read the folder of a run, finished or not, or of a checkpoint.

    Raises FileNotFoundError where there is none, ValueError if the settings or the log are damaged. The last line of a log may be cut
    short; a measurement that is damaged is left out and named in `problems`.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(f"{folder} holds no run: there is no {CONFIG}; give the folder of a run or of a checkpoint")
    settings = _read_json(folder / CONFIG)
    try:
        check_run(settings)
    except SchemaError as error:
        raise ValueError(f"{folder / CONFIG} {error}; choose another folder") from error
    results, problems = _read_results(folder, settings)
    rows = tuple(read_log(folder / LOG))
    return RunRecord(folder.resolve().name, folder, settings["learner"], settings, rows, tuple(results), tuple(problems))


def _read_results(folder: Path, settings: dict) -> tuple[list[dict], list[str]]:
    """Return the measurements of a run, and what is wrong with those that cannot be read."""
    results, problems = [], []
    for file in [*[folder / RESULT][: (folder / RESULT).is_file()], *sorted((folder / RESULTS).glob("*.json"))]:
        try:
            results.append(_check_result(_read_json(file), file))
        except (OSError, ValueError) as error:
            problems.append(str(error))
    recorded = settings.get("results", [])
    for result in recorded if isinstance(recorded, list) else [recorded]:
        try:
            results.append(_check_result(result, folder / CONFIG))
        except ValueError as error:
            problems.append(str(error))
    return results, problems


def _read_json(path: Path) -> dict:
    try:
        return read_json(path)
    except SchemaError as error:
        raise ValueError(f"{path} {error}; mend it or take it away") from error


def read_log(path: Path) -> list[dict]:
    """Return the validations of a log.jsonl; a last line that is being written, or was cut short, is passed over."""
    lines = _lines(path) if path.is_file() else []
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            if number == len(lines):  # it is being written, or the process was killed while it wrote
                break
            raise ValueError(f"{path}, line {number} is not valid JSON ({error}); take the line away") from error
        if not _is_validation(rows[-1]):
            needed = "step, train_loss, val_accuracy and val_loss, or what it names as primary in their place"
            raise ValueError(f"{path}, line {number} is no validation: it needs {needed}; take the line away")
    return rows


def _lines(path: Path) -> list[str]:
    with open_regular(path) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES:,} bytes; take it away")
    try:
        return content.decode("utf-8").splitlines()
    except ValueError as error:
        raise ValueError(f"{path} is no text ({error}); take it away") from error


def score_of(row: dict) -> dict:
    """Return the interval of a validation's primary metric: the accuracy, or what the line names."""
    return row[f"val_{row.get('primary', 'accuracy')}"]


def _is_validation(row: object) -> bool:
    if not isinstance(row, dict):
        return False
    primary = row.get("primary", "accuracy")
    intervals = {"val_accuracy", "val_loss"} if primary == "accuracy" else {f"val_{primary}"}
    return (
        row.keys() >= {"step", "train_loss", *intervals}
        and _is_number(row["step"])
        and 0 <= row["step"] < 1e15
        and (row["train_loss"] is None or _is_number(row["train_loss"]))
        and all(_is_interval(row[name]) for name in intervals)
        and _is_number(row.get("seconds", 0))
        and 0 <= row.get("seconds", 0) < 1e12
        and isinstance(row.get("best", False), bool)
    )


def _is_number(value: object) -> bool:
    """Say whether JSON gave a number that an array can hold, and a hundred times of it: no number too (NaN), but no infinite one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and (value != value or abs(value) < MOST)


def _is_interval(value: object) -> bool:
    is_one = isinstance(value, dict) and value.keys() == {"mean", "half_width"}
    return is_one and all(part is None or _is_number(part) for part in value.values()) and not (value["half_width"] or 0) < 0


def _check_result(result: object, path: Path) -> dict:
    fields = result if isinstance(result, dict) else {}
    primary = fields.get("primary", "accuracy")
    intervals = ("accuracy", "loss") if primary == "accuracy" else (str(primary),)
    missing = [name for name in (*intervals, *_TEXTS, *_NUMBERS, "transductive") if name not in fields]
    if missing:
        raise ValueError(f"{path} is no measurement of `evaluate --json`: it lacks {', '.join(missing)}; take it away")
    wrong = [name for name in _TEXTS if not isinstance(fields[name], str)] + [name for name in _NUMBERS if not _is_number(fields[name])]
    wrong += [name for name in intervals if not _is_interval(fields[name])]
    wrong += [] if isinstance(fields.get("settings", {}), dict) else ["settings"]
    if wrong:
        raise ValueError(f"{path} is no measurement of `evaluate --json`: {', '.join(wrong)} cannot be read; take it away")
    return fields


def describe_training_loss(learner: str | None = None) -> str:
    """Say what a learner's training loss is; of an unknown one, what holds for all."""
    return f"{TRAINING_LOSSES.get(learner, OWN_TASKS)}; not comparable with the validation's"


def describe_validation(row: dict) -> str:
    """Write what was measured in a validation, as "50.0 ± 10.0 %, cross entropy 1.000 ± 0.100"."""
    metrics = {name.removeprefix("val_"): value for name, value in row.items() if name.startswith("val_")}
    return describe_metrics({**metrics, "primary": row.get("primary", "accuracy")})


def describe_row(row: dict, learner: str | None = None) -> str:
    """Write a line of the log for a person, with what its learner's training loss is."""
    best = ", the best so far" if row.get("best") else ""
    training = "unknown" if row["train_loss"] is None else f"{row['train_loss']:.3f}"
    return (
        f"validation at step {row['step']}: {describe_validation(row)}{best}; training loss {training} ({describe_training_loss(learner)})"
    )


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
            values = {"loss/training": row["train_loss"], "loss/validation": row.get("val_loss", NO_VALUE)["mean"]}
            values[f"{row.get('primary', 'accuracy')}/validation"] = score_of(row)["mean"]
            for name, value in values.items():
                if value is not None:
                    writer.add_scalar(name, value, row["step"], walltime=row.get("seconds"))
    return place
