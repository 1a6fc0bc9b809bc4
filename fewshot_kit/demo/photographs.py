"""Tell photographs from ink drawings: a network for one knows little of the other, and its answers are worth little."""

from contextlib import suppress
from itertools import zip_longest

import numpy as np
from PIL import Image

from fewshot_kit.data.cancelling import Check, go_on
from fewshot_kit.data.datasets import has_photographs
from fewshot_kit.data.images import read_image
from fewshot_kit.data.opening import expanded
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.data.trees import open_tree, pictures_by_class
from fewshot_kit.demo.request import FOLDER
from fewshot_kit.networks.configs import PYRAMIDS, network_config
from fewshot_kit.training.checkpoint_folder import PRETRAINED, list_checkpoints, read_config

LOOKED_AT = 12  # pictures of a folder
NAMED = 3  # checkpoints, at most
SIDE = 48  # in pixels, to which they are shrunk first
COLOURED = 24  # how far the channels of a pixel are apart, beyond those of the picture's ground: paper under a lamp is yellow
SHARE = 0.12  # of the pixels: an ink drawing in colours has fewer


def warn_of_pictures(dataset: str, preprocessing: Preprocessing, check: Check = go_on) -> str:
    """Say that a network for ink is given photographs, or the reverse, and which checkpoint fits them; "" where all is well."""
    return advice(are_photographs(dataset, check), preprocessing)


def advice(are_in_colour: bool, preprocessing: Preprocessing) -> str:
    """Say that a network does not suit pictures that are photographs, or that are not; "" where it does."""
    wants_colour = preprocessing.channels == 3
    if are_in_colour == wants_colour:
        return ""
    names = " or ".join(checkpoints_for(in_colour=not wants_colour)[:NAMED])
    if wants_colour:
        return "These pictures have no colours, but this network was trained on photographs: of ink drawings it knows little. " + (
            f"For drawings, take the checkpoint {names}." if names else "For drawings, take a network trained on ink."
        )
    return (
        "These are photographs, but this network was trained on ink drawings: it sees them small and grey, and comparing pixels (“nearest "
        "pixels” of an evaluation) often beats its answers. "
        + (f"For photographs, take the checkpoint {names}." if names else "Take a network trained on colour pictures.")
    )


def are_photographs(dataset: str, check: Check = go_on) -> bool:
    """Say whether a data set is of photographs; of a person's own folder, a few pictures are looked at."""
    if not dataset.startswith(FOLDER):
        return has_photographs(dataset)
    with open_tree(expanded(dataset.removeprefix(FOLDER)), check) as tree:
        classes = pictures_by_class(tree, check).values()
        chosen = [picture for pictures in zip_longest(*classes) for picture in pictures if picture is not None][:LOOKED_AT]
        shares = [coloured_share(read_image(tree.read(picture), name=str(picture))) for picture in chosen]
    return float(np.median(shares)) > SHARE


def coloured_share(picture: np.ndarray) -> float:
    """Return the share of the pixels of a picture (h, w) or (h, w, 3), uint8, that have a colour of their own."""
    if picture.ndim == 2:
        return 0.0
    small = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)
    tint = np.median(small - small.mean(-1, keepdims=True), axis=(0, 1))
    return float((np.ptp(small - tint, axis=-1) > COLOURED).mean())


def checkpoints_for(*, in_colour: bool) -> list[str]:
    """Name the pretrained checkpoints whose network takes colours, or those for ink."""
    found = []
    for name in list_checkpoints():
        with suppress(ValueError, KeyError, TypeError):  # one that cannot be read is none to recommend
            network = network_config(read_config(PRETRAINED / name)["hyper_parameters"]["network"])
            if (network.channels == 3) == in_colour and network.kind not in PYRAMIDS:  # which finds things, and classifies no picture
                found.append(name)
    return found
