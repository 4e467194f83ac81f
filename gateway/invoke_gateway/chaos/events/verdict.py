"""Sums up the seeds of events, and decides whether the queue keeps its rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from ..judging.violations import OF_EVENTS, Violation
from ..report.verdict import SeedResult, SeedsVerdict
from .checker import EventTally
from .event import EventFault

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
class EventsResult(SeedResult):
    """One seed of events."""

    tally: EventTally
    faults: list[EventFault]

    def __str__(self) -> str:
        tally, wrong = self.tally, sum(self.violations.counts.values())
        return (
            f"{tally.accepted} accepted, {tally.as_planned} as planned, {tally.again} again after a fault, "
            f"{tally.lost} lost, {tally.unexplained} unexplained; {wrong} wrong"
        )

    def as_json(self) -> dict[str, Any]:
        return {**super().as_json(), "events": asdict(self.tally), "faults": [str(fault) for fault in self.faults]}


class EventsVerdict(SeedsVerdict[EventsResult]):
    """The verdict on events."""

    success: ClassVar[str] = "none was lost"

    @property
    def amount(self) -> str:
        return f"{self.tally.accepted} events accepted"

    @property
    def counted(self) -> Sequence[Violation]:
        return COUNTED

    @property
    def tally(self) -> EventTally:
        """Returns the sum of all seeds."""
        total = EventTally()
        for result in self.results:
            total.add(result.tally)
        return total

    def as_json(self) -> dict[str, Any]:
        return {**super().as_json(), "events": asdict(self.tally)}
