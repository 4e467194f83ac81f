"""How late the event loop is: every request waits so long, whoever it is that keeps the loop busy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from .totals import Histogram

# Often enough to meet a pause that matters, seldom enough to cost nothing.
PAUSE_SECONDS = 0.1


async def keep_measuring_lag(
    lag: Histogram, *, pause: float = PAUSE_SECONDS, clock: Callable[[], float] = monotonic
) -> None:
    """Observe, for as long as the server runs, by how many seconds each wake-up came too late. The clock is not the
    loop's own, which stands still while the loop is busy."""
    while True:
        due = clock() + pause
        await asyncio.sleep(pause)
        lag.observe(max(0.0, clock() - due))  # a timer counts whole milliseconds and may come early
