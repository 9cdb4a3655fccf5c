"""Starting kernels: forked from a warm parent where the platform can, else anew."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from literate.kernel import ENVIRONMENT

CAN_FORK = sys.platform in ("linux", "darwin")


class KernelDidNotStart(Exception):
    """The kernel's process could not be had; the text says why."""


class WarmParent:
    """The process that forks kernels. One for each build, started at the first need."""

    def __init__(self, packages: Iterable[str] = ()) -> None:
        self._packages = sorted(packages)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def fork(self, request: dict[str, Any]) -> int:
        """The pid of a new kernel."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            return int(self._ask(json.dumps(request))["pid"])

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "literate.kernel", "--warm", *self._packages],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ENVIRONMENT, "IPYTHONDIR": _ipython_folder()},
        )
        atexit.register(self.close)
        self._answer()

    def _ask(self, line: str) -> dict[str, Any]:
        assert self._process and self._process.stdin
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise KernelDidNotStart(f"the warm parent is gone, {error}") from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process and self._process.stdout
        answer = self._process.stdout.readline()
        if not answer:
            raise KernelDidNotStart(f"the warm parent ended with {self._process.wait()}")
        result: dict[str, Any] = json.loads(answer)
        return result

    def close(self) -> None:
        """End the parent; its kernels end with it."""
        if self._process and self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.wait(timeout=10)
            self._process = None


def _ipython_folder() -> str:
    """An empty profile: nobody's start-up files reach the book."""
    return tempfile.mkdtemp(prefix="literate-ipython-")


class ForkedProcess:
    """A process that is not our child, with what a provisioner asks of a `Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._pidfd = -1
        self._ended = False
        if hasattr(os, "pidfd_open"):
            try:
                self._pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                self._ended = True

    def poll(self) -> int | None:
        """None while it runs. Its exit code belongs to its parent; 0 stands for ended."""
        if not self._ended:
            self._ended = not self._runs()
            if self._ended and self._pidfd >= 0:
                os.close(self._pidfd)
                self._pidfd = -1
        return 0 if self._ended else None

    def _runs(self) -> bool:
        if self._pidfd >= 0:
            return not select.select([self._pidfd], [], [], 0)[0]
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("kernel", timeout or 0)
            time.sleep(0.02)
        return 0

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class ForkingProvisioner(LocalProvisioner):
    """Gets the kernel from a warm parent; all else as for a local process."""

    warm_parent: WarmParent
    memory: int
    kernel_log: str

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        assert self.parent
        request = {
            "connection_file": str(self.parent.connection_file),
            "cwd": kwargs["cwd"],
            "memory": self.memory,
            "log": self.kernel_log,
        }
        process: Any = ForkedProcess(self.warm_parent.fork(request))
        self.process = process
        self.pid = self.pgid = process.pid  # the child leads its own group
        return self.connection_info


def manager(
    folder: Path, memory: int, warm_parent: WarmParent | None, log: Path
) -> AsyncKernelManager:
    """A kernel manager for one topic; with a new kernel if there is no warm parent."""
    command = [sys.executable, "-m", "literate.kernel", "{connection_file}", str(memory)]
    env = {**ENVIRONMENT, "IPYTHONDIR": str(folder / "ipython")}
    spec = KernelSpec(argv=command, env=env, display_name="Python 3", language="python")
    # Sockets in the folder rather than ports: a build opens no network.
    result = AsyncKernelManager(
        connection_file=str(folder / "connection.json"), transport="ipc", ip=str(folder / "socket")
    )
    result._kernel_spec = spec
    if warm_parent:
        provisioner = ForkingProvisioner(
            kernel_id=result.kernel_id, kernel_spec=spec, parent=result
        )
        provisioner.warm_parent = warm_parent
        provisioner.memory = memory
        provisioner.kernel_log = str(log)
        result.provisioner = provisioner
    return result
