"""A bucket never gives more than its burst plus rate times time, however the time is cut."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.counters.local_slots import LocalSlot
from invoke_gateway.counters.memory import MemoryCounters
from invoke_gateway.counters.rates import Bucket
from invoke_gateway.policy.concurrency import Claim, Lane, Plan, RateClaim
from invoke_gateway.refusals import Refusal


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
