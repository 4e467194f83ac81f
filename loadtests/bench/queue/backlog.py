"""Measures a backlog of a million: time to accept, memory and disk, synchronous calls meanwhile, and time to restart.

The backlog is of one function, whose reserved slots are held. The calls are to another one, which has free slots.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.bench import calls
from loadtests.bench.compare import Tell
from loadtests.bench.paths import HELD
from loadtests.bench.peers import Peer
from loadtests.bench.processes import Trouble
from loadtests.bench.queue import drain, subjects
from loadtests.bench.queue.sending import Caller, Sent, event, send
from loadtests.bench.queue.subjects import Started
from loadtests.bench.stage import Stage

MILLION = 1_000_000
FUNCTION = "backlog"
SLOTS, RESERVED = 100, 32
# Memory is looked at after these parts of the backlog.
PARTS = (0.25, 0.5, 1.0)
CALLING_SECONDS = 8.0
# How much more memory the gateway may have with all of the backlog than with a quarter of it, in MiB.
AT_MOST_MIB = 64.0


@dataclass(frozen=True)
class Calls:
    """Times synchronous calls, one after the other, during a phase."""

    when: str
    count: int
    failed: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Level:
    """Describes the gateway with so many waiting events. `told`: the content of `/queue`."""

    events: int
    resident_bytes: int
    told: int


@dataclass
class Backlog:
    """Holds the result.

    `levels`: during the growth, and after the run. `file_bytes`: the store's file with all events. `log_bytes`: its
    write-ahead log. `ran`: the calls of the backend for it.
    """

    levels: list[Level] = field(default_factory=list)
    calls: list[Calls] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    file_bytes: int = 0
    log_bytes: int = 0
    stop_seconds: float = 0.0
    start_seconds: float = 0.0
    restarted_bytes: int = 0
    drain_seconds: float = 0.0
    drained_per_second: float = 0.0
    ran: int = 0

    @property
    def accepted(self) -> int:
        return sum(sent.accepted for sent in self.sent)

    @property
    def accepting_seconds(self) -> float:
        return sum(sent.seconds for sent in self.sent)

    @property
    def grown_mib(self) -> float:
        """Returns the memory with the whole backlog above that with its first part."""
        _, first, *_, whole, _ = self.levels
        return (whole.resident_bytes - first.resident_bytes) / 1024**2

    @property
    def checks(self) -> list[tuple[str, bool]]:
        failed = sum(sent.failed for sent in self.sent)
        return [
            (f"every event was answered 202 ({self.accepted:,}; {failed} were not)", not failed),
            ("the queue told as many as were accepted", all(level.told == level.events for level in self.levels)),
            ("no synchronous call failed", not any(one.failed for one in self.calls)),
            (f"after the next start each of them ran once ({self.ran:,} runs)", self.ran == self.accepted),
        ]

    @property
    def is_good(self) -> bool:
        return all(is_true for _, is_true in self.checks)


def run(gateway: Peer, events: int, tell: Tell) -> Backlog:
    """Fills, stops, restarts, and runs it. Raises Trouble."""
    found = Backlog()
    with Stage(HELD, SLOTS) as stage:
        place = stage.place("gateway")
        started = _start(stage, place, gateway)
        call = calls.invocation("echo", place.port)
        subjects.hold(place, RESERVED, FUNCTION)
        found.levels.append(_level(started, 0))
        tell("calls before")
        found.calls.append(_call("before", place.port, call, lambda: time.sleep(CALLING_SECONDS)))
        _fill(found, started, events, call, tell)
        tell("calls with all of it waiting")
        found.calls.append(_call("all of it waiting", place.port, call, lambda: time.sleep(CALLING_SECONDS)))
        sizes = {path.name: path.stat().st_size for path in place.directory.glob(f"{subjects.STORE}*")}
        found.log_bytes = sizes.pop(f"{subjects.STORE}-wal", 0)
        found.file_bytes = sum(sizes.values())
        tell("stopping, starting again")
        before = stage.backend_state()["calls"]
        began = time.monotonic()
        stage.processes.stop(started.process)
        found.stop_seconds = time.monotonic() - began
        began = time.monotonic()
        started = _start(stage, place, gateway)
        found.start_seconds = time.monotonic() - began
        found.restarted_bytes = started.process.resident_bytes()
        _drain(found, stage, started, before, call, tell)
    return found


def queued(place: subjects.Place) -> int:
    """Returns the number of events in the gateway's queue."""
    return int(calls.get_json(place.admin, "/queue", seconds=60)["events"])


def _start(stage: Stage, place: subjects.Place, gateway: Peer) -> Started:
    function = {"reserved_concurrent_executions": RESERVED, "requests_per_second": "off"}
    accounts = {"default": {"unreserved_floor": 0, "functions": {FUNCTION: function}}}
    return subjects.start_gateway(stage, place, gateway, f"--accounts={json.dumps(accounts)}")


def _fill(found: Backlog, started: Started, events: int, call: bytes, tell: Tell) -> None:
    request = started.place.directory / "event"
    request.write_bytes(event(FUNCTION, started.place.port))
    for part in PARTS:
        count = int(part * events) - found.accepted
        tell(f"accepting, until {found.accepted + count:,} wait")
        one = f"while accepting, up to {found.accepted + count:,}"
        found.calls.append(_call(one, started.place.port, call, _sender(found, started, request, count)))
        found.levels.append(_level(started, found.accepted))


def _sender(found: Backlog, started: Started, request: Path, count: int) -> Callable[[], None]:
    return lambda: found.sent.append(send(started.place.port, request, count))


def _level(started: Started, events: int) -> Level:
    return Level(events, started.process.resident_bytes(), queued(started.place))


def _call(when: str, port: int, call: bytes, block: Callable[[], None]) -> Calls:
    with Caller(port, call) as caller:
        block()
    if not caller.milliseconds:
        raise Trouble(f"{when}: none of {caller.failed} synchronous calls was answered")
    return Calls(when, len(caller.milliseconds), caller.failed, caller.percentile(50), caller.percentile(99))


def _drain(found: Backlog, stage: Stage, started: Started, before: int, call: bytes, tell: Tell) -> None:
    """Runs all of it, with calls for some seconds, which the backend counts too."""
    tell("running all of it")
    wanted = before + found.accepted
    counted, began = stage.backend_state()["calls"], time.monotonic()
    found.calls.append(_call("while it runs", started.place.port, call, lambda: time.sleep(CALLING_SECONDS)))
    asked = found.calls[-1].count
    found.drain_seconds = drain.wait(stage, wanted + asked, began)
    found.drained_per_second = (wanted - counted) / found.drain_seconds
    time.sleep(drain.SETTLE_SECONDS)
    found.ran = stage.backend_state()["calls"] - before - asked
    found.levels.append(_level(started, 0))
