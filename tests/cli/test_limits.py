"""`limits`: its table, its JSON, and what it prints when there is no gateway."""

import json
from typing import Any

import pytest
from rich.console import Console

from invoke_gateway.cli.limits import render
from tests.cli.commands import admin, invoke

LIMITS: dict[str, Any] = {
    "accounts": [
        {
            "account": "000000000000",
            "concurrent_executions": 10,
            "in_flight": 3,
            "unreserved": {"ceiling": 8, "in_flight": 1},
            "throttles": {"ConcurrentInvocationLimitExceeded": 4},
            "functions": [
                {
                    "function": "checkout",
                    "in_flight": 2,
                    "ceiling": 2,
                    "reserved": True,
                    "set_by": "API",
                    "oldest_seconds": 1.2,
                    "throttles": {"ReservedFunctionConcurrentInvocationLimitExceeded": 3},
                    "provisioned": [
                        {"version": "7", "aliases": ["live"], "requested": 1, "ceiling": 1, "in_flight": 1},
                        {"version": "8", "aliases": [], "requested": 1, "ceiling": 0, "in_flight": 0},
                    ],
                },
                {"function": "[red]x[/red]", "in_flight": 1, "ceiling": 8, "reserved": False, "throttles": {}},
            ],
            "functions_left_out": 7,
            "callers": [
                {"caller": "arn:aws:iam::1:user/[red]", "in_flight": 2, "ceiling": 2, "oldest_seconds": 1.2},
                {"caller": "AKIA", "in_flight": 0, "ceiling": 0, "oldest_seconds": 0},
            ],
            "callers_left_out": 5,
        }
    ],
    "draining": False,
}


def test_limits_shows_account_pool_and_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # which a local gateway is never asked through
    with admin(json.dumps(LIMITS)) as address:
        result = invoke("limits", "--admin", address, "--once")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.output.splitlines()]
    assert ["000000000000", "all", "3", "10", "ConcurrentInvocationLimitExceeded", "4"] in rows
    assert ["unreserved", "1", "8"] in rows
    checkout = ["checkout", "2", "2", "API", "1.2", "s", "ReservedFunctionConcurrentInvocationLimitExceeded", "3"]
    assert rows[rows.index(checkout) + 1 :][:2] == [
        ["provisioned:", "7", "(live)", "1", "1"],
        ["provisioned:", "8", "0", "0"],
    ]
    assert ["[red]x[/red]", "1", "8", "shared"] in rows
    assert ["and", "7", "more"] in rows
    assert ["caller:", "arn:aws:iam::1:user/[red]", "2", "2", "1.2", "s"] in rows
    assert ["caller:", "AKIA", "0", "0"] in rows
    assert ["and", "5", "more", "callers"] in rows


def test_slots_of_callers_beside_the_gateway_have_a_row() -> None:
    account = {**LIMITS["accounts"][0], "outside_concurrency": 4}
    with admin(json.dumps({**LIMITS, "accounts": [account]})) as address:
        result = invoke("limits", "--admin", address, "--once")
    assert ["outside", "the", "gateway", "4"] in [line.split() for line in result.output.splitlines()]


def test_a_full_lane_stands_out() -> None:
    console = Console(width=160, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(render(LIMITS))
    (checkout,) = [line for line in capture.get().splitlines() if "checkout" in line]
    (unreserved,) = [line for line in capture.get().splitlines() if "unreserved" in line]
    assert "\x1b[1;31m" in checkout
    assert "\x1b[1;31m" not in unreserved


def test_slots_held_on_purpose_are_marked() -> None:
    row = {"function": "checkout", "in_flight": 3, "holds": 2, "ceiling": 3}
    account = {"account": "000000000000", "in_flight": 4, "holds": 2, "concurrent_executions": 10, "functions": [row]}
    console = Console(width=160)
    with console.capture() as capture:
        console.print(render({"accounts": [account]}))
    rows = [line.split() for line in capture.get().splitlines()]
    assert ["000000000000", "all", "4", "(2", "held)", "10"] in rows
    assert ["checkout", "3", "(2", "held)", "3"] in rows


def render_shared(**shared: object) -> str:
    """The table of a gateway that has two of three calls."""
    row = {"function": "checkout", "in_flight": 3, "in_flight_here": 2, "ceiling": 3, "oldest_seconds": 1.5}
    other = {"function": "search", "in_flight": 1, "in_flight_here": 0, "ceiling": 9, "oldest_seconds": 0.0}
    account = {
        "account": "000000000000",
        "concurrent_executions": 10,
        "in_flight": 4,
        "in_flight_here": 2,
        "functions": [row, other],
    }
    described = {"gateway": "g-7f3a2b1c", "gateways": 3, "sums_age_seconds": 0.01, "trouble": None, **shared}
    console = Console(width=160)
    with console.capture() as capture:
        console.print(render({"accounts": [account], "shared": described}))
    return capture.get()


def test_of_shared_counters_the_table_has_the_calls_of_all_gateways_and_those_here() -> None:
    rows = [line.split() for line in render_shared().splitlines()]
    assert rows[1][:8] == ["account", "function", "in", "flight", "here", "ceiling", "set", "by"]
    assert ["000000000000", "all", "4", "2", "10"] in rows
    assert ["checkout", "3", "2", "3", "1.5", "s"] in rows
    assert ["search", "1", "0", "9"] in rows  # the age of a call elsewhere is not known here


def test_of_shared_counters_the_table_says_whose_calls_they_are() -> None:
    text = render_shared()
    assert "3 gateways share these counters; here 2 of 4" in text
    assert "ages and throttles are of this gateway, g-7f3a2b1c" in text
    assert "other gateways share these counters; here 2 of 4" in render_shared(gateways=1)
    workers = "3 processes share these counters, 2 of them workers of this gateway; here 2 of 4"
    assert workers in render_shared(workers=2)
    alone = {"accounts": [], "shared": {"gateway": "g-7f3a2b1c", "gateways": 1, "sums_age_seconds": 0.0}}
    console = Console(width=160)
    with console.capture() as capture:
        console.print(render(alone))
    assert "no other gateway shares these counters now; here 0 of 0" in capture.get()


def test_of_shared_counters_the_table_says_what_is_wrong_with_the_store() -> None:
    trouble = "The shared counters do not answer: no answer within 0.25 s."
    assert trouble in render_shared(trouble=trouble)
    assert "the calls of other gateways are 75 s old" in render_shared(sums_age_seconds=75.2)
    assert "the calls of other gateways are not known yet" in render_shared(sums_age_seconds=None)
    assert not any(words in render_shared() for words in (trouble, "ago", "not said"))


def test_draining_is_said_above_the_table() -> None:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(render({"accounts": [], "draining": True}))
    assert "draining: no new calls are admitted" in capture.get()


def test_limits_as_json_is_the_gateways_answer() -> None:
    with admin(json.dumps(LIMITS)) as address:
        result = invoke("limits", "--json", ADMIN=address)
    assert json.loads(result.output) == LIMITS


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ("{}", 200, "answered something else: is this the admin listener?"),
        ("<html>", 200, "answered something else"),
        ("{}", 404, "answered 404: is this the admin listener?"),
    ],
)
def test_an_answer_of_something_else_is_said_and_exits_with_1(answer: str, status: int, words: str) -> None:
    with admin(answer, status) as address:
        result = invoke("limits", "--admin", address)
    assert result.exit_code == 1
    assert words in result.stderr


def test_no_gateway_is_said_and_exits_with_1() -> None:
    with admin("{}") as address:
        pass  # closed again: nothing listens there now
    result = invoke("limits", "--admin", address)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"invoke-gateway: no gateway answers at {address}")


def test_a_wrong_admin_address_exits_with_2() -> None:
    result = invoke("limits", "--admin", "nowhere")
    assert result.exit_code == 2
    assert "must be host:port" in result.stderr
