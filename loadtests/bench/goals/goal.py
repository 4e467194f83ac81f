"""Lists the goals of speed, and judges a figure by its goal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtests.bench.compare import Row
from loadtests.bench.paths import BODY, FORWARDED, LARGE, REFUSED, STREAMED
from loadtests.bench.shared import MOST_MICROSECONDS

SHARED_ADD = "shared counters add"
TWO_WORKERS = "two workers on two cores / one on one, calls a second"
MEMORY = "memory per call in flight"
LATE = "p99 at half the peak rate / nginx's"

# A figure of one run of one gateway, by the name of its goal.
Figures = Mapping[str, float]


@dataclass(frozen=True)
class Goal:
    """Describes a goal.

    `unit`: empty for a ratio. `intel`: the bound where the processor is one of Intel's. `is_least`: the figure must
    reach the bound; otherwise it must not exceed it.
    """

    name: str
    general: float
    unit: str = ""
    intel: float | None = None
    is_least: bool = False

    def bound(self, processor: str) -> float:
        return self.intel if self.intel is not None and is_intel(processor) else self.general

    def is_met(self, figure: float, processor: str) -> bool:
        bound = self.bound(processor)
        return figure >= bound if self.is_least else figure <= bound


@dataclass(frozen=True)
class Verdict:
    """Judges one goal. `now`: None when it was not measured. `earlier`, `compiled`: the figures of the earlier gateway
    and of the compiled build."""

    goal: Goal
    processor: str
    now: float | None
    earlier: float | None = None
    compiled: float | None = None

    @property
    def word(self) -> str:
        return self._judge(self.now)

    @property
    def compiled_word(self) -> str:
        return self._judge(self.compiled)

    def _judge(self, figure: float | None) -> str:
        if figure is None:
            return "not measured"
        return "met" if self.goal.is_met(figure, self.processor) else "MISSED"

    @property
    def wanted(self) -> str:
        """Returns the bound that applies to this processor, and the other one if there are two."""
        bound = show(self.goal, self.goal.bound(self.processor))
        least = "at least " if self.goal.is_least else ""
        if self.goal.intel is None:
            return least + bound
        if is_intel(self.processor):
            return f"{bound} (Intel; else {show(self.goal, self.goal.general)})"
        return f"{bound} (Intel {show(self.goal, self.goal.intel)})"


# Ratios of the gateway's CPU time per call to a peer's.
RATIOS = {
    "forwarded / nginx": (FORWARDED, "nginx"),
    "forwarded / Envoy": (FORWARDED, "Envoy"),
    "refused / nginx": (REFUSED, "nginx"),
    "refused / Traefik": (REFUSED, "Traefik"),
    "64 KiB body forwarded / nginx": (BODY, "nginx"),
    "6 MiB request and response / nginx": (LARGE, "nginx"),
    "streamed 1 MiB in 64 pieces / nginx": (STREAMED, "nginx"),
    "forwarded / Traefik": (FORWARDED, "Traefik"),
    "forwarded / Caddy": (FORWARDED, "Caddy"),
    "refused / Caddy": (REFUSED, "Caddy"),
}
GOALS = (
    Goal("forwarded / nginx", 2.3),
    Goal("forwarded / Envoy", 0.85, intel=1.0),
    Goal("refused / nginx", 2.4),
    Goal("refused / Traefik", 0.95),
    Goal(SHARED_ADD, MOST_MICROSECONDS, "µs"),
    Goal("64 KiB body forwarded / nginx", 1.6),
    Goal("6 MiB request and response / nginx", 1.5),
    Goal("streamed 1 MiB in 64 pieces / nginx", 2.0),
    Goal(TWO_WORKERS, 1.8, is_least=True),
    Goal(MEMORY, 8.0, "kB"),
    Goal(LATE, 1.5),
    Goal("forwarded / Traefik", 0.95),
    Goal("forwarded / Caddy", 0.75),
    Goal("refused / Caddy", 0.75),
)


def is_intel(processor: str) -> bool:
    return "intel" in processor.lower()


def show(goal: Goal, figure: float | None) -> str:
    if figure is None:
        return ""
    return f"{figure:.1f} {goal.unit}" if goal.unit else f"{figure:.2f}"


def ratio(rows: Sequence[Row], gateway: str, peer: str) -> float | None:
    """Returns the gateway's median over the peer's."""
    good = {row.name: row for row in rows if row.is_good}
    if gateway not in good or peer not in good:
        return None
    return good[gateway].microseconds / good[peer].microseconds


def ratios(results: Mapping[str, Sequence[Row]], gateway: str) -> dict[str, float]:
    """Returns the ratios that were measured, by the name of their goal."""
    found = {name: ratio(results.get(path, ()), gateway, peer) for name, (path, peer) in RATIOS.items()}
    return {name: figure for name, figure in found.items() if figure is not None}


def verdicts(
    processor: str, now: Figures, earlier: Figures | None = None, compiled: Figures | None = None
) -> list[Verdict]:
    several = (now, earlier or {}, compiled or {})
    return [Verdict(goal, processor, *(figures.get(goal.name) for figures in several)) for goal in GOALS]
