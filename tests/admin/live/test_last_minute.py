"""The last minute is the difference between two totals, of one process or of several."""

from __future__ import annotations

import random
from statistics import quantiles

import pytest

from invoke_gateway.admin.live.last_minute import (
    STEP_SECONDS,
    STEPS,
    LastMinute,
    SummedActivity,
    decode_activity,
    encode_activity,
    find_quantile,
)
from invoke_gateway.telemetry.totals import FINE_BOUNDS, DurationHistogram, Totals

ACCOUNT = "000000000000"


class Calls:
    """Totals that a test fills, and their last minute."""

    def __init__(self) -> None:
        self.time = 100.0
        self.totals = Totals()
        self.last_minute = LastMinute(self.totals, clock=lambda: self.time)

    def call(self, label: str, times: int = 1, seconds: float = 0.1, errors: int = 0) -> None:
        counts = self.totals.of(ACCOUNT, label)
        counts.invocations += times
        counts.errors += errors
        for _ in range(times):
            counts.duration.observe(seconds)

    def wait(self, steps: int) -> None:
        for _ in range(steps):
            self.time += STEP_SECONDS
            self.last_minute.sample()


def test_a_rate_is_over_the_time_since_the_start_until_a_minute_has_passed() -> None:
    calls = Calls()
    calls.call("a", 60, errors=6)
    calls.time += 20
    recent = calls.last_minute.of(ACCOUNT, "a")
    assert (recent.calls_per_second, recent.errors_per_second) == (3.0, 0.3)
    assert recent.p50_seconds == pytest.approx(0.1, rel=0.25)


def test_calls_of_more_than_a_minute_ago_do_not_count() -> None:
    calls = Calls()
    calls.call("a", 100, seconds=5.0)
    calls.wait(1)
    calls.call("a", 7, seconds=0.02)
    calls.wait(STEPS)
    recent = calls.last_minute.of(ACCOUNT, "a")
    assert recent.calls_per_second == 7 / (STEPS * STEP_SECONDS)
    assert recent.p99_seconds == pytest.approx(0.02, rel=0.25)
    calls.wait(1)
    assert calls.last_minute.of(ACCOUNT, "a") == (0.0, 0.0, None, None)
    assert list(calls.last_minute.active()) == []


def test_a_function_that_is_not_called_is_copied_once_and_not_again() -> None:
    calls = Calls()
    calls.call("a")
    calls.wait(STEPS * 2)
    calls.call("b")
    calls.wait(1)
    assert [list(changed) for _, changed in calls.last_minute._steps].count([(ACCOUNT, "b")]) == 1
    assert sum(len(changed) for _, changed in calls.last_minute._steps) == 1


def test_a_function_that_never_ran_has_no_quantiles() -> None:
    assert Calls().last_minute.of(ACCOUNT, "a") == (0.0, 0.0, None, None)


async def test_the_last_minute_of_several_processes_is_their_sum() -> None:
    one, other = Calls(), Calls()
    one.call("a", 30, seconds=0.01)
    other.call("a", 60, seconds=1.0, errors=30)
    other.call("b", 30)
    summed = SummedActivity()
    encoded = []
    for calls in (one, other):
        calls.time += 30
        encoded.append(await encode_activity(calls.last_minute))
    summed.replace((seconds, decode_activity(rows)) for seconds, rows in encoded)
    recent = summed.of(ACCOUNT, "a")
    assert (recent.calls_per_second, recent.errors_per_second) == (3.0, 1.0)
    assert recent.p50_seconds == pytest.approx(1.0, rel=0.25)
    assert summed.of(ACCOUNT, "b").calls_per_second == 1.0
    assert summed.of(ACCOUNT, "c").calls_per_second == 0.0
    summed.replace([])
    assert summed.of(ACCOUNT, "a").calls_per_second == 0.0


def test_a_quantile_is_within_a_quarter_of_the_true_one() -> None:
    rng = random.Random(7)
    for scale in (0.003, 0.05, 1.0, 40.0):
        durations = [rng.lognormvariate(0, 0.8) * scale for _ in range(5000)]
        histogram = DurationHistogram()
        for seconds in durations:
            histogram.observe(seconds)
        true = quantiles(durations, n=100)
        assert find_quantile(histogram.counts, 0.5) == pytest.approx(true[49], rel=0.25)
        assert find_quantile(histogram.counts, 0.99) == pytest.approx(true[98], rel=0.25)


def test_a_quantile_beyond_the_last_bound_is_the_bound() -> None:
    histogram = DurationHistogram()
    histogram.observe(5000)
    assert find_quantile(histogram.counts, 0.99) == FINE_BOUNDS[-1]
    assert find_quantile([0] * 10, 0.5) is None
    assert find_quantile([], 0.5) is None
