"""Sends events and calls from outside. Only 202 is an accepted event; other responses are counted beside it."""

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from loadtests.bench import calls, machine
from loadtests.bench.load import wrk
from loadtests.bench.processes import Trouble
from loadtests.bench.queue.client import MARK

ACCEPTED = 202
CONNECTIONS = 64
# An exact number is sent at this rate or faster, or something is wrong.
SLOWEST_PER_SECOND = 200


@dataclass(frozen=True)
class Sent:
    """Counts the responses. `failed`: responses other than 202, and requests without a response. `trouble`: an example
    of them."""

    accepted: int
    failed: int
    seconds: float
    trouble: str = ""
    p50_ms: float = 0.0
    p99_ms: float = 0.0


def event(function: str, port: int, body: str = calls.ANSWER) -> bytes:
    """Returns an Event invocation as SDKs send it, 1 KiB."""
    line, rest = calls.invocation(function, port, body).split(b"\r\n", 1)
    return line + b"\r\nX-Amz-Invocation-Type: Event\r\n" + rest


def numbered() -> str:
    """Returns a body of 1 KiB in which the client writes a number of its own."""
    head = '{"number": "' + MARK.decode() + '", "padding": "'
    return head + "y" * (calls.KIBIBYTE - len(head) - 2) + '"}'


def flood(port: int, request: Path, connections: int, seconds: float) -> Sent:
    """Sends as many as are answered within that time. Raises Trouble."""
    counted = wrk("events.lua", port, connections, seconds, request, ACCEPTED)
    return Sent(
        accepted=int(counted["accepted"]),
        failed=int(counted["other"] + counted["broken"]),
        seconds=counted["seconds"],
        trouble=_say({int(counted["example"]): int(counted["other"])}, int(counted["broken"])),
        p50_ms=counted["p50_ms"],
        p99_ms=counted["p99_ms"],
    )


def send(port: int, request: Path, count: int, connections: int = CONNECTIONS) -> Sent:
    """Sends exactly so many. Raises Trouble."""
    command = [sys.executable, "-m", "loadtests.bench.queue.client"]
    command += [str(port), str(request), str(count), str(connections)]
    patience = 30 + count / SLOWEST_PER_SECOND
    try:
        with machine.on_core(machine.LOAD_CORE):
            done = subprocess.run(command, capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"{count} events were not sent within {patience:.0f} s") from error
    if done.returncode:
        raise Trouble(f"the client failed: {done.stderr.strip()[-300:]}")
    return told(json.loads(done.stdout))


def told(document: dict[str, Any]) -> Sent:
    """Returns the client's output."""
    statuses = {int(status): int(count) for status, count in document["statuses"].items()}
    accepted = statuses.pop(ACCEPTED, 0)
    unanswered = int(document["unanswered"])
    return Sent(
        accepted=accepted,
        failed=sum(statuses.values()) + unanswered,
        seconds=float(document["seconds"]),
        trouble=_say(statuses, unanswered),
    )


def _say(statuses: dict[int, int], unanswered: int) -> str:
    parts = [f"{count} answered {status}" for status, count in statuses.items() if count]
    parts += [f"{unanswered} not answered"] if unanswered else []
    return ", ".join(parts)


class Caller(AbstractContextManager["Caller"]):
    """Makes one synchronous call after the other while the block lasts, and times each in milliseconds."""

    def __init__(self, port: int, request: bytes, pause_seconds: float = 0.005) -> None:
        self.milliseconds: list[float] = []
        self.failed = 0
        self._port = port
        self._request = request
        self._pause = pause_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Caller":
        with machine.on_core(machine.LOAD_CORE):  # a thread inherits where it may run
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def percentile(self, percent: float) -> float:
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=30) as connection:
                    self._call_again_and_again(connection)
            except OSError:
                self.failed += 1
                self._stop.wait(self._pause)

    def _call_again_and_again(self, connection: socket.socket) -> None:
        """Calls until it is stopped. Raises OSError after an unexpected response."""
        while not self._stop.wait(self._pause):
            began = time.monotonic()
            self._call(connection)
            self.milliseconds.append(1e3 * (time.monotonic() - began))

    def _call(self, connection: socket.socket) -> None:
        connection.sendall(self._request)
        received = b""
        while not calls.is_whole(received):
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionError("the connection ended before the answer")
            received += piece
        if not received.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(f"answered {received[:40]!r}")
