"""Kernels of a sweep: they begin with the kit imported, and talk over sockets in files, not over ports that parallel runs could take."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

IS_WINDOWS = sys.platform == "win32"  # which has neither forks nor Unix sockets
LAUNCHER = "ipykernel_launcher"


class KernelManager(AsyncKernelManager):
    """Start each kernel on Unix sockets in a folder of its own; on Windows, which has none, on ports as usual."""

    def __init__(self, **settings: Any):
        # Left to itself, a manager calls the sockets of all kernels alike. A path may have 108 letters, so they lie with what is temporary.
        self.sockets = Path(tempfile.gettempdir(), f"fewshot-{os.urandom(8).hex()}")
        super().__init__(**{**({} if IS_WINDOWS else {"transport": "ipc", "ip": str(self.sockets / "kernel")}), **settings})

    async def _async_pre_start_kernel(self, **settings: Any) -> tuple[list[str], dict[str, Any]]:
        if self.provisioner is None and not IS_WINDOWS:  # as the base class has it; None unless it is a restart
            self.kernel_id = self.kernel_id or settings.pop("kernel_id", None) or os.urandom(8).hex()
            self.provisioner = WarmProvisioner(kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self)
        prepared = await super()._async_pre_start_kernel(**settings)
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        return prepared

    pre_start_kernel = _async_pre_start_kernel

    async def cleanup_resources(self, restart: bool = False) -> None:
        await super().cleanup_resources(restart=restart)
        if not restart:
            shutil.rmtree(self.sockets, ignore_errors=True)


class WarmProvisioner(LocalProvisioner):
    """Begin a Python kernel as a copy of a process that has imported the kit already; another kernel, as usual."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        if cmd[0] == sys.executable and LAUNCHER in cmd:
            order = {
                "argv": cmd[cmd.index(LAUNCHER) + 1 :],
                "cwd": str(kwargs.get("cwd") or os.getcwd()),
                "env": dict(kwargs.get("env") or os.environ),
                "sockets": str(self.parent.sockets),
            }
            pid = forked(order)
            if pid is not None:
                self.process, self.pid, self.pgid, self.cwd = Forked(pid), pid, pid, kwargs.get("cwd")
                return self.connection_info
        return await super().launch_kernel(cmd, **kwargs)


class Forked:
    """A process that is no child of this one, as `LocalProvisioner` asks of a `Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int):
        self.pid = pid

    def poll(self) -> int | None:
        """Return None while it runs; how it ended is not known."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def wait(self) -> int:
        while self.poll() is None:
            time.sleep(0.01)
        return 0

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


_lock = threading.Lock()
_zygote: subprocess.Popen | None = None  # one for this process, while it lives


def forked(order: dict[str, Any]) -> int | None:
    """Return the process id of a kernel made to order; None where the process that is to be copied cannot be had."""
    global _zygote
    with _lock:
        for _ in range(2):  # the one of before may have been killed
            if _zygote is None or _zygote.poll() is not None:
                _zygote = subprocess.Popen(
                    [sys.executable, "-m", "fewshot_kit.batch.zygote"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            try:
                _zygote.stdin.write(json.dumps(order) + "\n")
                _zygote.stdin.flush()
                if answer := _zygote.stdout.readline():
                    return int(answer)
            except OSError:  # it has just gone
                pass
            _zygote.kill()
            _zygote.wait()
    return None
