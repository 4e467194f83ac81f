"""Measures the time of a call at half the gateway's peak rate, beside nginx and beside the backend alone."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median

from loadtests.bench import calls, machine
from loadtests.bench.compare import WARM_UP_SECONDS, Tell
from loadtests.bench.goals.paced import PATIENCE_SECONDS, Pace, Paced
from loadtests.bench.paths import FORWARDED
from loadtests.bench.peers import EARLIER, GATEWAY, Peer
from loadtests.bench.processes import Trouble
from loadtests.bench.report import Table
from loadtests.bench.stage import Running, Stage

BARE = "no proxy"
METHOD = (
    "Half the peak rate: the same constant rate for all, over connections that have carried a call before. A call's"
    " time runs from the moment at which it was due. It includes the client's own delay, as the row"
    " without a proxy shows."
)


@dataclass
class Steady:
    """Holds one proxy at the rate: its rounds, or the reason why there are none."""

    name: str
    samples: list[Paced] = field(default_factory=list)
    problem: str = ""

    def middle(self, name: str) -> float:
        return median(getattr(sample, name) for sample in self.samples)

    @property
    def is_good(self) -> bool:
        return bool(self.samples) and not self.problem


def run(peers: Sequence[Peer], rounds: int, seconds: float, tell: Tell) -> list[Steady]:
    """Loads each peer in turn at half the gateway's peak rate: the lower one, if an earlier gateway is among them."""
    rows = [Steady(peer.name) for peer in peers]
    with Stage(FORWARDED) as stage:
        running: list[tuple[Steady, int, str]] = []
        peaks = []
        for row, peer in zip(rows, peers, strict=True):
            tell(f"half the peak rate: starting and warming up {row.name}")
            try:
                one = stage.start(peer)
                peak = _peak(one)
                running.append((row, one.port, str(one.request)))
                peaks += [peak] if row.name in (GATEWAY, EARLIER) else []
            except Trouble as trouble:
                row.problem = str(trouble)
        if not peaks:
            raise Trouble(next((row.problem for row in rows if row.problem), "no gateway was measured"))
        bare = Steady(BARE)
        rows.append(bare)
        running.append((bare, stage.backend.port, _write_call(stage)))
        for number in range(rounds):
            for row, port, request in running if number % 2 else reversed(running):
                tell(f"half the peak rate: round {number + 1} of {rounds}: {row.name}")
                _sample(row, Pace(port, request, min(peaks) / 2, seconds))
    return rows


def _peak(running: Running) -> float:
    running.measure(WARM_UP_SECONDS)
    return running.measure(2 * WARM_UP_SECONDS).requests_per_second


def _write_call(stage: Stage) -> str:
    path = stage.directory / "call"
    path.write_bytes(calls.invocation("echo", stage.backend.port))
    return str(path)


def _sample(row: Steady, pace: Pace) -> None:
    """Adds a round. After its first failure a proxy is skipped."""
    if row.problem:
        return
    try:
        sample = send(pace)
    except Trouble as trouble:
        row.problem = str(trouble)
        return
    row.samples.append(sample)
    if sample.failed:
        row.problem = f"{sample.failed} of {sample.sent} calls failed"


def send(pace: Pace) -> Paced:
    """Runs the client in a process of its own, on the core of the load. Raises Trouble."""
    command = [sys.executable, "-m", "loadtests.bench.goals.paced", json.dumps(asdict(pace))]
    try:
        with machine.on_core(machine.LOAD_CORE):
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=pace.seconds + 3 * PATIENCE_SECONDS, check=False
            )
    except subprocess.TimeoutExpired as error:
        raise Trouble("the client of the constant rate did not end") from error
    if done.returncode:
        raise Trouble(f"the client of the constant rate failed: {done.stderr.strip()[-300:]}")
    return Paced(**json.loads(done.stdout))


def ratio(rows: Sequence[Steady], gateway: str, peer: str = "nginx") -> float | None:
    """Returns the gateway's 99th percentile over the peer's."""
    good = {row.name: row for row in rows if row.is_good}
    if gateway not in good or peer not in good:
        return None
    return good[gateway].middle("p99_ms") / good[peer].middle("p99_ms")


def table(rows: Sequence[Steady]) -> Table:
    return Table(
        "At half the gateway's peak rate",
        ("proxy", "calls/s", "p50 ms", "p99 ms", "client's own delay, p99 ms", "note"),
        [_cells(row) for row in rows],
    )


def _cells(row: Steady) -> tuple[str, ...]:
    if not row.samples:
        return (row.name, "", "", "", "", row.problem)
    figures = (f"{row.middle(name):.2f}" for name in ("p50_ms", "p99_ms", "late_ms"))
    return (row.name, f"{row.middle('rate'):.0f}", *figures, row.problem)
