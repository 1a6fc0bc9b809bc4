"""What is installed: both files ask for the same versions, and for none with a known advisory."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
# The first version in which each advisory is mended. The kit unpickles nothing, so later advisories about torch.load do not concern it.
MENDED = {
    "tqdm": "4.66.3",  # CVE-2024-34062
    "pillow": "13.0",  # CVE-2026-96639, and before it CVE-2024-28219, CVE-2026-25990 and many more: it opens what strangers drew
    "jupyterlab": "4.6.2",  # GHSA-gx64-gj6p-pc4c, and before it CVE-2024-43805, CVE-2025-59842, CVE-2026-40171
    "notebook": "7.5.6",  # CVE-2026-40171
    "scikit-learn": "1.5.0",  # CVE-2024-5206
    "torch": "2.6",  # CVE-2025-32434
    "pytest": "9.0.3",  # CVE-2025-71176
    "setuptools": "78.1.1",  # CVE-2025-47273
    "jinja2": "3.1.6",  # CVE-2025-27516
    "jupyter-server": "2.20",  # CVE-2026-44727
    "nbconvert": "7.17.1",  # CVE-2026-39378
    "requests": "2.33",  # CVE-2026-25645
    "tornado": "6.5.5",  # CVE-2026-31958
    "urllib3": "2.7",  # CVE-2026-44431, CVE-2026-44432
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


@pytest.mark.parametrize("name", MENDED)
def test_no_version_with_a_known_advisory_is_allowed(name):
    asked = [found[name] for found in (DECLARED, INSTALLED, parsed(PYPROJECT["build-system"]["requires"])) if name in found]
    assert asked and all(lowest(requirement) >= Version(MENDED[name]) for requirement in asked)


@pytest.mark.parametrize("name", INSTALLED)
def test_what_is_installed_is_what_is_asked_for(name):
    assert Version(version(name).split("+")[0]) in INSTALLED[name].specifier
