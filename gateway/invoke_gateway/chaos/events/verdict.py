"""What the seeds of events came to, and whether it holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..verdict import FAILED, LAGS, PASSED, UNJUDGED, Peak, peak_as_json
from ..violations import OF_EVENTS, Fault, Faults
from .checker import Tally
from .history import Blow
from .plan import EventsPlan

COUNTED = (
    *OF_EVENTS,
    Fault.OVERSHOOT,
    Fault.REFUSED_AND_RUN,
    Fault.NOT_WHOLE,
    Fault.UNANSWERED,
    Fault.UNEXPECTED,
    Fault.DIED,
    Fault.NOT_JUDGED,
)


@dataclass
class EventsResult:
    """One seed."""

    seed: int
    seconds: float
    tally: Tally
    peaks: list[Peak]
    faults: Faults
    blows: list[Blow]

    def describe(self) -> str:
        tally, wrong = self.tally, sum(self.faults.counts.values())
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
    def subject(self) -> str:
        sharing = self.plan.sharing
        if sharing is None:
            return "a gateway started for this, with its queue in a file"
        return f"{sharing.gateways} gateways started for this, with one queue; lease {sharing.lease_seconds:g} s"

    @property
    def counts(self) -> dict[Fault, int]:
        """Of every fault how often it was seen, also where that is 0."""
        sums = {fault: sum(result.faults.counts[fault] for result in self.results) for fault in Fault}
        return {fault: sums[fault] for fault in Fault if fault in COUNTED or sums[fault]}

    @property
    def tally(self) -> Tally:
        """The sum."""
        total = Tally()
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
    def examples(self) -> list[tuple[int, Fault, str]]:
        return [
            (result.seed, fault, example)
            for result in self.results
            for fault, examples in result.faults.examples.items()
            for example in examples
        ]

    @property
    def status(self) -> int:
        wrong = {fault for fault, count in self.counts.items() if count}
        if wrong == {Fault.NOT_JUDGED}:
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
        wrong = [f"{count} {fault.value}" for fault, count in self.counts.items() if count]
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
            "subject": self.subject,
            "lag": {name: round(seconds, 3) for name, seconds in zip(LAGS, self.lag, strict=True)},
            "notes": self.notes,
            "events": asdict(self.tally),
            "limits": [peak_as_json(peak) | {"highest_with_lost": peak.highest_with_lost} for peak in self.peaks],
            "faults": {fault.name.lower(): count for fault, count in self.counts.items()},
            "examples": [
                {"seed": seed, "fault": fault.name.lower(), "text": text} for seed, fault, text in self.examples
            ],
            "seeds": [
                {
                    "seed": result.seed,
                    "seconds": round(result.seconds, 1),
                    "events": asdict(result.tally),
                    "blows": [f"{blow.life.name} {blow.kind}" for blow in result.blows],
                    "limits": [peak_as_json(peak) for peak in result.peaks],
                    "faults": {fault.name.lower(): count for fault, count in result.faults.counts.items()},
                }
                for result in self.results
            ],
        }
