"""Compares all proxies: all are up at once, loaded in turn for several rounds, on two paths (stage.py)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from loadtests.bench.load import Sample
from loadtests.bench.paths import REFUSED, SHAPES
from loadtests.bench.peers import COMPILED, EARLIER, GATEWAY, PEERS, Peer
from loadtests.bench.processes import Trouble
from loadtests.bench.stage import Running, Stage

WARM_UP_SECONDS = 1
# Of the refused path's answers, this share must be refusals.
REFUSED_SHARE = 0.999

Tell = Callable[[str], None]


@dataclass
class Row:
    """Holds one proxy on one path: its samples, or the reason why there are none to be trusted."""

    peer: Peer
    version: str = ""
    samples: list[Sample] = field(default_factory=list)
    problem: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        return self.peer.name

    @property
    def is_good(self) -> bool:
        return bool(self.samples) and not self.problem

    @property
    def microseconds(self) -> float:
        return median(sample.microseconds for sample in self.samples)

    @property
    def spread(self) -> tuple[float, float]:
        values = [sample.microseconds for sample in self.samples]
        return min(values), max(values)


def compare(path: str, peers: Sequence[Peer], rounds: int, seconds: float, tell: Tell) -> list[Row]:
    """Measures the peers on one path. A peer that is missing or fails keeps its row, with the reason."""
    rows = [Row(peer) for peer in peers]
    with Stage(path) as stage:
        running: list[tuple[Row, Running]] = []
        for row in rows:
            tell(f"{path}: starting and warming up {row.name}")
            try:
                running.append((row, _start(stage, row)))
            except Trouble as trouble:
                row.problem = str(trouble)
        for number in range(rounds):
            start = number % max(1, len(running))  # nobody always follows the same one
            for row, one in running[start:] + running[:start]:
                tell(f"{path}: round {number + 1} of {rounds}: {row.name}")
                _sample(row, one, seconds)
    for row in rows:
        row.problem = row.problem or _doubt(path, row)
    return rows


def compared(path: str, peers: Sequence[Peer], is_chosen: bool) -> list[Peer]:
    """Returns the peers of this path. `is_chosen`: the user has named the peers, so all of them."""
    names = SHAPES[path].peers
    if is_chosen or not names:
        return list(peers)
    return [peer for peer in peers if peer.name in (GATEWAY, COMPILED, EARLIER, *names)]


def chosen(names: Sequence[str], gateway: Peer) -> list[Peer]:
    """Returns the gateway and the peers with these names (all without names). Raises ValueError for unknown names."""
    everyone = [gateway, *PEERS]
    known = {peer.name.lower(): peer for peer in everyone}
    unknown = [name for name in names if name.lower() not in known]
    if unknown:
        raise ValueError(f"no peer named {', '.join(unknown)}; there are {', '.join(known)}")
    wanted = {name.lower() for name in names} | {GATEWAY}
    return [peer for peer in everyone if not names or peer.name.lower() in wanted]


def _start(stage: Stage, row: Row) -> Running:
    row.version = row.peer.version()
    running = stage.start(row.peer)
    if not running.keeps_connections:
        row.note = "closes the connection after each answer"
    running.measure(WARM_UP_SECONDS)
    return running


def _sample(row: Row, running: Running, seconds: float) -> None:
    """Adds a sample. After its first failure a proxy is skipped."""
    if row.problem:
        return
    try:
        row.samples.append(running.measure(seconds))
    except Trouble as trouble:
        row.problem = str(trouble)


def _doubt(path: str, row: Row) -> str:
    """Returns the reason not to trust these figures; empty when they are sound."""
    requests = sum(sample.requests for sample in row.samples)
    failed = sum(sample.failed for sample in row.samples)
    broken = sum(sample.broken for sample in row.samples)
    if broken:
        return f"{broken} connections broke"
    if path == REFUSED and row.peer.refuses:
        return "" if failed > REFUSED_SHARE * requests else f"only {failed} of {requests} were refused"
    return f"{failed} of {requests} were not answered with 200" if failed else ""
