"""Learning beside other work: how long 3-way 1-shot, 10 epochs, takes idle and beside two busy processes, with one thread and with a team.

    python benchmarks/busy.py

A learning is timed as a panel or a cell of the kit starts it, against the same with one torch thread and with a team of them; medians of
the runs. A busy process multiplies matrices on one thread.
"""

import os
import statistics
import subprocess
import sys
import time

import torch

from fewshot_kit.demo.session import DemoSession

BUSY = "import torch\ntorch.set_num_threads(1)\na = torch.rand(400, 400)\nwhile True: a = (a @ a).softmax(0)"
N_BUSY, RUNS = 2, 25


def learn(session: DemoSession) -> float:
    started = time.perf_counter()
    session.learn()
    return 1000 * (time.perf_counter() - started)


def with_threads(session: DemoSession, n: int | None) -> float:
    """Time a learning with `n` torch threads, None for what the kit has set."""
    before = torch.get_num_threads()
    torch.set_num_threads(n or before)
    try:
        return learn(session)
    finally:
        torch.set_num_threads(before)


def row(session: DemoSession, team: int) -> dict[str, float]:
    """Return the median milliseconds of each way: the kit and one thread in turn, then the team, whose threads spin on for a while."""
    times: dict[str, list[float]] = {"the kit": [], "one thread": [], f"a team of {team}": []}
    for _ in range(RUNS):
        times["the kit"].append(with_threads(session, None))
        times["one thread"].append(with_threads(session, 1))
    for _ in range(RUNS):
        times[f"a team of {team}"].append(with_threads(session, team))
    time.sleep(1)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    team = max(2, os.cpu_count() or 1)
    session = DemoSession("reptile-omniglot", "characters", n_way=3, n_shot=1, n_query=1, device="cpu")
    learn(session)
    idle = row(session, team)
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(N_BUSY)]
    try:
        time.sleep(5)  # until they are busy
        busy = row(session, team)
    finally:
        for process in processes:
            process.kill()
    print(f"3-way 1-shot, 10 epochs, median of {RUNS}, ms, {os.cpu_count()} cores | idle | beside {N_BUSY} busy processes")
    for name in idle:
        print(f"{name:>16} | {idle[name]:.0f} | {busy[name]:.0f}")
    one = idle["one thread"]
    print(f"the kit: idle {idle['the kit'] / one:.2f} x one thread idle, busy {busy['the kit'] / one:.2f} x")


if __name__ == "__main__":
    main()
