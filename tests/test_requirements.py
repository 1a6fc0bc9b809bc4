"""What is installed: both files ask for the same versions, and for none with a known advisory."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
# The first version in which every advisory known of a package is mended, also one that the kit cannot meet: it unpickles nothing, say.
MENDED = {
    "tqdm": "4.66.3",  # CVE-2024-34062
    "pillow": "13.0",  # CVE-2026-96639, and before it CVE-2024-28219, CVE-2026-25990 and many more: it opens what strangers drew
    "jupyterlab": "4.6.4",  # security fixes without a number; before them CVE-2026-73415, CVE-2026-73417, CVE-2026-40171
    "notebook": "7.6.3",  # carries JupyterLab 4.6.4; before it CVE-2026-40171
    "scikit-learn": "1.5.0",  # CVE-2024-5206
    "torch": "2.13",  # CVE-2025-3000, and before it CVE-2026-24747, CVE-2025-32434
    "filelock": "4.0.9",  # GHSA-j8f7-rjxc-mr56, and before it CVE-2026-22701, CVE-2025-68146
    "mistune": "3.3.3",  # CVE-2026-76098, and before it CVE-2026-49851, CVE-2026-33079
    "playwright": "1.56",  # CVE-2025-59288, of the driver that it carries
    "pytest": "9.0.3",  # CVE-2025-71176
    "setuptools": "83.0",  # CVE-2026-59890, and before it CVE-2025-47273
    "jinja2": "3.1.6",  # CVE-2025-27516
    "jupyter-server": "2.21",  # CVE-2026-86049, and before it CVE-2026-44727
    "nbconvert": "7.17.1",  # CVE-2026-39378
    "requests": "2.33",  # CVE-2026-25645
    "tornado": "6.6.1",  # security fixes without a number; before them GHSA-mpf4-983q-p7j4, CVE-2026-49853, CVE-2026-31958
    "urllib3": "2.8",  # GHSA-8988-9cw3-xx77, and before it CVE-2026-44431, CVE-2026-44432
}
# The first version with which all tests pass (or ruff finds nothing), or which its makers fitted to the others.
WORKS = {
    "matplotlib": "3.11.1",  # older ones draw 9.2 inches at 100 dots an inch 919 wide; before 3.10.7, what they call is deprecated
    "safetensors": "0.7",  # writes complex numbers
    "tyro": "1.0",  # names the value of an unknown flag, and lets the error of a pipe that nobody reads out of --help
    "ipycanvas": "0.14.3",  # keeps a touch from coming again as a press of the mouse; 0.13 and 0.14 ask for the module of the one before
    "playwright": "1.60",  # finds an option whose label is markup
    "pytest-xdist": "3.8",  # has --no-loadscope-reorder
    "jupyter-server": "2.21.1",  # fitted to tornado 6.5.9 and later
    "ruff": "0.13",  # has no UP038, which asks for what is slower
}


def parsed(lines: list[str]) -> dict[str, Requirement]:
    return {(found := Requirement(line)).name.lower(): found for line in lines}


PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DECLARED = parsed(PYPROJECT["project"]["dependencies"] + PYPROJECT["project"]["optional-dependencies"]["test"])
LINES = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
INSTALLED = parsed([line for line in LINES if line and line[0] not in "#-"])


def lowest(requirement: Requirement) -> Version:
    (bound,) = [Version(part.version) for part in requirement.specifier if part.operator in (">=", "==")]
    return bound


@pytest.mark.parametrize("name", DECLARED)
def test_both_files_ask_for_the_same_versions(name):
    """Or requirements.txt for one of those that pyproject.toml allows."""
    asked = INSTALLED[name]
    is_pinned = [part.operator for part in asked.specifier] == ["=="]
    assert lowest(asked) in DECLARED[name].specifier if is_pinned else asked.specifier == DECLARED[name].specifier


def asked_for(name: str) -> list[Version]:
    """The lowest versions, wherever the package is asked for."""
    return [lowest(found[name]) for found in (DECLARED, INSTALLED, parsed(PYPROJECT["build-system"]["requires"])) if name in found]


@pytest.mark.parametrize("name", MENDED)
def test_no_version_with_a_known_advisory_is_allowed(name):
    asked = asked_for(name)
    assert asked and all(bound >= Version(MENDED[name]) for bound in asked)


@pytest.mark.parametrize("name", WORKS)
def test_no_version_that_does_not_work_is_allowed(name):
    asked = asked_for(name)
    assert asked and all(bound >= Version(WORKS[name]) for bound in asked)


@pytest.mark.parametrize("name", INSTALLED)
def test_what_is_installed_is_what_is_asked_for(name):
    assert Version(version(name).split("+")[0]) in INSTALLED[name].specifier
