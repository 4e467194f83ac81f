"""Finds tokens of request rates."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from ..policy.concurrency import WARM_SECONDS, GrowthClaim, LimitReached, RateClaim
from ..policy.retry_after import NEVER


class Bucket:
    """Holds the tokens of one rate: those of one second, but at least the one that a request needs. A rate of 0 has
    none.

    most: so many tokens instead of those of one second
    """

    __slots__ = ("_at", "_most", "_taken", "per_second")

    def __init__(self, per_second: float, most: float | None = None) -> None:
        self.per_second = per_second
        self._most = max(1.0, per_second if most is None else most) if per_second else 0.0
        self._taken = 0.0  # tokens that time has not put back, at the last look
        self._at = 0.0

    def has_token(self, now: float) -> bool:
        """Returns whether `take` may follow, before time goes on."""
        self._taken = max(0.0, self._taken - (now - self._at) * self.per_second)
        self._at = now
        return self._taken + 1.0 <= self._most

    def take(self) -> None:
        """Takes the token that `has_token` has found."""
        self._taken += 1.0


class GrowthBucket(Bucket):
    """Holds the tokens of a scaling rate. A call takes one only where it raises the level of a counter above its
    highest level of this minute and the one before.

    in_use: returns the slots in use before the call
    """

    __slots__ = ("_before", "_high", "_in_use", "_window")

    def __init__(self, per_second: float, most: float, in_use: Callable[[], int]) -> None:
        super().__init__(per_second, most)
        self._in_use = in_use
        self._window = 0
        self._high = 0
        self._before = 0

    def has_token(self, now: float) -> bool:
        window = int(now // WARM_SECONDS)
        if window != self._window:
            self._before = self._high if window == self._window + 1 else 0
            self._window, self._high = window, 0
        return super().has_token(now) or self._in_use() < max(self._high, self._before)

    def take(self) -> None:
        level = self._in_use() + 1
        if level > max(self._high, self._before):
            super().take()
        self._high = max(self._high, level)


class Rates:
    """Holds a bucket for each rate that was claimed.

    in_use: returns the slots of a counter in use
    clock: returns monotonic seconds
    """

    def __init__(self, in_use: Callable[[str], int], clock: Callable[[], float] = monotonic) -> None:
        self._in_use = in_use
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def _make(self, rate: RateClaim) -> Bucket:
        if isinstance(rate, GrowthClaim):
            counter = rate.counter
            return GrowthBucket(rate.per_second, rate.most, lambda: self._in_use(counter))
        return Bucket(rate.per_second)

    def find(self, rates: tuple[RateClaim, ...], function_counter: str) -> list[Bucket] | LimitReached:
        """Returns the buckets of all rates, each of which has a token; or the rate that has none. Takes nothing."""
        found: list[Bucket] = []
        if not rates:
            return found
        now = self._clock()
        for rate in rates:
            name = rate.bucket or function_counter
            bucket = self._buckets.get(name)
            if bucket is None or bucket.per_second != rate.per_second:
                bucket = self._buckets[name] = self._make(rate)
            if not bucket.has_token(now):
                return describe_empty(rate)
            found.append(bucket)
        return found

    def find_empty(self, rates: tuple[RateClaim, ...], function_counter: str) -> LimitReached | None:
        """Returns the first rate that has no token; None where all have one."""
        found = self.find(rates, function_counter)
        return found if isinstance(found, LimitReached) else None


def take_now(buckets: list[Bucket]) -> None:
    """Takes a token of each bucket that `find` has returned, before anything is awaited."""
    for bucket in buckets:
        bucket.take()


def describe_empty(rate: RateClaim) -> LimitReached:
    """Returns the refusal of a request for which the rate has no token."""
    per_second = rate.per_second
    if isinstance(rate, GrowthClaim):
        return LimitReached(rate, int(rate.most), rate.most, 1 / per_second)
    wait = 1 / per_second if per_second else NEVER
    return LimitReached(rate, int(max(per_second, 1)) if per_second else 0, per_second, wait)
