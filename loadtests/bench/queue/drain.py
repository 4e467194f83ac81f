"""Runs a backlog, and the same calls synchronously by as many callers as slots."""

import time
from dataclasses import dataclass

from loadtests.bench import calls
from loadtests.bench.compare import Tell
from loadtests.bench.load import CONNECTIONS, measure
from loadtests.bench.paths import HELD
from loadtests.bench.peers import Peer
from loadtests.bench.processes import Trouble
from loadtests.bench.queue import subjects
from loadtests.bench.queue.sending import Sent, send
from loadtests.bench.queue.subjects import Started
from loadtests.bench.stage import Stage

SLOTS = CONNECTIONS  # as many callers as slots: none is refused
SYNCHRONOUS_SECONDS = 3
WARM_UP_SECONDS = 1
# The calls that wrk did not wait for have given back their slots after this.
LEFT_SECONDS = 0.3
# A backlog that runs no faster than this does not run.
SLOWEST_PER_SECOND = 200
# Nothing may run twice within so long after the last.
SETTLE_SECONDS = 1.0
LATE_MS = 10
# The share of the synchronous rate that a backlog must reach where the backend is what both wait for.
AT_LEAST = 0.9


@dataclass(frozen=True)
class Drained:
    """Holds the result.

    `calls`: the calls of the backend for these events. `synchronous`: calls a second. The two costs: microseconds of
    the gateway's CPU time per event and per call. `ceiling`: the rate that slots and backend allow; None for a backend
    that responds immediately.
    """

    name: str
    events: int
    calls: int
    filling: Sent
    seconds: float
    microseconds: float
    synchronous: float
    synchronous_microseconds: float
    ceiling: float | None

    @property
    def per_second(self) -> float:
        return self.events / self.seconds

    @property
    def ratio(self) -> float:
        """Returns events a second over synchronous calls a second."""
        return self.per_second / self.synchronous

    @property
    def is_exact(self) -> bool:
        """Returns True if each event was accepted, and called the backend once."""
        return self.calls == self.events == self.filling.accepted and not self.filling.failed

    @property
    def is_bounded_by_the_backend(self) -> bool:
        return self.ratio >= AT_LEAST


def run(gateway: Peer, events: int, tell: Tell) -> list[Drained]:
    """Runs it with a backend that responds immediately, where the gateway is the bound. Then runs a fifth of the events
    with a slow one. Raises Trouble."""
    with Stage(HELD, SLOTS) as stage:
        place = stage.place("gateway")
        started = subjects.start_gateway(stage, place, gateway)
        late = f"late-{LATE_MS}"
        return [
            _drain(stage, started, "answers at once", subjects.FUNCTION, events, None, tell),
            _drain(stage, started, f"answers after {LATE_MS} ms", late, events // 5, 1e3 * SLOTS / LATE_MS, tell),
        ]


def _drain(
    stage: Stage, started: Started, name: str, function: str, events: int, ceiling: float | None, tell: Tell
) -> Drained:
    process, port = started.process, started.place.port
    tell(f"drain: a backend that {name}: synchronous calls")
    synchronous = started.place.directory / "synchronous"
    synchronous.write_bytes(calls.invocation(function, port))
    for seconds in (WARM_UP_SECONDS, SYNCHRONOUS_SECONDS):
        sample = measure(process, port, synchronous, seconds)
        time.sleep(LEFT_SECONDS)
    if sample.failed or sample.broken:
        raise Trouble(f"{sample.failed} of {sample.requests} synchronous calls failed, {sample.broken} broke")
    release = subjects.hold(started.place, SLOTS)
    tell(f"drain: a backend that {name}: filling with {events:,} events")
    filling = send(port, started.request(function=function), events)
    before = stage.backend_state()["calls"]
    cpu = process.cpu_seconds()
    tell(f"drain: a backend that {name}: running them")
    began = time.monotonic()
    release()
    seconds = wait(stage, before + filling.accepted, began)
    spent = process.cpu_seconds() - cpu
    time.sleep(SETTLE_SECONDS)
    return Drained(
        name,
        events,
        stage.backend_state()["calls"] - before,
        filling,
        seconds,
        1e6 * spent / events,
        sample.requests_per_second,
        sample.microseconds,
        ceiling,
    )


def wait(stage: Stage, wanted: int, began: float) -> float:
    """Returns the seconds until the backend has been called so often. Raises Trouble."""
    patience = 30 + wanted / SLOWEST_PER_SECOND
    while (seen := stage.backend_state()["calls"]) < wanted:
        if time.monotonic() - began > patience:
            raise Trouble(f"{wanted - seen} of the events had not run after {patience:.0f} s")
        time.sleep(0.02)
    return time.monotonic() - began
