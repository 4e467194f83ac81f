"""Sends calls at a constant rate, whatever the responses do: `python -m loadtests.bench.goals.paced` and a JSON text.

A call's time runs from the moment at which it was due, not from the moment at which a connection was free for it: a
slow response delays no later call unseen. The timer is the kernel's, since those of event loops count in milliseconds.
Before the clock starts, each connection carries one call. A run of two seconds has 1 % of its calls within 20 ms, so
its 99th percentile would else be the time in which a proxy accepts the client's connections.
"""

import asyncio
import ctypes
import gc
import json
import os
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, cast

import uvloop

from loadtests.bench import calls

PATIENCE_SECONDS = 10.0
_NANOSECONDS = 1_000_000_000
_MONOTONIC, _NONBLOCKING = 1, os.O_NONBLOCK | os.O_CLOEXEC  # of timerfd_create(2)


@dataclass(frozen=True)
class Pace:
    """Describes a run. `request`: a file with the bytes of a call. `connections`: the most calls at once."""

    port: int
    request: str
    rate: float
    seconds: float
    connections: int = 256


@dataclass(frozen=True)
class Paced:
    """Holds a run.

    `failed`: calls without a 200. `late_ms`: p99 of the client's own delay before it sent a call, the wait for a free
    connection included.
    """

    sent: int
    failed: int
    rate: float
    p50_ms: float
    p99_ms: float
    late_ms: float


class Caller(Protocol):
    """Describes the owner of a connection, to whom the end of each call is reported."""

    def record(self, line: "Line", due: float, *, is_good: bool) -> None: ...

    def forget(self, line: "Line", *, is_calling: bool) -> None: ...


class Line(asyncio.Protocol):
    """Holds one connection, with one call at a time."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self._received = b""
        self._due: float | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from asyncio's

    def send(self, request: bytes, due: float) -> None:
        self._due = due
        assert self._transport is not None, "only connected lines are idle"
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._due is None or not calls.is_whole(self._received):
            return
        is_good = self._received.startswith(b"HTTP/1.1 200")
        due, self._received, self._due = self._due, b"", None
        self.caller.record(self, due, is_good=is_good)

    def connection_lost(self, error: Exception | None) -> None:
        self.caller.forget(self, is_calling=self._due is not None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class FirstCall:
    """Waits for the response to the first call of a connection."""

    def __init__(self) -> None:
        self._is_good: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def record(self, line: Line, due: float, *, is_good: bool) -> None:
        self._end(is_good)

    def forget(self, line: Line, *, is_calling: bool) -> None:
        self._end(False)

    def _end(self, is_good: bool) -> None:
        if not self._is_good.done():
            self._is_good.set_result(is_good)

    async def wait(self) -> None:
        """Raises OSError where no 200 arrives."""
        async with asyncio.timeout(PATIENCE_SECONDS):  # TimeoutError is an OSError
            if not await self._is_good:
                raise ConnectionError("the first call of a connection was not answered with 200")


class Run:
    """Keeps the rate: sends each call that is due, as soon as a connection is idle."""

    def __init__(self, pace: Pace) -> None:
        self.idle: list[Line] = []
        self.request = Path(pace.request).read_bytes()
        self._step = 1 / pace.rate
        self._waiting: deque[float] = deque()
        self._took: list[float] = []
        self._late: list[float] = []
        self._sent = self._refused = self._lost = 0
        self._next = self._end = 0.0
        self._seconds = pace.seconds
        self.ended = asyncio.Event()

    def start(self) -> None:
        self._next = time.perf_counter()
        self._end = self._next + self._seconds

    def tick(self) -> None:
        """Notes the calls that have become due, and sends those for which there is a connection."""
        now = time.perf_counter()
        while self._next <= min(now, self._end):
            self._waiting.append(self._next)
            self._next += self._step
        self._send()

    def record(self, line: Line, due: float, *, is_good: bool) -> None:
        self._took.append(time.perf_counter() - due)
        self._refused += not is_good
        self.idle.append(line)
        self._send()

    def forget(self, line: Line, *, is_calling: bool) -> None:
        """Counts the call of a connection that has ended as lost."""
        self._lost += is_calling
        if line in self.idle:
            self.idle.remove(line)

    @property
    def is_over(self) -> bool:
        return self._next > self._end and not self._waiting and len(self._took) + self._lost >= self._sent

    def outcome(self) -> Paced:
        """Returns the figures. A call without a response counts as failed."""
        unanswered = self._sent - len(self._took) + len(self._waiting)
        return Paced(
            self._sent,
            self._refused + unanswered,
            self._sent / self._seconds,
            *(1e3 * share_of(self._took, share) for share in (0.5, 0.99)),
            1e3 * share_of(self._late, 0.99),
        )

    def _send(self) -> None:
        while self._waiting and self.idle:
            due = self._waiting.popleft()
            self._late.append(time.perf_counter() - due)
            self._sent += 1
            self.idle.pop().send(self.request, due)
        if self.is_over:
            self.ended.set()


def share_of(values: list[float], share: float) -> float:
    """Returns the value that this share of all values does not exceed; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def start_timer(step: float) -> int:
    """Returns a descriptor that becomes readable at each step (seconds). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.timerfd_create(_MONOTONIC, _NONBLOCKING)
    nanoseconds = max(1, round(step * _NANOSECONDS))
    both = (ctypes.c_long * 4)(*divmod(nanoseconds, _NANOSECONDS), *divmod(nanoseconds, _NANOSECONDS))
    if descriptor < 0 or libc.timerfd_settime(descriptor, 0, ctypes.byref(both), None):
        raise OSError(ctypes.get_errno(), "the kernel gives no timer")
    return descriptor


async def connect(run: Run, port: int) -> Line:
    """Opens a connection that has carried a call, so that the proxy has accepted it. Raises OSError."""
    first = FirstCall()
    _, line = await asyncio.get_running_loop().create_connection(lambda: Line(first), "127.0.0.1", port)
    line.send(run.request, due=time.perf_counter())
    try:
        await first.wait()
    except OSError:
        line.close()
        raise
    line.caller = run
    run.idle.append(line)
    return line


async def drive(pace: Pace) -> Paced:
    """Runs it from the first call that is due to the last response. Waits some seconds for that. Raises OSError where a
    connection does not carry its first call."""
    run = Run(pace)
    lines: list[Line] = []
    try:
        for _ in range(pace.connections):
            lines.append(await connect(run, pace.port))
        await keep_rate(run, pace)
    finally:
        for line in lines:
            line.close()
    return run.outcome()


async def keep_rate(run: Run, pace: Pace) -> None:
    """Sends the calls as they become due, until the last response or for some seconds more."""
    loop = asyncio.get_running_loop()
    timer = start_timer(1 / pace.rate)

    def read() -> None:
        os.read(timer, 8)
        run.tick()

    run.start()
    loop.add_reader(timer, read)
    try:
        await asyncio.wait_for(run.ended.wait(), pace.seconds + PATIENCE_SECONDS)
    except TimeoutError:  # the outcome counts what is missing
        pass
    finally:
        loop.remove_reader(timer)
        os.close(timer)


if __name__ == "__main__":
    gc.disable()  # a collection would be a delay of the client
    print(json.dumps(asdict(uvloop.run(drive(Pace(**json.loads(sys.argv[1])))))))
