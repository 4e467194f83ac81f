"""Holds the tokens of request rates, with aiolimiter. The only clock of rates is the event loop's, which aiolimiter
reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiolimiter import AsyncLimiter

from ..policy.concurrency import WARM_SECONDS

_MANY = 64  # tokens


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
