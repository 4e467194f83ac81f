"""Measures the lag of the event loop: every request waits that long, whatever keeps the loop busy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from .totals import Histogram

# Short enough to meet a pause that matters, long enough to cost nothing.
PAUSE_SECONDS = 0.1


async def keep_measuring_loop_lag(
    loop_lag: Histogram, *, pause: float = PAUSE_SECONDS, clock: Callable[[], float] = monotonic
) -> None:
    """Observes, until cancelled, the seconds by which each wake-up came too late. `clock` is not the loop's own, which
    stops while the loop is busy."""
    while True:
        due = clock() + pause
        await asyncio.sleep(pause)
        loop_lag.observe(max(0.0, clock() - due))  # a timer counts whole milliseconds and may come early
