"""Counters of one process. On one event loop, looking and taking without an await in between is the lock.

A counter's value is the number of slots that hold it: there is no second number that could disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from aiolimiter import AsyncLimiter

from ..policy.concurrency import Claim, Full, Lane, Plan, RateClaim
from ..policy.retry import estimate_free_seconds

# Weight of the latest call in the usual duration: about the last eight calls count.
_NEWEST_WEIGHT = 0.125

# An estimate is good for this long; a burst of refusals must not look for the oldest call each time.
_ESTIMATE_SECONDS = 0.05


class Level:
    """One counter: the slots that hold it, oldest first, and how long its calls usually take."""

    __slots__ = ("estimate", "estimated_at", "running", "usual_seconds")

    def __init__(self) -> None:
        self.running: dict[MemorySlot, None] = {}
        self.usual_seconds: float | None = None
        self.estimate = 0.0
        self.estimated_at = float("-inf")

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

    __slots__ = ()

    def take(self) -> None:
        """Take the token that `has_capacity` has just found. `acquire` would look again, at twice the price."""
        self._level += 1


class MemorySlot:
    """The claims of one admitted call."""

    __slots__ = ("_claims", "_store", "taken_at")

    def __init__(self, store: MemoryCounters, claims: tuple[Claim, ...], taken_at: float) -> None:
        self._store: MemoryCounters | None = store
        self._claims = claims
        self.taken_at = taken_at

    def release(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.give_back(self, self._claims)

    def __repr__(self) -> str:
        return f"<MemorySlot {'held' if self._store else 'released'} {[claim.counter for claim in self._claims]}>"


class MemoryCounters:
    """The embedded store. `clock` gives monotonic seconds; the rates use the event loop's own clock."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._levels: dict[str, Level] = {}
        self._buckets: dict[str, tuple[float, Bucket]] = {}

    def look(self, plan: Plan) -> Full | None:
        full: Full | None = None
        for lane in plan.lanes:
            full = self._find_full(lane)
            if full is None:
                break
        return full

    async def take(self, plan: Plan) -> MemorySlot | Full:
        full: Full | None = None
        for lane in plan.lanes:
            full = self._find_full(lane)
            if full is None:
                break
        else:
            assert full is not None, "a plan has at least one lane"
            return full
        rates = plan.rates
        for rate in rates:
            if not self._bucket(rate).has_capacity():
                return _describe_empty(rate)
        for rate in rates:
            self._bucket(rate).take()
        return self._occupy(lane)

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

    def give_back(self, slot: MemorySlot, claims: tuple[Claim, ...]) -> None:
        seconds = self._clock() - slot.taken_at
        levels = self._levels
        for counter, ceiling, _, _ in claims:
            level = levels[counter]
            del level.running[slot]
            if ceiling is not None:
                usual = level.usual_seconds
                level.usual_seconds = seconds if usual is None else usual + (seconds - usual) * _NEWEST_WEIGHT
            elif not level.running:
                # It can refuse nobody, so nobody will ask how long its calls take. Its name came from a client:
                # such names must not pile up.
                del levels[counter]

    def _find_full(self, lane: Lane) -> Full | None:
        levels = self._levels
        for claim in lane.claims:
            counter, ceiling, _, _ = claim
            if ceiling is None:
                continue
            level = levels.get(counter)
            in_use = len(level.running) if level is not None else 0
            if in_use >= ceiling:
                return self._describe_full(claim, level, in_use, ceiling)
        return None

    def _describe_full(self, claim: Claim, level: Level | None, in_use: int, ceiling: int) -> Full:
        retry = level.retry_seconds(self._clock()) if level is not None else estimate_free_seconds(None, 0, 0)
        return Full(claim, in_use, ceiling, retry)

    def _occupy(self, lane: Lane) -> MemorySlot:
        levels = self._levels
        slot = MemorySlot(self, lane.claims, self._clock())
        for counter, _, _, _ in lane.claims:
            level = levels.get(counter)
            if level is None:
                level = levels[counter] = Level()
            level.running[slot] = None
        return slot

    def _bucket(self, rate: RateClaim) -> Bucket:
        known = self._buckets.get(rate.bucket)
        if known is not None and known[0] == rate.per_second:
            return known[1]
        # A bucket holds one second's worth, but at least the one token that a request needs; unless it is for nobody.
        burst = max(1.0, rate.per_second) if rate.per_second else 0.0
        bucket = Bucket(burst, burst / rate.per_second if rate.per_second else 1.0)
        self._buckets[rate.bucket] = (rate.per_second, bucket)
        return bucket

    def __repr__(self) -> str:
        return f"<MemoryCounters {self.held()}>"


def _describe_empty(rate: RateClaim) -> Full:
    per_second = rate.per_second
    wait = 1 / per_second if per_second else estimate_free_seconds(None, 0, 0)
    return Full(rate, int(max(per_second, 1)) if per_second else 0, per_second, wait)
