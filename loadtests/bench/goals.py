"""Compares the gateway's cost with its goals beside the peers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtests.bench.compare import Row
from loadtests.bench.paths import FORWARDED, REFUSED
from loadtests.bench.peers import GATEWAY


@dataclass(frozen=True)
class Goal:
    path: str
    peer: str
    at_most: float


@dataclass(frozen=True)
class Verdict:
    """Judges one goal. `ratio`: the gateway's cost over the peer's; None when one of the two was not measured."""

    goal: Goal
    ratio: float | None

    @property
    def word(self) -> str:
        if self.ratio is None:
            return "not measured"
        return "met" if self.ratio <= self.goal.at_most else "MISSED"


GOALS = (
    Goal(FORWARDED, "Traefik", 0.95),
    Goal(FORWARDED, "Caddy", 0.75),
    Goal(FORWARDED, "Envoy", 1.2),
    Goal(REFUSED, "Traefik", 1.4),
    Goal(REFUSED, "Caddy", 0.75),
)


def ratio(rows: Sequence[Row], peer: str) -> float | None:
    """Returns the gateway's median over the peer's."""
    good = {row.name: row for row in rows if row.is_good}
    if GATEWAY not in good or peer not in good:
        return None
    return good[GATEWAY].microseconds / good[peer].microseconds


def verdicts(results: Mapping[str, Sequence[Row]]) -> list[Verdict]:
    return [Verdict(goal, ratio(results[goal.path], goal.peer)) for goal in GOALS if goal.path in results]
