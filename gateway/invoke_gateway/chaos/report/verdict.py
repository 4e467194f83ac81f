"""Sums up the seeds of a proof, and decides whether the limits hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from ..faults.fault import InjectedFault
from ..judging.concurrency_track import Peak
from ..judging.history import CallHistory
from ..judging.violations import OF_EVENTS, OF_SHARED, Violation, Violations

PASSED, FAILED, UNJUDGED, MISUSED = 0, 1, 2, 2

LAGS = ("event_loop_seconds", "thread_seconds")


@dataclass
class SeedResult:
    """One seed of any proof."""

    seed: int
    seconds: float
    peaks: list[Peak]
    violations: Violations

    def as_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "limits": [peak.as_json() for peak in self.peaks],
            "violations": _count_by_name(self.violations.counts),
        }


R = TypeVar("R", bound=SeedResult)


@dataclass
class SeedsVerdict(Generic[R]):
    """`target`: what was judged. `notes`: what was not. `options`: the options, besides the seeds, that run the same
    again. `lag`: the longest lag of this process's event loop, and of a thread (seconds)."""

    target: str
    results: list[R]
    notes: list[str] = field(default_factory=list)
    options: str = ""
    lag: tuple[float, float] | None = None
    success: ClassVar[str] = "nothing went wrong"

    @property
    def amount(self) -> str:
        raise NotImplementedError  # calls and events have their own

    @property
    def is_shared(self) -> bool:
        """True where gateways may lose their slots to others."""
        return True

    @property
    def counted(self) -> Sequence[Violation]:
        """Lists the violations that this proof can see."""
        raise NotImplementedError  # calls and events have their own

    @property
    def counts(self) -> dict[Violation, int]:
        """Counts each violation, also where the count is 0."""
        sums = {one: sum(result.violations.counts[one] for result in self.results) for one in Violation}
        return {one: count for one, count in sums.items() if one in self.counted or count}

    @property
    def peaks(self) -> list[Peak]:
        highest: dict[tuple[str, str], Peak] = {}
        for peak in (peak for result in self.results for peak in result.peaks):
            known = highest.setdefault((peak.account, peak.name), Peak(peak.account, peak.name, peak.ceiling, 0))
            known.highest = max(known.highest, peak.highest)
            known.highest_with_lost = max(known.highest_with_lost, peak.highest_with_lost)
        return list(highest.values())

    @property
    def examples(self) -> list[tuple[int, Violation, str]]:
        return [
            (result.seed, violation, example)
            for result in self.results
            for violation, examples in result.violations.examples.items()
            for example in examples
        ]

    @property
    def status(self) -> int:
        """Returns the exit status: 2 where checks came to no result, and nothing else is wrong."""
        wrong = {violation for violation, count in self.counts.items() if count}
        if not self.results or wrong - {Violation.NOT_JUDGED} or any(peak.overshoot for peak in self.peaks):
            return FAILED
        return UNJUDGED if wrong else PASSED

    @property
    def holds(self) -> bool:
        return self.status == PASSED

    @property
    def headline(self) -> str:
        return {PASSED: "It holds", UNJUDGED: "It could not be judged", FAILED: "It does not hold"}[self.status]

    @property
    def sentence(self) -> str:
        seeds = f"{self.headline}: {len(self.results)} seed{'s' if len(self.results) != 1 else ''}, {self.amount}"
        if self.holds:
            return f"{seeds}, and {self.success}."
        wrong = [f"{count} {violation.value}" for violation, count in self.counts.items() if count]
        also = ", and nothing else was wrong" if self.status == UNJUDGED else ""
        return f"{seeds}; {', '.join(wrong) or 'nothing was run'}{also}."

    def as_json(self) -> dict[str, Any]:
        return {
            "holds": self.holds,
            "judged": self.status != UNJUDGED,
            "target": self.target,
            "lag": None if self.lag is None else {name: round(s, 3) for name, s in zip(LAGS, self.lag, strict=True)},
            "notes": self.notes,
            "limits": [peak.as_json(with_lost=self.is_shared) for peak in self.peaks],
            "violations": _count_by_name(self.counts),
            "examples": [
                {"seed": seed, "violation": violation.name.lower(), "text": text}
                for seed, violation, text in self.examples
            ],
            "seeds": [result.as_json() for result in self.results],
        }


def _count_by_name(counts: dict[Violation, int]) -> dict[str, int]:
    return {violation.name.lower(): count for violation, count in counts.items()}


@dataclass
class CallsResult(SeedResult):
    """`phases`: name and seconds from the seed's start. `series`: the changes of each peak, in the same seconds."""

    calls: int
    answers: Counter[str]
    endings: Counter[str]
    phases: list[tuple[str, float]] = field(default_factory=list)
    series: list[list[tuple[float, int]]] = field(default_factory=list)
    faults: list[InjectedFault] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            **super().as_json(),
            "calls": self.calls,
            "answers": dict(self.answers),
            "backend": dict(self.endings),
            **({"faults": [fault.as_json() for fault in self.faults]} if self.faults else {}),
        }


def sum_up(seed: int, history: CallHistory, started: float, phases: list[tuple[str, float]]) -> CallsResult:
    """Returns the result of a seed that is over."""
    return CallsResult(
        seed,
        history.clock() - started,
        history.peaks,
        history.violations,
        len(history.sent),
        history.answers,
        history.endings,
        phases,
        [[(at - started, running) for at, running in track.series] for track in history.tracks.values()],
        history.fault_log.list_faults() if history.fault_log else [],
    )


class CallsVerdict(SeedsVerdict[CallsResult]):
    """The verdict on calls whose clients wait."""

    @property
    def amount(self) -> str:
        return f"{sum(result.calls for result in self.results)} calls"

    @property
    def is_shared(self) -> bool:
        """True where faults were injected into gateways, or into their store."""
        return any(result.faults or any(result.violations.counts[one] for one in OF_SHARED) for result in self.results)

    @property
    def counted(self) -> Sequence[Violation]:
        return [one for one in Violation if one not in OF_EVENTS and (self.is_shared or one not in OF_SHARED)]

    @property
    def worst_faults(self) -> list[tuple[int, InjectedFault]]:
        """Lists the worst fault of each kind, with its seed: the one that overshot most, else recovered most slowly."""
        worst: dict[str, tuple[int, InjectedFault]] = {}
        for result in self.results:
            for fault in result.faults:
                known = worst.get(fault.kind)
                if known is None or fault.badness > known[1].badness:
                    worst[fault.kind] = (result.seed, fault)
        return list(worst.values())
