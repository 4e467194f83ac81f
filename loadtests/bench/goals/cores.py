"""Measures proxies with one worker on one core and with two workers on two cores.

Backend and load have the other cores. Where there are none, they run on the cores of the proxy: on one core beside one
worker, on two cores beside two workers. So both meet the same competition, and calls come in batches of a like size.
The rate is counted per second of a core that was available to the workers: the CPU time that they used, and the time in
which their cores were idle. A proxy that cannot use both cores leaves one idle, and loses by this figure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from loadtests.bench import machine
from loadtests.bench.compare import WARM_UP_SECONDS, Tell
from loadtests.bench.load import wrk
from loadtests.bench.paths import FORWARDED
from loadtests.bench.peers import Peer, with_workers
from loadtests.bench.processes import Trouble
from loadtests.bench.report import Table
from loadtests.bench.stage import Running, Stage

WORKERS = 2
# Enough that the kernel gives each worker some: it spreads connections by chance.
CONNECTIONS = 128
METHOD = (
    "Two workers: cores available = CPU time of the workers and idle time of their cores, a second. Backend and load"
    " take the rest, where no core is left for them."
    " Calls a second on full cores = calls a second ÷ cores available × workers."
)


@dataclass(frozen=True)
class CoreSample:
    """Holds one round.

    `microseconds`: CPU time per call of the proxy's whole process tree, its own store included. `available`: the cores
    that it used or could have used.
    """

    per_second: float
    microseconds: float
    available: float
    failed: int


@dataclass
class Crew:
    """Holds a proxy with so many workers: its samples, or the reason why there are none."""

    peer: str
    workers: int
    samples: list[CoreSample] = field(default_factory=list)
    problem: str = ""

    def middle(self, name: str) -> float:
        return median(getattr(sample, name) for sample in self.samples)

    @property
    def at_full(self) -> float | None:
        """Returns the calls a second on full cores."""
        rates = [sample.per_second / sample.available for sample in self.samples if sample.available]
        return median(rates) * self.workers if rates and not self.problem else None


def run(peers: Sequence[Peer], rounds: int, seconds: float, tell: Tell) -> list[Crew]:
    """Measures each peer with one worker and with two, in turn. Raises Trouble on a machine with one core."""
    if len(machine.proxy_cores(WORKERS)) < WORKERS:
        raise Trouble(f"{WORKERS} workers need {WORKERS} cores; this machine has one")
    crews = [Crew(peer.name, workers) for peer in peers for workers in (1, WORKERS)]
    with Stage(FORWARDED, workers=WORKERS) as stage:
        running: list[tuple[Crew, Running]] = []
        for crew, peer in zip(crews, [peer for peer in peers for _ in (1, WORKERS)], strict=True):
            tell(f"two workers: starting {crew.peer} with {crew.workers}")
            try:
                one = stage.start(with_workers(peer, crew.workers), workers=crew.workers)
                _load(stage, one, crew.workers, WARM_UP_SECONDS)
                running.append((crew, one))
            except Trouble as trouble:
                crew.problem = str(trouble)
        for number in range(rounds):
            for crew, one in running if number % 2 else reversed(running):
                tell(f"two workers: round {number + 1} of {rounds}: {crew.peer} with {crew.workers}")
                _sample(stage, crew, one, seconds)
    return crews


def _sample(stage: Stage, crew: Crew, running: Running, seconds: float) -> None:
    if crew.problem:
        return
    try:
        sample = _load(stage, running, crew.workers, seconds)
    except Trouble as trouble:
        crew.problem = str(trouble)
        return
    crew.samples.append(sample)
    if sample.failed:
        crew.problem = f"{sample.failed} calls failed"


def _load(stage: Stage, running: Running, workers: int, seconds: float) -> CoreSample:
    spare, own = machine.spare_cores(WORKERS), machine.proxy_cores(workers)
    cores = spare or own
    machine.move(stage.backend_process.pid, cores)
    before, idle_before = running.process.cpu_seconds(), machine.idle_seconds(own)
    counted = wrk(
        *("load.lua", running.port, CONNECTIONS, seconds, running.request, 1, 0),
        cores=cores,
        options=(f"-t{min(WORKERS, len(spare) or 1)}",),
    )
    spent, idle = running.process.cpu_seconds() - before, machine.idle_seconds(own) - idle_before
    running.process.check()
    if not counted["requests"]:
        raise Trouble(f"{running.process.name} answered nothing")
    return CoreSample(
        per_second=counted["requests"] / counted["seconds"],
        microseconds=1e6 * spent / counted["requests"],
        available=(spent + idle) / counted["seconds"],
        failed=int(counted["failed"] + counted["broken"]),
    )


def ratio(crews: Sequence[Crew], peer: str) -> float | None:
    """Returns the calls a second of two workers on two full cores over those of one worker on one."""
    found = {crew.workers: crew.at_full for crew in crews if crew.peer == peer}
    one, two = found.get(1), found.get(WORKERS)
    return two / one if one and two else None


def table(crews: Sequence[Crew]) -> Table:
    return Table(
        "One worker on one core, two workers on two",
        ("proxy", "workers", "calls/s", "CPU µs a call", "cores available", "calls/s on full cores", "÷ one", "note"),
        [_cells(crews, crew) for crew in crews],
    )


def _cells(crews: Sequence[Crew], crew: Crew) -> tuple[str, ...]:
    full = crew.at_full
    if full is None:
        return (crew.peer, str(crew.workers), "", "", "", "", "", crew.problem)
    times = ratio(crews, crew.peer) if crew.workers > 1 else None
    return (
        crew.peer,
        str(crew.workers),
        f"{crew.middle('per_second'):.0f}",
        f"{crew.middle('microseconds'):.1f}",
        f"{crew.middle('available'):.2f}",
        f"{full:.0f}",
        f"{times:.2f}" if times else "",
        "",
    )
