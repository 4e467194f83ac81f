"""The blows of a seed as rows of the verdict: what, when, how long, what was seen meanwhile, how soon it healed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .fault_effect import InjectedFault, Recovery
from .fault_log import FaultLog
from .timeline import Second


@dataclass
class RecoveryRow:
    """How soon all could be used again after a blow. `at`: seconds from the seed's start; `seconds`: `None` for
    never; `lag`: for how long the machine was starved, where that may be why it was late."""

    name: str
    at: float
    seconds: float | None
    deadline: float
    lag: float = 0.0

    @property
    def within_deadline(self) -> bool:
        return self.seconds is not None and self.seconds <= self.deadline

    @property
    def judgement(self) -> str:
        return "yes" if self.within_deadline else "not judged" if self.lag else "no"

    @property
    def took(self) -> str:
        return "never" if self.seconds is None else f"{self.seconds:.1f} s"

    @property
    def beyond(self) -> float:
        """Seconds above the promise; below 0 when it was kept."""
        return math.inf if self.seconds is None else self.seconds - self.deadline

    def as_json(self) -> dict[str, Any]:
        return {
            "what": self.name,
            "since": round(self.at, 2),
            "seconds": None if self.seconds is None else round(self.seconds, 2),
            "promise": self.deadline,
            "kept": self.within_deadline,
            **({"lag": round(self.lag, 2)} if self.lag else {}),
        }


@dataclass
class FaultRow:
    """One blow. `at` and `over`: seconds from the seed's start; `lasted`: seconds, `None` for good. For the rest see
    `Blow`."""

    name: str
    kind: str
    at: float
    lasted: float | None = 0.0
    overshoot: int = 0
    overshoot_with_lost: int = 0
    refused_while_free: int = 0
    failed: int = 0
    unanswered: int = 0
    recoveries: list[RecoveryRow] = field(default_factory=list)
    timeline: list[Second] = field(default_factory=list)
    over: float | None = None

    @property
    def badness(self) -> tuple[int, float]:
        """By this the worst of a kind is found."""
        return self.overshoot, max((recovery.beyond for recovery in self.recoveries), default=-math.inf)

    @property
    def duration(self) -> str:
        return "for good" if self.lasted is None else f"{self.lasted:.1f} s"

    def as_json(self) -> dict[str, Any]:
        return {
            "blow": self.name,
            "at": round(self.at, 2),
            "lasted": None if self.lasted is None else round(self.lasted, 2),
            "over": None if self.over is None else round(self.over, 2),
            "overshoot": self.overshoot,
            "overshoot_with_calls_of_lost_gateways": self.overshoot_with_lost,
            "refused_while_slots_were_free": self.refused_while_free,
            "failed_for_want_of_the_store": self.failed,
            "unanswered": self.unanswered,
            "healed": [recovery.as_json() for recovery in self.recoveries],
            **({"around": [second.as_json() for second in self.timeline]} if self.timeline else {}),
        }


def list_faults(fault_log: FaultLog, started: float) -> list[FaultRow]:
    """A row for each blow, in the order in which they fell; one for the load alone, which is no blow, before them."""
    alone = [
        FaultRow(recovery.name, recovery.name, recovery.since - started, recoveries=[_describe(recovery, started)])
        for recovery in fault_log.recoveries
        if recovery.fault is None
    ]
    return alone + [_list_fault(fault, fault_log.recoveries, started) for fault in fault_log.faults]


def _list_fault(fault: InjectedFault, recoveries: Iterable[Recovery], started: float) -> FaultRow:
    return FaultRow(
        fault.name,
        fault.kind,
        fault.began - started,
        None if fault.ended is None else fault.ended - fault.began,
        fault.overshoot,
        fault.overshoot_with_lost,
        fault.refused_while_free,
        fault.failed,
        fault.unanswered,
        [_describe(recovery, started) for recovery in recoveries if recovery.fault is fault],
        fault.timeline,
        None if fault.over is None else fault.over - started,
    )


def _describe(recovery: Recovery, started: float) -> RecoveryRow:
    return RecoveryRow(recovery.name, recovery.since - started, recovery.seconds, recovery.deadline, recovery.lag)
