"""A bucket never gives more than its burst plus rate times time, however the time is cut."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.counters.buckets import Bucket
from invoke_gateway.counters.local_slots import LocalSlot
from invoke_gateway.counters.memory import MemoryCounters
from invoke_gateway.exchange import Slot
from invoke_gateway.policy.concurrency import Claim, Lane, Plan, RateClaim
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits
from invoke_gateway.refusals import Refusal
from tests.support.virtual_time import VirtualLoop


class Loop:
    """The part of an event loop that a limiter asks for the time."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def is_closed(self) -> bool:
        return False


def run(coroutine: Any) -> Any:
    """The result of a coroutine that does not wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waited")


@given(rate=st.floats(0.1, 50), pauses=st.lists(st.floats(0, 3), max_size=60))
def test_a_bucket_gives_at_most_its_burst_plus_rate_times_time(rate: float, pauses: list[float]) -> None:
    loop = Loop()
    counters = MemoryCounters()
    claim = RateClaim("bucket", rate, Refusal.FUNCTION_RATE, "rate")
    counters._rates._buckets["bucket"] = bucket = Bucket(rate)
    bucket._event_loop = loop  # only its time is asked for
    plan = Plan("a", "f", "f", (Lane("only", (Claim("slots", 1000, Refusal.CONCURRENCY, "slots"),)),), (claim,))
    admitted = 0
    for pause in pauses:
        loop.now += pause
        for _ in range(3):
            admitted += isinstance(run(counters.acquire(plan)), LocalSlot)
        assert admitted <= max(1.0, rate) + rate * loop.now + 1e-6


@given(
    steps=st.lists(
        st.tuples(st.sampled_from([0.0, 0.3, 4.0, 20.0, 61.0, 125.0]), st.integers(0, 8), st.integers(0, 8)),
        max_size=25,
    )
)
def test_a_function_grows_by_at_most_its_scaling_rate(steps: list[tuple[float, int, int]]) -> None:
    """Its level is never above that of the last minutes plus what may be gained, saved allowance included."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)

    async def play() -> None:
        counters = MemoryCounters(loop.time)
        plan = AccountLimits("a", 1000, {"f": FunctionLimits(None, scaling_rate=5.0)}).plan("f")
        running: list[Slot] = []
        levels: list[tuple[float, int]] = [(0.0, 0)]
        for pause, calls, ends in steps:
            await asyncio.sleep(pause)
            for _ in range(min(ends, len(running))):
                running.pop().release()
            levels.append((loop.time(), len(running)))
            for _ in range(calls):
                taken = await counters.acquire(plan)
                assert isinstance(taken, LocalSlot) or taken.claim.limit == "scaling_rate"
                if isinstance(taken, LocalSlot):
                    running.append(taken)
                    levels.append((loop.time(), len(running)))
            level = len(running)
            for seconds in (0.001, 1.0, 10.0):
                start = loop.time() - seconds
                before = [at for at, _ in levels if at <= start]
                if before:
                    since = max((at for at in before if at <= start - 120), default=0.0)
                    warm = max(level for at, level in levels if since <= at <= start)
                    assert level <= warm + 5 + seconds * 0.5 + 1e-6
        for slot in running:
            slot.release()

    loop.run_until_complete(play())
    loop.close()
