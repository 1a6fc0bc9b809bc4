"""The command line: python -m fewshot_kit train <learner> | evaluate <checkpoint> | export <run> | list."""

import dataclasses
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import tyro
from tqdm import tqdm
from tyro.conf import OmitArgPrefixes, Positional

from fewshot_kit.data.datasets import dataset_splits, load_dataset
from fewshot_kit.data.episodes import EpisodeSampler
from fewshot_kit.evaluate import Evaluation, Interval, describe_mode, evaluate
from fewshot_kit.learners import LEARNERS
from fewshot_kit.networks.devices import pick_device
from fewshot_kit.training.cards import export_run, record_result
from fewshot_kit.training.checkpoints import PRETRAINED, list_checkpoints, load_checkpoint, read_config, write_text
from fewshot_kit.training.distributed import process_group, rank
from fewshot_kit.training.runs import describe_row
from fewshot_kit.training.train import TrainConfig, finish, open_run, train


def train_command(learner_name: str, config_class: type) -> Callable[..., None]:
    """Return the command that trains this learner, with its hyper-parameters as flags."""

    def train_learner(
        hyper_parameters: OmitArgPrefixes[config_class],
        training: OmitArgPrefixes[TrainConfig],
        out: Path | None = None,
        resume: bool = False,
    ) -> None:
        """Meta-train, validating as it goes. Ctrl-C stops after the step in progress; --resume goes on to the very same weights.

        Args:
            hyper_parameters: of the learner.
            training: how long and on what.
            out: the run's folder; runs/<learner>-<dataset>-<way>way-<shot>shot if left out.
            resume: go on with an interrupted run.
        """
        if "train" not in dataset_splits(training.dataset):  # found before a folder is made
            raise ValueError(f"{training.dataset!r} has no train split; train on omniglot, for instance")
        out = out or Path("runs") / f"{learner_name}-{training.dataset}-{training.n_way}way-{training.n_shot}shot"
        with process_group(pick_device(training.device)):
            run = open_run(out, learner_name, hyper_parameters, training, resume=resume)
            bar = tqdm(total=training.outer_steps, initial=run.step, desc=str(out), unit="step", smoothing=0.05, disable=rank() > 0 or None)
            with bar:
                finished = train(run, on_step=lambda run, loss: bar.update(), on_evaluation=lambda row: tqdm.write(describe_row(row)))
            if rank() == 0 and finished:
                print("validation, best weights:", finish(run))
            elif rank() == 0:
                print(f"stopped at step {run.step}; the same command with --resume goes on")

    return train_learner


def evaluate_command(
    checkpoint: Positional[str],
    dataset: str = "omniglot",
    split: str = "test",
    n_way: int = 3,
    n_shot: int = 1,
    n_query: int = 1,
    episodes: int = 600,
    seed: int = 0,
    transductive: bool = False,
    within_group: bool = False,
    inner_lr: float | None = None,
    inner_steps: int | None = None,
    device: str = "auto",
    json: str | None = None,
    record: bool = False,
) -> None:
    """Measure a checkpoint on fresh episodes: accuracy and cross entropy with their 95 % intervals.

    Args:
        checkpoint: its name in pretrained/, or a folder.
        dataset: a data-set name, or folder:<path>.
        split: train, val or test.
        n_way: classes an episode.
        n_shot: support images a class.
        n_query: query images a class.
        episodes: how many.
        seed: of the episodes.
        transductive: let batch norm see all queries of an episode together.
        within_group: take the classes of an episode from one group: of Omniglot, from one alphabet.
        inner_lr: the checkpoint's own if left out.
        inner_steps: the checkpoint's own if left out.
        device: auto, cpu or cuda.
        json: write the result to this file; - is standard output.
        record: add the result, with its command, to the checkpoint's config.json and card.
    """
    loaded = load_checkpoint(checkpoint, device=pick_device(device))
    given = {"inner_lr": inner_lr, "inner_steps": inner_steps}
    learner = loaded.learner.with_settings(**{name: value for name, value in given.items() if value is not None})
    images = load_dataset(dataset, split, preprocessing=learner.preprocessing)
    with tqdm(total=episodes, unit="episode", disable=None) as bar:
        result = evaluate(
            learner,
            EpisodeSampler(images, n_way, n_shot, n_query, within_group),
            n_episodes=episodes,
            seed=seed,
            transductive=transductive,
            on_progress=lambda done, accuracy: bar.update(done - bar.n),
        )
    result = dataclasses.replace(result, checkpoint=loaded.name)
    _report(result, json)
    if record:
        record_result(loaded.folder, result, command=evaluation_command(result, inner_lr, inner_steps))


def evaluation_command(result: Evaluation, inner_lr: float | None, inner_steps: int | None) -> str:
    """Return the command that repeats a measurement."""
    flags = {"dataset": result.dataset, "split": result.split, "n-way": result.n_way, "n-shot": result.n_shot, "n-query": result.n_query}
    flags |= {"episodes": result.n_episodes, "seed": result.seed, "inner-lr": inner_lr, "inner-steps": inner_steps}
    words = [word for name, value in flags.items() if value is not None for word in (f"--{name}", str(value))]
    words += ["--transductive"] * result.transductive + ["--within-group"] * result.within_group
    return shlex.join(["python", "-m", "fewshot_kit", "evaluate", str(result.checkpoint), *words])


def _report(result: Evaluation, json_path: str | None) -> None:
    if json_path == "-":
        print(result.to_json())
        return
    print(result)
    if json_path is not None:
        write_text(Path(json_path), result.to_json() + "\n")


def list_command() -> None:
    """List the checkpoints with their measured accuracy."""
    for name in list_checkpoints():
        print(name)
        for result in read_config(PRETRAINED / name)["results"]:
            accuracy, loss = Interval(**result["accuracy"]), Interval(**result["loss"])
            print(
                f"  {result['dataset']} {result['split']} {result['n_way']}-way {result['n_shot']}-shot: {accuracy.percent()}, "
                f"cross entropy {loss} ({result['n_episodes']} episodes, {describe_mode(result)})"
            )


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status; what a person can mend is one line on standard error, without a traceback."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    commands = {"evaluate": evaluate_command, "export": export_run, "list": list_command}
    try:
        if arguments[:1] == ["train"] and arguments[1:2] and arguments[1] in LEARNERS:
            name = arguments[1]
            tyro.cli(train_command(name, LEARNERS[name][1]), prog=f"python -m fewshot_kit train {name}", args=arguments[2:])
        elif arguments and arguments[0] in commands:
            tyro.cli(commands[arguments[0]], prog=f"python -m fewshot_kit {arguments[0]}", args=arguments[1:])
        else:
            print(f"{__doc__}\nLearners: {', '.join(LEARNERS)}. Add --help to a command for its settings.")
            return 0 if arguments in (["--help"], ["-h"]) else 2
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
