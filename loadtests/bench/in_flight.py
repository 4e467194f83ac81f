"""Runs many invocations at once in one gateway process, and accounts for each at both ends."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

from loadtests.bench import calls, machine
from loadtests.bench.compare import Tell
from loadtests.bench.paths import HELD
from loadtests.bench.peers import Peer
from loadtests.bench.processes import Trouble
from loadtests.bench.stage import Running, Stage

CALLS = 10_000
# Connections opened together before the next ones: well within the gateway's listen backlog.
BATCH = 200
# Descriptors that the gateway may need beside the two of each call and those it has open when idle.
SPARE_DESCRIPTORS = 200
WAIT_SECONDS = 60.0


@dataclass
class Outcome:
    """Holds the results. `checks` are sentences, each with True if it holds."""

    calls: int
    descriptor_limit: int
    hung_up: int = 0
    opening_seconds: float = 0
    answering_seconds: float = 0
    resident_before: int = 0
    resident_at_peak: int = 0
    checks: list[tuple[str, bool]] = field(default_factory=list)

    @property
    def bytes_per_call(self) -> float:
        return (self.resident_at_peak - self.resident_before) / self.calls

    @property
    def is_good(self) -> bool:
        return all(is_true for _, is_true in self.checks)

    def check(self, sentence: str, is_true: bool) -> None:
        self.checks.append((sentence, is_true))


class Caller(asyncio.Protocol):
    """Sends one call when connected. Its response is good when it is the call's own body."""

    def __init__(self, number: int, port: int) -> None:
        self._body = json.dumps({"call": number, "padding": "y" * 960})
        self._port = port
        self._received = b""
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from asyncio's
        self.transport.write(calls.invocation("hold", self._port, self._body))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if calls.is_whole(self._received) and not self.answer.done():
            head, _, body = self._received.partition(b"\r\n\r\n")
            self.answer.set_result(head.startswith(b"HTTP/1.1 200") and body == self._body.encode())

    def connection_lost(self, error: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_result(False)


def run(count: int, gateway: Peer, tell: Tell) -> Outcome:
    """Holds `count` calls in flight, counts them everywhere, and ends them. Raises Trouble."""
    outcome = Outcome(count, machine.raise_descriptor_limit())
    with Stage(HELD, limit=count) as stage:
        running = stage.start(gateway)
        uvloop.run(_hold_and_release(outcome, _Scene(stage, running), tell))
    return outcome


@dataclass(frozen=True)
class _Scene:
    """Holds the running parts, and reads the counts of backend and gateway."""

    stage: Stage
    running: Running

    def backend(self) -> dict[str, int]:
        return self.stage.backend_state()

    def in_flight(self) -> int:
        number: int = calls.get_json(self.running.admin, "/limits")["accounts"][0]["in_flight"]
        return number

    def resident(self) -> int:
        return self.running.process.resident_bytes()


async def _hold_and_release(outcome: Outcome, scene: _Scene, tell: Tell) -> None:
    before = scene.backend()
    outcome.resident_before = scene.resident()
    outcome.hung_up = _surplus(outcome, scene)
    started = time.monotonic()
    if outcome.hung_up:
        await _come_and_go(outcome, scene, tell)
    tell(f"opening {outcome.calls - outcome.hung_up} calls that stay")
    staying = await _open(range(outcome.hung_up, outcome.calls), scene.running.port)
    await _until(lambda: scene.backend()["running"] >= outcome.calls)
    outcome.opening_seconds = time.monotonic() - started
    outcome.resident_at_peak = scene.resident()
    _check_peak(outcome, scene, before)
    tell("letting them end")
    await _let_end(outcome, scene, staying)


async def _come_and_go(outcome: Outcome, scene: _Scene, tell: Tell) -> None:
    """Opens the calls whose clients hang up: their slots stay taken, their clients' descriptors do not."""
    tell(
        f"{outcome.hung_up} clients hang up as soon as the backend has their calls: the gateway needs two open"
        f" files for a call whose client stays, and the hard limit here is {outcome.descriptor_limit}."
        " Their slots stay taken until the backend has ended, so that all calls are in flight all the same."
    )
    leaving = await _open(range(outcome.hung_up), scene.running.port)
    if not await _until(lambda: scene.backend()["running"] >= outcome.hung_up):
        raise Trouble(f"only {scene.backend()['running']} of the first {outcome.hung_up} calls reach the backend")
    for caller in leaving:
        caller.transport.abort()


def _check_peak(outcome: Outcome, scene: _Scene, before: dict[str, int]) -> None:
    backend, in_flight = scene.backend(), scene.in_flight()
    seen, distinct = (backend[name] - before[name] for name in ("calls", "distinct"))
    outcome.check(
        f"the backend saw {seen} calls, {distinct} of them distinct: each once",
        seen == distinct == outcome.calls,
    )
    outcome.check(f"it held {backend['running']} at once", backend["running"] == outcome.calls)
    outcome.check(f"the gateway's /limits showed {in_flight} in flight", in_flight == outcome.calls)
    port = scene.running.port
    extra = calls.ask(port, calls.invocation("echo", port))
    outcome.check(f"one call more was answered with {extra.status}", extra.status == 429)


async def _let_end(outcome: Outcome, scene: _Scene, staying: Sequence[Caller]) -> None:
    started = time.monotonic()
    scene.stage.release()
    await asyncio.wait([caller.answer for caller in staying], timeout=WAIT_SECONDS)
    outcome.answering_seconds = time.monotonic() - started
    own = sum(caller.answer.done() and caller.answer.result() for caller in staying)
    outcome.check(f"{own} of {len(staying)} clients that stayed got their own answer", own == len(staying))
    await _until(lambda: scene.in_flight() == 0)
    outcome.check(f"in flight ended at {scene.in_flight()}", scene.in_flight() == 0)
    for caller in staying:
        caller.transport.close()


def _surplus(outcome: Outcome, scene: _Scene) -> int:
    """Returns the number of clients that must hang up for the gateway to stay below its limit of open files."""
    idle = len(list(Path(f"/proc/{scene.running.process.pid}/fd").iterdir()))
    return max(0, 2 * outcome.calls + idle + SPARE_DESCRIPTORS - outcome.descriptor_limit)


async def _open(numbers: Sequence[int], port: int) -> list[Caller]:
    loop = asyncio.get_running_loop()

    async def one(number: int) -> Caller:
        _, caller = await loop.create_connection(lambda: Caller(number, port), "127.0.0.1", port)
        return caller

    callers: list[Caller] = []
    for start in range(0, len(numbers), BATCH):
        callers += await asyncio.gather(*map(one, numbers[start : start + BATCH]))
    return callers


async def _until(is_true: Callable[[], bool]) -> bool:
    """Checks ten times a second, for a minute at most. Returns True if the condition held."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.1)
    return True
