"""The document of /limits: what is in force, what runs, what was refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from invoke_gateway.admin.holds import ActiveHold, HoldRequest
from tests.support.sockets import PATIENCE, Gateway, calls_under_way, gateway, invoke

NAMED = "111122223333"
ACCOUNTS: dict[str, Any] = {
    "default": {
        "concurrent_executions": 10,
        "functions": {
            "closed": {"reserved_concurrent_executions": 0},
            "hold-reserved": {"reserved_concurrent_executions": 2},
            "rated": {"requests_per_second": 100},
        },
    },
    NAMED: {"concurrent_executions": 5},
}


def take_hold(served: Gateway, wanted: HoldRequest) -> None:
    holds = served.server.gateway.holds
    taken = asyncio.run_coroutine_threadsafe(holds.take(wanted), served._loop).result(PATIENCE)
    assert isinstance(taken, ActiveHold), taken


@pytest.fixture
def served() -> Iterator[Gateway]:
    with gateway(accounts=ACCOUNTS) as started:
        yield started


def test_at_rest_it_shows_the_settings_in_their_order(served: Gateway) -> None:
    default, named = served.fetch("/limits").json["accounts"]
    assert default["account"] == "000000000000"
    assert (default["concurrent_executions"], default["in_flight"]) == (10, 0)
    assert default["unreserved"] == {"ceiling": 8, "in_flight": 0, "holds": 0}
    assert default["throttles"] == {}
    assert [(row["function"], row["ceiling"], row["reserved"]) for row in default["functions"]] == [
        ("closed", 0, True),
        ("hold-reserved", 2, True),
        ("rated", 8, False),
    ]
    assert (named["account"], named["functions"], named["functions_left_out"]) == (NAMED, [], 0)


def test_what_runs_is_shown_busiest_first_with_the_age_of_its_oldest_call(served: Gateway) -> None:
    """Also functions that the settings do not name."""
    names = ("hold-a", "hold-reserved", "hold-reserved", "hold-a", "hold-a")
    with calls_under_way(served, *names):
        served.send(invoke("hold-reserved"))
        served.send(invoke("closed"))
        (default, _) = served.fetch("/limits").json["accounts"]
        (few, _) = served.fetch("/limits?functions=1").json["accounts"]
    assert ([row["function"] for row in few["functions"]], few["functions_left_out"]) == (["hold-a"], 3)
    assert (default["in_flight"], default["unreserved"]["in_flight"]) == (5, 3)
    reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert default["throttles"] == {reason: 2}
    rows = {row["function"]: row for row in default["functions"]}
    assert list(rows) == ["hold-a", "hold-reserved", "closed", "rated"]
    assert rows["hold-a"].pop("oldest_seconds") >= 0
    assert rows["hold-a"] == {
        "function": "hold-a",
        "in_flight": 3,
        "holds": 0,
        "ceiling": 8,
        "reserved": False,
        "set_by": "default",
        "throttles": {},
    }
    assert rows["hold-reserved"]["throttles"] == {reason: 1}
    served.until_idle()
    (default, _) = served.fetch("/limits").json["accounts"]
    assert "hold-a" not in [row["function"] for row in default["functions"]]


def test_slots_held_on_purpose_are_in_flight_and_also_counted_apart(served: Gateway) -> None:
    """Of the account, of its pool and of each function; beside calls of the same function."""
    with calls_under_way(served, "hold-a"):
        for wanted in (
            HoldRequest("hold-a", 2),
            HoldRequest("hold-reserved", 1),
            HoldRequest(None, 3),
            HoldRequest("x", 1, 30, NAMED),
        ):
            take_hold(served, wanted)
        default, named = served.fetch("/limits").json["accounts"]
    assert (default["in_flight"], default["holds"]) == (7, 6)
    assert default["unreserved"] == {"ceiling": 8, "in_flight": 6, "holds": 5}
    rows = {row["function"]: (row["in_flight"], row["holds"]) for row in default["functions"]}
    assert rows == {"hold-a": (3, 2), "hold-reserved": (1, 1), "closed": (0, 0), "rated": (0, 0)}
    assert (named["in_flight"], named["holds"], named["functions"][0]["holds"]) == (1, 1, 1)


@pytest.mark.parametrize(("rows", "shown", "left_out"), [(0, [], 3), (2, ["closed", "hold-reserved"], 1)])
def test_no_more_functions_are_shown_than_were_asked_for(
    served: Gateway, rows: int, shown: list[str], left_out: int
) -> None:
    """And it says how many are not."""
    (default, _) = served.fetch(f"/limits?functions={rows}").json["accounts"]
    assert [row["function"] for row in default["functions"]] == shown
    assert default["functions_left_out"] == left_out


def test_a_reload_is_shown_at_once(served: Gateway) -> None:
    served.reload(accounts={"default": {"concurrent_executions": 20}})
    default, *others = served.fetch("/limits").json["accounts"]
    assert (default["concurrent_executions"], default["functions"], others) == (20, [], [])
