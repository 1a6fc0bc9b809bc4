"""Meta-training: a run interrupted anywhere and taken up again ends in the very same weights, and one that diverges keeps what was good."""

import contextlib
import dataclasses
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from synthetic import CONFIG, NETWORK, noisy_images, same_state, train_on

from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.data.locks import InUseError
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.evaluate import evaluate
from fewshot_kit.learners.configs import MagnetConfig, ProtoNetConfig, RepMetConfig, ReptileConfig
from fewshot_kit.learners.fine_tune import Cancelled
from fewshot_kit.networks.configs import Conv4Config
from fewshot_kit.training.checkpoints import load_checkpoint
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.export import export_run
from fewshot_kit.training.train import BEST, LAST, LOG, Run, finish, open_run, train

TRAIN = TrainConfig(
    source=TaskSource("noisy"), val_way=3, val_query=2, outer_steps=12, meta_lr=0.01, evaluate_every=4, evaluation_episodes=3
)
SEEDS = {"train": 1, "val": 2}


def noisy_split(name: str, split: str, *, preprocessing: Preprocessing, samples_per_class: int | None = None):
    """Stand in for load_dataset."""
    return dataclasses.replace(noisy_images(seed=SEEDS[split], size=preprocessing.size), split=split)


@pytest.fixture(autouse=True)
def _synthetic_data(monkeypatch):
    train_on(monkeypatch, noisy_split)


def begin(folder: Path, learner: ReptileConfig = CONFIG, resume: bool = False, **changes) -> Run:
    of_source = {name: changes.pop(name) for name in ("rotations", "reflections", "augment") if name in changes}
    source = dataclasses.replace(TRAIN.source, **of_source)
    return open_run(folder, learner, dataclasses.replace(TRAIN, source=source, **changes), resume=resume)


def run_to_the_end(folder: Path, *, resume: bool = False, norm: str = "group") -> Run:
    run = begin(folder, dataclasses.replace(CONFIG, network=dataclasses.replace(NETWORK, norm=norm)), resume)
    assert train(run)
    return run


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        train_on(patch, noisy_split)
        return run_to_the_end(tmp_path_factory.mktemp("run") / "whole").folder


def log_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return {name: value for name, value in safetensors.torch.load_file(path).items() if not name.startswith("generator")}


def assert_same_run(folder: Path, other: Path, *, left_overs: bool = False) -> None:
    """Everything that was learned and measured is equal to the last bit; `train_loss` covers the steps since the last start."""
    for name in (LAST, BEST):
        assert same_state(safetensors.torch.load_file(folder / name), safetensors.torch.load_file(other / name)), name
    rows, expected = (
        [{k: v for k, v in row.items() if k not in ("seconds", "train_loss")} for row in log_of(where)] for where in (folder, other)
    )
    assert rows == expected
    assert left_overs or not [path.name for path in folder.iterdir() if path.name.startswith(".")]


# --- an uninterrupted run ---


def test_a_run_learns_and_logs_every_evaluation(uninterrupted):
    rows = log_of(uninterrupted)
    assert [row["step"] for row in rows] == [4, 8, 12]
    first = begin(uninterrupted.parent / "first")
    assert not same_state(first.learner.state_dict(), safetensors.torch.load_file(uninterrupted / BEST))
    assert all(0 <= row["val_accuracy"]["mean"] <= 1 and math.isfinite(row["train_loss"]) for row in rows)


def test_the_same_seed_gives_the_same_run_and_another_another(uninterrupted, tmp_path):
    assert_same_run(run_to_the_end(tmp_path / "again").folder, uninterrupted)
    other = begin(tmp_path / "other", seed=1)
    train(other)
    assert not same_state(weights(other.folder / LAST), weights(uninterrupted / LAST))


def test_the_best_weights_are_the_best_row_of_the_log(tmp_path):
    run = begin(tmp_path / "run", evaluate_every=1, evaluation_episodes=5)
    at_step = {}
    train(run, on_step=lambda run, loss: at_step.update({run.step: {k: v.clone() for k, v in run.learner.state_dict().items()}}))
    rows = log_of(run.folder)
    accuracies = [row["val_accuracy"]["mean"] for row in rows]
    best = 1 + accuracies.index(max(accuracies))  # the first of equals
    assert next(row["step"] for row in reversed(rows) if row["best"]) == best
    assert same_state(at_step[best], safetensors.torch.load_file(run.folder / BEST))
    assert [row["best"] for row in rows] == [a > max([-1, *accuracies[:i]]) for i, a in enumerate(accuracies)]
    assert [row["step"] for row in rows] == list(range(1, 13))


def test_finish_measures_the_best_weights_and_writes_them_down(tmp_path):
    run = run_to_the_end(tmp_path / "run")
    result = finish(run, n_episodes=7)
    assert same_state(run.learner.state_dict(), safetensors.torch.load_file(run.folder / BEST))
    written = json.loads((run.folder / "result.json").read_text(encoding="utf-8"))
    assert written["accuracy"]["mean"] == result.accuracy.mean and written["split"] == "val" and written["n_episodes"] == 7
    sampler = EpisodeSampler(noisy_split("noisy", "val", preprocessing=NETWORK.preprocessing), 3, 1, 2)
    assert evaluate(run.learner, sampler, n_episodes=7).accuracy == result.accuracy


def test_pictures_are_prepared_as_the_network_wants_them(tmp_path):
    run = begin(tmp_path / "run", dataclasses.replace(CONFIG, network=Conv4Config(width=8, size=20)), outer_steps=1)
    shapes, step = [], run.learner.accumulate_meta_grad
    run.learner.accumulate_meta_grad = lambda episodes: shapes.append(episodes[0].support.images.shape[1:]) or step(episodes)
    assert train(run) and finish(run, n_episodes=2).n_episodes == 2
    assert shapes == [(1, 20, 20)]


def test_rotations_and_reflections_are_more_classes_to_train_on(tmp_path):
    settings = [{"rotations": r, "reflections": m} for r in (False, True) for m in (False, True)]
    runs = [begin(tmp_path / str(i), **changes) for i, changes in enumerate(settings)]
    assert [len(run.dataset) for run in runs] == [10, 20, 40, 80]
    assert all(len(run.validation.dataset) == 10 for run in runs)


def test_the_outer_rate_falls_along_a_cosine_to_a_tenth(tmp_path):
    run, rates = begin(tmp_path / "run"), []
    for run.step in range(13):
        rates.append(run.meta_lr())
    assert rates[0] == pytest.approx(0.01) and rates[12] == pytest.approx(0.001) and rates[6] == pytest.approx(0.0055)
    assert rates == sorted(rates, reverse=True)
    assert rates[3] == pytest.approx(0.001 + 0.009 * math.cos(math.pi / 8) ** 2)


def test_an_outer_step_is_adam_on_the_meta_gradient(tmp_path):
    run, twin = begin(tmp_path / "run", augment=False), begin(tmp_path / "twin", augment=False)
    optimizer = torch.optim.Adam(twin.learner.network.parameters())
    for _ in range(3):
        for group in optimizer.param_groups:
            group["lr"] = run.meta_lr()
        run.outer_step()
        optimizer.zero_grad()
        twin.learner.accumulate_meta_grad(twin.learner.training_batches(twin.dataset, twin.generator))
        optimizer.step()
    assert same_state(run.learner.state_dict(), twin.learner.state_dict())


def test_a_run_starts_from_the_weights_of_a_checkpoint(tmp_path, uninterrupted):
    export_run(uninterrupted, "start", out=tmp_path)
    start = load_checkpoint(tmp_path / "start").learner
    assert same_state(begin(tmp_path / "run", start_from=str(tmp_path / "start")).learner.state_dict(), start.state_dict())
    wider = dataclasses.replace(CONFIG, network=dataclasses.replace(NETWORK, width=16))
    with pytest.raises(ValueError, match=r"start_from: start has the network .* choose another checkpoint, or leave the flags"):
        begin(tmp_path / "wider", wider, start_from=str(tmp_path / "start"))
    assert not (tmp_path / "wider").exists()


def test_another_learner_starts_from_the_network_of_a_checkpoint(tmp_path, uninterrupted):
    export_run(uninterrupted, "start", out=tmp_path)
    config = dataclasses.replace(TRAIN, start_from=str(tmp_path / "start"))
    learner = open_run(tmp_path / "run", ProtoNetConfig(network=NETWORK, train_way=5, train_query=2), config).learner
    assert same_state(learner.network.state_dict(), load_checkpoint(tmp_path / "start").learner.network.state_dict())


def test_a_callback_that_raises_cancelled_stops_after_the_step_and_saves(tmp_path, uninterrupted):
    def stop(run, loss):
        if run.step == 5:
            raise Cancelled

    run = begin(tmp_path / "run")
    assert not train(run, on_step=stop) and run.step == 5
    assert train(begin(tmp_path / "run", resume=True))
    assert_same_run(tmp_path / "run", uninterrupted)


# --- interrupted and resumed ---


@pytest.mark.parametrize("stop_at", [1, 4, 7])
@pytest.mark.parametrize("norm", ["group", "running"])
def test_an_interrupt_and_a_resume_give_the_same_weights(tmp_path, uninterrupted, norm, stop_at):
    whole = uninterrupted if norm == "group" else run_to_the_end(tmp_path / "whole", norm=norm).folder
    run = begin(tmp_path / "run", dataclasses.replace(CONFIG, network=dataclasses.replace(NETWORK, norm=norm)))
    handler = signal.getsignal(signal.SIGINT)
    assert not train(run, on_step=lambda run, loss: signal.raise_signal(signal.SIGINT) if run.step == stop_at else None)
    assert run.step == stop_at and signal.getsignal(signal.SIGINT) is handler
    assert_same_run(run_to_the_end(run.folder, resume=True, norm=norm).folder, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_wait(tmp_path, number):
    run, handler = begin(tmp_path / "run"), signal.getsignal(number)

    def send_twice(run, loss):
        signal.raise_signal(number)
        signal.raise_signal(number)

    with pytest.raises(KeyboardInterrupt):
        train(run, on_step=send_twice)
    assert signal.getsignal(number) is handler


def test_a_signal_of_each_kind_is_one_wish_and_the_handlers_come_back(tmp_path, uninterrupted):
    """As a launcher of processes sends them: SIGINT comes from the terminal, SIGTERM from the launcher."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    run = begin(tmp_path / "run")
    assert not train(run, on_step=lambda run, loss: [signal.raise_signal(number) for number in handlers] if run.step == 3 else None)
    assert run.step == 3 and handlers == {number: signal.getsignal(number) for number in handlers}
    assert_same_run(run_to_the_end(run.folder, resume=True).folder, uninterrupted)


class Killed(BaseException):
    """A process that ends here and now, as far as one process can play it."""


def file_operations(patch, die_at: int | None) -> list[str]:
    """Count what reaches the disk; at operation `die_at` nothing does any more."""
    done, replace = [], os.replace

    def operation(what: str) -> None:
        if die_at is not None and len(done) >= die_at:
            raise Killed
        done.append(what)

    def counted_replace(source, target):
        operation(f"replace {Path(target).name}")
        replace(source, target)

    patch.setattr(os, "replace", counted_replace)
    return done


def test_a_run_that_dies_before_any_of_its_writes_is_taken_up_to_the_same_weights(tmp_path, uninterrupted, monkeypatch):
    with monkeypatch.context() as patch:
        operations = file_operations(patch, None)
        run_to_the_end(tmp_path / "counted")
    assert {"replace log.jsonl", "replace last.safetensors", "replace best.safetensors", "replace config.json"} == set(operations)
    for die_at in range(len(operations)):
        folder = tmp_path / str(die_at)
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            file_operations(patch, die_at)
            run_to_the_end(folder)
            pytest.fail("it was to die")
        assert_same_run(run_to_the_end(folder, resume=True).folder, uninterrupted)


def test_a_line_cut_short_is_dropped(tmp_path, uninterrupted):
    run = begin(tmp_path / "run")
    train(run, on_step=lambda run, loss: signal.raise_signal(signal.SIGINT) if run.step == 5 else None)
    with open(run.folder / LOG, "a", encoding="utf-8") as log:
        log.write('{"step": 8, "train_lo')
    assert_same_run(run_to_the_end(run.folder, resume=True).folder, uninterrupted)


TRAINING_PROCESS = """
import sys, time
import test_train
from pathlib import Path

import pytest
from synthetic import train_on

train_on(pytest.MonkeyPatch(), test_train.noisy_split)
run = test_train.begin(Path(sys.argv[1]))

def say(run, loss):
    print(run.step, flush=True)
    time.sleep(0.05)

sys.exit(0 if test_train.train(run, on_step=say) else 3)
"""


def start_process(folder: Path, until_step: int) -> subprocess.Popen:
    """Train in another process, and return when it has taken that many steps."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])
    }
    process = subprocess.Popen([sys.executable, "-c", TRAINING_PROCESS, str(folder)], env=environment, stdout=subprocess.PIPE, text=True)
    while process.stdout.readline().strip() != str(until_step):
        assert process.poll() is None, "the training process ended early"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_a_process_saves_the_step_it_was_at(tmp_path, uninterrupted, number):
    with start_process(tmp_path / "run", until_step=5) as process:
        process.send_signal(number)
        assert process.wait(60) == 3
    assert begin(tmp_path / "run", resume=True).step in (5, 6)
    assert_same_run(run_to_the_end(tmp_path / "run", resume=True).folder, uninterrupted)


def test_a_process_killed_at_a_random_moment_is_taken_up_to_the_same_weights(tmp_path, uninterrupted):
    chance = random.SystemRandom()
    step, pause = chance.randrange(1, 10), chance.uniform(0, 0.1)
    with start_process(tmp_path / "killed", until_step=step) as process:
        time.sleep(pause)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
    assert_same_run(run_to_the_end(tmp_path / "killed", resume=True).folder, uninterrupted, left_overs=True)


def test_a_finished_run_resumed_stays_as_it_is(tmp_path, uninterrupted):
    run = run_to_the_end(tmp_path / "run")
    assert_same_run(run_to_the_end(run.folder, resume=True).folder, uninterrupted)


def test_a_folder_with_a_run_is_not_written_over(tmp_path):
    begin(tmp_path / "run").save()
    with pytest.raises(FileExistsError, match=r"holds a run already; add --resume .* or choose another folder"):
        begin(tmp_path / "run")


def test_a_first_try_that_saved_nothing_does_not_stand_in_the_way(tmp_path):
    begin(tmp_path / "run", CONFIG)
    run = begin(tmp_path / "run", dataclasses.replace(CONFIG, train_way=4), outer_steps=1)
    assert train(run) and json.loads((run.folder / "config.json").read_text(encoding="utf-8"))["hyper_parameters"]["train_way"] == 4


@pytest.mark.parametrize(
    ("learner", "changes", "complaint"),
    [
        (dataclasses.replace(CONFIG, train_way=500), {}, r"these train_ settings: 500 ways are needed"),
        (ProtoNetConfig(network=NETWORK, train_way=5, train_shot=8), {}, r"these train_ settings: 8 \+ 5 images a class are needed"),
        (CONFIG, {"val_way": 500}, "500 ways are needed"),
        (CONFIG, {"val_query": 8}, r"1 \+ 8 images a class are needed"),
        (RepMetConfig(network=NETWORK, support_representatives=3), {}, "3 clusters or representatives a class need as many pictures"),
        (MagnetConfig(network=NETWORK, support_clusters=3, n_clusters=2), {}, "3 clusters or representatives a class need as many"),
        (MagnetConfig(network=NETWORK, n_clusters=9), {}, "9 clusters a class are wanted"),
    ],
)
def test_what_would_fail_later_is_an_error_before_anything_is_written(tmp_path, learner, changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        begin(tmp_path / "run", learner, **changes)
    assert not (tmp_path / "run").exists()


def test_the_checks_before_the_first_step_change_nothing(tmp_path):
    for learner in (CONFIG, ProtoNetConfig(network=NETWORK, train_way=5, train_query=2), MagnetConfig(network=NETWORK)):
        run = begin(tmp_path / str(type(learner).__name__), learner)
        state, chance = {name: value.clone() for name, value in run.learner.state_dict().items()}, run.generator.get_state()
        run.check()
        assert same_state(state, run.learner.state_dict()) and torch.equal(chance, run.generator.get_state())


def test_a_run_goes_on_without_the_checkpoint_that_it_started_from(tmp_path, uninterrupted):
    start = export_run(uninterrupted, "start", tmp_path)
    changes = {"start_from": str(start), "outer_steps": 4}
    train(begin(tmp_path / "run", **changes), on_step=lambda run, loss: signal.raise_signal(signal.SIGINT) if run.step == 2 else None)
    shutil.rmtree(start)
    assert train(begin(tmp_path / "run", resume=True, **changes))


@pytest.mark.parametrize(
    ("learner", "changes", "named"),
    [
        (CONFIG, {"meta_lr": 0.02}, "meta_lr"),
        (CONFIG, {"seed": 1, "outer_steps": 13}, "outer_steps, seed"),
        (dataclasses.replace(CONFIG, train_inner_lr=0.2), {}, "train_inner_lr"),
        (dataclasses.replace(CONFIG, network=dataclasses.replace(NETWORK, norm="none")), {}, "norm"),
    ],
)
def test_resuming_under_other_settings_is_refused_with_their_names(tmp_path, learner, changes, named):
    begin(tmp_path / "run").save()
    with pytest.raises(ValueError, match=f"begun with another {named}; resume with the same settings"):
        begin(tmp_path / "run", learner, resume=True, **changes)


def test_a_run_begun_before_a_setting_was_added_goes_on_with_its_default(tmp_path):
    begin(tmp_path / "run").save()
    config = tmp_path / "run" / "config.json"
    settings = json.loads(config.read_text(encoding="utf-8"))
    del settings["training"]["source"]["reflections"], settings["hyper_parameters"]["meta_batch_size"]
    config.write_text(json.dumps(settings), encoding="utf-8")
    begin(tmp_path / "run", resume=True)


# --- runs that go wrong ---


def all_finite(path: Path) -> bool:
    return all(value.isfinite().all() for value in weights(path).values())


@pytest.mark.parametrize("train_inner_steps", [2, 3])
def test_a_diverging_run_stops_and_keeps_the_last_good_state(tmp_path, train_inner_steps):
    """Two inner steps at such a rate end in a finite loss and infinite weights, three in a loss that is none."""
    run = begin(tmp_path / "run", evaluate_every=1)
    train(run, on_step=lambda run, loss: signal.raise_signal(signal.SIGINT) if run.step == 2 else None)
    before = weights(run.folder / LAST)
    run.learner.config = dataclasses.replace(CONFIG, train_inner_lr=1e25, train_inner_steps=train_inner_steps)
    with pytest.raises(FloatingPointError, match=r"not finite at outer step 2: training has diverged.*lower meta_lr"):
        train(run)
    assert same_state(before, weights(run.folder / LAST)) and all_finite(run.folder / LAST) and all_finite(run.folder / BEST)
    assert begin(run.folder, resume=True, evaluate_every=1).step == 2
    assert [row["step"] for row in log_of(run.folder)] == [1, 2]


def test_a_validation_that_diverges_stops_the_run_and_says_what_to_lower(tmp_path):
    bare = dataclasses.replace(CONFIG, network=dataclasses.replace(NETWORK, norm="none"), inner_steps=20)
    diverging = dataclasses.replace(bare, inner_lr=1e6)
    with pytest.raises(FloatingPointError, match=r"not finite in 1 of 1 episodes: lower inner_lr"):
        begin(tmp_path / "never", diverging)
    assert not (tmp_path / "never").exists()
    run = begin(tmp_path / "run", bare, evaluate_every=2)
    train(run, on_step=lambda run, loss: signal.raise_signal(signal.SIGINT) if run.step == 3 else None)
    before = contents(run.folder)
    run.learner.config = diverging
    with pytest.raises(FloatingPointError, match=r"not finite in \d of 3 episodes: lower inner_lr"):
        train(run)
    assert contents(run.folder) == before and begin(run.folder, bare, resume=True, evaluate_every=2).step == 3


def test_a_full_disk_during_a_save_leaves_the_state_before(tmp_path, monkeypatch):
    run = begin(tmp_path / "run")
    train(run, on_step=lambda run, loss: signal.raise_signal(signal.SIGINT) if run.step == 3 else None)
    before = weights(run.folder / LAST)

    def no_room(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(os, "fsync", no_room)
        train(run)
    assert same_state(before, weights(run.folder / LAST)) and begin(run.folder, resume=True).step == 3
    assert not [path.name for path in run.folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("field", "value"),
    [("meta_lr", 0.0), ("meta_lr", math.nan), ("meta_lr", math.inf), ("outer_steps", 0), ("evaluate_every", 0), ("threads", 0)],
)
def test_settings_that_cannot_be_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        TrainConfig(**{field: value})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"'cuda' was asked for, but torch sees no CUDA GPU here; use device='cpu'"):
        begin(tmp_path / "run", device="cuda")
    assert not (tmp_path / "run").exists()


# --- runs whose files were damaged ---


@pytest.fixture
def stopped(tmp_path, uninterrupted) -> Path:
    """Return the folder of a run that is stopped at its second validation, of three."""
    run = begin(tmp_path / "stopped")
    train(run, on_step=lambda run, loss: signal.raise_signal(signal.SIGINT) if run.step == 8 else None)
    return run.folder


BAD_CONFIGS = {
    "{": "is not valid JSON",
    "[]": "holds no JSON object",
    "\xff": "is not valid JSON",
    "[" * 10_000: "is nested more than 100 deep",
    '{"learner": "reptile"}': "names no learner and hyper_parameters",
    '{"learner": "reptile", "hyper_parameters": {}, "training": {}}': "'network' is missing",
    '{"learner": "reptile", "hyper_parameters": {"network": {"kind": "conv4"}}, "training": {"seed": 1}}': "has no training.source",
}


@pytest.mark.parametrize("content", BAD_CONFIGS, ids=BAD_CONFIGS.get)
def test_a_damaged_config_is_named_by_resume_and_export(stopped, tmp_path, content):
    (stopped / "config.json").write_bytes(content.encode("latin-1"))
    before = contents(tmp_path)
    for work in (lambda: begin(stopped, resume=True), lambda: export_run(stopped, "x", tmp_path / "out")):
        with pytest.raises(
            ValueError, match=rf"config\.json .*{BAD_CONFIGS[content]}.*; put back the file as the training wrote it"
        ) as caught:
            work()
        assert str(stopped / "config.json") in str(caught.value) and type(caught.value) is ValueError
    assert contents(tmp_path) == before


def changed_state(path: Path, change: Callable[[dict], object]) -> None:
    """Write a file of tensors again after a change of them."""
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(path)
    change(tensors)
    safetensors.torch.save_file(tensors, path, metadata)


def weight(state: dict) -> str:
    return next(name for name in sorted(state) if name.endswith("weight"))


BAD_STATES = {
    "not finite": (lambda state: state[weight(state)].fill_(math.nan), "has values that are not finite"),
    "another shape": (lambda state: state.update({weight(state): torch.zeros(3)}), "has shape"),
    "another type": (lambda state: state.update({weight(state): state[weight(state)].double()}), "has values of torch.float64"),
    "one missing": (lambda state: state.pop(weight(state)), "is missing"),
    "many more": (lambda state: state.update({f"{i}{'x' * 999}": torch.zeros(1) for i in range(99)}), "is not expected.* and 94 more"),
}


@pytest.mark.parametrize("file", [LAST, BEST])
@pytest.mark.parametrize("kind", BAD_STATES)
def test_damaged_weights_are_named_by_resume_finish_and_export(stopped, tmp_path, file, kind):
    change, message = BAD_STATES[kind]
    run = begin(stopped, resume=True)
    changed_state(stopped / file, change)
    before = contents(tmp_path)
    works = [lambda: begin(stopped, resume=True)]
    works += [lambda: finish(run, n_episodes=1), lambda: export_run(stopped, "x", tmp_path / "out")] if file == BEST else []
    for work in works:
        with pytest.raises(ValueError, match=rf"{file} does not fit its config\.json: .*{message}") as caught:
            work()
        assert len(str(caught.value)) < 1_000
    assert contents(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"\x80\x04}q\x00.", (10**8).to_bytes(8, "little") + b"{}", b"\x02\0\0\0\0\0\0\0{}"])
@pytest.mark.parametrize("file", [LAST, BEST])
def test_what_is_no_file_of_weights_is_named(stopped, tmp_path, file, content):
    (stopped / file).write_bytes(content)
    with pytest.raises(ValueError, match=f"{file} (cannot be read|does not fit)"):
        begin(stopped, resume=True)


def test_best_weights_that_are_gone_are_named_before_the_training_goes_on(stopped):
    (stopped / BEST).unlink()
    with pytest.raises(ValueError, match=r"best\.safetensors is missing; put back the file"):
        begin(stopped, resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (None, "does not say where"),
        ("3", "does not say where"),
        ("{", "does not say where"),
        ("[" * 10_000, "does not say where"),
        ({"magic": 1}, "does not say where"),
        ({"step": "8"}, "stands where none of 12 steps can"),
        ({"step": 13}, "stands where none"),
        ({"step": -1}, "stands where none"),
        ({"step": 1.5}, "stands where none"),
        ({"best": math.nan}, "stands where none"),
        ({"seconds": 10**400}, "stands where none"),
        ({"best": 10**400}, "stands where none"),
        ({"seconds": -1}, "stands where none"),
    ],
)
def test_a_state_that_does_not_say_where_it_stands_is_named(stopped, changes, message):
    tensors, counters = safetensors.torch.load_file(stopped / LAST), {"step": 8, "seconds": 1.0, "best": 0.5}
    told = changes if not isinstance(changes, dict) else json.dumps(counters | changes)
    safetensors.torch.save_file(tensors, stopped / LAST, told and {"counters": told})
    with pytest.raises(ValueError, match=rf"last\.safetensors .*{message}"):
        begin(stopped, resume=True)


def test_a_state_of_no_generator_and_one_of_another_optimiser_are_named(stopped):
    whole = (stopped / LAST).read_bytes()
    for change, message in (
        (lambda state: state["generator"].fill_(255), "holds no state of a random generator"),
        (lambda state: state.update({"optimizer.99.step": torch.zeros(())}), "optimizer.99.step is not expected"),
        (lambda state: state.update({"optimizer.x": torch.zeros(())}), "optimizer.x is not expected"),
        (lambda state: state.pop("optimizer.0.exp_avg"), "optimizer.0.exp_avg is missing"),
        (lambda state: state["optimizer.0.step"].fill_(0), r"the optimiser that cannot be, in optimizer\.0\.step"),
        (lambda state: state["optimizer.0.exp_avg_sq"].fill_(-1), r"the optimiser that cannot be, in optimizer\.0\.exp_avg_sq"),
    ):
        (stopped / LAST).write_bytes(whole)
        changed_state(stopped / LAST, change)
        with pytest.raises(ValueError, match=message):
            begin(stopped, resume=True)


def test_clusters_that_there_are_none_of_are_named(tmp_path):
    magnet = MagnetConfig(NETWORK, n_clusters=2, train_clusters=3, train_images=2)
    run = begin(tmp_path / "run", magnet)
    train(run, on_step=lambda run, loss: signal.raise_signal(signal.SIGINT))
    changed_state(run.folder / LAST, lambda state: state["model.training_members"].fill_(10**6))
    with pytest.raises(ValueError, match="its clusters are none of the 80 there are"):
        begin(tmp_path / "run", magnet, resume=True)


@pytest.mark.parametrize("line", ["{}", "3", '{"step": 4}', "{,"])
def test_a_damaged_log_is_named_by_resume_and_export_and_nothing_is_written(stopped, tmp_path, line):
    content = (stopped / LOG).read_text()
    (stopped / LOG).write_text(f"{line}\n{content}")
    before = contents(tmp_path)
    for work in (lambda: begin(stopped, resume=True), lambda: export_run(stopped, "x", tmp_path / "out")):
        with pytest.raises(ValueError, match=r"log\.jsonl, line 1 is"):
            work()
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "message"), [({"seconds": "x"}, "line 2 is no validation"), ({"seconds": None}, "does not say how long")]
)
def test_an_export_of_a_log_without_its_time_is_named(stopped, tmp_path, changes, message):
    rows = log_of(stopped)
    rows[-1] = {name: value for name, value in (rows[-1] | changes).items() if value is not None}
    (stopped / LOG).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match=rf"log\.jsonl.*{message}"):
        export_run(stopped, "x", tmp_path / "out")


@pytest.mark.parametrize("step", ["x", "9" * 5_000, "-1"])
def test_an_export_of_weights_of_no_step_goes_by_the_log_or_is_named(stopped, tmp_path, step):
    tensors = safetensors.torch.load_file(stopped / BEST)
    safetensors.torch.save_file(tensors, stopped / BEST, {"step": step})
    assert export_run(stopped, "x", tmp_path / "out")
    rows = [{name: value for name, value in row.items() if name != "best"} for row in log_of(stopped)]
    (stopped / LOG).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match="says of which step the best weights are"):
        export_run(stopped, "y", tmp_path / "out")


# --- folders that hold something, and others that write them ---


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


IN_THE_WAY = {
    "a file": ("file", "is there and no folder"),
    "something of another project": ({"config.json": '{"name": "theirs"}'}, r"is not empty: it holds config.json"),
    "a log of another project": ({"log.jsonl": "{}\n"}, r"is not empty: it holds log.jsonl"),
    "a thesis": ({"thesis.tex": "x", "config.json": "{"}, r"is not empty: it holds config.json, thesis.tex"),
    "a run without its state": ("last.safetensors", r"holds a run whose last.safetensors is gone: put it back"),
    "a run without its settings": ("config.json", r"holds a run whose config.json is gone: put it back"),
    "a checkpoint": ("checkpoint", "holds a checkpoint, which a run would damage"),
}


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("what", IN_THE_WAY)
def test_a_run_begins_only_in_a_folder_that_is_new_or_empty(tmp_path, uninterrupted, what, resume):
    content, message = IN_THE_WAY[what]
    folder = tmp_path / "run"
    if isinstance(content, dict):
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text)
    elif content == "file":
        folder.write_text("x")
    elif content == "checkpoint":
        export_run(uninterrupted, "run", out=tmp_path)
    else:
        shutil.copytree(uninterrupted, folder)
        (folder / content).unlink()
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=f"{message}.*choose (a|another) folder"):
        begin(folder, resume=resume)
    assert contents(tmp_path) == before


def test_a_run_killed_in_its_first_validation_is_begun_anew_only_as_it_was(tmp_path, uninterrupted):
    run = begin(tmp_path / "run")
    shutil.copy(uninterrupted / BEST, run.folder / BEST)
    with pytest.raises(FileExistsError, match=r"whose last.safetensors is gone"):
        begin(run.folder)
    with pytest.raises(FileExistsError, match="begun with another seed; resume with the same settings"):
        begin(run.folder, resume=True, seed=1)
    assert_same_run(run_to_the_end(run.folder, resume=True).folder, uninterrupted)


@pytest.mark.parametrize("resume", [False, True])
def test_two_processes_do_not_train_in_one_folder(tmp_path, uninterrupted, resume):
    with start_process(tmp_path / "run", until_step=5) as process:
        with pytest.raises((InUseError, FileExistsError), match=rf"pid {process.pid}\)|holds a run already"):
            begin(tmp_path / "run", resume=resume)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
    assert_same_run(run_to_the_end(tmp_path / "run", resume=True).folder, uninterrupted, left_overs=True)


def test_of_two_that_open_a_run_at_once_one_trains(tmp_path, uninterrupted):
    first, second = begin(tmp_path / "run", seed=7), begin(tmp_path / "run")
    with pytest.raises(InUseError, match=r"another process has written to .* since the run was opened"):
        train(first)
    assert train(second)
    assert_same_run(second.folder, uninterrupted)
    late = begin(tmp_path / "run", resume=True)
    late.save()
    with pytest.raises(InUseError, match="open it again with --resume"):
        train(second)


def test_a_run_that_came_meanwhile_is_not_written_over(tmp_path, uninterrupted, monkeypatch):
    original = Run.__init__

    def slow(self, folder, learner, config):
        original(self, folder, learner, config)
        shutil.copytree(uninterrupted, folder)

    monkeypatch.setattr(Run, "__init__", slow)
    with pytest.raises(InUseError, match=r"another process has begun a run in .* meanwhile"):
        begin(tmp_path / "run")
    assert contents(tmp_path / "run") == contents(uninterrupted)
