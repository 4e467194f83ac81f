"""The arithmetic that gateways are held against."""

from __future__ import annotations

from typing import Any

import pytest

from invoke_gateway.chaos.quotas import (
    LIMITED_CALLER,
    LIMITED_FUNCTION,
    RESERVED_REASON,
    UNRESERVED_REASON,
    AccountQuota,
    Unusable,
    VersionQuota,
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


def test_the_limit_of_the_caller_is_that_of_the_function_which_it_alone_invokes() -> None:
    functions = [{"function": LIMITED_FUNCTION, "ceiling": 5, "reserved": True, "in_flight": 0}]
    for caller, ceiling, slots, reason, key in (
        (LIMITED_CALLER, 2, 2, UNRESERVED_REASON, LIMITED_CALLER),
        (LIMITED_CALLER, 5, 5, RESERVED_REASON, None),  # the reservation refuses
        ("AKIAOTHER", 2, 5, RESERVED_REASON, None),
    ):
        rows = [{"caller": caller, "ceiling": ceiling, "in_flight": 0}]
        (account,) = read_accounts(described(functions=functions, callers=rows))
        pool, limited = account.lanes
        assert pool.ceiling == 15
        assert (limited.ceiling, limited.reason, limited.caller) == (slots, reason, key)


PROVISIONED = AccountQuota(
    "1",
    20,
    {"checkout": 5, "report": 4},
    {
        "checkout": VersionQuota("7", 2, ("live",), others=1),
        "report": VersionQuota(None, 1, ("blue",)),
        "idle": VersionQuota("1", 3),
    },
)


def test_a_version_spills_over_and_its_idle_slots_are_lent_to_nobody() -> None:
    pool, checkout, report = PROVISIONED.lanes
    assert pool.ceiling == 20 - 5 - 4 - 3
    assert (checkout.functions, checkout.ceiling) == (("checkout:7", "checkout:live"), 5 - 1)
    assert (report.functions, report.ceiling) == (("report",), 4 - 1)
    assert checkout.least_seconds > 0.1, "ten requests a second of each slot: else calls spill over from free slots"


def describe_version(name: str, slots: int, *aliases: str, ready: int | None = None) -> dict[str, Any]:
    return {"version": name, "aliases": list(aliases), "requested": slots, "ceiling": slots if ready is None else ready}


def test_provisioned_versions_are_read_from_limits() -> None:
    functions = [
        {
            "function": "checkout",
            "ceiling": 5,
            "reserved": True,
            "provisioned": [describe_version("blue", 1), describe_version("7", 2, "live")],
        },
        {"function": "report", "ceiling": 4, "reserved": True, "provisioned": [describe_version("blue", 1)]},
        {"function": "idle", "ceiling": 11, "reserved": False, "provisioned": [describe_version("1", 3)]},
    ]
    changes = {"account": "1", "functions": functions, "unreserved": {"ceiling": 8, "in_flight": 0}}
    assert read_accounts(described(**changes)) == [PROVISIONED]
    functions[2]["provisioned"] = [describe_version("1", 3, ready=0)]
    with pytest.raises(Unusable, match="is being allocated"):
        read_accounts(described(**changes))


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
