"""The arithmetic that gateways are held against."""

from __future__ import annotations

from typing import Any

import pytest

from invoke_gateway.chaos.quotas import (
    RESERVED_REASON,
    UNRESERVED_REASON,
    AccountQuota,
    Unusable,
    count_in_flight,
    read_accounts,
)


def described(**changes: Any) -> dict[str, Any]:
    functions = [
        {"function": "checkout", "ceiling": 5, "reserved": True, "in_flight": 1},
        {"function": "other", "ceiling": 15, "reserved": False, "in_flight": 2},
    ]
    account = {
        "account": "000000000000",
        "concurrent_executions": 20,
        "in_flight": 3,
        "unreserved": {"ceiling": 15, "in_flight": 2},
        "functions": functions,
    }
    return {"accounts": [account | changes]}


def test_the_pool_is_what_reservations_leave_and_each_lane_has_its_reason() -> None:
    pool, checkout = AccountQuota("1", 20, {"checkout": 5}).lanes
    assert (pool.ceiling, pool.reason) == (15, UNRESERVED_REASON)
    assert (checkout.ceiling, checkout.reason, checkout.functions) == (5, RESERVED_REASON, ("checkout",))


def test_accounts_are_read_from_limits_with_reserved_functions_only() -> None:
    assert read_accounts(described()) == [AccountQuota("000000000000", 20, {"checkout": 5})]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"unreserved": {"ceiling": 16, "in_flight": 0}}, "contradicts itself"),
        ({"functions_left_out": 3}, "does not list all functions"),
        ({"concurrent_executions": 5000, "unreserved": {"ceiling": 4995, "in_flight": 0}}, "5000 slots"),
    ],
)
def test_limits_that_cannot_be_judged_say_why(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(Unusable, match=text):
        read_accounts(described(**changes))


def test_in_flight_is_the_most_that_any_row_shows() -> None:
    assert count_in_flight(described()) == 3
    assert count_in_flight(described(in_flight=0)) == 3
    assert count_in_flight(described(in_flight=9)) == 9
