"""`/status`: one gateway in one document, with its problems and what to do about each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from invoke_gateway import __version__
from invoke_gateway.admin.status import MOST_FULL, list_nearly_full
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits, Limits
from tests.support.processes import wait_until
from tests.support.sockets import Gateway, calls_under_way, gateway, invoke

ACCOUNT = "000000000000"
RULES = {"unreserved_floor": 0, "requests_per_second": "off"}
ACCOUNTS: dict[str, Any] = {
    "default": {
        **RULES,
        "concurrent_executions": 10,
        "functions": {
            "hold-one": {"reserved_concurrent_executions": 1},
            "off": {"reserved_concurrent_executions": 0},
        },
    },
}
SINK = "file:///dev/full"


@pytest.fixture
def served() -> Iterator[Gateway]:
    with gateway(accounts=ACCOUNTS) as started:
        started.send(invoke("echo"))
        yield started


def status_of(served: Gateway) -> dict[str, Any]:
    answer = served.fetch("/status")
    assert (answer.status, answer.header("cache-control")) == (200, "no-store")
    document: dict[str, Any] = answer.json
    return document


def causes_of(served: Gateway) -> list[str]:
    return [problem["cause"] for problem in status_of(served)["problems"]]


def test_a_gateway_without_a_problem(served: Gateway) -> None:
    document = status_of(served)
    assert (document["version"], document["gateway"], document["ready"], document["why"]) == (
        __version__,
        None,
        True,
        None,
    )
    assert document["listen"] == str(served.server.listen)
    assert 0 <= document["uptime_seconds"] <= time.time() - document["started_at"] + 1
    assert document["backend"]["state"] == "up"
    assert document["backend"]["error"] is None
    assert document["counters"] == {"store": None}
    assert (document["settings"]["error"], document["settings"]["restart_needed"]) == (None, [])
    assert document["queue"]["waiting"] == document["queue"]["undelivered"] == 0
    assert "functions" not in document["queue"]
    assert (document["problems"], document["nearly_full"], document["refusing_now"]) == ([], [], [])
    assert (document["holds"], document["fault_scripts"], document["workers"]) == (0, 0, None)


def test_full_and_nearly_full_limits_and_what_is_refused_now_are_no_problem(served: Gateway) -> None:
    with calls_under_way(served, "hold-one", *["hold"] * 8):
        assert served.send(invoke("hold-one")).status == 429
        assert [
            (row["limit"], row["function"], row["in_use"], row["ceiling"]) for row in status_of(served)["nearly_full"]
        ] == [
            ("reserved_concurrent_executions", "hold-one", 1, 1),
            ("concurrent_executions", None, 9, 10),
            ("unreserved_concurrent_executions", None, 8, 9),
        ]
        wait_until(lambda: status_of(served)["refusing_now"], "the refusal is seen")
        (refusing,) = status_of(served)["refusing_now"]
        assert (refusing["function"], refusing["reason"]) == (
            "hold-one",
            "ReservedFunctionConcurrentInvocationLimitExceeded",
        )
        assert refusing["occupied_by"][0]["function"] == "hold-one"
        assert causes_of(served) == []
        served.release()
    served.until_idle()


def test_a_backend_that_is_down_has_its_reason_and_a_cure(served: Gateway) -> None:
    served.server.gateway.backend.record_down("The backend refused the connection.")
    (problem,) = status_of(served)["problems"]
    assert (problem["cause"], problem["detail"]) == ("backend_down", "The backend refused the connection.")
    assert "backend.url" in problem["action"]


def test_a_refused_file_and_keys_that_wait_for_a_restart_are_problems_with_their_detail(served: Gateway) -> None:
    app = served.server.gateway
    app.degraded["settings_invalid"] = app.degraded["restart_needed"] = True
    app.reload_state.record_success(["listen", "tls"])
    app.reload_state.record_refusal("gateway.yaml:3:5: accounts: must be a mapping", 2)
    document = status_of(served)
    assert {problem["cause"]: problem["detail"] for problem in document["problems"]} == {
        "settings_invalid": "gateway.yaml:3:5: accounts: must be a mapping",
        "restart_needed": "listen, tls",
    }
    assert document["settings"]["error"]["problems"] == 2
    app.reload_state.record_success()
    app.degraded["settings_invalid"] = app.degraded["restart_needed"] = False
    assert causes_of(served) == []


def test_a_draining_gateway_is_not_ready(served: Gateway) -> None:
    served.server.gateway.is_draining = True
    try:
        document = status_of(served)
    finally:
        served.server.gateway.is_draining = False
    assert (document["ready"], document["why"]) == (False, "The gateway is draining.")
    assert [problem["cause"] for problem in document["problems"]] == ["draining"]


def test_an_outcome_that_could_not_be_delivered_waits_for_an_operator() -> None:
    accounts = {"default": {**RULES, "functions": {"off": {"reserved_concurrent_executions": 0, "on_failure": SINK}}}}
    with gateway(accounts=accounts, **{"async": {"delivery_attempts": 1}}) as served:
        assert served.send(invoke("off", b"{}", "X-Amz-Invocation-Type: Event")).status == 202
        wait_until(lambda: status_of(served)["queue"]["undelivered"] == 1, "it is undelivered")
        document = status_of(served)
        (problem,) = document["problems"]
        assert (problem["cause"], problem["detail"]) == ("events_undelivered", "1 undelivered")
        assert document["queue"]["last_failed"]["end"] == "undelivered"
        assert document["queue"]["last_ended"] == document["queue"]["last_failed"] | {
            "ended_seconds_ago": document["queue"]["last_ended"]["ended_seconds_ago"]
        }


def test_where_the_backend_has_the_events_there_is_no_queue() -> None:
    with gateway(**{"async": {"mode": "forward"}}) as served:
        assert status_of(served)["queue"] is None


class Levels:
    """Counters of which a test says what is in use."""

    def __init__(self, **in_use: int) -> None:
        self._levels = in_use

    def counts(self) -> dict[str, int]:
        return dict(self._levels)

    def in_use(self, counter: str) -> int:
        return self._levels.get(counter, 0)

    def oldest_seconds(self, counter: str) -> float:
        return 0.0


def test_of_many_full_limits_the_fullest_stand_first_and_a_limit_of_0_is_none() -> None:
    functions = {f"f{number:03}": FunctionLimits(100) for number in range(100)}
    functions |= {"off": FunctionLimits(0), "free": FunctionLimits(None)}
    account = AccountLimits(ACCOUNT, 10_000, functions)
    in_use = {account.function_counter(f"f{number:03}"): number + 1 for number in range(100)}
    in_use |= {account.function_counter(name): 5 for name in ("off", "free", "unknown")}
    in_use[account.account_counter] = 7_999
    rows = list_nearly_full(Limits(account), Levels(**in_use))
    assert [row["in_use"] for row in rows] == list(range(100, 79, -1))
    assert len(rows) > MOST_FULL
    in_use[account.account_counter] = 8_000
    rows = list_nearly_full(Limits(account), Levels(**in_use))
    assert rows[-2]["limit"] == "concurrent_executions", "the larger of two that are equally full stands first"
