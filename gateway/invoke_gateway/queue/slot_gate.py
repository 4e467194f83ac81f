"""Whether an event may have a slot now: where one is free, and where events leave enough to those who wait for answers
(`policy.events.Share` has the rule)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple, Protocol

from ..policy.concurrency import Plan
from ..policy.event_rules import Share


class Levels(Protocol):
    def in_use(self, counter: str) -> int:
        """How many slots hold `counter`."""


class NoRoom(NamedTuple):
    """`counter` has no slot for an event. `yields_for`: seconds after which it is another's turn no more; None: it is
    full."""

    counter: str
    yields_for: float | None


class Room:
    """`clock` gives monotonic seconds."""

    def __init__(self, levels: Levels, *, share: Share | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._levels = levels
        self._share = share or Share()
        self._clock = clock
        self._held: Counter[str] = Counter()  # events under way, admitted or not
        self._unadmitted: Counter[str] = Counter()
        self._yields_until: dict[str, float] = {}
        self._resume_at: dict[str, float] = {}

    def find_full(self, plan: Plan) -> NoRoom | None:
        for claim in plan.lanes[-1].claims:
            ceiling = claim.ceiling
            if ceiling is None:
                continue
            counter = claim.counter or plan.function_counter
            if self._levels.in_use(counter) + self._unadmitted[counter] >= ceiling:
                return NoRoom(counter, None)
            if counter in self._yields_until:
                yields_for = self._find_yield(counter, ceiling)
                if yields_for is not None:
                    return NoRoom(counter, yields_for)
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

    def turn_away(self, counter: str) -> None:
        """A call that somebody waits for found `counter` full."""
        self._yields_until[counter] = self._clock() + self._share.seconds

    def enter(self, plan: Plan) -> Entry:
        """An event is on its way to a slot."""
        counters = [claim.counter or plan.function_counter for claim in plan.lanes[-1].claims]
        ones = [claim.counter or plan.function_counter for claim in plan.lanes[-1].claims if claim.ceiling == 1]
        self._held.update(counters)
        self._unadmitted.update(counters)
        return Entry(self, counters, ones, self._clock())

    def note_admitted(self, counters: list[str]) -> None:
        _take_off(self._unadmitted, counters)

    def leave(self, entry: Entry) -> None:
        _take_off(self._held, entry.counters)
        if entry.was_admitted:
            now = self._clock()
            for counter in entry.ones:
                if counter in self._yields_until:
                    self._resume_at[counter] = now + (now - entry.since)


class Entry:
    """One event on its way to a slot, then with it."""

    __slots__ = ("_room", "counters", "ones", "since", "was_admitted")

    def __init__(self, room: Room, counters: list[str], ones: list[str], since: float) -> None:
        self._room = room
        self.counters = counters
        self.ones = ones
        self.since = since
        self.was_admitted = False

    def admit(self) -> None:
        """It has its slot."""
        self.was_admitted = True
        self._room.note_admitted(self.counters)

    def leave(self) -> None:
        """It has been refused, or has ended."""
        if not self.was_admitted:
            self._room.note_admitted(self.counters)
        self._room.leave(self)


def _take_off(counts: Counter[str], counters: list[str]) -> None:
    """Names are clients' words: those that nobody has any more are not kept."""
    for counter in counters:
        left = counts[counter] - 1
        if left:
            counts[counter] = left
        else:
            del counts[counter]
