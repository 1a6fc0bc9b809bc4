"""Kernels that talk over sockets in files, not over ports: those of parallel runs can then not take one another's."""

import sys

from jupyter_client.manager import AsyncKernelManager
from traitlets import default


class KernelManager(AsyncKernelManager):
    """Start kernels on Unix sockets; on Windows, which has none for them, on ports as usual."""

    @default("transport")
    def _sockets_in_files(self) -> str:
        return "tcp" if sys.platform == "win32" else "ipc"
