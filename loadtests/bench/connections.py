"""Loads one worker of the gateway, and of nginx, over 10,000 connections: calls a second, memory, time of a call."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from statistics import median

from loadtests.bench import machine
from loadtests.bench.compare import Tell
from loadtests.bench.load import wrk
from loadtests.bench.paths import FORWARDED
from loadtests.bench.peers import LOOPBACK, Peer
from loadtests.bench.processes import Process, Trouble
from loadtests.bench.report import Report, Table, mebibytes
from loadtests.bench.stage import PLENTY, Running, Stage

CONNECTIONS = 10_000
# Files that a proxy needs beside its connections.
SPARE_DESCRIPTORS = 200
# nginx closes idle connections when less than a sixteenth of its worker_connections is free.
NGINX_ROOM = 1.25
# The part of the local ports that is used: others may be in TIME_WAIT, or in use by other programs.
PORTS_SHARE = 0.8
EVERYWHERE = "0.0.0.0"  # only where one address of loopback has too few ports
SAMPLING_SECONDS = 0.5
# Above the length of a run: wrk drops the times of calls that take longer.
TIMEOUT = "120s"
SOCKET_ERRORS = ("connect", "read", "write", "timeout")


@dataclass(frozen=True)
class Crowd:
    """Describes the load.

    `hosts`: the addresses that wrk calls, more than one where the local ports would run out. `limit`: the most calls in
    flight. `descriptors`: the limit on open files.
    """

    connections: int
    hosts: tuple[str, ...]
    limit: int
    descriptors: int

    @property
    def listen(self) -> str:
        return LOOPBACK if len(self.hosts) == 1 else EVERYWHERE


@dataclass(frozen=True)
class CrowdSample:
    """Holds one round. `broken`: sockets that failed, by kind. `memory`, `descriptors`: the most that were seen."""

    answered: int
    refused: int
    per_second: float
    broken: dict[str, int]
    p50_ms: float
    p99_ms: float
    memory: int
    descriptors: int


@dataclass
class CrowdRow:
    name: str
    version: str
    idle_memory: int = 0
    samples: list[CrowdSample] = field(default_factory=list)
    problem: str = ""

    def middle(self, name: str) -> float:
        return median(getattr(sample, name) for sample in self.samples)


def plan(connections: int, ports: int | None = None, descriptors: int | None = None) -> Crowd:
    """Fits the load to the local ports and the open files of this machine. Raises Trouble where it does not fit."""
    ports = ports or machine.local_ports()
    descriptors = descriptors or machine.raise_descriptor_limit(2 * connections + SPARE_DESCRIPTORS)
    limit = min(PLENTY, descriptors - connections - SPARE_DESCRIPTORS)
    if limit < 1:
        raise Trouble(
            f"{connections} connections need more open files than the hard limit of {descriptors}:"
            f" ulimit -n, or --connections {max(1, descriptors // 2 - SPARE_DESCRIPTORS)}"
        )
    each = max(1, int(PORTS_SHARE * ports))
    count = -(-connections // each)
    return Crowd(connections, tuple(f"127.0.0.{number + 1}" for number in range(count)), limit, descriptors)


def run(peers: Sequence[Peer], crowd: Crowd, rounds: int, seconds: float, tell: Tell) -> list[CrowdRow]:
    """Loads each peer in turn. A peer that is missing or fails keeps its row, with the reason."""
    rows = [CrowdRow(peer.name, peer.version()) for peer in peers]
    with Stage(FORWARDED, crowd.limit, connections=_nginx_connections(crowd.connections)) as stage:
        running: list[tuple[CrowdRow, Running]] = []
        for row, peer in zip(rows, peers, strict=True):
            tell(f"{crowd.connections} connections: starting {row.name}")
            try:
                one = _start(stage, peer, crowd)
                row.idle_memory = machine.proportional_bytes(one.process.pid)
                running.append((row, one))
            except Trouble as trouble:
                row.problem = str(trouble)
        for number in range(rounds):
            for row, one in running if number % 2 else reversed(running):
                tell(f"{crowd.connections} connections: round {number + 1} of {rounds}: {row.name}")
                try:
                    row.samples.append(_load(one, crowd, seconds))
                except Trouble as trouble:
                    row.problem = str(trouble)
    return rows


def _nginx_connections(used: int) -> int:
    return int(NGINX_ROOM * used) + SPARE_DESCRIPTORS


def _start(stage: Stage, peer: Peer, crowd: Crowd) -> Running:
    place = replace(
        stage.place(peer.name),
        connections=_nginx_connections(2 * crowd.connections),
        idle=crowd.connections,
        host=crowd.listen,
    )
    process = stage.spawn(peer, place)
    process.wait_for(place.port)
    return stage.try_out(peer, process, place, stage.shape.request(place.port))


def _load(running: Running, crowd: Crowd, seconds: float) -> CrowdSample:
    """Runs one wrk for each address, together."""
    each = [len(range(start, crowd.connections, len(crowd.hosts))) for start in range(len(crowd.hosts))]

    def one(host: str, connections: int) -> dict[str, float]:
        return wrk(
            *("load.lua", running.port, connections, seconds, running.request, 1, 0),
            host=host,
            options=("--timeout", TIMEOUT),
        )

    with _watch(running.process) as most, ThreadPoolExecutor(len(crowd.hosts)) as pool:
        counted = list(pool.map(one, crowd.hosts, each))
    running.process.check()
    refused = int(sum(one["failed"] for one in counted))
    answered = int(sum(one["requests"] for one in counted)) - refused
    return CrowdSample(
        answered=answered,
        refused=refused,
        per_second=answered / max(one["seconds"] for one in counted),
        broken={kind: int(sum(one[kind] for one in counted)) for kind in SOCKET_ERRORS},
        p50_ms=max(one["p50_ms"] for one in counted),
        p99_ms=max(one["p99_ms"] for one in counted),
        memory=most.memory,
        descriptors=most.descriptors,
    )


@dataclass
class _Most:
    memory: int = 0
    descriptors: int = 0


@contextmanager
def _watch(process: Process) -> Iterator[_Most]:
    """Reads memory and open files of the process tree again and again inside the block."""
    most, ended = _Most(), threading.Event()

    def look() -> None:
        while True:
            most.memory = max(most.memory, machine.proportional_bytes(process.pid))
            most.descriptors = max(most.descriptors, machine.open_descriptors(process.pid))
            if ended.wait(SAMPLING_SECONDS):
                return

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def report(rows: Sequence[CrowdRow], crowd: Crowd, command: str) -> Report:
    """Makes the report of `connections`."""
    columns = ("proxy", "version", "calls/s", "p50 ms", "p99 ms", "memory idle", "memory", "open files", "refused")
    lines = [
        f"hard limit on open files: {crowd.descriptors}; so at most {crowd.limit} calls are in flight at once",
        *(f"{row.name}: sockets that failed: {_broken(row)}" for row in rows if row.samples),
    ]
    if len(crowd.hosts) > 1:
        lines.append(f"local ports would run out: wrk calls {len(crowd.hosts)} addresses of loopback")
    good = [row for row in rows if row.samples and not row.problem]
    if len(good) == 2:
        ours, other = good
        lines += [
            f"{ours.name} ÷ {other.name}: {what} {ours.middle(name) / other.middle(name):.2f}"
            for what, name in (("calls/s", "per_second"), ("p99", "p99_ms"), ("memory", "memory"))
        ]
    return Report(
        "connections",
        command,
        figures={"crowd": asdict(crowd), "rows": [asdict(row) for row in rows]},
        tables=[
            Table(f"One worker, {crowd.connections:,} connections", (*columns, "note"), [_cells(row) for row in rows])
        ],
        lines=lines,
    )


def _broken(row: CrowdRow) -> str:
    counts = {kind: sum(sample.broken[kind] for sample in row.samples) for kind in SOCKET_ERRORS}
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def _cells(row: CrowdRow) -> tuple[str, ...]:
    if not row.samples:
        return (row.name, row.version, *[""] * 7, row.problem)
    return (
        row.name,
        row.version,
        f"{row.middle('per_second'):.0f}",
        f"{row.middle('p50_ms'):.1f}",
        f"{row.middle('p99_ms'):.1f}",
        mebibytes(row.idle_memory),
        mebibytes(max(sample.memory for sample in row.samples)),
        str(max(sample.descriptors for sample in row.samples)),
        str(sum(sample.refused for sample in row.samples)),
        row.problem,
    )
