"""The one meta-training loop: outer steps, validation, the best weights kept, resumable at any moment.

A run folder holds config.json (all settings), log.jsonl (a line an evaluation), last.safetensors (everything a resume needs),
best.safetensors (the weights of the best validation) and, at the end, result.json. Each is written whole, and those of one validation
together: a full disk leaves the files of the validation before.
"""

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from fewshot_kit.data.episodes import Episode, EpisodeSampler
from fewshot_kit.data.files import write_text, write_together
from fewshot_kit.data.locks import InUseError, locked
from fewshot_kit.detection.annotated import BoxedImages, DetectionSampler
from fewshot_kit.learners.base import TrainableLearner
from fewshot_kit.learners.configs import LearnerConfig, config_name
from fewshot_kit.learners.fine_tune import Cancelled
from fewshot_kit.networks.devices import pick_device, torch_threads
from fewshot_kit.results import Evaluation, Interval
from fewshot_kit.training import distributed
from fewshot_kit.training.build import make_learner
from fewshot_kit.training.checkpoints import load_checkpoint, start_from
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.interrupts import interrupt_between_steps
from fewshot_kit.training.run_folder import (
    BEST,
    CONFIG,
    LAST,
    LOCK,
    LOG,
    check_can_begin,
    differences,
    has_begun,
    read_begun,
    truncate_log,
    write_result,
)
from fewshot_kit.training.run_state import Counters, read_state, state_as_bytes
from fewshot_kit.training.runs import read_log
from fewshot_kit.training.tasks import kind_of
from fewshot_kit.training.weights import load_best, read_best, tensors_as_bytes

Batch, Sampler = Episode | BoxedImages, EpisodeSampler | DetectionSampler
OnProgress = Callable[[int, Interval], None]  # (episodes done, the primary metric so far)


class Run:
    """One meta-training: its learner, optimiser, random generator and counters, and the folder they are saved in."""

    def __init__(self, folder: Path, learner: TrainableLearner, config: TrainConfig):
        self.folder, self.config = folder, config
        self.learner = learner.to(pick_device(config.device))
        self.learner.check_way(config.val_way)
        self.kind = kind_of(learner.config)
        self.dataset = self.kind.load_training(config.source, learner.preprocessing)
        self.validation = self._sampler("val")
        self.generator = torch.Generator().manual_seed(config.seed)  # of all chance in the training
        self.learner.begin_training(self.dataset, self.generator)
        self.optimizer = _optimizer(learner.trainable_parameters(), config)
        self.step, self.seconds, self.best = 0, 0.0, -math.inf
        self._saved_step: int | None = None
        self._stamps = None  # of the files of this run, as it left them

    def _sampler(self, split: str) -> Sampler:
        return self.kind.episodes_of(self.config.source.dataset, split, self.learner.preprocessing, **self.config.validation())

    def evaluate(self, split: str, n_episodes: int, on_progress: OnProgress | None = None) -> Evaluation:
        """Measure the learner as it is, on episodes of the validation's way, shot and queries."""
        sampler = self.validation if split == "val" else self._sampler(split)
        return self.kind.evaluate(self.learner.eval(), sampler, n_episodes=n_episodes, seed=self.config.seed, on_progress=on_progress)

    def meta_lr(self) -> float:
        """Return the outer learning rate of the coming step: a cosine from `meta_lr` to `last_lr` of it."""
        last = self.config.last_lr
        return self.config.meta_lr * (last + (1 - last) * (1 + math.cos(math.pi * (self.step / self.config.outer_steps))) / 2)

    def outer_step(self) -> float:
        """Draw tasks, take one step of the outer optimiser and return the mean loss.

        Raises FloatingPointError, before the step, if the loss or the meta-gradient is not finite.
        """
        self.optimizer.zero_grad()
        batches = self._draw(self.generator)
        size = self.learner.preprocessing.size
        batches = [self.kind.changed(self.config.source, batch, self.generator, size) for batch in batches]
        loss, gradients = self._meta_gradient(batches)
        if not (math.isfinite(loss) and all(gradient.isfinite().all() for gradient in gradients)):
            kept = f"The last good state is kept in {self.folder}" if (self.folder / LAST).is_file() else "No state was saved yet"
            raise FloatingPointError(
                f"the loss ({loss}) or the meta-gradient is not finite at outer step {self.step}: training has diverged. {kept}; start "
                f"again with a lower meta_lr or inner learning rate"
            )
        if self.config.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.learner.trainable_parameters(), self.config.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.meta_lr()
        self.optimizer.step()
        self.step += 1
        return loss

    def check(self) -> None:
        """Raise ValueError for settings under which a later step or validation would fail; nothing of the run is changed."""
        self.kind.evaluate(self.learner.eval(), self.validation, n_episodes=1, seed=self.config.seed)
        # Magnet draws by clusters that it makes anew: its data set was checked as the training began.
        if not any(name.startswith("training_") for name, _ in self.learner.named_buffers()):
            distributed.share(self._draw(torch.Generator().manual_seed(self.config.seed)))

    def _draw(self, generator: torch.Generator) -> list[Batch]:
        try:
            return self.learner.training_batches(self.dataset, generator)
        except ValueError as error:
            raise ValueError(f"no training task can be drawn with these train_ settings: {error}") from error

    def _meta_gradient(self, batches: list[Batch]) -> tuple[float, list[Tensor]]:
        """Return the mean loss and leave the mean gradient in `.grad`; of several processes, each does its share of the tasks."""
        mine = distributed.share(batches)
        device, in_16_bits = self.learner.device, self.config.precision == "bfloat16"
        with torch.autocast(device.type, torch.bfloat16, enabled=in_16_bits):
            loss = torch.tensor(self.learner.accumulate_meta_grad(mine), dtype=torch.float64, device=device)
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in trained if p.grad is not None]
        distributed.add_up([loss, *gradients], len(mine) / len(batches))
        return loss.item(), gradients

    def save(self, others: Mapping[str, bytes] | None = None) -> None:
        """Write everything a resume needs, and `others` by name before it: all or nothing; of several processes, the first one writes."""
        if distributed.rank() != 0:
            return
        counters = Counters(self.step, self.seconds, self.best)
        state = state_as_bytes(self.learner, self.optimizer, self.generator, counters)
        write_together({self.folder / name: content for name, content in {**(others or {}), LAST: state}.items()})
        self._saved_step = self.step
        self.note_files()

    @property
    def is_saved(self) -> bool:
        return self._saved_step == self.step

    def note_files(self) -> None:
        """Remember the run's files as they are now, so that another process that takes up the run is noticed."""
        self._stamps = self._stamps_now()

    def _stamps_now(self) -> list[tuple[int, int] | None]:
        files = [self.folder / name for name in (CONFIG, LAST)]
        return [(file.stat().st_ino, file.stat().st_mtime_ns) if file.is_file() else None for file in files]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock of the run's folder; of several processes, the first one does. Raises InUseError if others have, or had, it."""
        if distributed.rank() != 0:
            yield
            return
        with locked(self.folder / LOCK, self.folder):
            if self._stamps is not None and self._stamps != self._stamps_now():
                raise InUseError(f"another process has written to {self.folder} since the run was opened; open it again with --resume")
            yield

    def restore(self) -> None:
        """Read what `save` wrote. Raises ValueError where it is damaged, or where the best weights are: they are needed only at the end."""
        counters = read_state(self.folder, self.learner, self.optimizer, self.generator, self.config.outer_steps)
        if counters.best > -math.inf:
            read_best(self.folder, self.learner)
        self.step, self.seconds, self.best = counters.step, counters.seconds, counters.best
        self._saved_step = self.step


def _optimizer(parameters: list[torch.nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=config.meta_lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(parameters, lr=config.meta_lr, momentum=0.9, nesterov=True, weight_decay=config.weight_decay)


def open_run(folder: str | Path, learner_config: LearnerConfig, config: TrainConfig, *, resume: bool = False) -> Run:
    """Begin a run in a new folder, or take up an interrupted one with `resume` under the very settings it was begun with.

    `resume` where there is nothing yet begins a run, so that a batch job may always ask for it.
    """
    folder, is_begun = Path(folder), has_begun(Path(folder))
    if is_begun and not resume:
        raise FileExistsError(f"{folder} holds a run already; add --resume to go on with it, or choose another folder with --out")
    settings = run_settings(learner_config, config)
    if is_begun:
        _check_same_settings(folder, settings)
    else:
        check_can_begin(folder, settings, resume=resume)
    learner = make_learner(learner_config, config.seed)
    start = None if is_begun or config.start_from is None else start_from(load_checkpoint(config.start_from), learner)
    run = Run(folder, learner, config)
    if not is_begun:
        run.check()
    distributed.wait_for_all()  # the others have looked for a run, before the first process makes one
    with run.held():
        if is_begun:
            run.restore()
        if distributed.rank() == 0:
            rows = read_log(folder / LOG)  # before anything is written: it may be damaged
            if not is_begun:
                _write_settings(run, {**settings, "start": start, "versions": {"torch": torch.__version__}}, resume)
            truncate_log(folder / LOG, rows, run.step)
            run.note_files()
    return run


def _write_settings(run: Run, record: dict, resume: bool) -> None:
    """Begin the run in its folder, where nothing may have come to lie meanwhile."""
    if has_begun(run.folder):
        raise InUseError(f"another process has begun a run in {run.folder} meanwhile; choose another folder with --out")
    check_can_begin(run.folder, record, resume=resume)
    write_text(run.folder / CONFIG, json.dumps(record, indent=2) + "\n")


def run_settings(learner_config: LearnerConfig, config: TrainConfig) -> dict:
    """Return the settings of a run as they stand in its config.json."""
    return {
        "learner": config_name(learner_config),
        "hyper_parameters": dataclasses.asdict(learner_config),
        "training": dataclasses.asdict(config),
    }


def _check_same_settings(folder: Path, settings: dict) -> None:
    saved, _ = read_begun(folder)
    if changed := differences(saved, json.loads(json.dumps(settings))):
        raise ValueError(f"{folder} was begun with another {', '.join(changed)}; resume with the same settings, or choose another folder")


def train(
    run: Run,
    *,
    on_step: Callable[[Run, float], None] | None = None,
    on_evaluation: Callable[[dict], None] | None = None,
    on_validation: OnProgress | None = None,
) -> bool:
    """Train to the end, until Ctrl-C, or until `on_step` raises `Cancelled`; return whether it is finished.

    State is saved at every evaluation, and when training is stopped. `on_validation` is told how far a validation is.
    """
    config = run.config
    losses: list[float] = []
    started = time.perf_counter() - run.seconds
    with run.held(), interrupt_between_steps() as interrupted, torch_threads(config.threads):
        while run.step < config.outer_steps and not distributed.any_of(interrupted(), run.learner.device):
            loss = run.outer_step()
            losses.append(loss)
            if run.step % config.evaluate_every == 0 or run.step == config.outer_steps:
                run.seconds = time.perf_counter() - started
                if distributed.rank() == 0:
                    row = _validate(run, sum(losses) / len(losses), on_validation)
                    if on_evaluation is not None:
                        on_evaluation(row)
                losses.clear()
            try:
                if on_step is not None:
                    on_step(run, loss)
            except Cancelled:
                break
        run.seconds = time.perf_counter() - started
        if not run.is_saved:
            run.save()
    return run.step == config.outer_steps


def _validate(run: Run, train_loss: float, on_progress: OnProgress | None) -> dict:
    """Measure the run on validation classes, keep the weights if they are the best, log the line and save the state."""
    result = run.evaluate("val", run.config.evaluation_episodes, on_progress)
    is_best, files = result.best_by > run.best, {}
    if is_best:
        run.best = result.best_by
        files[BEST] = tensors_as_bytes(run.learner.released_state(), {"step": str(run.step)})
    row = {
        "step": run.step,
        "train_loss": train_loss,
        **{f"val_{name}": result.to_dict()[name] for name in result.metrics},
        **({"primary": result.primary} if result.primary != "accuracy" else {}),
        "best": is_best,
        "meta_lr": run.meta_lr(),
        "seconds": round(run.seconds, 1),
    }
    # Before the state: a process killed in between takes this step again, and writes the line again in place of this one.
    log = run.folder / LOG
    files[LOG] = (log.read_bytes() if log.is_file() else b"") + (json.dumps(row) + "\n").encode("utf-8")
    run.save(files)
    return row


def finish(run: Run, split: str = "val", n_episodes: int = 600, on_progress: OnProgress | None = None) -> Evaluation:
    """Load the best weights into the run's learner, measure them on `split`, write result.json and return the measurement."""
    load_best(run.folder, run.learner)
    result = run.evaluate(split, n_episodes, on_progress)
    write_result(run.folder, result)
    return result
