"""Decides whether an event may request a slot: one must be free, and events must leave calls their share.

`policy.events.event_rules.Share` has the rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple, Protocol

from ...policy.concurrency import Lane, Plan
from ...policy.events.event_rules import Share


class SlotsInUse(Protocol):
    def in_use(self, counter: str) -> int:
        """Returns how many slots `counter` has in use."""


class Blocked(NamedTuple):
    """Names the counters of which a free slot may be the event's: one of each lane of its plan.

    yields_for: seconds for which events yield to calls; None where the counters are full.
    """

    counters: tuple[str, ...]
    yields_for: float | None

    def join(self, other: Blocked) -> Blocked:
        """Returns both: a slot of either wakes the event, and the shorter of two times."""
        times = [seconds for seconds in (self.yields_for, other.yields_for) if seconds is not None]
        return Blocked((*self.counters, *other.counters), min(times, default=None))


class SlotGate:
    """Counts the slot requests of events. `clock` returns monotonic seconds."""

    def __init__(
        self, counts: SlotsInUse, *, share: Share | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        self._counts = counts
        self._share = share or Share()
        self._clock = clock
        self._held: Counter[str] = Counter()  # events that run, admitted or not
        self._unadmitted: Counter[str] = Counter()
        self._yields_until: dict[str, float] = {}
        self._resume_at: dict[str, float] = {}

    def find_blocked(self, plan: Plan) -> Blocked | None:
        """Returns the counters of which a free slot may be the event's; None where a lane has room."""
        found: Blocked | None = None
        for lane in plan.lanes:
            blocked = self._find_blocked(lane, plan.function_counter)
            if blocked is None:
                return None
            found = blocked if found is None else found.join(blocked)
        return found

    def _find_blocked(self, lane: Lane, function_counter: str) -> Blocked | None:
        for claim in lane.claims:
            ceiling = claim.ceiling
            if ceiling is None:
                continue
            counter = claim.counter or function_counter
            if self._counts.in_use(counter) + self._unadmitted[counter] >= ceiling:
                return Blocked((counter,), None)
            if counter in self._yields_until:
                yields_for = self._find_yield(counter, ceiling)
                if yields_for is not None:
                    return Blocked((counter,), yields_for)
        return None

    def _find_yield(self, counter: str, ceiling: int) -> float | None:
        now = self._clock()
        left = self._yields_until[counter] - now
        if left <= 0:
            del self._yields_until[counter]
            self._resume_at.pop(counter, None)
            return None
        if self._held[counter] >= self._share.most(ceiling):
            return left
        pause = self._resume_at.get(counter, 0.0) - now
        return min(pause, left) if pause > 0 else None

    def yield_to_calls(self, counter: str) -> None:
        """Records that a synchronous call found `counter` full."""
        self._yields_until[counter] = self._clock() + self._share.seconds

    def request_slot(self, plan: Plan) -> SlotRequest:
        """Records that an event begins to request a slot."""
        claims = self._choose_lane(plan).claims
        counters = [claim.counter or plan.function_counter for claim in claims]
        ones = [claim.counter or plan.function_counter for claim in claims if claim.ceiling == 1]
        self._held.update(counters)
        self._unadmitted.update(counters)
        return SlotRequest(self, counters, ones, self._clock())

    def _choose_lane(self, plan: Plan) -> Lane:
        """Returns the lane that the event will probably take: the first with room, else the last."""
        *others, last = plan.lanes
        return next((lane for lane in others if self._find_blocked(lane, plan.function_counter) is None), last)

    def note_admitted(self, counters: list[str]) -> None:
        _take_off(self._unadmitted, counters)

    def end_request(self, request: SlotRequest) -> None:
        _take_off(self._held, request.counters)
        if request.was_admitted:
            now = self._clock()
            for counter in request.ones:
                if counter in self._yields_until:
                    self._resume_at[counter] = now + (now - request.since)


class SlotRequest:
    """Follows one event from the request of its slot to the end of its run."""

    __slots__ = ("_gate", "counters", "ones", "since", "was_admitted")

    def __init__(self, gate: SlotGate, counters: list[str], ones: list[str], since: float) -> None:
        self._gate = gate
        self.counters = counters
        self.ones = ones
        self.since = since
        self.was_admitted = False

    def admit(self) -> None:
        """Records that the event has its slot."""
        self.was_admitted = True
        self._gate.note_admitted(self.counters)

    def end(self) -> None:
        """Records that the event was refused, or has ended."""
        if not self.was_admitted:
            self._gate.note_admitted(self.counters)
        self._gate.end_request(self)


def _take_off(counts: Counter[str], counters: list[str]) -> None:
    """Subtracts one from each counter. Clients choose the names, so counters at zero are removed."""
    for counter in counters:
        left = counts[counter] - 1
        if left:
            counts[counter] = left
        else:
            del counts[counter]
