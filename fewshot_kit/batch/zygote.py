"""A process that has imported the kit, and becomes a kernel by a fork for each order: a line of JSON on its input, a process id for it.

It ends with its input, and its kernels with it; then it takes away what the kernels of a killed process left.
"""

import gc
import importlib
import json
import os
import random
import shutil
import signal
import sys
from typing import NoReturn

# What notebooks import. Imports alone start no thread and touch no GPU, so that a fork is safe.
IMPORTED = (
    "ipykernel.kernelapp", "IPython.display", "matplotlib.figure", "fewshot_kit.plots", "fewshot_kit.data.datasets",
    "fewshot_kit.evaluate", "fewshot_kit.training.build", "fewshot_kit.training.checkpoints",
)  # fmt: skip
INLINE = "module://matplotlib_inline.backend_inline"  # as a kernel has it; matplotlib looks when it is imported


def main() -> None:
    """Serve orders {"argv", "cwd", "env", "sockets"} until there are no more."""
    os.environ.setdefault("MPLBACKEND", INLINE)
    orders, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(2, 1)  # what an import prints is no answer
    for name in IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a kernel that has ended leaves nothing behind
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends who gives the orders, and so this
    gc.freeze()
    folders = []
    for line in orders:
        order = json.loads(line)
        folders.append(order.pop("sockets"))
        pid = os.fork()
        if not pid:
            orders.close(), answers.close()
            become_kernel(**order)
        print(pid, file=answers, flush=True)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def become_kernel(argv: list[str], cwd: str, env: dict[str, str]) -> NoReturn:
    """Be the kernel that `python -m ipykernel_launcher ARGV` would be, in a session of its own."""
    import numpy as np
    from ipykernel.kernelapp import launch_new_instance

    parent = os.getppid()
    os.setsid()
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.default_int_handler)
    os.environ.clear()
    os.environ.update({"MPLBACKEND": INLINE, **env, "JPY_PARENT_PID": str(parent)})  # it ends when its parent has ended
    os.chdir(cwd)
    sys.argv, sys.path[0] = ["ipykernel_launcher", *argv], ""
    random.seed()  # not the numbers of all other kernels
    np.random.seed()
    launch_new_instance(argv=[*argv, f"--IPKernelApp.parent_handle={parent}"])  # read from the environment at the import, long ago
    sys.exit()


if __name__ == "__main__":
    main()
