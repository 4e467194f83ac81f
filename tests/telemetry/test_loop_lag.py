"""How late the event loop wakes, by a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count

from invoke_gateway.telemetry.loop_lag import keep_measuring_loop_lag
from invoke_gateway.telemetry.totals import Histogram
from tests.support.gateways import eventually


async def measured(clock: Iterator[float]) -> Histogram:
    """What at least two wake-ups observe, the clock being read before and after each."""
    lag = Histogram((0.1, 1.0))
    task = asyncio.create_task(keep_measuring_loop_lag(lag, pause=0, clock=clock.__next__))
    await eventually(lambda: sum(lag.counts) >= 2, "two wake-ups")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    return lag


async def test_every_wake_up_tells_how_late_it_was() -> None:
    lag = await measured(count(0.0, 0.5))
    assert (lag.counts[0], lag.counts[2]) == (0, 0)
    assert lag.sum == 0.5 * lag.counts[1]


async def test_a_timer_that_comes_early_is_not_late() -> None:
    lag = await measured(count(0.0, -0.001))
    assert (lag.counts[1:], lag.sum) == ([0, 0], 0.0)
