"""Ends every process by its own pid, on every way out of its block."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from loadtests.bench import machine

GRACE_SECONDS = 5.0
# The kernel may assign a port again before its first owner listens.
_given_ports: set[int] = set()


class Trouble(Exception):
    """Reports a part of a benchmark that could not run. The text has the part and the reason."""


@dataclass(frozen=True)
class Process:
    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def cpu_seconds(self) -> float:
        return machine.cpu_seconds(self.pid)

    def resident_bytes(self, field: str = "VmRSS") -> int:
        return machine.resident_bytes(self.pid, field)

    def wait_for(self, port: int, seconds: float = 20) -> None:
        """Returns when the port accepts. Raises Trouble when the process ends or the time is up before."""
        deadline = time.monotonic() + seconds
        while not accepts(port):
            self.check()
            if time.monotonic() > deadline:
                raise Trouble(f"{self.name} did not listen within {seconds:.0f} s{self._last_words()}")
            time.sleep(0.02)

    def check(self) -> None:
        """Raises Trouble when the process has ended."""
        if self.popen.poll() is not None:
            raise Trouble(f"{self.name} ended with {self.popen.returncode}{self._last_words()}")

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return ": " + " | ".join(lines[-3:]) if lines else ""


class Processes:
    """Holds a block's processes. Leaving the block sends SIGTERM, waits, and kills the rest, children too."""

    def __init__(self) -> None:
        self._started: list[Process] = []

    def __enter__(self) -> "Processes":
        return self

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        directory: Path,
        *,
        core: int | tuple[int, ...] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Starts it on `core`, if given, with its output in `directory/output.log`. Raises Trouble when it cannot."""
        log = directory / "output.log"
        cores = (core,) if isinstance(core, int) else core
        try:
            with log.open("wb") as output, machine.on_core(*cores) if cores else nullcontext():
                popen = subprocess.Popen(
                    [str(part) for part in command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **(environment or {})},
                )
        except OSError as error:
            raise Trouble(f"{name} does not start: {error}") from error
        process = Process(name, popen, log)
        self._started.append(process)
        return process

    def stop(self, process: Process) -> None:
        self._started.remove(process)
        _end([process])

    def kill(self, process: Process) -> None:
        """Kills it and its children as a crash of the machine would: without a signal before."""
        self._started.remove(process)
        _kill(process)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A second Ctrl-C must not leave half of them running.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            _end(self._started)
        finally:
            signal.signal(signal.SIGINT, before)


def free_port() -> int:
    """Returns a port without a listener, and another one each time."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
        if port not in _given_ports:
            _given_ports.add(port)
            return port


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _end(processes: Sequence[Process]) -> None:
    for process in processes:
        process.popen.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes:
        try:
            process.popen.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _kill(process)


def _kill(process: Process) -> None:
    for pid in machine.tree(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it went by itself
            continue
    process.popen.wait()
