"""Finds tokens of request rates, and takes them."""

from __future__ import annotations

from collections.abc import Callable

from ..policy.concurrency import GrowthClaim, LimitReached, RateClaim
from ..policy.retry_after import NEVER
from .buckets import Bucket, GrowthBucket

_TAKEN = object()  # what `next` returns for a coroutine that has ended


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
