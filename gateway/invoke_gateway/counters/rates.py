"""Finds tokens of request rates. The only clock of rates is the event loop's, which aiolimiter reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiolimiter import AsyncLimiter

from ..policy.concurrency import WARM_SECONDS, GrowthClaim, LimitReached, RateClaim
from ..policy.retry_after import NEVER

_MANY = 64  # tokens

_TAKEN = object()  # what `next` returns for a coroutine that has ended


class Bucket(AsyncLimiter):
    """Holds the tokens of one rate: those of one second, but at least the one that a request needs. A rate of 0 has
    none.

    sure: so many tokens are there for certain. Time only adds tokens, so `has_capacity` need not be called again for
    them: `acquire` calls it, too.
    """

    __slots__ = ("per_second", "sure")

    def __init__(self, per_second: float, most: float | None = None) -> None:
        self.per_second = per_second
        self.sure = 0
        burst = max(1.0, per_second if most is None else most) if per_second else 0.0
        super().__init__(burst, burst / per_second if per_second else 1.0)

    def has_token(self) -> bool:
        if not self.sure and self.has_capacity():
            self.sure = _MANY if self.has_capacity(_MANY) else 1
        return self.sure > 0


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

    def has_token(self) -> bool:
        return self._in_use() < self._warm() or self.has_capacity()

    async def acquire(self, amount: float = 1) -> None:
        self.sure = 0  # `has_token` is called each time
        level = self._in_use() + 1
        if level > self._warm():
            await super().acquire(amount)
        self._high = max(self._high, level)

    def _warm(self) -> int:
        """Returns the highest level of this minute and the one before."""
        window = int(asyncio.get_running_loop().time() // WARM_SECONDS)
        if window != self._window:
            self._before = self._high if window == self._window + 1 else 0
            self._window, self._high = window, 0
        return max(self._high, self._before)


class Rates:
    """Holds a bucket for each rate that was claimed.

    in_use: returns the slots of a counter in use
    """

    def __init__(self, in_use: Callable[[str], int]) -> None:
        self._in_use = in_use
        self._buckets: dict[str, Bucket] = {}

    def _make(self, rate: RateClaim) -> Bucket:
        if isinstance(rate, GrowthClaim):
            counter = rate.counter
            return GrowthBucket(rate.per_second, rate.most, lambda: self._in_use(counter))
        return Bucket(rate.per_second)

    def find(self, rates: tuple[RateClaim, ...], function_counter: str) -> list[Bucket] | LimitReached:
        """Returns the buckets of all rates, each of which has a token; or the rate that has none. Takes nothing: until
        the next await of something else, `acquire` of each bucket does not wait. Its caller lowers `sure`."""
        found = []
        for rate in rates:
            name = rate.bucket or function_counter
            bucket = self._buckets.get(name)
            if bucket is None or bucket.per_second != rate.per_second:
                bucket = self._buckets[name] = self._make(rate)
            if not bucket.sure and not bucket.has_token():
                return describe_empty(rate)
            found.append(bucket)
        return found

    def find_empty(self, rates: tuple[RateClaim, ...], function_counter: str) -> LimitReached | None:
        """Returns the first rate that has no token; None where all have one."""
        found = self.find(rates, function_counter)
        return found if isinstance(found, LimitReached) else None


def take_now(buckets: list[Bucket]) -> None:
    """Takes a token of each bucket that `find` has returned, outside of a coroutine."""
    for bucket in buckets:
        bucket.sure -= 1
        # `send` would end in a StopIteration, which is expensive.
        if next(bucket.acquire().__await__(), _TAKEN) is not _TAKEN:
            raise AssertionError("a bucket with a token made its caller wait")


def describe_empty(rate: RateClaim) -> LimitReached:
    """Returns the refusal of a request for which the rate has no token."""
    per_second = rate.per_second
    if isinstance(rate, GrowthClaim):
        return LimitReached(rate, int(rate.most), rate.most, 1 / per_second)
    wait = 1 / per_second if per_second else NEVER
    return LimitReached(rate, int(max(per_second, 1)) if per_second else 0, per_second, wait)
