"""One blow, with what was seen of it, and what must heal after it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from .calls import GatewayInstance, PlannedCall
from .quotas import QuotaLane
from .timeline import Second

_WHO = re.compile(r"^gateway \d+ ")
AFTER_SECONDS = 0.2  # in which a failure may still come of a blow that has healed


class InjectedFault:
    """One fault, on the ledger's clock, in seconds. `gateways`: whom it strikes. `is_cut`: nothing of these gets
    through meanwhile; `is_partial`: nothing of a part of each, whose slots are others' at once. `ended`: when they were
    back; `None` while it lasts, and for ever after a kill. `over`: when all was healed, or the waiting for that. What
    was seen of `began` to `over`: by how many calls a limit was overshot (and by how many with the calls of lost
    gateways), calls refused while fewer than the limit ran, calls failed for want of the store, calls that never got an
    answer (`silenced`). `around`: second by second, where that was recorded."""

    def __init__(
        self, name: str, gateways: Sequence[GatewayInstance], began: float, *, is_cut: bool, is_partial: bool = False
    ) -> None:
        self.name = name
        self.kind = _WHO.sub("", name)  # what was done, whomever it struck
        self.gateways = gateways
        self.began = began
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

    def __repr__(self) -> str:
        return f"<Blow {self.name} {self.began:.1f} to {self.ended}>"

    def overlaps(self, start: float, now: float) -> bool:
        """Whether it, or what it left to heal, was on between `start` and `now`."""
        return self.began <= now and (self.over is None or start <= self.over + AFTER_SECONDS)


class Recovery:
    """What must be seen before a blow counts as healed, since `since`. Its time is a row of the verdict. `lag`: seconds
    that this process lagged, where the healing was late by less."""

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
        """Seconds above the promise; below 0 when it was kept."""
        return math.inf if self.seconds is None else self.seconds - self.deadline

    @property
    def within_deadline(self) -> bool:
        return self.beyond <= 0

    @property
    def missing(self) -> str:
        """What has not been seen yet."""
        full = [f"{lane.account}/{lane.name} was never full" for lane in self._lanes]
        return ", ".join(sorted([*full, *(f"{gateway.name} admitted nothing" for gateway in self._gateways)]))

    def record(self, call: PlannedCall, now: float, *, is_full: bool) -> None:
        """A call has arrived, which made its lane full or did not."""
        if self.recovered_at is not None or call.sent_at is None or call.sent_at < self.since:
            return
        if call.through is not None:
            self._gateways.discard(call.through)
        if is_full:
            self._lanes.discard(call.lane)
        if not self._lanes and not self._gateways:
            self.recovered_at = now

    def __str__(self) -> str:
        if self.seconds is None:
            return f"{self.name}: not healed ({self.missing}), promised within {self.deadline:g} s"
        return f"{self.name}: healed after {self.seconds:.1f} s, promised within {self.deadline:g} s"

    def __repr__(self) -> str:
        return f"<Healing {self}>"
