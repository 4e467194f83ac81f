"""What the seeds of events came to, and whether it holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..verdict import FAILED, LAGS, PASSED, UNJUDGED, Peak, peak_as_json
from ..violations import OF_EVENTS, Violation, Violations
from .checker import EventTally
from .event import EventFault
from .plan import EventsPlan

COUNTED = (
    *OF_EVENTS,
    Violation.OVERSHOOT,
    Violation.REFUSED_AND_RUN,
    Violation.NOT_WHOLE,
    Violation.UNANSWERED,
    Violation.UNEXPECTED,
    Violation.DIED,
    Violation.NOT_JUDGED,
)


@dataclass
class EventsResult:
    """One seed."""

    seed: int
    seconds: float
    tally: EventTally
    peaks: list[Peak]
    violations: Violations
    faults: list[EventFault]

    def describe(self) -> str:
        tally, wrong = self.tally, sum(self.violations.counts.values())
        return (
            f"{tally.accepted} accepted, {tally.as_planned} as planned, {tally.again} again after a blow, "
            f"{tally.lost} lost, {tally.unexplained} unexplained; {wrong} wrong"
        )


@dataclass
class EventsVerdict:
    """All seeds; `lag`: the longest lag in seconds, of this process's event loop and of a thread of it."""

    plan: EventsPlan
    results: list[EventsResult]
    lag: tuple[float, float]

    @property
    def target(self) -> str:
        sharing = self.plan.sharing
        if sharing is None:
            return "a gateway started for this, with its queue in a file"
        return f"{sharing.gateways} gateways started for this, with one queue; lease {sharing.lease_seconds:g} s"

    @property
    def counts(self) -> dict[Violation, int]:
        """Of every fault how often it was seen, also where that is 0."""
        sums = {
            violation: sum(result.violations.counts[violation] for result in self.results) for violation in Violation
        }
        return {violation: sums[violation] for violation in Violation if violation in COUNTED or sums[violation]}

    @property
    def tally(self) -> EventTally:
        """The sum."""
        total = EventTally()
        for result in self.results:
            total.add(result.tally)
        return total

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
        wrong = {violation for violation, count in self.counts.items() if count}
        if wrong == {Violation.NOT_JUDGED}:
            return UNJUDGED
        return FAILED if wrong or not self.results else PASSED

    @property
    def headline(self) -> str:
        return {PASSED: "It holds", UNJUDGED: "It could not be judged", FAILED: "It does not hold"}[self.status]

    @property
    def sentence(self) -> str:
        seeds = (
            f"{len(self.results)} seed{'s' if len(self.results) != 1 else ''}, {self.tally.accepted} events accepted"
        )
        if self.status == PASSED:
            return f"{self.headline}: {seeds}, and none was lost."
        wrong = [f"{count} {violation.value}" for violation, count in self.counts.items() if count]
        return f"{self.headline}: {seeds}; {', '.join(wrong) or 'nothing was run'}."

    @property
    def notes(self) -> list[str]:
        notes = ["Longest lag: {:.2f} s of prove's event loop, {:.2f} s of a thread.".format(*self.lag)]
        left = len(self.plan.seeds) - len(self.results)
        if left:
            notes.append(f"A gateway died: {left} seed{'s were' if left > 1 else ' was'} not run.")
        return notes

    def as_json(self) -> dict[str, Any]:
        return {
            "holds": self.status == PASSED,
            "judged": self.status != UNJUDGED,
            "subject": self.target,
            "lag": {name: round(seconds, 3) for name, seconds in zip(LAGS, self.lag, strict=True)},
            "notes": self.notes,
            "events": asdict(self.tally),
            "limits": [peak_as_json(peak) | {"highest_with_lost": peak.highest_with_lost} for peak in self.peaks],
            "faults": {violation.name.lower(): count for violation, count in self.counts.items()},
            "examples": [
                {"seed": seed, "fault": violation.name.lower(), "text": text} for seed, violation, text in self.examples
            ],
            "seeds": [
                {
                    "seed": result.seed,
                    "seconds": round(result.seconds, 1),
                    "events": asdict(result.tally),
                    "blows": [f"{fault.gateway.name} {fault.kind}" for fault in result.faults],
                    "limits": [peak_as_json(peak) for peak in result.peaks],
                    "faults": {violation.name.lower(): count for violation, count in result.violations.counts.items()},
                }
                for result in self.results
            ],
        }
