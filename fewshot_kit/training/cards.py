"""Model cards: what a checkpoint is, on what it was trained, and what was measured with which command."""

import shlex
from pathlib import Path

from fewshot_kit.data.datasets import dataset_names, rotates_in_training
from fewshot_kit.learners.base import Learner
from fewshot_kit.learners.settings import describe
from fewshot_kit.networks.configs import PretrainedConfig
from fewshot_kit.results import Interval, describe_mode
from fewshot_kit.training.build import build_learner
from fewshot_kit.training.checkpoint_folder import CARD
from fewshot_kit.training.markdown import code, code_block, escaped, safe_markdown

DATASETS = {
    "omniglot": "Omniglot (B. Lake et al. 2015, MIT licence), background alphabets; five of the thirty are kept for validation",
    "omniglot_vinyals": "Omniglot (B. Lake et al. 2015, MIT licence) split as by Vinyals et al. 2016, rotations as classes of their own",
    "quickdraw": "Quick, Draw! (Google, CC BY 4.0), simplified drawings of 207 categories; 69 are kept for validation and 69 for the test",
    "mini_imagenet": "mini-ImageNet (Vinyals et al. 2016, in the split of Ravi and Larochelle 2017; ImageNet's terms: research only)",
    "fc100": "FC100 (Oreshkin et al. 2018), the classes of CIFAR-100 (Krizhevsky 2009) split by superclass",
    "cifar_fs": "CIFAR-FS (Bertinetto et al. 2019), the classes of CIFAR-100 (Krizhevsky 2009)",
    "photo_patches": "patches of the photographs that scikit-image carries",
    "grocery_store": "Grocery Store (M. Klasson et al. 2019, MIT licence), split by kind of product",
    "fod_a": "FOD-A (T. Munyer et al. 2021, MIT licence): 15 of its 20 base classes; 5 are kept for validation, the novel 11 for the test",
    "scenes": "scenes of the kit's own drawings on textured grounds, made anew from a seed",
    "quickdraw_scenes": (
        "scenes of drawings on textured grounds, made anew from a seed: of Quick, Draw! (Google, CC BY 4.0) 197 words and the kit's own "
        "drawings of 17 kinds; no kind that scenes are tested on is among them"
    ),
}
SCENES = ("scenes", "quickdraw_scenes")
KINDS_OF_THINGS = {
    "mini_imagenet": "64 kinds of animals and things, one in the middle of each, made small",
    "fc100": "60 kinds of animals, plants and things at 32 x 32 pixels",
    "cifar_fs": "64 kinds of animals, plants and things at 32 x 32 pixels",
    "fod_a": "15 kinds of small parts on an airfield's ground",
}
INK = "Ink pictures in the kit's canonical form: light ink (1.0) on a dark background (0.0), one channel."
PHOTOGRAPHS = "Photographs in RGB, 0..1."
DRAWN = "Pictures in RGB, 0..1."
UNFIT = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)  # what a config of another shape raises


def safe_card(folder: Path, config: dict) -> str:
    """Return the card of a checkpoint's folder for a notebook to show: nothing in it can run, whoever wrote the folder.

    It is written from the config; where that says too little, it is the folder's README.md with all but its text taken away.
    """
    try:
        return render_card(folder.name, config)
    except UNFIT:
        card = folder / CARD
        return safe_markdown(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else ""


def render_card(name: str, config: dict) -> str:
    """Write the card of a checkpoint from its config.json; what that says is shown as it stands there, and is never read as Markdown."""
    training, learner = config["training"], build_learner(config["learner"], config["hyper_parameters"])
    network = learner.config.network
    if isinstance(network, PretrainedConfig):
        return render_adopted_card(name, config, learner)
    of_ink = network.channels == 1
    lines = [
        f"# {escaped(name)}",
        "",
        escaped(f"A {config['learner']} learner{_for_classes(learner.max_way)}: {network.size} x {network.size} pixels, {network}."),
        INK if of_ink else DRAWN if training["source"]["dataset"] in SCENES else PHOTOGRAPHS,
        "",
        "## Adapting",
        "",
        _adapting(config, learner),
        "",
        *_chosen(config, learner),
        *_trained(training),
        *_measured(config["results"]),
        "## Limits",
        "",
        f"{_limits(training, of_ink)} One picture a class is very little: look at the probabilities, not at the answer alone.",
        "",
        "## Licence",
        "",
        f"MIT, as this kit. sha256 of model.safetensors: {code(config['sha256'])}",
        "",
    ]
    return "\n".join(lines)


ADOPTED_CARD = """# {name}

A {kind} learner{classes}: {size} x {size} pixels, {network}.
Photographs in RGB, 0..1.

## Adapting

{adapting}

## Training

None here: the network is another's, frozen, and kept by its name, its revision and the sha256 of its weights, {digest}. {centre} Made by

{command}

{measured}
{unmeasured}

## Licence

Of this folder MIT, as this kit; of the network, its owners': see the page of {model}.
"""
UNMEASURED = (
    "The makers of this kit had no such weights to measure: it was tested with small random models alone, whose features equal "
    "those that transformers gives. One command measures it:"
)


def render_adopted_card(name: str, config: dict, learner: Learner) -> str:
    """Write the card of a learner on a network that others trained."""
    network, training = learner.config.network, config["training"]
    on = training.get("centred_on")
    centre = f"Features are centred at their mean over the training classes of {escaped(on)}." if on else "Features are not centred."
    measuring = ["evaluate", name, "--dataset", "grocery_store", "--n-way", "5", "--n-shot", "5", "--n-query", "15"]
    command = code_block(shlex.join(["python", "-m", "fewshot_kit", *measuring]))
    return ADOPTED_CARD.format(
        name=escaped(name),
        kind=escaped(config["learner"]),
        classes=_for_classes(learner.max_way),
        size=network.size,
        network=escaped(network),
        model=code(network.model),
        adapting="\n".join([_adapting(config, learner), "", *_chosen(config, learner)]).rstrip(),
        digest=code(network.sha256),
        centre=centre,
        command=code_block(training["command"]),
        measured="\n".join(_measured(config["results"])) if config["results"] else "## Measured\n",
        unmeasured="" if config["results"] else f"{UNMEASURED}\n\n{command}",
    )


def _for_classes(max_way: int | None) -> str:
    return " for any number of classes" if max_way is None else f" for at most {max_way} classes"


def _adapting(config: dict, learner: Learner) -> str:
    """Say what it does with a support; where settings were found for several ways and shots, at the first of them."""
    if not config.get("settings"):
        return escaped(learner.describe())
    row = config["settings"][0]
    return escaped(f"At {row['n_way']}-way {row['n_shot']}-shot: {learner.with_settings(**row['values']).describe()}")


def _chosen(config: dict, learner: Learner) -> list[str]:
    """Write the settings that were found best on validation classes, a line a way and shot."""
    if not config.get("settings"):
        return []
    rows = [
        "- " + escaped(f"{row['n_way']}-way {row['n_shot']}-shot: {describe(learner.with_settings(**row['values']).settings())}")
        for row in config["settings"]
    ]
    return ["Found best on validation classes, and taken for the way and shot that is nearest:", "", *rows, ""]


def _trained(training: dict) -> list[str]:
    source = training["source"]
    dataset = DATASETS.get(source["dataset"]) or escaped(source["dataset"])
    if source.get("samples_per_class"):
        dataset += f"; {escaped(source['samples_per_class'])} pictures a class"
    return [
        "## Training",
        "",
        f"{dataset}. {_how_long(training)}",
        "",
        code_block(training["command"]),
        "",
        *_started(training.get("start")),
    ]


def _started(start: dict | None) -> list[str]:
    """Say where the first weights came from, and theirs, and so on."""
    if start is None:
        return []
    training = start["training"]
    where = f"It went on from the weights of {code(start['name'])} with the sha256 {code(start['sha256'])}"
    if not training.get("command"):
        return [f"{where}.", ""]
    return [f"{where}. {_how_long(training)}", "", code_block(training["command"]), "", *_started(training.get("start"))]


def _how_long(training: dict) -> str:
    why = f"the best of the validation episodes ({training['val_way']}-way {training['val_shot']}-shot)"
    if training["source"].get("split") == "trainval":
        why = "trained on the validation classes too, so that it had none to choose by: everything was chosen in a training without them"
    averaged = f", averaged with those of step {training['averaged_with_step']}" if training.get("averaged_with_step") else ""
    return escaped(
        f"Seed {training['seed']}, {training['minutes']} minutes on {_where(training)}, "
        f"torch {training['trained_with']['torch']}; the weights of step {training['best_step']}, {why}{averaged}."
    )


def _where(training: dict) -> str:
    if training.get("device", "cpu") != "cpu":
        return f"the device '{training['device']}'"
    return f"{training['threads']} CPU thread{'s' if training['threads'] != 1 else ''}"


def _limits(training: dict, of_ink: bool) -> str:
    source = training["source"]
    if source["dataset"] in SCENES:
        return "Trained on drawings on made-up grounds: photographs are outside what it has seen."
    if source["dataset"] == "fod_a":
        return (
            f"Trained on photographs of {KINDS_OF_THINGS['fod_a']}: pictures of other things are outside what it has seen. Pictures of one "
            "class come from one or a few videos, so the support and the queries that it was measured on may show the very same thing."
        )
    if not of_ink:
        things = KINDS_OF_THINGS.get(source["dataset"], "one kind of thing")
        return f"Trained on photographs of {things}: pictures of other things, drawings among them, are outside what it has seen."
    rotates = source["rotations"]
    if rotates is None:  # as the data set wants, where it is one of the kit's
        rotates = source["dataset"] in dataset_names() and rotates_in_training(source["dataset"])
    turned = ", turned by multiples of 90 degrees" if rotates or source["dataset"] == "omniglot_vinyals" else ""
    mirrored = ", as they are and mirrored" if source.get("reflections") else ""
    return f"Trained on pen strokes of 1 to 3 pixels{turned}{mirrored}: it is nearly blind to photographs, colour and texture."


def _measured(results: list[dict]) -> list[str]:
    return [
        "## Measured",
        "",
        *_head(results),
        *(_result_row(result) for result in results),
        "",
        "Intervals are 95 %, 1.96 s/sqrt(n) over episodes. The commands, row by row:",
        "",
        *(code_block(result["command"]) for result in results),
        "",
    ]


def _result_row(result: dict) -> str:
    cells = [
        result["dataset"],
        result["split"],
        f"{result['n_way']}, {result['n_shot']}, {result['n_query']}",
        result["n_episodes"],
        f"{describe_mode(result)}, seed {result['seed']}",
    ]
    return f"| {' | '.join(map(escaped, [*cells, *_measures(result).values()]))} |"


def _measures(result: dict) -> dict[str, object]:
    """Return what the columns of the table say of a measurement, by their heads."""
    if result.get("primary", "accuracy") == "accuracy":
        return {"accuracy": Interval(**result["accuracy"]).percent(), "cross entropy": Interval(**result["loss"])}
    columns = {"mAP50": "map50", "mAP50-95": "map", "mAP50, lenient": "map50_lenient", "mAP50-95, lenient": "map_lenient"}
    return {head: Interval(**result[name]).percent() for head, name in columns.items()}


def _head(results: list[dict]) -> list[str]:
    heads = ["data set", "split", "way, shot, queries a class", "episodes", "mode", *_measures(results[0])] if results else []
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"] if heads else ["Nothing yet."]
