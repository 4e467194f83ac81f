"""Imports the test files once for all workers of xdist, which are forked from the process that has imported them.

Every worker collects every file, and half of the CPU time of that is imports. Where no file is compiled yet, as in a
fresh clone, each worker would also rewrite the assertions of all files. The modules are the ones that the collection
takes: it imports none again.
"""

from __future__ import annotations

import importlib
import os
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).with_name("worker_server.py")
CLIENT = Path(__file__).with_name("worker_client.py")


def list_modules(root: Path, folders: Sequence[Path]) -> list[str]:
    """Returns the names that the import mode `importlib` gives to test files below `root`.

    Files of a package have other names there, and are left out."""
    files = [file for folder in folders for file in folder.rglob("test_*.py")]
    alone = sorted(file for file in files if not (file.parent / "__init__.py").exists())
    return [".".join(file.relative_to(root).with_suffix("").parts) for file in alone]


def import_modules(names: Iterable[str]) -> None:
    for name in names:
        if name not in sys.modules:
            try:
                importlib.import_module(name)
            except (Exception, pytest.skip.Exception):  # the collection meets it again, and reports it
                sys.modules.pop(name, None)


class WorkerServer:
    """Runs `worker_server.py` for one run of the whole suite. `python`: what execnet starts in place of Python."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="workers-")  # short: the path of a socket has 107 bytes
        address = f"{self._folder.name}/s"
        control, self._control = os.pipe()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(address)
            listener.listen(64)
            self._process = subprocess.Popen(
                [sys.executable, "-u", str(SERVER), str(listener.fileno()), str(control)],
                pass_fds=[listener.fileno(), control],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        os.close(control)
        self.python = shlex.join([sys.executable, "-ISE", str(CLIENT), address])

    def close(self) -> None:
        os.close(self._control)
        self._process.wait()
        self._folder.cleanup()


class SharedCollection:
    """Gives the workers of a run of the whole suite their server."""

    def __init__(self) -> None:
        self._server: WorkerServer | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, config: pytest.Config, specs: Sequence[Any]) -> None:
        if sys.platform == "linux" and config.args_source is config.ArgsSource.TESTPATHS:
            self._server = WorkerServer()
            for spec in specs:
                spec.python = self._server.python

    def pytest_unconfigure(self) -> None:
        if self._server is not None:
            self._server.close()
