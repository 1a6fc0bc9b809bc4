"""Nothing is lost where a process is killed: a few of the kills of benchmarks/faults.py, each time others."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "faults.py"


@pytest.mark.skipif(sys.platform == "win32", reason="it forks")
def test_a_process_killed_at_a_random_moment_loses_nothing():
    seed = random.SystemRandom().randrange(10**6)
    command = [sys.executable, str(BENCHMARK), "--kills", "12", "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"--seed {seed}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert "12 kills" in done.stdout and "lost: 0" in done.stdout
