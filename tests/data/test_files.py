"""Writing: whole or not at all, never in place of a device or a link; and one process at a time."""

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fewshot_kit.data.files import write_text
from fewshot_kit.data.locks import InUseError, locked

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


def python(code: str, *arguments: str, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=ENVIRONMENT, text=True, **options)


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/result.json")
    for text in ("new", "again"):  # at first the link leads to nothing yet
        write_text(tmp_path / "link", text)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "there" / "result.json").read_text() == text
    assert os.listdir(tmp_path / "there") == ["result.json"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755])
def test_a_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "result.json"
    path.write_text("old")
    path.chmod(mode)
    write_text(path, "new")
    assert path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == mode


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_text(tmp_path / "pipe", "result")
    reader.join(10)
    assert read == ["result"] and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode) and os.listdir(tmp_path) == ["pipe"]


def test_a_device_is_written_to(tmp_path):
    master, slave = os.openpty()  # no /dev/null: were it replaced, the machine would suffer
    (tmp_path / "link").symlink_to(os.ttyname(slave))
    for path in (Path(os.ttyname(slave)), tmp_path / "link"):
        write_text(path, "result")
        assert os.read(master, 100) == b"result" and stat.S_ISCHR(path.stat().st_mode)
    assert (tmp_path / "link").is_symlink() and os.listdir(tmp_path) == ["link"]


PRINTS = """
import sys
from pathlib import Path
from fewshot_kit.data.files import write_text
print("before")
write_text(Path(sys.argv[1]), "result\\n")
print("after")
"""


@pytest.mark.parametrize("to", ["pipe", "file"])
def test_standard_output_is_gone_on_with(tmp_path, to):
    link = tmp_path / "stdout"  # as /dev/stdout is, which a fault here would take from the machine
    link.symlink_to("/proc/self/fd/1")
    if to == "pipe":
        printed = python(PRINTS, str(link), stdout=subprocess.PIPE).communicate(timeout=60)[0]
    else:
        with open(tmp_path / "out.txt", "w") as file:
            assert python(PRINTS, str(link), stdout=file).wait(60) == 0
        printed = (tmp_path / "out.txt").read_text()
    assert printed == "before\nresult\nafter\n"


WRITES = """
import sys, time
from pathlib import Path
from fewshot_kit.data.files import written_whole
with written_whole(Path(sys.argv[1])) as file:
    file.write(b"half")
    print("begun", flush=True)
    time.sleep(60)
"""


def test_parts_of_killed_writers_are_removed_and_those_of_living_ones_are_not(tmp_path):
    path = tmp_path / "result.json"
    with python(WRITES, str(path), stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == "begun\n"
        write_text(path, "first")
        (part,) = (name for name in os.listdir(tmp_path) if name.endswith(".part"))
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
    write_text(tmp_path / "other.json", "of another name")
    assert part in os.listdir(tmp_path)
    write_text(path, "second")
    assert sorted(os.listdir(tmp_path)) == ["other.json", "result.json"] and path.read_text() == "second"


HOLDS = """
import sys, time
from pathlib import Path
from fewshot_kit.data.locks import locked
with locked(Path(sys.argv[1]) / ".lock", Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_process_that_writes_is_named_and_blocks_nobody_once_it_is_killed(tmp_path):
    with python(HOLDS, str(tmp_path), stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == "held\n"
        for _ in range(2):  # who tries does not wipe out the name
            message = rf"{tmp_path} is being written by another process \(pid {holder.pid}\); wait until it is done"
            with pytest.raises(InUseError, match=message), locked(tmp_path / ".lock", tmp_path):
                pytest.fail("two hold it")
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    assert os.listdir(tmp_path) == [".lock"]
    again = locked(tmp_path / ".lock", tmp_path)
    with locked(tmp_path / ".lock", tmp_path), pytest.raises(InUseError, match="by this process already"), again:
        pytest.fail("two hold it")
    assert not os.listdir(tmp_path)


def test_a_lock_is_waited_for(tmp_path):
    done = threading.Event()

    def hold():
        with locked(tmp_path / ".lock", tmp_path):
            held.set()
            done.wait(0.5)

    held, holder = threading.Event(), threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    with locked(tmp_path / ".lock", tmp_path, seconds=20):
        holder.join()
    assert not os.listdir(tmp_path)
