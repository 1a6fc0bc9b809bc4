"""The shape of the package: imports go one way, modules stay short, and what hangs or unpickles is used nowhere."""

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fewshot_kit"
MODULES = sorted(PACKAGE.rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("**/*.ipynb"))

# The rooms, each importing only from those before it; what is in one room may import one another.
ORDER = [
    "__init__",
    "data",
    "networks",
    "learners",
    "results",
    "detection",
    "evaluate",
    "training",
    "batch",
    "demo",
    "plots",
    "widgets",
    "__main__",
]
APPLICATIONS = {"jupyterlab", "notebook"}  # started, not imported
IMPORTED_AS = {"scikit-image": "skimage", "scikit-learn": "sklearn", "pillow": "PIL"}


def module_name(path: Path) -> str:
    """Name a module inside the package: "learners.reptile"; a folder's own file by the folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def place(module: str) -> str:
    """Return the room that a module is in."""
    return module.split(".")[0]


def cells(path: Path) -> str:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")


def parse(path: Path) -> ast.Module:
    return ast.parse(cells(path) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything a file imports, at its top or in a function."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import: write it from the package's name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> set[str]:
    """Return the modules of this package that a module imports."""
    known = {module_name(module) for module in MODULES}
    found = set()
    for name in imports(path):
        if name.split(".")[0] == "fewshot_kit":
            inside = name.removeprefix("fewshot_kit").lstrip(".")
            parts = inside.split(".")
            matches = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
            found.add(next((match for match in matches if match in known), "__init__"))
    return found


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_go_one_way(path):
    here = place(module_name(path))
    assert here in ORDER, f"{path.name} is in none of the rooms"
    for imported in own_imports(path):
        there = place(imported)
        assert ORDER.index(there) <= ORDER.index(here), f"{module_name(path)} imports {imported}, which comes after it"


def test_the_front_door_is_narrow():
    assert len(list(PACKAGE.glob("*.py"))) <= 4


@pytest.mark.parametrize("room", [name for name in ORDER if (PACKAGE / name).is_dir()])
def test_no_two_modules_of_a_room_need_one_another(room):
    needs = {module_name(path): {name for name in own_imports(path) if place(name) == room} for path in MODULES}
    known: set[str] = {room}
    rest = {name for name in needs if place(name) == room and name != room}
    while ready := {name for name in rest if needs[name] - {name} <= known}:
        known, rest = known | ready, rest - ready
    assert not rest, f"these import one another in a circle: {sorted(rest)}"


def test_plots_knows_nothing_of_the_rest():
    paths = (PACKAGE / "plots").glob("*.py")
    assert {name.split(".")[0] for path in paths for name in own_imports(path)} <= {"plots"}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_only_widgets_imports_widgets(path):
    if place(module_name(path)) != "widgets":
        assert not {name.split(".")[0] for name in imports(path)} & {"ipywidgets", "ipycanvas", "traitlets"}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_module_is_long_or_a_drawer_for_everything(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    assert path.stem not in ("utils", "util", "helpers", "common", "misc")


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_function_does_more_than_fits_one_screen(path):
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            assert not body or node.end_lineno - body[0].lineno < 30, f"{node.name} of {path.name}"


FORBIDDEN_MODULES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_NAMES = {"interact", "interactive", "interact_manual", "interactive_output"}  # they stall runs without a browser
FORBIDDEN_ATTRIBUTES = {("torch", "load"), ("torch", "save"), ("widgets", "Output"), ("ipywidgets", "Output"), ("pandas", "read_pickle")}


def offences(tree: ast.Module) -> Iterator[str]:
    """Yield every use of what may not be used."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if (owner, node.attr) in FORBIDDEN_ATTRIBUTES or node.attr in FORBIDDEN_NAMES:
                yield f"{owner}.{node.attr}"
        elif isinstance(node, ast.Name) and node.id in FORBIDDEN_NAMES:
            yield node.id
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and getattr(node.value, "value", None) is not False:
            yield "allow_pickle"
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")[0]
            named = {(module, alias.name) for alias in node.names} & FORBIDDEN_ATTRIBUTES
            if module in FORBIDDEN_MODULES or named or FORBIDDEN_NAMES & {alias.name for alias in node.names}:
                yield f"from {node.module} import"


@pytest.mark.parametrize("path", MODULES + NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_hangs_or_unpickles(path):
    assert list(offences(parse(path))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('x')",
        "from torch import load",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import ipywidgets as widgets\nwidgets.Output()",
        "from ipywidgets import Output",
        "from ipywidgets import interact",
        "import ipywidgets\nipywidgets.interactive_output(f, {})",
    ],
)
def test_the_scan_finds_what_it_is_for(code):
    assert list(offences(ast.parse(code)))


def dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [re.split(r"[<>=~!\[; ]", dependency)[0].lower() for dependency in project["dependencies"]]


@pytest.mark.parametrize("dependency", [name for name in dependencies() if name not in APPLICATIONS])
def test_every_default_dependency_is_imported_somewhere(dependency):
    wanted = IMPORTED_AS.get(dependency, dependency.replace("-", "_"))
    files = MODULES + NOTEBOOKS + sorted((ROOT / "tests").glob("**/*.py"))
    assert any(wanted == name.split(".")[0] for path in files for name in imports(path)), f"{dependency} is installed for nothing"


def test_requirements_hold_every_default_dependency():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = {re.split(r"[<>=~!\[; ]", line)[0].lower() for line in lines}
    assert set(dependencies()) <= listed


def test_every_folder_of_the_package_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in MODULES}
    assert set(find_packages(ROOT, **project["tool"]["setuptools"]["packages"]["find"])) == folders
