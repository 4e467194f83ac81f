"""How late this process was, and since when."""

from __future__ import annotations

import asyncio
import threading

import pytest

from invoke_gateway.chaos.scheduler_lag import TICK_SECONDS, SchedulerLag, Ticks
from tests.support.gateways import eventually


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


def test_the_time_that_was_lost_is_the_sum_of_the_lags_above_the_limit() -> None:
    ticks = Ticks(0.0, limit=0.2)
    for came in (0.55, 0.7, 1.25, 1.3):  # due at 0.05, 0.6, 0.75 and 1.3
        ticks.tick(came)
    assert ticks.sum_between(0.0, 2.0, 1.3) == pytest.approx(1.0)
    assert ticks.sum_between(0.3, 1.0, 1.3) == pytest.approx(0.5), "only what lies between"
    assert ticks.sum_between(0.0, 3.0, 2.35) == pytest.approx(2.0), "one that has not come"


class SteppedClock:
    """Moves on by `step` only, which blocks until the thread of a `SchedulerLag` has ticked at the new time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._is_read = threading.Event()

    def __call__(self) -> float:
        if threading.current_thread().name == "lag":
            self._is_read.set()
        return self.now

    def step(self, seconds: float) -> None:
        self.now += seconds
        for _ in range(2):  # with the second look, the tick of the first is over
            self._is_read.clear()
            assert self._is_read.wait(60)


async def test_an_event_loop_that_is_blocked_is_seen_and_the_thread_goes_on() -> None:
    clock = SteppedClock()
    async with SchedulerLag(0.2, clock) as lag:
        await asyncio.sleep(0)
        for _ in range(3):
            clock.step(0.2)
        assert lag.overloaded_since(clock.now) > 0.2, "before anything else ran"
        await eventually(lambda: lag.longest[0] > 0.2, "the event loop's tick has come")
        assert lag.overloaded_since(clock.now - 0.3) > 0.2
    loop, thread = lag.longest
    assert thread < 0.2 < loop
