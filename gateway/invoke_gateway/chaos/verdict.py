"""What the seeds came to, and whether it holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .affected import FaultRow, list_faults
from .history import CallHistory
from .violations import OF_EVENTS, OF_SHARED, Violation, Violations

PASSED, FAILED, UNJUDGED, MISUSED = 0, 1, 2, 2

LAGS = ("event_loop_seconds", "thread_seconds")


@dataclass
class Peak:
    """One limit and the highest true overlap of it; `highest_with_lost`: with calls that run on for gateways which have
    lost their slots."""

    account: str
    name: str
    ceiling: int
    highest: int
    highest_with_lost: int = 0

    @property
    def overshoot(self) -> int:
        return max(0, self.highest - self.ceiling)


@dataclass
class SeedResult:
    """`phases`: name and seconds from the seed's start; `series`: of each peak the changes, in the same seconds."""

    seed: int
    seconds: float
    calls: int
    answers: Counter[str]
    endings: Counter[str]
    peaks: list[Peak]
    violations: Violations
    phases: list[tuple[str, float]] = field(default_factory=list)
    series: list[list[tuple[float, int]]] = field(default_factory=list)
    faults: list[FaultRow] = field(default_factory=list)


def sum_up(seed: int, history: CallHistory, started: float, phases: list[tuple[str, float]]) -> SeedResult:
    """The result of a seed whose ledger is closed."""
    tracks = list(history.tracks.values())
    return SeedResult(
        seed,
        history.clock() - started,
        len(history.calls),
        history.answers,
        history.endings,
        [Peak(track.account, track.name, track.ceiling, track.highest, track.highest_with_lost) for track in tracks],
        history.violations,
        phases,
        [[(at - started, running) for at, running in track.series] for track in tracks],
        list_faults(history.fault_log, started) if history.fault_log else [],
    )


@dataclass
class Verdict:
    """`subject` says what was judged, `notes` what could not be, `options` with what else beside its seed the same is
    run again; `lag`: the longest lag in seconds, of this process's event loop and of a thread of it."""

    target: str
    results: list[SeedResult]
    notes: list[str] = field(default_factory=list)
    options: str = ""
    lag: tuple[float, float] | None = None

    @property
    def peaks(self) -> list[Peak]:
        highest: dict[tuple[str, str], Peak] = {}
        for result in self.results:
            for peak in result.peaks:
                known = highest.setdefault((peak.account, peak.name), Peak(peak.account, peak.name, peak.ceiling, 0))
                known.highest = max(known.highest, peak.highest)
                known.highest_with_lost = max(known.highest_with_lost, peak.highest_with_lost)
        return list(highest.values())

    @property
    def counts(self) -> dict[Violation, int]:
        """Of every fault how often it was seen, also where that is 0."""
        violations = [
            violation
            for violation in Violation
            if violation not in OF_EVENTS and (self.is_shared or violation not in OF_SHARED)
        ]
        return {
            violation: sum(result.violations.counts[violation] for result in self.results) for violation in violations
        }

    @property
    def is_shared(self) -> bool:
        """Whether several gateways, or their store, were struck."""
        return any(
            result.faults or any(result.violations.counts[violation] for violation in OF_SHARED)
            for result in self.results
        )

    @property
    def worst_faults(self) -> list[tuple[int, FaultRow]]:
        """Of each kind of blow, whomever it struck, the one that overshot most, else healed slowest; and its seed."""
        worst: dict[str, tuple[int, FaultRow]] = {}
        for result in self.results:
            for fault in result.faults:
                known = worst.get(fault.kind)
                if known is None or fault.badness > known[1].badness:
                    worst[fault.kind] = (result.seed, fault)
        return list(worst.values())

    @property
    def examples(self) -> list[tuple[int, Violation, str]]:
        return [
            (result.seed, violation, example)
            for result in self.results
            for violation, examples in result.violations.examples.items()
            for example in examples
        ]

    @property
    def holds(self) -> bool:
        return bool(self.results) and not any(self.counts.values()) and not any(peak.overshoot for peak in self.peaks)

    @property
    def is_unjudged(self) -> bool:
        """Whether checks came to no result, and nothing else is wrong."""
        wrong = {violation for violation, count in self.counts.items() if count}
        return wrong == {Violation.NOT_JUDGED} and not any(peak.overshoot for peak in self.peaks)

    @property
    def status(self) -> int:
        return PASSED if self.holds else UNJUDGED if self.is_unjudged else FAILED

    @property
    def headline(self) -> str:
        return "It holds" if self.holds else "It could not be judged" if self.is_unjudged else "It does not hold"

    @property
    def calls(self) -> int:
        return sum(result.calls for result in self.results)

    @property
    def sentence(self) -> str:
        seeds = f"{len(self.results)} seed{'s' if len(self.results) != 1 else ''}, {self.calls} calls"
        if self.holds:
            return f"{self.headline}: {seeds}, and nothing went wrong."
        wrong = [f"{count} {violation.value}" for violation, count in self.counts.items() if count]
        also = ", and nothing else was wrong" if self.is_unjudged else ""
        return f"{self.headline}: {seeds}; {', '.join(wrong) or 'nothing was run'}{also}."

    def as_json(self) -> dict[str, Any]:
        return {
            "holds": self.holds,
            "judged": not self.is_unjudged,
            "subject": self.target,
            "lag": None if self.lag is None else {name: round(s, 3) for name, s in zip(LAGS, self.lag, strict=True)},
            "notes": self.notes,
            "limits": [
                peak_as_json(peak) | ({"highest_with_lost": peak.highest_with_lost} if self.is_shared else {})
                for peak in self.peaks
            ],
            "faults": {violation.name.lower(): count for violation, count in self.counts.items()},
            "examples": [
                {"seed": seed, "fault": violation.name.lower(), "text": text} for seed, violation, text in self.examples
            ],
            "seeds": [
                {
                    "seed": result.seed,
                    "seconds": round(result.seconds, 1),
                    "calls": result.calls,
                    "answers": dict(result.answers),
                    "backend": dict(result.endings),
                    "limits": [peak_as_json(peak) for peak in result.peaks],
                    "faults": {violation.name.lower(): count for violation, count in result.violations.counts.items()},
                    **({"blows": [fault.as_json() for fault in result.faults]} if result.faults else {}),
                }
                for result in self.results
            ],
        }


def peak_as_json(peak: Peak) -> dict[str, Any]:
    return {
        "account": peak.account,
        "limit": peak.name,
        "ceiling": peak.ceiling,
        "highest": peak.highest,
        "overshoot": peak.overshoot,
    }
