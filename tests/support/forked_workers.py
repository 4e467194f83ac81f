"""Lets a forked gateway fork its workers too, by a server that was forked with it and has imported all they need.

The fork server imports this module by its file, and installs it in the gateways that have workers. A worker is a child
of its supervisor, with the arguments, environment, limits, streams and descriptors that an executed one has.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

from forking import LIMITS, adopt, read_umask  # type: ignore[import-not-found]  # beside this file

_execute = asyncio.create_subprocess_exec


class ForkedWorker:
    """Stands for a worker as `asyncio.subprocess.Process` does, as far as a supervisor needs it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()
        self._descriptor = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._descriptor, self._end)

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._ended.set()

    async def wait(self) -> int | None:
        await self._ended.wait()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork_worker(channel: socket.socket, command: Sequence[str], pass_fds: Sequence[int]) -> int:
    """Starts `python -P -c CODE ARGUMENT…` as a child of this process, without input. Returns its id."""
    _, _, _, code, *arguments = command
    request: dict[str, Any] = {
        "module": None,
        "code": code,
        "arguments": ["-c", *arguments],
        "whole": [*command],
        "path": [],
        "folder": os.getcwd(),
        "environment": {**os.environ},
        "umask": read_umask(),
        "limits": [(limit, resource.getrlimit(limit)) for limit in LIMITS],
        "new_session": True,
        "numbers": [0, 1, 2, *pass_fds],
    }
    with open(os.devnull, "rb") as nothing:
        socket.send_fds(channel, [json.dumps(request).encode()], [nothing.fileno(), 1, 2, *pass_fds])
        return adopt(channel)


def install(channel: socket.socket) -> None:
    """Makes `asyncio.create_subprocess_exec` fork workers by the server on `channel`, and execute what is no worker."""

    async def create_subprocess_exec(*command: str, **more: Any) -> Any:
        usual = {"stdin": asyncio.subprocess.DEVNULL, "start_new_session": True}
        pass_fds = more.get("pass_fds", ())
        if command[:3] != (sys.executable, "-P", "-c") or more != {**usual, "pass_fds": pass_fds}:
            return await _execute(*command, **more)
        return ForkedWorker(fork_worker(channel, command, pass_fds))

    asyncio.create_subprocess_exec = create_subprocess_exec  # type: ignore[assignment]  # it gives less, and that is enough here
