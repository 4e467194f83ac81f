"""Counters of one process. On one event loop, looking and taking without an await in between is the lock.

A counter's value is the number of slots that hold it: there is no second number that could disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from time import monotonic

from aiolimiter import AsyncLimiter

from ..exchange import Holder
from ..policy.concurrency import Claim, Full, Lane, Occupant, Plan, RateClaim
from ..policy.retry_after import NEVER, estimate_free_seconds

# Weight of the latest call in the usual duration: about the last eight calls count.
_NEWEST_WEIGHT = 0.125

_NEVER = float("-inf")

# So many levels are kept for the functions that are called next.
_SPARE_LEVELS = 64

# An estimate is good for this long; a burst of refusals must not look for the oldest call each time.
_ESTIMATE_SECONDS = 0.05


class Level:
    """One counter: the slots that hold it, oldest first, and how long its calls usually take."""

    __slots__ = ("estimate", "estimated_at", "running", "usual_seconds")

    def __init__(self) -> None:
        self.running: dict[MemorySlot, None] = {}
        self.usual_seconds: float | None = None
        self.estimate = 0.0
        self.estimated_at = _NEVER

    def oldest_seconds(self, now: float) -> float:
        """Age of the oldest call that holds the counter; 0 when none does."""
        oldest = next(iter(self.running), None)
        return 0.0 if oldest is None else now - oldest.taken_at

    def retry_seconds(self, now: float) -> float:
        if now - self.estimated_at > _ESTIMATE_SECONDS:
            self.estimate = estimate_free_seconds(self.usual_seconds, self.oldest_seconds(now), len(self.running))
            self.estimated_at = now
        return self.estimate


class Bucket(AsyncLimiter):
    """A limiter that is never waited for: asked for capacity first, then made to give it, in one go."""

    __slots__ = ("per_second",)

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        # It holds one second's worth, but at least the one token that a request needs; unless it is for nobody.
        burst = max(1.0, per_second) if per_second else 0.0
        super().__init__(burst, burst / per_second if per_second else 1.0)

    def take(self) -> None:
        """Take the token that `has_capacity` has just found. `acquire` would look again, at twice the price."""
        self._level += 1

    def give_back(self) -> None:
        """Undo the `take` before."""
        self._level -= 1


class MemorySlot:
    """The claims of one admitted call; `own` is its plan's own counter."""

    __slots__ = ("_claims", "_store", "holder", "own", "taken_at")

    holder: Holder | None  # not there until somebody has set it, so that taking a slot costs no more

    def __init__(self, store: MemoryCounters, claims: tuple[Claim, ...], own: str, taken_at: float) -> None:
        self._store: MemoryCounters | None = store
        self._claims = claims
        self.own = own
        self.taken_at = taken_at

    def release(self, *, was_call: bool = True) -> None:
        store, self._store = self._store, None
        self.holder = None  # which knows this slot, and what the client has sent
        if store is not None:
            store.give_back(self, self._claims, self.own, was_call)

    def __repr__(self) -> str:
        counters = [claim.counter or self.own for claim in self._claims]
        return f"<MemorySlot {'held' if self._store else 'released'} {counters}>"


class MemoryCounters:
    """The embedded store. `clock` gives monotonic seconds; the rates use the event loop's own clock."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._levels: dict[str, Level] = {}
        self._spare: list[Level] = []
        self._usual_seconds: dict[str, float] = {}
        self._buckets: dict[str, Bucket] = {}
        self.on_free: Callable[[tuple[Claim, ...], str], None] | None = None
        """Told, with the plan's own counter, whenever slots of these claims have come free."""

    def look(self, plan: Plan) -> Full | None:
        full: Full | None = None
        for lane in plan.lanes:
            full = self._find_full(lane, plan.function_counter)
            if full is None:
                break
        return full

    async def take(self, plan: Plan) -> MemorySlot | Full:
        full: Full | None = None
        own = plan.function_counter
        for lane in plan.lanes:
            full = self._find_full(lane, own)
            if full is None:
                break
        else:
            assert full is not None, "a plan has at least one lane"
            return full
        if plan.rates:
            empty = self._take_tokens(plan.rates, own)
            if empty is not None:
                return empty
        return self._occupy(lane, own)

    def in_use(self, counter: str) -> int:
        """How many slots hold `counter`."""
        level = self._levels.get(counter)
        return len(level.running) if level is not None else 0

    def oldest_seconds(self, counter: str) -> float:
        level = self._levels.get(counter)
        return level.oldest_seconds(self._clock()) if level is not None else 0.0

    def held(self) -> dict[str, int]:
        """Every counter that at least one slot holds, with how many do."""
        return {name: len(level.running) for name, level in self._levels.items() if level.running}

    def occupants(self, counter: str, most: int) -> list[Occupant]:
        """Who holds `counter`, those with the most slots first. Only its `most` oldest slots are looked at."""
        level = self._levels.get(counter)
        if level is None:
            return []
        now = self._clock()
        slots: dict[str, int] = {}
        oldest: dict[str, float] = {}
        for slot in islice(level.running, most):
            own = slot.own
            slots[own] = slots.get(own, 0) + 1
            oldest.setdefault(own, now - slot.taken_at)
        found = [Occupant(own, count, oldest[own]) for own, count in slots.items()]
        return sorted(found, key=lambda occupant: (-occupant.slots, -occupant.oldest_seconds))

    def oldest_slots(self, counter: str, most: int) -> list[tuple[MemorySlot, float]]:
        """The slots that hold `counter` with their ages in seconds, oldest first. No more than `most` are looked at."""
        level = self._levels.get(counter)
        now = self._clock()
        return [(slot, now - slot.taken_at) for slot in islice(level.running, most)] if level is not None else []

    def give_back(self, slot: MemorySlot, claims: tuple[Claim, ...], own: str, was_call: bool) -> None:
        seconds = self._clock() - slot.taken_at
        levels = self._levels
        for claim in claims:
            level = levels[claim.counter or own]
            running = level.running
            del running[slot]
            if was_call and claim.ceiling is not None:
                usual = level.usual_seconds
                level.usual_seconds = seconds if usual is None else usual + (seconds - usual) * _NEWEST_WEIGHT
            if not running and not claim.counter:
                self._put_away(own, level, claim)
        if self.on_free is not None:
            self.on_free(claims, own)

    def _find_full(self, lane: Lane, own: str) -> Full | None:
        levels = self._levels
        for claim in lane.claims:
            ceiling = claim.ceiling
            if ceiling is None:
                continue
            level = levels.get(claim.counter or own)
            in_use = len(level.running) if level is not None else 0
            if in_use >= ceiling:
                return self._describe_full(claim, level, in_use, ceiling)
        return None

    def _describe_full(self, claim: Claim, level: Level | None, in_use: int, ceiling: int) -> Full:
        if not ceiling:
            return Full(claim, in_use, ceiling, NEVER)
        retry = level.retry_seconds(self._clock()) if level is not None else estimate_free_seconds(None, 0, 0)
        return Full(claim, in_use, ceiling, retry)

    def _occupy(self, lane: Lane, own: str) -> MemorySlot:
        levels = self._levels
        claims = lane.claims
        slot = MemorySlot(self, claims, own, self._clock())
        for claim in claims:
            counter = claim.counter or own
            level = levels.get(counter)
            if level is None:
                level = levels[counter] = self._spare.pop() if self._spare else Level()
                if claim.ceiling is not None:
                    level.usual_seconds = self._usual_seconds.get(counter)
            level.running[slot] = None
        return slot

    def _put_away(self, own: str, level: Level, claim: Claim) -> None:
        """A function's level exists while calls hold it. What remains is how long they took, where somebody may ask:
        a function that cannot be refused may be a name that a client invented, and such names must not pile up."""
        del self._levels[own]
        if claim.ceiling is not None and level.usual_seconds is not None:
            self._usual_seconds[own] = level.usual_seconds
        if len(self._spare) < _SPARE_LEVELS:
            level.usual_seconds = None
            level.estimated_at = _NEVER
            self._spare.append(level)

    def _take_tokens(self, rates: tuple[RateClaim, ...], own: str) -> Full | None:
        """Take a token of each rate, or none at all and say which rate has none."""
        taken: list[Bucket] = []
        for rate in rates:
            name = rate.bucket or own
            bucket = self._buckets.get(name)
            if bucket is None or bucket.per_second != rate.per_second:
                bucket = self._buckets[name] = Bucket(rate.per_second)
            if not bucket.has_capacity():
                for other in taken:
                    other.give_back()
                return describe_empty(rate)
            bucket.take()
            taken.append(bucket)
        return None

    def __repr__(self) -> str:
        return f"<MemoryCounters {self.held()}>"


def describe_empty(rate: RateClaim) -> Full:
    """The refusal for want of a token."""
    per_second = rate.per_second
    wait = 1 / per_second if per_second else NEVER
    return Full(rate, int(max(per_second, 1)) if per_second else 0, per_second, wait)
