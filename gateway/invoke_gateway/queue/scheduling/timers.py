"""Wakes lanes at their times, with one timer of the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Protocol

from .lanes import FunctionQueue

log = logging.getLogger("invoke_gateway")

_LONGEST = 60.0  # seconds, after which a clock that was set is noticed


class Handle(Protocol):
    def cancel(self) -> None: ...


CallLater = Callable[[float, Callable[[], None]], Handle]


class Timers:
    """Holds the times of lanes. `ring` is called with each lane whose time has come; `now` returns seconds since the
    epoch."""

    def __init__(
        self,
        ring: Callable[[FunctionQueue], None],
        *,
        now: Callable[[], float],
        call_later: CallLater | None = None,
        longest_wait: float = inf,
    ) -> None:
        self._ring = ring
        self._now = now
        self._longest_wait = longest_wait
        self._call_later = call_later
        self._times: list[tuple[float, int, FunctionQueue]] = []
        self._numbers = count()
        self._set_for = inf
        self._handle: Handle | None = None

    def wake_at(self, lane: FunctionQueue, at: float) -> None:
        """Wakes the lane at that time or before. A lane has one time only, the earliest."""
        if at >= lane.timer_at:
            return
        lane.timer_at = at
        heappush(self._times, (at, next(self._numbers), lane))
        self._set()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._set_for, self._times = None, -inf, []

    def _set(self) -> None:
        if not self._times or self._set_for <= self._times[0][0]:
            return
        if self._handle is not None:
            self._handle.cancel()
        if self._call_later is None:
            self._call_later = asyncio.get_running_loop().call_later
        self._set_for = self._times[0][0]
        self._handle = self._call_later(min(max(self._set_for - self._now(), 0.0), _LONGEST), self._ring_due)

    def _ring_due(self) -> None:
        self._handle, self._set_for = None, inf
        now = self._now()
        latest = now + self._longest_wait + _LONGEST  # a lane that waits longer checks its reason again
        while self._times and not now < self._times[0][0] <= latest:
            at, _, lane = heappop(self._times)
            if lane.timer_at == at:  # else an earlier time was set after this one
                lane.timer_at = inf
                try:
                    self._ring(lane)
                except Exception:  # a bug must not end the timers
                    log.exception("the timer of lane %s failed", lane.name)
        self._set()
