"""Records what happens around a fault, second by second.

Second 0 begins with the fault. *Admitted* are calls that arrived at the backend; *running* is the backend's own count.
*Counted* are the numbers of the gateways' /limits: the store's sum, and the gateways' own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..calls import GatewayInstance, PlannedCall

BEFORE_SECONDS, AFTER_SECONDS = 3, 3
SAMPLE_SECONDS = 0.25
FAILED, FAILED_BY_BACKEND, UNANSWERED = "5xx", "5xx of the backend's", "no answer"


@dataclass
class Second:
    """One second. `at`: seconds from the fault. `answers`: how often each was given, by `Reason` for refusals.
    `running`: the lowest and the highest number that truly ran. `affected`: the highest number of calls through an
    affected gateway. `store` and `gateways`: in flight by the store, and by the gateways together; `None` where
    none was returned."""

    at: int
    admitted: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    running: tuple[int, int] = (0, 0)
    affected: int = 0
    store: int | None = None
    gateways: int | None = None
    marks: list[str] = field(default_factory=list)

    @property
    def refusals(self) -> dict[str, int]:
        others = (FAILED, FAILED_BY_BACKEND, UNANSWERED)
        return {reason: count for reason, count in sorted(self.answers.items()) if reason not in others}

    def as_json(self) -> dict[str, Any]:
        return {
            "second": self.at,
            "admitted": self.admitted,
            "refused": self.refusals,
            "failed": self.answers[FAILED],
            "failed_by_the_backend": self.answers[FAILED_BY_BACKEND],
            "unanswered": self.answers[UNANSWERED],
            "running": list(self.running),
            "running_of_struck_gateways": self.affected,
            "in_flight_by_the_store": self.store,
            "in_flight_by_the_gateways": self.gateways,
            "marks": self.marks,
        }


class Timeline:
    """Records from when it is made. `running`: the calls that run then. Times are the history's."""

    def __init__(self, running: Iterable[PlannedCall]) -> None:
        self._before = Counter(call.through for call in running)
        self._changes: list[tuple[float, int, GatewayInstance | None]] = []
        self._answers: list[tuple[float, str]] = []
        self._samples: list[tuple[float, int | None, int | None]] = []

    def record_begin(self, call: PlannedCall, now: float) -> None:
        self._changes.append((now, +1, call.through))

    def record_end(self, call: PlannedCall, at: float) -> None:
        self._changes.append((at, -1, call.through))

    def record_answer(self, kind: str, now: float) -> None:
        """Records an answer. `kind`: a `Reason`, or one of the constants above."""
        self._answers.append((now, kind))

    def record_counted(self, now: float, store: int | None, gateways: int | None) -> None:
        self._samples.append((now, store, gateways))

    def table(
        self, began: float, until: float, affected: Collection[GatewayInstance], marks: Iterable[tuple[float, str]]
    ) -> list[Second]:
        """Returns a row for each whole second from three before `began`. `until`: the end of the records."""
        last = math.floor(until - began) - 1
        rows = {at: Second(at) for at in range(-BEFORE_SECONDS, last + 1)}

        def row(when: float) -> Second:
            return rows.get(math.floor(when - began)) or Second(0)  # what is outside is written into the void

        self._fill_running(rows, began, affected)
        for when, kind in self._answers:
            row(when).answers[kind] += 1
        for when, store, gateways in self._samples:
            row(when).store, row(when).gateways = store, gateways
        for when, mark in sorted(marks):
            row(when).marks.append(f"{mark} at {when - began:.1f} s")
        return list(rows.values())

    def _fill_running(self, rows: dict[int, Second], began: float, affected: Collection[GatewayInstance]) -> None:
        changes = sorted(self._changes, key=lambda change: change[0])
        total = self._before.total()
        of_affected = sum(count for gateway, count in self._before.items() if gateway in affected)
        at = 0
        for row in rows.values():
            lowest = highest = total
            row.affected = of_affected
            while at < len(changes) and changes[at][0] < began + row.at + 1:
                when, by, gateway = changes[at]
                at += 1
                total += by
                of_affected += by if gateway in affected else 0
                if when < began + row.at:  # before the first row
                    lowest = highest = total
                    row.affected = of_affected
                    continue
                row.admitted += by > 0
                lowest, highest = min(lowest, total), max(highest, total)
                row.affected = max(row.affected, of_affected)
            row.running = (lowest, highest)
