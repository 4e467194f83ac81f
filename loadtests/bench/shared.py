"""Measures shared counters beside counters in memory: CPU time per request, added time, and admissions alone.

Redis runs on the core of backend and load, so its work is in no figure of the gateway.
"""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from statistics import median

from invoke_gateway.chaos.store import find_server
from loadtests.bench import calls, machine
from loadtests.bench.compare import WARM_UP_SECONDS, Tell
from loadtests.bench.load import Sample, measure
from loadtests.bench.paths import CONNECTIONS, FORWARDED, PATHS, REFUSED
from loadtests.bench.peers import Peer
from loadtests.bench.processes import Trouble
from loadtests.bench.report import Report, Table, spread_of
from loadtests.bench.stage import Running, Stage

IN_FLIGHT = (1, 64, 1000)
# What sharing may add under load, in microseconds of CPU time per request, and in milliseconds at the 99th percentile.
MOST_MICROSECONDS = 8.0
MOST_MS = 1.5
# A first start on an empty store waits one lease before anybody is admitted.
LEASE_SECONDS = 2
PATIENCE_SECONDS = 20.0
ATTEMPTS = 10


@dataclass
class Variant:
    """Holds one way to count. `paced`: samples at half the rate that the shared one reaches."""

    name: str
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    paced: list[Sample] = field(default_factory=list)

    def microseconds(self, path: str) -> float:
        return median(sample.microseconds for sample in self.samples[path])

    def per_second(self, path: str) -> float:
        return median(sample.requests_per_second for sample in self.samples[path])

    @property
    def p99_ms(self) -> float:
        return median(sample.p99_ms for sample in self.paced)


@dataclass(frozen=True)
class Cost:
    memory: Variant
    shared: Variant
    admissions: list[dict[str, float]]

    def added(self, path: str) -> float:
        """Returns the microseconds of CPU time that sharing adds to a call."""
        return self.shared.microseconds(path) - self.memory.microseconds(path)


def run(gateway: Peer, rounds: int, seconds: float, tell: Tell) -> Cost:
    """Loads both ways to count in turn, with the same calls. Raises Trouble."""
    cost = Cost(Variant("memory"), Variant("shared"), [])
    for path in PATHS:
        with Stage(path) as stage, _store(stage, gateway) as url:
            pairs = _start_both(stage, gateway, cost, url)
            _load(path, pairs, rounds, seconds, tell)
            if path == FORWARDED:
                _pace(pairs, rounds, seconds, tell)
                cost.admissions.extend(_admit(url, count, seconds, tell) for count in IN_FLIGHT)
    return cost


def run_added(gateways: Sequence[Peer], rounds: int, seconds: float, tell: Tell) -> list[Cost]:
    """Measures only what sharing adds to a call, of several gateways in turn. Each has a store. Raises Trouble."""
    costs = [Cost(Variant(f"{one.name}, memory"), Variant(f"{one.name}, shared"), []) for one in gateways]
    for path in PATHS:
        with ExitStack() as stack:
            stage = stack.enter_context(Stage(path))
            pairs: list[tuple[Variant, Running]] = []
            for gateway, cost in zip(gateways, costs, strict=True):
                tell(f"shared counters, {path}: starting {gateway.name}")
                pairs += _start_both(stage, gateway, cost, stack.enter_context(_store(stage, gateway)))
            _load(path, pairs, rounds, seconds, tell)
    return costs


def _start_both(stage: Stage, gateway: Peer, cost: Cost, url: str) -> list[tuple[Variant, Running]]:
    memory = stage.start(replace(gateway, name=f"{gateway.name}, memory"))
    return [(cost.memory, memory), (cost.shared, _start_shared(stage, gateway, url))]


@contextmanager
def _store(stage: Stage, gateway: Peer) -> Iterator[str]:
    place = stage.place(f"{gateway.name}, store")
    command = [find_server(), "--port", str(place.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = stage.processes.start("the store", command, place.directory, core=machine.LOAD_CORE)
    process.wait_for(place.port)
    yield f"redis://127.0.0.1:{place.port}/0"


def _start_shared(stage: Stage, gateway: Peer, url: str) -> Running:
    """Starts a gateway on the store. On the refused path another gateway holds the slot, so that each refusal needs the
    store."""
    arguments = (*gateway.arguments, f"--counters={url}", f"--shared-lease-seconds={LEASE_SECONDS}")
    peer = replace(gateway, name=f"{gateway.name}, shared", arguments=arguments)
    place, other = stage.place(peer.name), stage.place(f"{gateway.name}, other")
    process, other_process = stage.spawn(peer, place), stage.spawn(peer, other)
    for started, where in ((process, place), (other_process, other)):
        started.wait_for(where.port)
        calls.ask_until(where.port, calls.invocation("echo", where.port), 200, PATIENCE_SECONDS)
    if stage.path == REFUSED:
        stage.keep(_hold_slot(other.port))
        calls.ask_until(place.port, calls.invocation("echo", place.port), 429)
    request = place.directory / "request"
    request.write_bytes(calls.invocation("echo", place.port))
    return Running(peer, process, place.port, place.admin, request, keeps_connections=True)


def _hold_slot(port: int) -> socket.socket:
    """Fills the one slot. The slot of the call before may still be on its way back to the store, so this repeats."""
    for _ in range(ATTEMPTS):
        held = calls.hold(port)
        if not calls.is_answered(held):
            return held
        held.close()
    raise Trouble("the call that should fill the slot was answered")


def _load(path: str, pairs: list[tuple[Variant, Running]], rounds: int, seconds: float, tell: Tell) -> None:
    for _, running in pairs:
        running.measure(WARM_UP_SECONDS)
    for number in range(rounds):
        for variant, running in pairs if number % 2 else reversed(pairs):
            tell(f"{path}: round {number + 1} of {rounds}: {variant.name}")
            sample = running.measure(seconds)
            wrong = sample.failed if path == FORWARDED else sample.requests - sample.failed
            if wrong or sample.broken:
                raise Trouble(f"{variant.name}: {wrong} of {sample.requests} answers wrong, {sample.broken} broken")
            variant.samples.setdefault(path, []).append(sample)


def _pace(pairs: list[tuple[Variant, Running]], rounds: int, seconds: float, tell: Tell) -> None:
    half = min(variant.per_second(FORWARDED) for variant, _ in pairs) / 2
    pause_ms = 1e3 * CONNECTIONS / half
    for number in range(rounds):
        for variant, running in pairs if number % 2 else reversed(pairs):
            tell(f"paced: round {number + 1} of {rounds}: {variant.name}")
            sample = measure(running.process, running.port, running.request, seconds, pause_ms=pause_ms)
            variant.paced.append(sample)


def _admit(url: str, in_flight: int, seconds: float, tell: Tell) -> dict[str, float]:
    tell(f"admissions alone, {in_flight} in flight")
    command = [sys.executable, "-m", "loadtests.bench.admissions", url, str(in_flight), str(seconds)]
    with machine.on_core(machine.PROXY_CORE):
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS + seconds)
    if done.returncode:
        raise Trouble(f"admissions: {done.stderr.strip()[-300:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def report(found: Cost, command: str) -> Report:
    """Makes the report of `shared`."""
    variants = (found.memory, found.shared)
    rows = []
    for path in PATHS:
        rows.append((f"CPU µs per invoke {path}, median", *(f"{v.microseconds(path):.1f}" for v in variants)))
        spreads = (spread_of([sample.microseconds for sample in v.samples[path]]) for v in variants)
        rows.append(("min..max", *spreads))
    rows.append(
        (
            "at half the rate: requests a second",
            *(f"{median(s.requests_per_second for s in v.paced):.0f}" for v in variants),
        )
    )
    rows.append(("at half the rate: p99 ms, median", *(f"{v.p99_ms:.2f}" for v in variants)))
    alone = [
        (f"{one['in_flight']:.0f}", *(f"{one[key]:.{digits}f}" for key, digits in _COLUMNS)) for one in found.admissions
    ]
    added = {path: found.added(path) for path in PATHS}
    late = found.shared.p99_ms - found.memory.p99_ms
    return Report(
        "shared",
        command,
        figures=asdict(found),
        tables=[
            Table("Counting in memory and in a shared store", ("", "memory", "shared"), rows),
            Table("Admissions alone", ("in flight", "CPU µs each", "a second", "p50 ms", "p99 ms"), alone),
        ],
        lines=[
            *(
                _judge(f"{path}: sharing adds", microseconds, MOST_MICROSECONDS, "µs")
                for path, microseconds in added.items()
            ),
            _judge("99th percentile: sharing adds", late, MOST_MS, "ms"),
        ],
    )


_COLUMNS = (("microseconds", 1), ("per_second", 0), ("p50_ms", 2), ("p99_ms", 2))


def _judge(what: str, found: float, most: float, unit: str) -> str:
    return f"{what} {found:.1f} {unit}, at most {most:g} wanted: {'met' if found <= most else 'MISSED'}"
