"""Finds tokens of request rates. The only clock of rates is the event loop's, which aiolimiter reads."""

from __future__ import annotations

from aiolimiter import AsyncLimiter

from ..policy.concurrency import LimitReached, RateClaim
from ..policy.retry_after import NEVER

_MANY = 64  # tokens


class Bucket(AsyncLimiter):
    """Holds the tokens of one rate: those of one second, but at least the one that a request needs. A rate of 0 has
    none.

    sure: so many tokens are there for certain. Time only adds tokens, so `has_capacity` need not be called again for
    them: `acquire` calls it, too.
    """

    __slots__ = ("per_second", "sure")

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self.sure = 0
        burst = max(1.0, per_second) if per_second else 0.0
        super().__init__(burst, burst / per_second if per_second else 1.0)

    def has_token(self) -> bool:
        if not self.sure and self.has_capacity():
            self.sure = _MANY if self.has_capacity(_MANY) else 1
        return self.sure > 0


class Rates:
    """Holds a bucket for each rate that was claimed."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}

    def find(self, rates: tuple[RateClaim, ...], function_counter: str) -> list[Bucket] | LimitReached:
        """Returns the buckets of all rates, each of which has a token; or the rate that has none. Takes nothing: until
        the next await of something else, `acquire` of each bucket does not wait. Its caller lowers `sure`."""
        found = []
        for rate in rates:
            name = rate.bucket or function_counter
            bucket = self._buckets.get(name)
            if bucket is None or bucket.per_second != rate.per_second:
                bucket = self._buckets[name] = Bucket(rate.per_second)
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
        try:
            bucket.acquire().send(None)
        except StopIteration:
            continue
        raise AssertionError("a bucket with a token made its caller wait")


def describe_empty(rate: RateClaim) -> LimitReached:
    """Returns the refusal of a request for which the rate has no token."""
    per_second = rate.per_second
    wait = 1 / per_second if per_second else NEVER
    return LimitReached(rate, int(max(per_second, 1)) if per_second else 0, per_second, wait)
