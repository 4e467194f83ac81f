"""How reservations divide an account."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.policy.reservations import (
    default_unreserved_floor,
    find_floor_violation,
    unreserved_concurrent_executions,
)

SLOTS = st.integers(0, 5000)


def test_what_is_not_reserved_is_shared() -> None:
    assert unreserved_concurrent_executions(1000, [50, 0, 200]) == 750


@pytest.mark.parametrize(("concurrent_executions", "floor"), [(0, 0), (10, 0), (100, 0), (101, 100), (1000, 100)])
def test_accounts_of_at_most_a_hundred_slots_have_no_floor_of_their_own(concurrent_executions: int, floor: int) -> None:
    assert default_unreserved_floor(concurrent_executions) == floor


def test_the_floor_is_reached_exactly_by_what_aws_still_accepts() -> None:
    assert find_floor_violation(1000, [900]) is None
    assert find_floor_violation(1000, [901]) == (
        "Specified ReservedConcurrentExecutions for function decreases account's "
        "UnreservedConcurrentExecution below its minimum value of [100]."
    )


def test_the_sentence_names_the_floor_that_is_set() -> None:
    sentence = find_floor_violation(50, [45], floor=10)
    assert sentence is not None
    assert sentence.endswith("minimum value of [10].")


def test_a_floor_above_the_account_is_refused_without_any_reservation() -> None:
    assert find_floor_violation(50, [], floor=51) is not None


@given(SLOTS, st.lists(SLOTS), SLOTS)
def test_accepted_reservations_always_leave_the_floor(
    concurrent_executions: int, reservations: list[int], floor: int
) -> None:
    accepted = find_floor_violation(concurrent_executions, reservations, floor) is None
    assert accepted == (concurrent_executions - sum(reservations) >= floor)


@given(SLOTS, st.lists(SLOTS))
def test_more_than_the_account_can_never_be_reserved(concurrent_executions: int, reservations: list[int]) -> None:
    if find_floor_violation(concurrent_executions, reservations) is None:
        assert sum(reservations) <= concurrent_executions
