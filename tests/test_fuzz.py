"""Random inputs of six kinds: each ends in success or in one of the kit's own errors, soon, in little memory, and changes nothing.

    python tests/test_fuzz.py [--kind archives] [--seconds 600 | --inputs 400] [--seed 0] [--only 17]

Whatever is drawn depends on kind, seed and number alone: an input that fails prints the command that repeats it by itself.
"""

import argparse
import contextlib
import io
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

import mutations
import numpy as np
import pytest
import safetensors.torch
import torch
from mutations import changed_file, changed_log, changed_weights

from fewshot_kit import __main__ as command_line
from fewshot_kit import evaluate as evaluate_module
from fewshot_kit.data import quickdraw
from fewshot_kit.data.datasets import load_dataset
from fewshot_kit.data.images import preprocess, read_image
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.learners.configs import CLASSIFIERS, CONFIGS, MagnetConfig, RepMetConfig, ReptileConfig
from fewshot_kit.learners.fine_tune import Cancelled
from fewshot_kit.networks.configs import Conv4Config, PyramidConfig
from fewshot_kit.networks.devices import use_one_thread
from fewshot_kit.plots.runs import curves_figure
from fewshot_kit.results import Evaluation, Interval, describe_result
from fewshot_kit.training import checkpoint_folder
from fewshot_kit.training import tasks as tasks_module
from fewshot_kit.training import train as train_module
from fewshot_kit.training.build import make_learner
from fewshot_kit.training.checkpoint_folder import read_config
from fewshot_kit.training.checkpoints import load_checkpoint, save_checkpoint, sha256
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.export import export_run, record_result
from fewshot_kit.training.runs import describe_row, read_log, read_run
from fewshot_kit.training.tables import markdown_table, results_table
from fewshot_kit.training.train import open_run, run_settings, train

ROOT = Path(__file__).parents[1]
MAX_SECONDS, MAX_BYTES, MAX_MESSAGE = 5, 2_000_000_000, 2_000  # of one input, of the process, letters
INPUTS = {"pictures": 800, "archives": 400, "configs": 200, "logs": 120, "weights": 180, "flags": 160}  # some ten seconds each


# --- the law ---


class TooSlow(BaseException):
    """An input takes too long; no `except Exception` is to catch it."""


@dataclass(frozen=True)
class Reading:
    """One way to read an input: what it does, and what the message of an error must name."""

    do: Callable[[], object]
    named: str
    may_write: bool = False  # where it succeeds


def fault_of(reading: Reading, folder: Path) -> str | None:
    """Read an input that lies in a folder, and say what was against the law."""
    before, fault = contents(folder), None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            reading.do()
            is_refused = False
        except Exception as error:
            is_refused, fault = True, fault_of_error(error, reading.named)
    if caught:
        fault = fault or f"a warning escapes: {caught[0].category.__name__}: {caught[0].message} ({caught[0].filename}:{caught[0].lineno})"
    if (is_refused or not reading.may_write) and (changed := before.items() ^ contents(folder).items()):
        fault = fault or f"files were changed: {', '.join(sorted({name for name, _ in changed})[:5])}"
    return fault


def fault_of_error(error: Exception, named: str) -> str | None:
    """Say what is wrong with an error: it is none of the kit's own, or its message says too little or too much."""
    kind, message = type(error), str(error)
    is_own = kind.__module__.startswith("fewshot_kit.") or kind in (ValueError, FloatingPointError) or isinstance(error, OSError)
    at = "".join(traceback.format_tb(error.__traceback__)[-2:])
    if not is_own:
        return f"{kind.__name__}, none of the kit's errors: {message[:300]}\n{at}"
    if not message.strip() or len(message) > MAX_MESSAGE:
        return f"a message of {len(message)} letters: {kind.__name__}: {message[:300]}\n{at}"
    return None if named in message else f"a message that does not name {named}: {kind.__name__}: {message[:300]}\n{at}"


def contents(folder: Path) -> dict[str, bytes]:
    found = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in found}


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TooSlow where the block takes longer, counted in time of the processor: others may be at work here; and where it waits long."""

    def end(number, frame):
        raise TooSlow("".join(traceback.format_stack(frame)[-3:]))

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, seconds), signal.SIGALRM: (signal.ITIMER_REAL, 6 * seconds)}
    for number, (timer, after) in timers.items():
        signal.signal(number, end)
        signal.setitimer(timer, after)
    try:
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)


def peak_bytes() -> int:
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# --- the kinds ---

NETWORK = Conv4Config(width=8, size=18)
PYRAMID = PyramidConfig(widths=(8,) * 5, map_channels=8, size=32)
FORMS = (Preprocessing(), Preprocessing(size=32, channels=3))
TRAINING = TrainConfig(
    TaskSource("characters_by_alphabet", rotations=False), val_way=2, val_query=1, outer_steps=3, evaluate_every=1, evaluation_episodes=2
)
LEARNERS = {
    "reptile": ReptileConfig(NETWORK, train_way=3, train_inner_steps=2),
    "repmet": RepMetConfig(NETWORK, train_way=3, train_images=2),
    "magnet": MagnetConfig(NETWORK, n_clusters=2, train_clusters=3, train_images=2),
}
RESULT = Evaluation(
    metrics={"accuracy": Interval(0.5, 0.1), "loss": Interval(1.0, 0.1)}, n_episodes=9, n_way=3, n_shot=1, n_query=1, seed=0,
    transductive=False, dataset="characters", split="test", settings={"inner_lr": 0.1}, seconds=1.0, support_loss=0.5, checkpoint="it",
)  # fmt: skip


def of_pictures(base: Path, folder: Path, random: Random) -> Iterator[Reading]:
    content, form = mutations.picture(random), random.choice(FORMS)

    def read() -> None:
        image = read_image(content, name="a.png")
        assert image.dtype == np.uint8 and image.shape[2:] in ((), (3,))
        assert preprocess(image, form).shape == (form.channels, form.size, form.size)

    yield Reading(read, "a.png")


def of_archives(base: Path, folder: Path, random: Random) -> Iterator[Reading]:
    os.environ["FEWSHOT_DATA"] = str(folder)
    what = random.choice(("archive", "archive", "archive", "mnist", "quickdraw", "cifar"))
    if what == "archive":
        suffix, content = mutations.archive(random)
        (folder / f"pets{suffix}").write_bytes(content)
        yield Reading(partial(load_dataset, f"folder:{folder / f'pets{suffix}'}", progress=False), "pets")
    elif what == "mnist":
        (folder / "mnist").mkdir()
        for name, content in zip(("images-idx3", "labels-idx1"), mutations.mnist(random), strict=True):
            (folder / "mnist" / f"t10k-{name}-ubyte.gz").write_bytes(content)
        yield Reading(partial(load_dataset, "mnist", progress=False), "t10k-")
    elif what == "cifar":
        (folder / "cifar100").mkdir()
        (folder / "cifar100" / "cifar-100-binary.tar.gz").write_bytes(mutations.cifar(random))
        yield Reading(partial(load_dataset, "cifar_fs", preprocessing=FORMS[1], progress=False), "cifar-100-binary")
    else:
        (folder / "quickdraw").mkdir()
        name, content = mutations.drawings(random, "cat")
        (folder / "quickdraw" / name).write_bytes(content)
        yield Reading(partial(quickdraw.load_pictures, ["cat"], Preprocessing(), random.choice((None, 2)), False), "quickdraw")
        if name.endswith("json"):
            yield Reading(partial(quickdraw.load_drawings, "cat"), "quickdraw")


def of_configs(base: Path, folder: Path, random: Random) -> Iterator[Reading]:
    if random.random() < 0.5:
        tiny = Path(shutil.copytree(base / "checkpoints" / random.choice(sorted(CONFIGS)), folder / "tiny"))
        config = json.loads((tiny / "config.json").read_text(encoding="utf-8"))
        (tiny / "config.json").write_bytes(changed_file(config, random))
        yield from _checkpoint_readings(tiny)
    else:
        run = _copied_run(base, folder, random)
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        (run / "config.json").write_bytes(changed_file(config, random))
        yield from _run_readings(run, random)


def of_logs(base: Path, folder: Path, random: Random) -> Iterator[Reading]:
    run = _copied_run(base, folder, random)
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    (run / "log.jsonl").write_bytes(changed_log(rows, random))
    yield Reading(partial(_log_shown, run), str(run))
    if random.random() < 0.2:
        result = json.loads((base / "checkpoints" / "reptile" / "config.json").read_text(encoding="utf-8"))["results"][0]
        (run / "result.json").write_bytes(changed_file(result, random))
    yield from _run_readings(run, random)


def of_weights(base: Path, folder: Path, random: Random) -> Iterator[Reading]:
    if random.random() < 0.5:
        tiny = Path(shutil.copytree(base / "checkpoints" / random.choice(sorted(CONFIGS)), folder / "tiny"))
        weights = tiny / "model.safetensors"
        weights.write_bytes(changed_weights(weights.read_bytes(), random))
        config = json.loads((tiny / "config.json").read_text(encoding="utf-8"))
        (tiny / "config.json").write_text(json.dumps(config | {"sha256": sha256(weights)}), encoding="utf-8")
        yield Reading(partial(_loaded, tiny), str(tiny))
    else:
        run = _copied_run(base, folder, random)
        weights = run / random.choice(("last.safetensors", "last.safetensors", "best.safetensors"))
        weights.write_bytes(changed_weights(weights.read_bytes(), random))
        yield from _run_readings(run, random)


def of_flags(base: Path, folder: Path, random: Random) -> Iterator[Reading]:
    tiny = Path(shutil.copytree(base / "checkpoints" / "reptile", folder / "here" / "tiny"))
    run = shutil.copytree(base / "runs" / "reptile", folder / "here" / "run")
    words = mutations.command_line(random, "tiny", "run")
    os.chdir(tiny.parent)
    checkpoint_folder.PRETRAINED = command_line.PRETRAINED = tiny.parent
    yield Reading(partial(_commanded, words), "", may_write=True)
    os.chdir(ROOT)
    assert run


KINDS = {"pictures": of_pictures, "archives": of_archives, "configs": of_configs, "logs": of_logs, "weights": of_weights, "flags": of_flags}


def _copied_run(base: Path, folder: Path, random: Random) -> Path:
    return Path(shutil.copytree(base / "runs" / random.choice(sorted(LEARNERS)), folder / "run"))


def _checkpoint_readings(tiny: Path) -> Iterator[Reading]:
    checkpoint_folder.PRETRAINED = command_line.PRETRAINED = tiny.parent
    yield Reading(lambda: [describe_result(result) for result in read_config(tiny)["results"]], str(tiny))
    yield Reading(partial(_loaded, tiny), str(tiny))
    yield Reading(partial(_shown, tiny), str(tiny))
    yield Reading(partial(_commanded, ["list"]), "")
    yield Reading(partial(record_result, tiny, RESULT, "python -m fewshot_kit evaluate tiny"), str(tiny), may_write=True)


def _run_readings(run: Path, random: Random) -> Iterator[Reading]:
    yield Reading(partial(_shown, run), str(run))
    out = run.parent / "exported"
    yield Reading(partial(_exported, run, out), str(run), may_write=True)
    learner = LEARNERS[_learner_of(run)]
    if random.random() < 0.8:
        yield Reading(partial(_resumed, run, learner), str(run), may_write=True)
    else:
        yield Reading(partial(_commanded, [*_words(learner), "--out", str(run), "--resume"]), "", may_write=True)


def _learner_of(run: Path) -> str:
    return (run / "kind").read_text(encoding="utf-8")


def _words(learner: object) -> list[str]:
    from fewshot_kit.training.export import training_command

    return training_command(json.loads(json.dumps(run_settings(learner, TRAINING)))).split()[3:]


def _loaded(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    checkpoint.learner_for(5, 1).describe()
    checkpoint.card.encode()


def _shown(folder: Path) -> None:
    record = read_run(folder)
    assert all(column.dtype == float for column in record.curves().values())
    record.best(), record.dataset, record.validated_on
    markdown_table(results_table([record]))


def _log_shown(run: Path) -> None:
    rows = read_log(run / "log.jsonl")
    for row in rows:
        describe_row(row)
    record = read_run(run)
    assert len(record.rows) == len(rows)
    curves_figure([(record.name, record.curves())])


def _exported(run: Path, out: Path) -> None:
    folder = export_run(run, "mine", out)
    load_checkpoint(folder)  # what is written is whole
    read_run(folder)


def _resumed(run: Path, learner: object) -> None:
    """Take a run up, and take a step: a state that is no state must not come as far as that."""
    open_run(run, learner, TRAINING, resume=True).outer_step()


def _commanded(words: list[str]) -> None:
    """Run a command line; a status of 1 is the kit's error, of 2 that of the words."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = command_line.main(words)
        except SystemExit as ended:
            status = ended.code
    said = err.buffer.getvalue().decode("utf-8")
    assert status in (0, 1, 2), f"status {status} of {str(words)[:1_000]}"
    assert "Traceback" not in said, said[:1_000]
    if status == 1 and "training has diverged" not in said:  # which is no refusal: the run had begun
        raise ValueError(said.partition("error: ")[2])
    if status == 2:
        raise ValueError("usage")


# --- what makes a command small ---


def make_small() -> None:
    """Let commands do little: of work that would be long, only the settings are checked; and there is no network."""
    real_evaluate, real_finish = evaluate_module.evaluate, train_module.finish

    def small_run(folder, learner_config, config, **how):
        return open_run(folder, learner_config, config, **how) if _is_small(learner_config, config) else argparse.Namespace(step=0)

    def small_training(run, **how):
        return isinstance(run, argparse.Namespace) or train(run, **how)

    def evaluate(learner, sampler, *, n_episodes, **how):
        settings = {setting.name: setting.value for setting in learner.settings()}
        learner = learner.with_settings(inner_steps=1) if settings.get("inner_steps", 0) > 20 else learner
        return real_evaluate(learner, sampler, n_episodes=min(n_episodes, 3), **how)

    def finish(run, **how):
        return None if isinstance(run, argparse.Namespace) else real_finish(run, n_episodes=2, **how)

    def no_network(*_):
        raise OSError("there is no network here")

    train_module.open_run, train_module.train, train_module.finish = small_run, small_training, finish
    tasks_module.CLASSIFICATION = replace(tasks_module.CLASSIFICATION, evaluate=evaluate)
    evaluate_module.evaluate = evaluate
    socket.getaddrinfo = no_network


def _is_small(learner_config: object, config: TrainConfig) -> bool:
    network = learner_config.network
    numbers = {**vars(learner_config), **vars(config), "width": getattr(network, "width", 16) // 2, "seed": 0, "size": network.size // 2}
    return all(not isinstance(value, int) or abs(value) <= 32 for value in numbers.values()) and config.outer_steps <= 3


# --- the fuzz ---


def prepared(base: Path) -> None:
    """Write what is valid: a checkpoint of every learner, and two runs that are not finished."""
    for name, kind in CONFIGS.items():
        config = kind(NETWORK if name in CLASSIFIERS else PYRAMID)
        training = json.loads(json.dumps(run_settings(config, TRAINING)["training"]))
        training |= {"command": "python", "minutes": 0.1, "best_step": 2, "trained_with": {"torch": "2"}}
        training["start"] = {"name": "x", "sha256": "0", "training": {**training, "start": None}}
        settings = [{"n_way": 3, "n_shot": 1, "values": {"inner_lr": 0.1}}] if name in ("reptile", "maml") else []
        results = [{**RESULT.to_dict(), "command": f"python {n}"} for n in range(2)]
        learner = make_learner(config, 0)
        save_checkpoint(base / "checkpoints" / name, learner, training=training, results=results, settings=settings)
    for name, learner_config in LEARNERS.items():

        def stop(run, loss):
            if run.step == 2:
                raise Cancelled

        train(open_run(base / "runs" / name, learner_config, TRAINING), on_step=stop)
        (base / "runs" / name / "kind").write_text(name, encoding="utf-8")


def fuzz(kind: str, seed: int, numbers: Iterator[int], seconds: float) -> int:
    """Read inputs until the numbers or the seconds are spent; print what was against the law, and return its count."""
    use_one_thread()
    faults: dict[str, str] = {}
    n, slowest, n_faults, started = 0, (0.0, -1), 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        base, folder = Path(name).resolve() / "base", Path(name).resolve() / "input"
        (base / "data").mkdir(parents=True)
        os.environ |= {"FEWSHOT_CACHE": str(Path(name) / "cache"), "FEWSHOT_DATA": str(base / "data"), "HOME": str(base)}
        prepared(base)
        make_small()
        for number in numbers:
            began = time.process_time()
            for fault in _faults(kind, seed, number, base, folder):
                n_faults += 1
                key = fault.splitlines()[-1]  # one of each is enough to read
                faults.setdefault(key, f"{fault}\n  repeat it: python tests/test_fuzz.py --kind {kind} --seed {seed} --only {number}")
            n, slowest = n + 1, max(slowest, (time.process_time() - began, number))
            if time.monotonic() - started > seconds or peak_bytes() > MAX_BYTES:
                break
    for text in list(faults.values())[:20]:
        print(f"AGAINST THE LAW: {text}")
    spent = time.monotonic() - started
    print(
        f"{kind}, seed {seed}: {n:,} inputs in {spent:.1f} s, {n_faults} against the law; "
        f"peak memory {peak_bytes() / 1e6:.0f} MB, slowest {slowest[0]:.2f} s (number {slowest[1]})",
        flush=True,
    )
    return n_faults


def _faults(kind: str, seed: int, number: int, base: Path, folder: Path) -> Iterator[str]:
    """Yield what was against the law in the reading of one input."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    before = peak_bytes()
    try:
        for reading in KINDS[kind](base, folder, Random(f"{kind} {seed} {number}")):
            with within(MAX_SECONDS):
                fault = fault_of(reading, folder)
            if fault:
                yield fault
    except TooSlow as slow:
        yield f"it takes more than {MAX_SECONDS} seconds, in\n{slow}"
    if before <= MAX_BYTES < peak_bytes():
        yield f"the process has taken {peak_bytes() / 1e6:.0f} MB, {(peak_bytes() - before) / 1e6:.0f} of them for this input"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, help="all of them, one after the other, if left out")
    parser.add_argument("--seconds", type=float, help="of each kind")
    parser.add_argument("--inputs", type=int, help="of each kind; as many as the suite reads if left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one input")
    given = parser.parse_args()
    if given.kind is None:  # a process each: memory is counted by process
        rest = [
            word
            for name in ("seconds", "inputs", "seed")
            if (value := getattr(given, name)) is not None
            for word in (f"--{name}", str(value))
        ]
        return max([subprocess.run([sys.executable, __file__, "--kind", kind, *rest]).returncode for kind in KINDS])
    if given.only is not None:
        numbers = iter([given.only])
    else:
        numbers = itertools.count() if given.seconds and not given.inputs else iter(range(given.inputs or INPUTS[given.kind]))
    return int(fuzz(given.kind, given.seed, numbers, given.seconds or float("inf")) > 0)


# --- in the suite ---


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither its timer nor its measure of memory")
@pytest.mark.parametrize("kind", KINDS)
def test_every_input_ends_in_success_or_in_an_error_of_the_kit(kind):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__, "--kind", kind], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout[-5000:]}{done.stderr[-2000:]}"
    assert f"{INPUTS[kind]:,} inputs" in done.stdout


# --- the fuzz itself ---


def _warn() -> None:
    warnings.warn("odd", UserWarning, stacklevel=1)


def _wait() -> None:
    while True:
        pass


def _fail(error: Exception) -> None:
    raise error


AGAINST = {
    "KeyError, none of the kit's errors": lambda folder: _fail(KeyError(str(folder))),
    "UnicodeDecodeError, none": lambda folder: b"\xff".decode(),
    "a message of 0 letters": lambda folder: _fail(ValueError("")),
    "a message of 2,001 letters".replace(",", ""): lambda folder: _fail(ValueError("x" * 2_001)),
    "a message that does not name": lambda folder: _fail(ValueError("it is damaged")),
    "a warning escapes: UserWarning: odd": lambda folder: _warn(),
    "files were changed: a.txt": lambda folder: (folder / "a.txt").write_text("changed"),
    "files were changed: new": lambda folder: (folder / "new").mkdir(),
}


@pytest.mark.parametrize("fault", AGAINST)
def test_what_is_against_the_law_is_told(tmp_path, fault):
    (tmp_path / "a.txt").write_text("whole")
    assert fault_of(Reading(lambda: AGAINST[fault](tmp_path), str(tmp_path)), tmp_path).startswith(fault)


@pytest.mark.parametrize("may_write", [False, True])
def test_what_is_within_the_law_is_not_told(tmp_path, may_write):
    assert fault_of(Reading(lambda: _fail(ValueError(f"{tmp_path} is damaged")), str(tmp_path), may_write), tmp_path) is None
    assert fault_of(Reading(lambda: may_write and (tmp_path / "new").mkdir(), "", may_write), tmp_path) is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has not its timer")
def test_what_never_ends_is_ended():
    with pytest.raises(TooSlow), within(0.05):
        _wait()
    with pytest.raises(TooSlow), within(0.02):
        time.sleep(10)


@pytest.mark.parametrize("kind", [name for name in KINDS if name != "flags"])
def test_an_input_is_drawn_by_its_kind_seed_and_number_alone(kind):
    draw = {
        "pictures": mutations.picture,
        "archives": mutations.archive,
        "configs": partial(changed_file, RESULT.to_dict()),
        "logs": partial(changed_log, [RESULT.to_dict()] * 2),
        "weights": partial(changed_weights, safetensors.torch.save({"a": torch.zeros(3), "b": torch.ones(2, 2)}, {"step": "1"})),
    }[kind]
    for number in range(20):
        assert draw(Random(f"{kind} 0 {number}")) == draw(Random(f"{kind} 0 {number}"))


if __name__ == "__main__":
    sys.exit(main())
