"""When asking again may help."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.policy.retry_after import as_retry_after, estimate_free_seconds, spread_seconds

seconds = st.floats(0, 10_000, allow_nan=False)


def test_what_is_left_of_the_oldest_call_is_the_estimate() -> None:
    assert estimate_free_seconds(10.0, 4.0, 5) == 6.0


def test_without_experience_the_oldest_call_may_run_as_long_again() -> None:
    assert estimate_free_seconds(None, 30.0, 1) == 30.0
    assert estimate_free_seconds(None, 0.0, 1) == 1.0


def test_with_nothing_running_there_is_nothing_to_wait_for() -> None:
    assert estimate_free_seconds(10.0, 0.0, 0) == 1.0


def test_a_call_that_is_long_overdue_is_not_expected_at_once() -> None:
    assert estimate_free_seconds(1.0, 61.0, 10) == 30.0


@given(usual=st.none() | seconds, age=seconds, in_use=st.integers(0, 1000))
def test_an_estimate_is_always_positive(usual: float | None, age: float, in_use: int) -> None:
    assert estimate_free_seconds(usual, age, in_use) > 0


@given(estimate=st.floats(0.001, 10_000), spread=st.floats(0, 1), longest=st.floats(0.1, 100))
def test_a_spread_estimate_stays_within_its_bounds(estimate: float, spread: float, longest: float) -> None:
    spread = spread_seconds(estimate, spread, longest)
    assert min(estimate * 0.75, longest) <= spread <= min(estimate * 1.5, longest)


@given(seconds)
def test_retry_after_is_a_whole_number_of_at_least_one(value: float) -> None:
    assert as_retry_after(value) >= max(1, value)
