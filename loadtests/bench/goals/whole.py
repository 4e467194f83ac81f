"""Measures all that the goals are about, of this gateway and others, such as the compiled build, in the same rounds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from invoke_gateway.chaos.store import Unusable
from loadtests.bench import in_flight, shared
from loadtests.bench.compare import Row, Tell, compare, compared
from loadtests.bench.goals import cores, goal, latency
from loadtests.bench.goals.cores import Crew
from loadtests.bench.goals.latency import Steady
from loadtests.bench.in_flight import Outcome
from loadtests.bench.paths import BODIES, PATHS
from loadtests.bench.peers import COMPILED, PEERS, SIGNING, VERIFYING, Peer
from loadtests.bench.processes import Trouble
from loadtests.bench.shared import Cost

T = TypeVar("T")

# The peers of a short run: those that the goals name.
QUICK_PEERS = ("nginx", "Envoy", "Traefik", "Caddy")
# Variants of the gateway without a goal: `compare --only` measures them.
VARIANTS = (SIGNING, VERIFYING, COMPILED)
# Two workers are compared with those of these peers, and the 99th percentile with that of nginx.
CORES_PEERS = ("nginx", "Envoy")
LATENCY_PEERS = ("nginx",)


@dataclass
class Part(Generic[T]):
    """Holds what one measurement found, or the reason why it found nothing."""

    found: list[T] = field(default_factory=list)
    problem: str = ""


@dataclass
class Measured:
    """Holds one run. `gateways`: their names, the one of now first. `is_whole`: everything was to be measured, not only
    paths."""

    rounds: int
    seconds: float
    gateways: Sequence[str]
    is_whole: bool
    paths: dict[str, list[Row]] = field(default_factory=dict)
    cores: Part[Crew] = field(default_factory=Part)
    latency: Part[Steady] = field(default_factory=Part)
    shared: Part[Cost] = field(default_factory=Part)
    in_flight: Part[Outcome] = field(default_factory=Part)

    def figures(self, gateway: str) -> dict[str, float]:
        """Returns the measured figures of this gateway by the names of their goals; none of one that did not run."""
        if gateway not in self.gateways:
            return {}
        place = self.gateways.index(gateway)
        several = {
            goal.TWO_WORKERS: cores.ratio(self.cores.found, gateway),
            goal.LATE: latency.ratio(self.latency.found, gateway),
            goal.SHARED_ADD: max(map(self.shared.found[place].added, PATHS)) if self.shared.found else None,
            goal.MEMORY: self.in_flight.found[place].bytes_per_call / 1e3 if self.in_flight.found else None,
        }
        found = {name: figure for name, figure in several.items() if figure is not None}
        return goal.ratios(self.paths, gateway) | found

    def microseconds(self, gateway: str) -> dict[str, float]:
        """Returns the CPU time of a call on the paths with a small body."""
        good = {path: row for path in PATHS for row in self.paths.get(path, ()) if row.name == gateway and row.is_good}
        return {f"{path}, µs": row.microseconds for path, row in good.items()}


def measure(
    gateways: Sequence[Peer], peers: Sequence[Peer], rounds: int, seconds: float, calls: int, tell: Tell
) -> Measured:
    """Measures everything. `calls`: in flight at once, for their memory. A part that cannot be measured keeps the
    reason."""
    found = Measured(rounds, seconds, [one.name for one in gateways], is_whole=True)
    peers = [peer for peer in peers if peer.name not in VARIANTS]
    for path in (*PATHS, *BODIES):
        found.paths[path] = compare(path, compared(path, [*gateways, *peers], is_chosen=False), rounds, seconds, tell)
    found.cores = _try(lambda: cores.run([*gateways, *_named(peers, CORES_PEERS)], rounds, seconds, tell))
    found.latency = _try(lambda: latency.run([*gateways, *_named(peers, LATENCY_PEERS)], rounds, seconds, tell))
    found.shared = _try(lambda: shared.run_added(gateways, rounds, seconds, tell))
    found.in_flight = _try(lambda: [_hold(calls, one, tell) for one in gateways])
    return found


def bound_seconds(gateways: int, peers: int, rounds: int, seconds: float) -> float:
    """Returns the seconds after which a run has gone wrong."""
    loaded = len(PATHS) * (gateways + peers) + (len(BODIES) + 2) * (gateways + 2) + 4 * gateways + 5
    return 2 * loaded * (rounds * seconds + 5) + 300


def quick_peers() -> list[Peer]:
    return _named(PEERS, QUICK_PEERS)


def _named(peers: Sequence[Peer], names: Sequence[str]) -> list[Peer]:
    return [peer for peer in peers if peer.name in names]


def _hold(count: int, gateway: Peer, tell: Tell) -> Outcome:
    tell(f"memory of {count} calls in flight: {gateway.name}")
    outcome = in_flight.run(count, gateway, tell)
    if not outcome.is_good:
        raise Trouble("; ".join(sentence for sentence, is_true in outcome.checks if not is_true))
    return outcome


def _try(run: Callable[[], list[T]]) -> Part[T]:
    try:
        return Part(run())
    except (Trouble, Unusable) as trouble:
        return Part(problem=" ".join(str(trouble).split())[:200])
