"""Cuts calls whose backend is silent: before the first byte of a response, or between two of its pieces.

No work is done when bytes come. A check of the busy connections, several times in the shorter of the two times, finds
those without progress since an earlier check. So a connection is cut up to a quarter of its time late, never early.
While this process stands still, a backend is not silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import NamedTuple

from ..backend_errors import BackendError, BackendFirstByteTimeout, BackendIdleTimeout
from ..watched_time import WatchedTime
from .call import UpstreamCall
from .connection import BackendConnection

_SHORTEST_PAUSE = 0.02
_LONGEST_PAUSE = 5.0


class Observation(NamedTuple):
    """Holds the findings of one check: a call with `received` bytes of its response, first seen so at `since`."""

    call: UpstreamCall
    received: int
    since: float


class IdleTimeouts:
    """Watches the `busy` connections. Times are seconds; None is no limit."""

    def __init__(
        self, busy: Collection[BackendConnection], first_byte_seconds: float | None, idle_seconds: float | None
    ) -> None:
        self._busy = busy
        self._first_byte_seconds = first_byte_seconds
        self._idle_seconds = idle_seconds
        self._pause = 0.0
        set_ones = [seconds for seconds in (first_byte_seconds, idle_seconds) if seconds is not None]
        if set_ones:
            self._pause = min(max(min(set_ones) / 8, _SHORTEST_PAUSE), _LONGEST_PAUSE)
        self._seen: dict[BackendConnection, Observation] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._clock: WatchedTime

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts the checks, if there is a limit."""
        if self._pause and self._timer is None:
            self._clock = WatchedTime(loop.time(), 2 * self._pause)
            self._timer = loop.call_later(self._pause, self._check, loop)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self._pause, self._check, loop)  # first: a mistake below must not end the looking
        self._clock.advance(loop.time())
        now = self._clock.seconds
        before, self._seen = self._seen, {}
        for connection in list(self._busy):
            call = connection.call
            if call is None or not connection.waits_for_backend():
                continue
            received = connection.received
            seen = before.get(connection)
            if seen is None or seen.call is not call or seen.received != received:
                seen = Observation(call, received, now)
            error = self._find_error(seen, now)
            if error is not None:
                connection.abort(error)
            else:
                self._seen[connection] = seen

    def _find_error(self, seen: Observation, now: float) -> BackendError | None:
        silent = now - seen.since
        if seen.received:
            return BackendIdleTimeout() if self._idle_seconds is not None and silent >= self._idle_seconds else None
        limit = self._first_byte_seconds
        return BackendFirstByteTimeout() if limit is not None and silent >= limit else None

    def __repr__(self) -> str:
        return f"<IdleTimeouts first_byte={self._first_byte_seconds} idle={self._idle_seconds} seen={len(self._seen)}>"
