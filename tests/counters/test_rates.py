"""A bucket never gives more than its burst plus rate times time, however the time is cut."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.counters.local_slots import LocalSlot
from invoke_gateway.counters.memory import MemoryCounters
from invoke_gateway.counters.rates import Bucket
from invoke_gateway.exchange import Slot
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits
from tests.support.virtual_time import VirtualLoop


def count_given(bucket: Bucket, now: float, wanted: int) -> int:
    """The tokens that a bucket gives at this moment, of so many that are wanted."""
    given = 0
    while given < wanted and bucket.has_token(now):
        bucket.take()
        given += 1
    return given


@given(rate=st.floats(0.1, 50), pauses=st.lists(st.floats(0, 3), max_size=60))
def test_a_bucket_gives_at_most_its_burst_plus_rate_times_time(rate: float, pauses: list[float]) -> None:
    bucket = Bucket(rate)
    now, admitted = 1e6, 0
    for pause in pauses:
        now += pause
        admitted += count_given(bucket, now, 3)
        assert admitted <= max(1.0, rate) + rate * (now - 1e6) + 1e-6


@given(rate=st.floats(0.1, 50), pauses=st.lists(st.floats(0, 3), max_size=20))
def test_a_bucket_is_full_again_after_the_time_of_its_burst(rate: float, pauses: list[float]) -> None:
    bucket, burst = Bucket(rate), max(1.0, rate)
    now = 0.0
    for pause in pauses:
        now += pause
        count_given(bucket, now, 1000)
    assert count_given(bucket, now + burst / rate + 1e-6, 1000) == int(burst)


def test_a_rate_of_zero_gives_nothing() -> None:
    assert count_given(Bucket(0), 1e6, 1) == 0


@pytest.mark.parametrize("rate", [0.5, 1, 2.5, 10])
def test_an_empty_bucket_has_a_token_again_after_the_time_of_one(rate: float) -> None:
    bucket = Bucket(rate)
    count_given(bucket, 100.0, 1000)
    missing = 1 - (max(1.0, rate) - int(max(1.0, rate)))  # of the next token
    assert not bucket.has_token(100.0 + missing / rate - 0.001)
    assert bucket.has_token(100.0 + missing / rate + 0.001)


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
