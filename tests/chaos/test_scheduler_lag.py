"""How late this process was, and since when."""

from __future__ import annotations

import asyncio
import time

from invoke_gateway.chaos.scheduler_lag import TICK_SECONDS, SchedulerLag, Ticks


def test_a_tick_that_came_too_late_counts_for_what_was_under_way_then_and_not_for_what_began_after() -> None:
    ticks = Ticks(0.0, limit=0.2)
    ticks.tick(TICK_SECONDS + 0.8)
    ticks.tick(2 * TICK_SECONDS + 0.9)
    assert ticks.longest == 0.8
    assert ticks.longest_since(0.5, 1.0) == 0.8
    assert ticks.longest_since(0.9, 1.0) == 0.0


def test_a_lag_within_the_limit_explains_nothing() -> None:
    ticks = Ticks(0.0, limit=0.2)
    ticks.tick(TICK_SECONDS + 0.2)
    assert ticks.longest_since(0.0, 0.3) == 0.0
    assert ticks.longest == 0.2


def test_a_tick_that_is_overdue_counts_before_it_has_come() -> None:
    ticks = Ticks(0.0, limit=0.2)
    assert ticks.longest_since(0.0, TICK_SECONDS + 0.5) == 0.5


async def test_an_event_loop_that_is_blocked_is_seen_and_the_thread_goes_on() -> None:
    async with SchedulerLag(0.2) as lag:
        await asyncio.sleep(0)
        time.sleep(0.5)  # noqa: ASYNC251 - blocking the loop is what is measured
        assert lag.overloaded_since(time.monotonic()) > 0.2, "before anything else ran"
        await asyncio.sleep(2 * TICK_SECONDS)
        began = time.monotonic()
        assert lag.overloaded_since(began - 0.3) > 0.2
    loop, thread = lag.longest
    assert loop > 0.2
    assert thread < loop
