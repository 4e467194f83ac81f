"""Forks programs from a process that has imported them already: `python fork_server.py LOADED SOCKET`.

LOADED is a key of `LOADERS`. SOCKET is the number of one end of a socket pair. Each message on it is a request of
`tests.support.forking`, with the program's standard streams as its descriptors. The forked program begins as the
interpreter would begin it. It is a child of the process that asks, not of this one: the process between the two ends at
once, and the process that asks adopts the program. So its id, its exit status and its CPU time are read as those of any
child.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import pkgutil
import resource
import runpy
import signal
import socket
import sys
import time
from types import ModuleType
from typing import Any, NoReturn

LARGEST = 1 << 20  # bytes of a request
TASKS = "/proc/self/task"
# Programs, which run as `__main__` only.
_PROGRAMS = ("__main__", "child", "server_guard")


def load_gateway() -> None:
    """Imports every module of the gateway but its programs."""
    package = importlib.import_module("invoke_gateway")
    for found in pkgutil.walk_packages(package.__path__, "invoke_gateway."):
        if found.name.rpartition(".")[2] not in _PROGRAMS:
            importlib.import_module(found.name)


def load_aws_cli() -> None:
    for module in ("awscli.clidriver", "awscli.handlers"):
        importlib.import_module(module)


LOADERS = {"gateway": load_gateway, "aws": load_aws_cli}


def serve(channel: socket.socket) -> dict[str, Any]:
    """Forks a program for each request until the channel is closed. Returns the request, in the forked program only."""
    while True:
        message, streams, _, _ = socket.recv_fds(channel, LARGEST, 3)
        if not message:
            os._exit(0)  # the tests have ended, and with them what there was to clean up
        assert len(os.listdir(TASKS)) == 1, "a fork copies one thread: no module may start another when it is imported"
        between = os.fork()
        if not between:
            return _fork_once_more(channel, streams, json.loads(message))
        for stream in streams:
            os.close(stream)
        os.waitpid(between, 0)
        channel.send(b"adopted")


def _fork_once_more(channel: socket.socket, streams: list[int], request: dict[str, Any]) -> dict[str, Any]:
    """Forks the program and ends, once the other side is ready to adopt it. Returns in the program only."""
    between = os.getpid()
    if program := os.fork():
        channel.send(str(program).encode())
        channel.recv(1)
        os._exit(0)
    channel.close()
    while os.getppid() == between:
        time.sleep(0.0001)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 1 + max(map(int, os.listdir("/proc/self/fd"))))
    return request


def prepare(request: dict[str, Any]) -> None:
    """Gives this process the surroundings that the request has, and the state of an interpreter that has started."""
    if request["new_session"]:
        os.setsid()
    os.umask(request["umask"])
    for limit, values in request["limits"]:
        resource.setrlimit(limit, tuple(values))
    os.chdir(request["folder"])
    os.environ.update(request["environment"])  # over what the interpreter and modules have set
    time.tzset()
    sys.argv = request["arguments"]
    sys.orig_argv = request["whole"]
    sys.path[0:1] = request["path"]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, _open_stream(number, name, getattr(sys, name)))
        setattr(sys, f"__{name}__", getattr(sys, name))
    sys.modules["__main__"] = ModuleType("__main__")
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _open_stream(number: int, name: str, like: io.TextIOWrapper) -> io.TextIOWrapper:
    """Opens a standard stream as the interpreter does. `like` has the encoding, and is written through where Python
    was started without buffers."""
    is_output, is_buffered = number > 0, number == 0 or not like.write_through
    raw = open(number, "wb" if is_output else "rb", buffering=-1 if is_buffered else 0, closefd=False)  # noqa: SIM115 (open as long as the process)
    getattr(raw, "raw", raw).name = f"<{name}>"
    stream = io.TextIOWrapper(
        raw,
        encoding=like.encoding,
        errors=like.errors,
        newline="\n",
        line_buffering=is_buffered and (number == 2 or os.isatty(number)),
        write_through=like.write_through,
    )
    stream.mode = "w" if is_output else "r"
    return stream


def run(request: dict[str, Any]) -> NoReturn:
    """Runs the program as `python -m MODULE` does, or as the script in `bin` does."""
    module = request["module"]
    if module is None:
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        runpy._run_module_as_main(module)  # type: ignore[attr-defined]  # what `python -m` calls
    sys.exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which end this process
    LOADERS[sys.argv[1]]()
    gc.freeze()  # a program's collections then write to no page that all of them share
    request = serve(socket.socket(fileno=int(sys.argv[2])))
    prepare(request)
    run(request)
