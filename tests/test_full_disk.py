"""Where a disk is full, at whatever moment, nothing is lost and the error is clear: see full_disk.py, which does the work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fewshot_kit.data.files import NotWrittenError, write_text, write_together

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it forks")

KINDS = ["operations", "file sizes", "pages", "inodes", "read-only"]  # the last three on a small disk of their own


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[str, dict[str, dict]]:
    """Run the program once: kind of limit -> work -> what was found."""
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}
    command = [sys.executable, str(here / "full_disk.py"), str(tmp_path_factory.mktemp("full"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_told_and_loses_nothing(reports, kind):
    if kind not in reports:
        pytest.skip("no disk of one's own may be mounted here")
    problems = [f"{work}, {problem}" for work, report in reports[kind].items() for problem in report["problems"]]
    assert not problems, "\n".join(problems[:20])
    felt = {work: report["failed"] for work, report in reports[kind].items()}
    assert all(felt.values()), f"the limit was never felt: {felt}"
    if kind == "operations":  # every one of them was the first to fail once
        assert all(report["points"] == report["failed"] for report in reports[kind].values()) and sum(felt.values()) > 150


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_device_is_named(tmp_path):
    with pytest.raises(NotWrittenError, match=r"/dev/full could not be written: the disk is full .*; make room, then do it again"):
        write_text(Path("/dev/full"), "result")
    command = [sys.executable, "-m", "fewshot_kit", "list"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, cwd=Path(__file__).parents[1])
    assert done.returncode == 1 and done.stderr.startswith("error: standard output could not be written: the disk is full")
    assert done.stderr.count("\n") == 1


def test_files_are_written_together_or_not_at_all(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "c").mkdir()  # in the way of the last
    with pytest.raises(OSError):
        write_together({tmp_path / "a": b"new", tmp_path / "b": b"new", tmp_path / "c": b"new"})
    assert (tmp_path / "a").read_text() == "old" and sorted(os.listdir(tmp_path)) == ["a", "c"]
    write_together({tmp_path / "a": b"new", tmp_path / "new" / "b": b"also"})
    assert (tmp_path / "a").read_text() == "new" and (tmp_path / "new" / "b").read_text() == "also"
