"""Kernels that talk over sockets in files, not over ports: those of parallel runs can then not take one another's."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager


class KernelManager(AsyncKernelManager):
    """Start each kernel on Unix sockets in a folder of its own; on Windows, which has none, on ports as usual."""

    def __init__(self, **settings: Any):
        # Left to itself, a manager calls the sockets of all kernels alike. A path may have 108 letters, so they lie with what is temporary.
        self._sockets = None if sys.platform == "win32" else tempfile.mkdtemp(prefix="fewshot-")
        ours = {} if self._sockets is None else {"transport": "ipc", "ip": str(Path(self._sockets, "kernel"))}
        super().__init__(**{**ours, **settings})

    async def cleanup_resources(self, restart: bool = False) -> None:
        await super().cleanup_resources(restart=restart)
        if self._sockets is not None and not restart:
            shutil.rmtree(self._sockets, ignore_errors=True)
