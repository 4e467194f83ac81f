"""Measures how late this process is, which may be why a gateway seems late.

Two clocks should tick every 50 ms. A timer of the event loop shows when this process gets no CPU. A thread shows when
the whole machine stands still. Each tick that is too late is kept.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import NamedTuple, Self

TICK_SECONDS = 0.05
MOST_KEPT = 5_000


class Late(NamedTuple):
    """A tick that was due at `due` and came at `came`."""

    due: float
    came: float


class Ticks:
    """One clock; ticks that are late by more than `limit` seconds are kept."""

    def __init__(self, now: float, limit: float) -> None:
        self.longest = 0.0
        self._limit = limit
        self._due = now + TICK_SECONDS
        self._late: deque[Late] = deque(maxlen=MOST_KEPT)

    def tick(self, now: float) -> None:
        seconds = now - self._due
        self.longest = max(self.longest, seconds)
        if seconds > self._limit:
            self._late.append(Late(self._due, now))
        self._due = now + TICK_SECONDS

    def longest_since(self, since: float, now: float) -> float:
        """Returns the most seconds above the limit that a tick was late between `since` and `now`, also one that is
        due and has not come; 0 where none was."""
        kept = [*self._late, Late(self._due, now)]  # a copy in one go, for another thread may add one
        late = (late.came - late.due for late in kept if late.came >= since)
        return max((seconds for seconds in late if seconds > self._limit), default=0.0)

    def list_late(self, now: float) -> list[Late]:
        """Lists the ticks that were late above the limit, also one that is due and has not come."""
        return [late for late in [*self._late, Late(self._due, now)] if late.came - late.due > self._limit]


class SchedulerLag:
    """`async with SchedulerLag(limit)` measures. `limit`: seconds of lag above which a machine counts as overloaded."""

    def __init__(self, limit: float, clock: Callable[[], float] = monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._loop_ticks = Ticks(clock(), limit)
        self._thread_ticks = Ticks(clock(), limit)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._tick_in_thread, name="lag", daemon=True)
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tick_on_loop())
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._thread.join)

    @property
    def longest(self) -> tuple[float, float]:
        """Seconds: of the event loop, and of the thread."""
        return self._loop_ticks.longest, self._thread_ticks.longest

    def overloaded_since(self, since: float) -> float:
        """Returns the longest lag since then (seconds), or 0 within the limit. `since` is on the monotonic clock."""
        now = self._clock()
        return max(ticks.longest_since(since, now) for ticks in (self._loop_ticks, self._thread_ticks))

    def longest_calm(self, since: float, until: float) -> float:
        """Returns the longest time between two moments in which no tick was late above the limit (seconds)."""
        now = self._clock()
        calm, begin = 0.0, since
        for late in sorted(self._loop_ticks.list_late(now) + self._thread_ticks.list_late(now)):
            calm = max(calm, min(late.due, until) - begin)
            begin = max(begin, late.came)
        return max(calm, until - begin)

    async def _tick_on_loop(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._loop_ticks.tick(self._clock())

    def _tick_in_thread(self) -> None:
        while not self._is_over.wait(TICK_SECONDS):
            self._thread_ticks.tick(self._clock())

    def __repr__(self) -> str:
        return "<Lag loop {:.2f} s, thread {:.2f} s>".format(*self.longest)
