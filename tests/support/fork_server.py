"""Forks programs from a process that has imported them already: `python fork_server.py LOADED SOCKET`.

LOADED is a key of `LOADERS`. SOCKET is the number of one end of a socket pair. Each message on it is a request of
`tests.support.forking`, with the program's standard streams as its descriptors. The forked program begins as the
interpreter would begin it. It is a child of the process that asks, not of this one: the process between the two ends at
once, and the process that asks adopts the program. So its id, its exit status and its CPU time are read as those of any
child. A gateway with workers is forked with a server of its own, which forks them.
"""

from __future__ import annotations

import contextlib
import fcntl
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
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

LARGEST = 1 << 20  # bytes of a request
MOST_STREAMS = 250  # the kernel takes 253 in one message
TASKS = "/proc/self/task"
_FORKS_WORKERS = "forked_workers"  # a module beside this file
# Programs, which run as `__main__` only.
_PROGRAMS = ("__main__", "child", "server_guard")


def load_gateway() -> None:
    """Imports every module of the gateway but its programs, and what forks its workers."""
    package = importlib.import_module("invoke_gateway")
    for found in pkgutil.walk_packages(package.__path__, "invoke_gateway."):
        if found.name.rpartition(".")[2] not in _PROGRAMS:
            importlib.import_module(found.name)
    importlib.import_module(_FORKS_WORKERS)


def load_aws_cli() -> None:
    for module in ("awscli.clidriver", "awscli.handlers"):
        importlib.import_module(module)


LOADERS = {"gateway": load_gateway, "aws": load_aws_cli}


def serve(channel: socket.socket) -> dict[str, Any]:
    """Forks a program for each request until the channel is closed. Returns the request, in the forked program only."""
    while True:
        message, streams, _, _ = socket.recv_fds(channel, LARGEST, MOST_STREAMS)
        if not message:
            os._exit(0)  # who asked has ended, and with it what there was to clean up
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
    _give_streams(streams, request["numbers"])
    return request


def _give_streams(streams: list[int], numbers: list[int]) -> None:
    """Gives each stream its number, and closes all other descriptors."""
    above = 1 + max(*numbers, *streams)
    moved = [fcntl.fcntl(stream, fcntl.F_DUPFD, above) for stream in streams]  # none is where another one has to be
    for number, stream in zip(numbers, moved, strict=True):
        os.dup2(stream, number)
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in numbers:
            with contextlib.suppress(OSError):  # the one that listed them is closed
                os.close(int(name))


def may_start_workers(request: dict[str, Any]) -> bool:
    """Returns whether the command line or a file in it speaks of workers."""
    texts = list(request["arguments"])
    files = [os.path.join(request["folder"], text) for text in texts]
    texts += [Path(file).read_text(errors="replace") for file in files if os.path.isfile(file)]
    return "serve" in request["arguments"] and any("workers" in text for text in texts)


def fork_server_of_workers() -> tuple[socket.socket | None, dict[str, Any] | None]:
    """Forks a server for the workers of this program, which ends with it. Returns its channel; in a worker, that
    worker's request."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        there.close()
        return here, None
    here.close()
    with open(os.devnull, "r+b", buffering=0) as nothing:  # else what reads the program's output would not see its end
        for number in range(3):
            os.dup2(nothing.fileno(), number)
    return None, serve(there)


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
    """Runs the program as `python -m MODULE` does, as `python -c CODE` does, or as the script in `bin` does."""
    module = request["module"]
    if request["code"] is not None:
        exec(request["code"], sys.modules["__main__"].__dict__)
    elif module is None:
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        runpy._run_module_as_main(module)  # type: ignore[attr-defined]  # what `python -m` calls
    sys.exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which end this process
    LOADERS[sys.argv[1]]()
    gc.freeze()  # a program's collections then write to no page that all of them share
    request = serve(socket.socket(fileno=int(sys.argv[2])))
    channel = None
    if may_start_workers(request):
        channel, of_worker = fork_server_of_workers()
        request = of_worker or request
    prepare(request)
    if channel is not None:
        sys.modules[_FORKS_WORKERS].install(channel)
    run(request)
