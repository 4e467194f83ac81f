"""Describes one injected fault, what was seen of it, and the recoveries that must follow."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..calls import GatewayInstance, PlannedCall
from ..quotas import QuotaLane
from .timeline import Second

_GATEWAY = re.compile(r"^gateway \d+ ")
AFTER_SECONDS = 0.2  # in which a failure may still come of a fault that has been recovered from


class InjectedFault:
    """One fault, on the history's clock (seconds).

    gateways: the gateways that it affects
    started: when the seed began
    is_cut: no traffic of these gateways passes during the fault
    is_partial: the fault ends only a part of each gateway, whose slots are free at once
    ended: when the gateways were back; `None` during the fault, and always after a kill
    over: when all had recovered, or the wait for that had ended
    overshoot, overshoot_with_lost: calls above a limit, without and with those of lost gateways
    refused_while_free: calls refused while fewer than the limit ran
    failed: calls that failed because the store was unavailable
    unanswered: calls without an answer (`silenced`)
    timeline: second by second, where that was recorded
    """

    def __init__(
        self,
        name: str,
        gateways: Sequence[GatewayInstance],
        began: float,
        *,
        started: float = 0.0,
        is_cut: bool = False,
        is_partial: bool = False,
    ) -> None:
        self.name = name
        self.kind = _GATEWAY.sub("", name)
        self.gateways = gateways
        self.began = began
        self.started = started
        self.is_cut = is_cut
        self.is_partial = is_partial
        self.ended: float | None = None
        self.over: float | None = None
        self.overshoot = 0
        self.overshoot_with_lost = 0
        self.refused_while_free = 0
        self.failed = 0
        self.unanswered = 0
        self.silenced: set[PlannedCall] = set()
        self.timeline: list[Second] = []
        self.recoveries: list[Recovery] = []

    def __repr__(self) -> str:
        return f"<InjectedFault {self.name} {self.began:.1f} to {self.ended}>"

    def overlaps(self, start: float, now: float) -> bool:
        """True where the fault, or the recovery from it, lasted between `start` and `now`."""
        return self.began <= now and (self.over is None or start <= self.over + AFTER_SECONDS)

    @property
    def at(self) -> float:
        """Seconds from the seed's start."""
        return self.began - self.started

    @property
    def lasted(self) -> float | None:
        return None if self.ended is None else self.ended - self.began

    @property
    def duration(self) -> str:
        return "for good" if self.lasted is None else f"{self.lasted:.1f} s"

    @property
    def badness(self) -> tuple[int, float]:
        """Sorts faults: the worst of a kind is the greatest."""
        return self.overshoot, max((recovery.beyond for recovery in self.recoveries), default=-math.inf)

    def as_json(self) -> dict[str, Any]:
        return {
            "blow": self.name,
            "at": round(self.at, 2),
            "lasted": None if self.lasted is None else round(self.lasted, 2),
            "over": None if self.over is None else round(self.over - self.started, 2),
            "overshoot": self.overshoot,
            "overshoot_with_calls_of_lost_gateways": self.overshoot_with_lost,
            "refused_while_slots_were_free": self.refused_while_free,
            "failed_for_want_of_the_store": self.failed,
            "unanswered": self.unanswered,
            "healed": [recovery.as_json(self.started) for recovery in self.recoveries],
            **({"around": [second.as_json() for second in self.timeline]} if self.timeline else {}),
        }


class Recovery:
    """Lists what must be seen, from `since` on and within `deadline` seconds, before a fault is over.

    lag: how late this process was (seconds), where the recovery was late by less
    """

    def __init__(
        self,
        name: str,
        since: float,
        deadline: float,
        lanes: Iterable[QuotaLane],
        gateways: Iterable[GatewayInstance],
        fault: InjectedFault | None = None,
    ) -> None:
        self.name = name
        self.fault = fault
        self.since = since
        self.deadline = deadline
        self.recovered_at: float | None = None
        self.lag = 0.0
        self._lanes = {lane for lane in lanes if lane.ceiling}
        self._gateways = set(gateways)

    @property
    def seconds(self) -> float | None:
        return None if self.recovered_at is None else self.recovered_at - self.since

    @property
    def beyond(self) -> float:
        """Seconds after the deadline; below 0 within it."""
        return math.inf if self.seconds is None else self.seconds - self.deadline

    @property
    def within_deadline(self) -> bool:
        return self.beyond <= 0

    @property
    def judgement(self) -> str:
        return "yes" if self.within_deadline else "not judged" if self.lag else "no"

    @property
    def took(self) -> str:
        return "never" if self.seconds is None else f"{self.seconds:.1f} s"

    @property
    def missing(self) -> str:
        """Lists what has not been seen yet."""
        full = [f"{lane.account}/{lane.name} was never full" for lane in self._lanes]
        return ", ".join(sorted([*full, *(f"{gateway.name} admitted nothing" for gateway in self._gateways)]))

    def record(self, call: PlannedCall, now: float, *, is_full: bool) -> None:
        """Records a call that has arrived; `is_full`: it filled its lane."""
        if self.recovered_at is not None or call.sent_at is None or call.sent_at < self.since:
            return
        if call.through is not None:
            self._gateways.discard(call.through)
        if is_full:
            self._lanes.discard(call.lane)
        if not self._lanes and not self._gateways:
            self.recovered_at = now

    def as_json(self, started: float) -> dict[str, Any]:
        return {
            "what": self.name,
            "since": round(self.since - started, 2),
            "seconds": None if self.seconds is None else round(self.seconds, 2),
            "promise": self.deadline,
            "kept": self.within_deadline,
            **({"lag": round(self.lag, 2)} if self.lag else {}),
        }

    def __str__(self) -> str:
        if self.seconds is None:
            return f"{self.name}: not recovered ({self.missing}), deadline {self.deadline:g} s"
        return f"{self.name}: recovered after {self.seconds:.1f} s, deadline {self.deadline:g} s"

    def __repr__(self) -> str:
        return f"<Recovery {self}>"
