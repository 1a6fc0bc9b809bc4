"""The commands about checkpoints: make one of a run (`export`) or of a model of Hugging Face (`adopt`), and `list` them.

torch takes seconds to import, so it is imported only after a first word to the person.
"""

from pathlib import Path

from fewshot_kit.learners.settings import parse_settings_of
from fewshot_kit.results import describe_result
from fewshot_kit.training.checkpoint_folder import PRETRAINED, CheckpointError, list_checkpoints, read_config
from fewshot_kit.training.progress import Bar, say


def export_command(
    run: Path,
    name: str | None = None,
    settings: tuple[str, ...] = (),
    out: Path = PRETRAINED,
    half: bool = False,
    average: bool = False,
    replace: bool = False,
    onnx: Path | None = None,
) -> None:
    """Turn the best weights of a run into a checkpoint folder with a card; or saved classes into an ONNX file.

    Args:
        run: the run's folder; with --onnx, a folder of saved classes.
        name: of the checkpoint, <learner>-<data set> and what tells it from others.
        settings: found best on validation, as 5way-1shot:inner_lr=0.01,inner_steps=10 and so on; the run's if left out.
        out: the folder of checkpoints.
        half: write kernels and matrices in 16 bits: half the room; measure it afterwards, whether it is as accurate.
        average: take the mean of the best and the last weights; choose by validation whether it is better.
        replace: write over the checkpoint of this name. What is no checkpoint is never written over.
        onnx: write the classifier of saved classes to this file, my_classes.onnx, which other programs run without this kit.
    """
    if (name is None) == (onnx is None):
        raise ValueError("give --name for a checkpoint made of a run, or --onnx FILE for saved classes")
    if onnx is not None and (settings or half or average or out != PRETRAINED):
        raise ValueError("--onnx writes saved classes as they are; leave --settings, --half, --average and --out to checkpoints")
    if onnx is not None and onnx.exists() and not replace:
        raise FileExistsError(f"{onnx} is there already; add --replace to write over it, or choose another name")
    rows = [parse_settings_of(word) for word in settings]
    say("loading PyTorch …")
    if onnx is not None:
        from fewshot_kit.demo.onnx_export import export_onnx

        print(f"wrote {export_onnx(run, onnx)}")
        return
    from fewshot_kit.training.export import export_run

    print(f"wrote {export_run(run, name, out, rows, replace, half, average)}")


def adopt_command(model: str, name: str, centre_on: str | None = None, out: Path = PRETRAINED, replace: bool = False) -> None:
    """Make a checkpoint of a vision model of Hugging Face, which is downloaded once and stays where it is.

    Args:
        model: hf:<its name>, as hf:facebook/dinov2-small, or hf:<its folder>.
        name: of the checkpoint.
        centre_on: a data set; features are centred at their mean over its training classes.
        out: the folder of checkpoints.
        replace: write over the checkpoint of this name.
    """
    say("loading PyTorch …")
    from fewshot_kit.networks.devices import use_one_thread
    from fewshot_kit.training.adopt import adopt

    use_one_thread()
    with Bar("embedding", 0, unit="picture") as bar:
        print(f"wrote {adopt(model, name, centre_on=centre_on, out=out, replace=replace, on_progress=bar.show_of)}")


def list_command() -> None:
    """List the checkpoints with their measured accuracy."""
    for name in list_checkpoints():
        print(name)
        try:
            for result in read_config(PRETRAINED / name)["results"]:
                print(f"  {describe_result(result)}")
        except (CheckpointError, KeyError, TypeError, AttributeError) as error:
            print(f"  cannot be read: {error}")
