"""The command line: python -m fewshot_kit train <learner> | pretrain | evaluate | export | adopt | learn | classify | sweep | list.

torch takes seconds to import, so it is imported only once a command's words are understood, and after a first word to the person.
"""

import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

from fewshot_kit.batch.commands import sweep_command
from fewshot_kit.data.files import write_text, writing
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.demo.checkpoint_commands import adopt_command, export_command, list_command
from fewshot_kit.demo.own_commands import classify_command, learn_command
from fewshot_kit.learners.configs import CONFIGS, LearnerConfig, NearestMeanConfig, config_name
from fewshot_kit.learners.settings import parse_settings
from fewshot_kit.training.config import MeasureConfig, TrainConfig, usual_training
from fewshot_kit.training.network_flag import take_network
from fewshot_kit.training.presets import take_preset
from fewshot_kit.training.progress import Bar, say
from fewshot_kit.training.run_folder import usual_folder
from fewshot_kit.training.schema import shortened

INTERRUPTED, NOT_READ = 130, 141  # exit statuses, as a shell has them of SIGINT and SIGPIPE
MAX_MESSAGE = 1_500  # letters of an error: a word that it repeats may be as long as a book


def say_what_does_not_fit(dataset: str, preprocessing: Preprocessing) -> None:
    """Tell a person who gives photographs to a network for ink, or the reverse."""
    from fewshot_kit.data.datasets import dataset_names
    from fewshot_kit.demo.photographs import FOLDER, warn_of_pictures

    is_known = dataset in dataset_names() or dataset.startswith(FOLDER)
    if is_known and (warning := warn_of_pictures(dataset, preprocessing)):
        say(f"note: {warning}")


def train_command(defaults: LearnerConfig, training_defaults: TrainConfig) -> Callable[..., int]:
    """Return the command that trains this learner, with its hyper-parameters, and those of its network, as flags."""
    from tyro.conf import AvoidSubcommands, OmitArgPrefixes

    def train_learner(
        hyper_parameters: AvoidSubcommands[OmitArgPrefixes[type(defaults)]] = defaults,
        training: OmitArgPrefixes[TrainConfig] = training_defaults,
        out: Path | None = None,
        resume: bool = False,
    ) -> int:
        """Meta-train, validating as it goes. Ctrl-C stops after the step in progress; --resume goes on to the very same weights.

        `--preset paper`, of maml and reptile, starts from the settings of the paper in place of the kit's; flags change them further.

        Args:
            hyper_parameters: of the learner.
            training: how long and on what.
            out: the run's folder; runs/<learner>-<dataset> if left out.
            resume: go on with an interrupted run.
        """
        return run_training(hyper_parameters, training, out or usual_folder(hyper_parameters, training.source.dataset), resume)

    return train_learner


def run_training(hyper_parameters, training: TrainConfig, out: Path, resume: bool) -> int:
    """Train to the end or to Ctrl-C, say what is done meanwhile, and return the exit status."""
    say("loading PyTorch …")
    from tqdm import tqdm

    from fewshot_kit.networks.devices import pick_device, use_one_thread
    from fewshot_kit.training.distributed import process_group, rank
    from fewshot_kit.training.preparation import prepared
    from fewshot_kit.training.runs import describe_row
    from fewshot_kit.training.train import open_run, train

    use_one_thread()
    hyper_parameters = prepared(hyper_parameters, training)
    with process_group(pick_device(training.device)):
        say(f"loading {training.source.dataset} …")
        run = open_run(out, hyper_parameters, training, resume=resume)
        say_what_does_not_fit(training.source.dataset, hyper_parameters.network.preprocessing)
        say(f"training in {out}: {training.outer_steps - run.step} steps, validated every {training.evaluate_every}")
        steps = tqdm(total=training.outer_steps, initial=run.step, unit="step", smoothing=0.05, disable=rank() > 0 or None)
        with steps, Bar("validating", training.evaluation_episodes, quiet=rank() > 0) as validating:
            finished = train(
                run,
                on_step=lambda run, loss: steps.update(),
                on_evaluation=lambda row: tqdm.write(describe_row(row, config_name(hyper_parameters))),
                on_validation=validating.show,
            )
        if rank() == 0:
            tell_the_end(run, finished)
    return 0 if finished else INTERRUPTED


def tell_the_end(run, finished: bool) -> None:
    """Say how good the best weights of a finished run are, or how an interrupted one goes on."""
    from fewshot_kit.training.train import finish

    if finished:
        say("measuring the best weights on 600 validation episodes …")
        with Bar("measuring", 600) as measuring:
            print("validation, best weights:", finish(run, on_progress=measuring.show))
    else:
        print(f"stopped at step {run.step}; the same command with --resume goes on")


def evaluate_command(
    checkpoint: str,
    dataset: str = "omniglot",
    split: str = "test",
    n_way: int = 3,
    n_shot: int = 1,
    n_query: int = 1,
    episodes: int = 600,
    seed: int = 0,
    transductive: bool = False,
    within_group: bool = False,
    settings: tuple[str, ...] = (),
    learner: str | None = None,
    size: int | None = None,
    device: str = "auto",
    json: str | None = None,
    record: bool = False,
) -> None:
    """Measure a checkpoint on fresh episodes: accuracy and cross entropy with their 95 % intervals.

    Args:
        checkpoint: its name in pretrained/, or a folder; or a vision model of Hugging Face, as hf:facebook/dinov2-small.
        dataset: a data-set name, or folder:<path>.
        split: train, val or test.
        n_way: classes an episode.
        n_shot: support images a class.
        n_query: query images a class.
        episodes: how many.
        seed: of the episodes.
        transductive: let batch norm see all queries of an episode together.
        within_group: take the classes of an episode from one group: of Omniglot, from one alphabet.
        settings: of how it adapts, as inner_lr=0.01 inner_steps=20; those found best for the way and shot if left out.
        learner: another learner on the network of the checkpoint: nearest_mean, logistic or linear_head.
        size: of the pictures, in pixels, where the network takes any; its own if left out.
        device: auto, cpu or cuda.
        json: write the result to this file; - is standard output.
        record: add the result, with its command, to the checkpoint's config.json and card.
    """
    given = parse_settings(settings)
    MeasureConfig(n_way, n_shot, n_query, episodes, seed, device).check_can_measure(checkpoint, record)
    say("loading PyTorch …")
    from fewshot_kit.networks.devices import pick_device, use_one_thread
    from fewshot_kit.training.build import on_network_of
    from fewshot_kit.training.checkpoints import load_checkpoint
    from fewshot_kit.training.commands import evaluation_command
    from fewshot_kit.training.export import record_result
    from fewshot_kit.training.tasks import kind_of

    use_one_thread()
    loaded = load_checkpoint(checkpoint, device=pick_device(device))
    measured = on_network_of(loaded.learner_for(n_way, n_shot), learner, size).with_settings(**given)
    say_what_does_not_fit(dataset, measured.preprocessing)
    say(f"loading {dataset} {split} …")
    kind = kind_of(measured.config)
    size_of_task = {"n_way": n_way, "n_shot": n_shot, "n_query": n_query}
    sampler = kind.episodes_of(dataset, split, measured.preprocessing, **size_of_task, within_group=within_group)
    say(f"measuring {episodes} episodes …")
    with Bar("measuring", episodes) as bar:
        flags = kind.flags(transductive=transductive)
        result = kind.evaluate(measured, sampler, n_episodes=episodes, seed=seed, on_progress=bar.show, **flags)
    result = replace(result, checkpoint=loaded.name, learner=learner, size=size)
    try:
        if json not in (None, "-"):
            write_text(Path(json), result.to_json() + "\n")
        if record:
            record_result(loaded.folder, result, evaluation_command(result, given), loaded.config["sha256"])
    finally:  # what was measured is told whether or not it could be written down
        print(result.to_json() if json == "-" else result)


def run_command(arguments: list[str]) -> int:
    """Understand the words of a command and run it."""
    from tyro.conf import Positional, arg

    evaluate_command.__annotations__ |= {"checkpoint": Positional[str], "settings": Annotated[tuple[str, ...], arg(name="set")]}
    export_command.__annotations__ |= {"run": Positional[Path]}
    adopt_command.__annotations__ |= {"model": Positional[str], "name": Positional[str]}
    sweep_command.__annotations__ |= {"file": Positional[Path]}
    learn_command.__annotations__ |= {"folder": Positional[Path], "settings": Annotated[tuple[str, ...], arg(name="set")]}
    classify_command.__annotations__ |= {"classes": Positional[Path], "pictures": Positional[list[Path]]}
    commands = {"evaluate": evaluate_command, "export": export_command, "list": list_command}
    commands |= {"learn": learn_command, "classify": classify_command, "adopt": adopt_command, "sweep": sweep_command}
    if arguments[:1] == ["train"] and arguments[1:2] and arguments[1] in CONFIGS:
        preset, rest = take_preset(arguments[2:], arguments[1])
        learner, training = (preset.learner, preset.training) if preset else (CONFIGS[arguments[1]](), usual_training(arguments[1]))
        learner, rest = take_network(rest, learner, training.source.dataset)
        command, words = train_command(learner, training), arguments[:2]
    elif arguments[:1] == ["pretrain"]:
        training, words = usual_training("nearest_mean", pretrain=True), arguments[:1]
        learner, rest = take_network(arguments[1:], NearestMeanConfig(), training.source.dataset)
        command = train_command(learner, training)
    elif arguments and arguments[0] in commands:
        command, words, rest = commands[arguments[0]], arguments[:1], arguments[1:]
    else:
        print(f"{__doc__.splitlines()[0]}\n\nLearners: {', '.join(CONFIGS)}. Add --help to a command for its settings.")
        return 0 if {"--help", "-h"} & set(arguments) else 2
    import tyro

    return tyro.cli(command, prog=shlex.join(["python", "-m", "fewshot_kit", *words]), args=rest) or 0


def of_output(error: Exception) -> Exception:
    """Return the error, told as one of standard output where it is: the one thing that is written without a name."""
    try:
        with writing("standard output"):
            sys.stdout.flush()
            if isinstance(error, OSError) and error.filename is None:
                raise error
    except OSError as told:
        error = told
    if getattr(error, "target", None) == "standard output":  # what it still holds must not fail again at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return error


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status; what a person can mend is one line on standard error, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what a terminal cannot show must not end what it tells of
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return run_command(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # who read has gone, as `head` does: there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor at the exit
        return NOT_READ
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {shortened(str(of_output(error)), MAX_MESSAGE)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
