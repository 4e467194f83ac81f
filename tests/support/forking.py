"""Starts the gateway's commands by a fork of a process that has imported them, which takes an eighth of the CPU time.

`Popen` is `subprocess.Popen`, and starts `python -m invoke_gateway …`, `python -m tests.…` and the commands
`invoke-gateway` and `aws` as a child of this process: id, signals, streams, exit status and CPU time are those of any
child. Everything else is executed as usual: other programs, other options of Python, streams or descriptors that a fork
would not have, and environments in which the interpreter itself would start in another way.

A forked program has had its imports before it began, and the programs of one server have one hash seed. So a test uses
`subprocess` where the start is the point: the time, the order and the failures of imports (tests/test_entry.py), the
first instructions (tests/test_signals.py), the command line that the system shows, the memory, two starts and ends as
users see them (tests/server/test_process.py), and what an installation or a page says. A forked supervisor forks its
workers (forked_workers.py); one that runs in a test or was executed executes them.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import os
import re
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, AnyStr, NamedTuple

SERVER = Path(__file__).with_name("fork_server.py")
# What the interpreter, the C library or a module reads before the command does.
READ_AT_START = (
    "PYTHON",
    "_PYTHON",
    "LC_",
    "LANG",
    "LD_",
    "MALLOC_",
    "GLIBC_",
    "OPENSSL_",
    "PROMETHEUS_",
    "prometheus_",
    "PYDANTIC_",
    "AWS_DATA_PATH",
    "AWS_NEW_RETRIES",
)
# Of `bare_environment`.
LOCALE = {"LC_ALL": "C.UTF-8"}
# The commands of this environment, and what their servers import.
SCRIPTS = {
    str(Path(sys.executable).with_name(name)): loaded
    for name, loaded in (("invoke-gateway", "gateway"), ("aws", "aws"))
}
_PR_SET_CHILD_SUBREAPER = 36
LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
_USUAL = {
    "executable": None,
    "preexec_fn": None,
    "close_fds": True,
    "pass_fds": (),
    "shell": False,
    "restore_signals": True,
    "gid": None,
    "gids": None,
    "uid": None,
    "umask": -1,
    "process_group": -1,
}


class Program(NamedTuple):
    """Names what is forked.

    loaded: what its server has imported
    module: that of `python -m MODULE`, None for the script that is the first of `arguments`
    arguments, whole: `sys.argv` and `sys.orig_argv` at the start
    path: the folder that Python puts in front of the others in `sys.path`, if it does
    """

    loaded: str
    module: str | None
    arguments: list[str]
    whole: list[str]
    path: list[str]


def find_program(command: Sequence[str], folder: str) -> Program | None:
    """Returns the program of a command that can be forked, else None. Of `-P` only the path is seen, not the flag."""
    match command:
        case [sys.executable, "-m", module, *arguments] if _is_ours(module):
            return Program("gateway", module, ["-m", *arguments], [*command], [folder])
        case [sys.executable, "-P", "-m", module, *arguments] if _is_ours(module):
            return Program("gateway", module, ["-m", *arguments], [*command], [])
        case [script, *_] if script in SCRIPTS:
            return Program(SCRIPTS[script], None, [*command], [sys.executable, *command], [str(Path(script).parent)])
    return None


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in ("invoke_gateway", "tests")


class ForkServer:
    """Runs `fork_server.py` in the environment that its programs start in, from the first program on."""

    def __init__(self, loaded: str, at_start: Mapping[str, str]) -> None:
        self._channel, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            self._process = subprocess.Popen(
                [sys.executable, str(SERVER), loaded, str(there.fileno())],
                env=at_start,
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=SERVER.parent,
            )

    def fork(self, request: Mapping[str, Any], streams: Sequence[int]) -> int:
        """Starts a program as a child of this process, and returns its id."""
        socket.send_fds(self._channel, [json.dumps(request).encode()], streams)
        return adopt(self._channel)

    def close(self) -> None:
        self._channel.close()
        self._process.wait()


def adopt(channel: socket.socket) -> int:
    """Becomes the parent of the program that was asked for on `channel`, and returns its id."""
    program = int(_receive(channel))
    _set_child_subreaper(True)  # for as long as the process between ends: other orphans are not ours
    try:
        channel.send(b"!")
        _receive(channel)
    finally:
        _set_child_subreaper(False)
    return program


def _receive(channel: socket.socket) -> bytes:
    if not (message := channel.recv(100)):
        raise RuntimeError("the fork server has ended, or the program before it began")
    return message


def _set_child_subreaper(is_one: bool) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(is_one), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


class ForkServers:
    """Starts a fork server for each environment that tests start commands in: the bare one and that of this process.

    One has imported the gateway, another one the AWS CLI. Programs in another environment are executed: no second test
    would fork from its server.
    """

    def __init__(self) -> None:
        self._running: dict[tuple[str, frozenset[tuple[str, str]]], ForkServer] = {}
        self._lock = threading.Lock()
        self._known = [_read_at_start(environment) for environment in (LOCALE, os.environ)]

    def find(self, loaded: str, environment: Mapping[str, str]) -> ForkServer | None:
        at_start = _read_at_start(environment)
        if sys.platform != "linux" or at_start not in self._known:
            return None
        if (loaded, at_start) not in self._running:
            self._running[loaded, at_start] = ForkServer(loaded, dict(at_start))
        return self._running[loaded, at_start]

    def fork(
        self, program: Program, folder: str, environment: Mapping[str, str], streams: Sequence[int], **more: Any
    ) -> int | None:
        """Starts a program, and returns its id; None where no server has its environment."""
        request = {
            **program._asdict(),
            "folder": folder,
            "environment": {**environment},
            "code": None,
            "umask": read_umask(),
            "limits": [(limit, resource.getrlimit(limit)) for limit in LIMITS],
            "numbers": [0, 1, 2],
            **more,
        }
        with self._lock:
            server = self.find(program.loaded, environment)
            try:
                return server.fork(request, streams) if server is not None else None
            except BaseException:  # a time-out of pytest's too: what comes next is no reply to the next request
                self.close()
                raise

    def close(self) -> None:
        while self._running:
            self._running.popitem()[1].close()


def _read_at_start(environment: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(item for item in environment.items() if item[0].startswith(READ_AT_START))


def read_umask() -> int:
    """Returns the umask of this process, which another call could only tell by a change of it."""
    return int(re.search(r"^Umask:\s*(\S+)", Path("/proc/self/status").read_text(), re.MULTILINE)[1], 8)


servers = ForkServers()


class Popen(subprocess.Popen[AnyStr]):
    """Starts a program by a fork where that makes no difference to it, else as `subprocess` does."""

    def _execute_child(self, *given: Any) -> None:
        execute = super()._execute_child  # type: ignore[misc]  # what a start calls, with the streams it has made
        asked = inspect.signature(execute).bind(*given).arguments
        if not self._fork(asked):
            execute(*given)

    def _fork(self, asked: dict[str, Any]) -> bool:
        if any(asked[name] != usual for name, usual in _USUAL.items()) or isinstance(asked["args"], str | bytes):
            return False
        given = os.environ if asked["env"] is None else asked["env"]
        environment = {os.fsdecode(name): os.fsdecode(value) for name, value in given.items()}
        folder = os.path.realpath(asked["cwd"] or ".")
        program = find_program([os.fsdecode(word) for word in asked["args"]], folder)
        if program is None or not os.path.isdir(folder) or not os.path.exists(program.whole[0]):
            return False
        own = [asked[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        streams = [number if given == -1 else given for number, given in enumerate(own)]
        pid = servers.fork(program, folder, environment, streams, new_session=asked["start_new_session"])
        if pid is None:
            return False
        self.pid, self._child_created = pid, True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(asked[name] for name in pipes))  # type: ignore[attr-defined]  # as after an execution
        return True


def run(
    command: Sequence[str], *, timeout: float, check: bool = False, **streams: Any
) -> subprocess.CompletedProcess[Any]:
    """Runs a program to its end, as `subprocess.run` does."""
    if streams.pop("capture_output", False):
        streams |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    given = streams.pop("input", None)
    if given is not None:
        streams["stdin"] = subprocess.PIPE
    with Popen(command, **streams) as process:
        try:
            output, errors = process.communicate(given, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(command, process.returncode, output, errors)
    if check:
        done.check_returncode()
    return done
