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


def test_the_longest_calm_lies_between_lags_above_the_limit() -> None:
    now = 0.0
    lag = SchedulerLag(0.2, lambda: now)
    for now in (0.05, 0.9, 0.95):  # late from 0.1 to 0.9
        lag._loop_ticks.tick(now)
    for now in (0.05, 0.1, 0.15, 0.2, 1.45):  # late from 0.25 to 1.45
        lag._thread_ticks.tick(now)
    lag._loop_ticks.tick(1.0)
    assert lag.longest_calm(0.0, 1.4) == pytest.approx(0.1)
    assert lag.longest_calm(0.0, 2.0) == pytest.approx(0.55)
    assert lag.longest_calm(1.45, 1.6) == pytest.approx(0.15)


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
