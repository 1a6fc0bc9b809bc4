"""What lies in a run's folder, and whether a run may be begun in it. No torch is needed to read it."""

import json
from pathlib import Path

from fewshot_kit.data.files import NotWrittenError, write_text
from fewshot_kit.learners.configs import CONFIGS, LearnerConfig, config_name
from fewshot_kit.results import Evaluation
from fewshot_kit.training.checkpoint_folder import WEIGHTS
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.schema import SchemaError, check_begun, read_json

LAST, BEST, CONFIG, LOG, RESULT = "last.safetensors", "best.safetensors", "config.json", "log.jsonl", "result.json"
LOCK = ".lock"


def usual_folder(learner: LearnerConfig, dataset: str) -> Path:
    """Return the folder of a run that was given none."""
    return Path("runs") / f"{config_name(learner)}-{dataset}"


def has_begun(folder: Path) -> bool:
    """Say whether a run was saved there, so that it can be resumed."""
    return (folder / CONFIG).is_file() and (folder / LAST).is_file()


def read_begun(folder: Path) -> tuple[dict, TrainConfig]:
    """Return the config.json of a run that is to be taken up or exported, and its training. Raises ValueError for what cannot be one."""
    path = folder / CONFIG
    try:
        record = read_json(path)
        return record, check_begun(record)
    except SchemaError as error:
        raise ValueError(f"{path} {error}; put back the file as the training wrote it, or choose another folder") from error


def check_can_begin(folder: Path, settings: dict, *, resume: bool) -> None:
    """Raise FileExistsError, which says what is in the way, unless a run may be begun here: in a folder that is new or empty.

    A first try that saved nothing is not in the way. Nor is one that was killed in its first validation, where `resume` is asked for under
    the same settings: begun anew, it comes to the very same weights.
    """
    if not folder.is_dir():
        if folder.exists() or folder.is_symlink():
            raise FileExistsError(f"{folder} is there and no folder; choose another folder with --out")
        return
    names = {path.name for path in folder.iterdir() if not _is_left_over(path.name)}
    record = _read(folder / CONFIG)
    if not names or (names == {CONFIG} and _is_of_a_run(record)):
        return
    if resume and names <= {CONFIG, BEST, LOG} and _is_of_a_run(record) and _n_lines(folder / LOG) <= 1:
        if not (changed := differences(record, json.loads(json.dumps(settings)))):
            return
        raise FileExistsError(
            f"{folder} was begun with another {', '.join(changed)}; resume with the same settings, or choose another folder"
        )
    raise FileExistsError(f"{folder} {_in_the_way(names, record)}; choose a folder that is new or empty with --out")


def _in_the_way(names: set[str], record: dict) -> str:
    """Say what a folder holds in which no run may be begun."""
    if WEIGHTS in names or "format_version" in record:
        return "holds a checkpoint, which a run would damage"
    if {LAST, BEST} & names:
        gone = ", ".join(sorted({LAST, CONFIG} - names)) or f"a {CONFIG} that can be read"
        return f"holds a run whose {gone} is gone: put it back, or move the rest away"
    shown = sorted(names)
    return f"is not empty: it holds {', '.join(shown[:5])}{' and more' if len(shown) > 5 else ''}"


def _is_left_over(name: str) -> bool:
    """Say whether it is a file that only a killed process of the kit leaves, or the lock of the present one."""
    return name == LOCK or (name.startswith(".") and name.endswith(".part"))


def _read(path: Path) -> dict:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return {}


def _is_of_a_run(record: dict) -> bool:
    return record.get("learner") in list(CONFIGS) and isinstance(record.get("training"), dict) and "format_version" not in record


def _n_lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.is_file() else 0


def differences(before: dict, now: dict) -> list[str]:
    """Name the settings that are not what they were; one that is younger than the run counts as unchanged."""
    found = []
    for name, value in now.items():
        if isinstance(value, dict) and isinstance(before.get(name), dict):
            found += differences(before[name], value)
        elif name in before and before[name] != value:
            found.append(name)
    return found


def truncate_log(path: Path, rows: list[dict], step: int) -> None:
    """Drop the rows of a log that a killed run wrote after its last saved state, and a line that was cut short."""
    if path.is_file():
        kept = "".join(json.dumps(row) + "\n" for row in rows if row["step"] <= step)
        if kept != path.read_text(encoding="utf-8"):  # there may be no room to write the same again
            write_text(path, kept)


def write_result(folder: Path, result: Evaluation) -> None:
    """Write result.json; where that cannot be, the error tells what was measured."""
    try:
        write_text(folder / RESULT, result.to_json() + "\n")
    except NotWrittenError as error:
        raise type(error)(f"{error}. What was measured: {result}") from error
