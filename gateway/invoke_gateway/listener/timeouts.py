"""Checks all open connections at once, in place of a timer for each request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ..watched_time import WatchedTime
from .protocol import InvokeProtocol


def close_stalled(connections: Iterable[InvokeProtocol], now: float, watched: float, limit_seconds: float) -> None:
    """Closes connections that have idled too long, and cuts those whose client made no step for `limit_seconds`.

    now: the event loop's time, by which a connection has idled
    watched: the seconds in which this process could read, by which a client is slow
    """
    for connection in list(connections):
        waiting = connection.waits_for_client()
        if connection.has_idled(now):
            connection.close()
        elif waiting is None:
            connection.stalled_at = None
        elif connection.stalled_at is None or waiting != connection.stalled_step:
            connection.stalled_at = watched
        elif watched - connection.stalled_at > limit_seconds:
            connection.cut(limit_seconds)
        connection.stalled_step = waiting


async def enforce_timeouts(connections: set[InvokeProtocol], limit_seconds: float, keep_alive_seconds: float) -> None:
    """Checks the connections as long as the server runs, several times in the shorter of the two times.

    A process that stood still has read nothing meanwhile, so that time is not its clients'. What they sent is read
    before the next check.
    """
    loop = asyncio.get_running_loop()
    pause = min(max(min(limit_seconds / 8, keep_alive_seconds / 4), 0.05), 5)
    clock = WatchedTime(loop.time(), 2 * pause)
    while True:
        await asyncio.sleep(pause)
        now = loop.time()
        stood_still = clock.advance(now)
        close_stalled(connections, now - stood_still, clock.seconds, limit_seconds)
