"""The pictures that come with the kit, and a person's own folder."""

from pathlib import Path

from fewshot_kit.data.cancelling import Check, go_on
from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.data.decoding import decode_tree, kept_images
from fewshot_kit.data.preprocessing import Preprocessing

EXAMPLES = Path(__file__).parents[2] / "data_examples"
CHARACTERS, DRAWINGS = EXAMPLES / "characters.zip", EXAMPLES / "drawings.zip"

# The bundled characters again, split by alphabet: small enough to meta-train on while one looks on.
CHARACTERS_ALPHABETS = {"train": ("Velmic", "Torrak"), "val": ("Osheni",), "test": ("Quilda",)}


def load_examples(path: Path, split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    """Load one of the bundled archives."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: the bundled pictures lie beside the package; install it with pip install -e . in its checkout"
        )
    return kept_images(path.stem, [path], preprocessing, lambda: decode_tree(path, "dark", split, preprocessing, progress))


def load_characters_by_alphabet(split: str, preprocessing: Preprocessing, progress: bool) -> ClassImages:
    characters = load_examples(CHARACTERS, "all", preprocessing, progress)
    wanted = [name.startswith(CHARACTERS_ALPHABETS[split]) for name in characters.class_names]
    return characters.select([class_id for class_id, is_wanted in enumerate(wanted) if is_wanted])


def load_folder(path: Path, split: str, preprocessing: Preprocessing, progress: bool, check: Check = go_on) -> ClassImages:
    """Decode a person's own folder or archive, one sub-folder a class; it is not kept in the cache."""
    return decode_tree(path, "auto", split, preprocessing, progress, check)
