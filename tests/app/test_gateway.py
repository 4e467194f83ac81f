"""The chain as a whole: what stands in it, in which order, and that two gateways share nothing."""

from __future__ import annotations

from typing import Any

import pytest

from invoke_gateway.app.gateway import Gateway
from invoke_gateway.settings import Settings


def make_gateway(**values: Any) -> Gateway:
    return Gateway(Settings.model_validate(values), backend_url="http://127.0.0.1:9")


def test_the_chain_runs_in_this_order() -> None:
    assert [stage.func.__name__ for stage in make_gateway().stages] == [
        "Record",
        "ErrorResponse",
        "Identify",
        "Authenticate",
        "Recursion",
        "CheckLength",
        "Precheck",
        "ReadPayload",
        "Handoff",
        "Admission",
    ]


def test_fault_scripts_are_no_part_of_it_unless_they_are_switched_on() -> None:
    without = [stage.func for stage in make_gateway(faults=False).stages]
    with_scripts = [stage.func.__name__ for stage in make_gateway(faults=True).stages]
    at = with_scripts.index("FaultInjection")
    assert with_scripts[at - 1 : at + 2] == ["Recursion", "FaultInjection", "CheckLength"]
    assert with_scripts[:at] + with_scripts[at + 1 :] == [stage.__name__ for stage in without]


@pytest.mark.parametrize(("faults", "last"), [(False, "Forward"), (True, "InjectedDelay")])
def test_what_stands_behind_admission_is_what_events_go_to_as_well(faults: bool, last: str) -> None:
    gateway = make_gateway(faults=faults)
    (handoff,) = [stage for stage in gateway.stages if stage.func.__name__ == "Handoff"]
    stage: Any = gateway.invoke
    while hasattr(stage, "app") and type(stage).__name__ != "InjectedDelay":
        stage = stage.app
    assert stage is handoff.keywords["unadmitted"]
    assert type(stage).__name__ == last


def test_two_gateways_in_one_process_share_nothing() -> None:
    first, second = make_gateway(), make_gateway()
    for name in ("counters", "totals", "buffers", "pool", "tables", "collector"):
        assert getattr(first, name) is not getattr(second, name)


@pytest.mark.parametrize(
    ("rate", "slots", "expected"), [("auto", 10, 100.0), ("auto", 0, None), ("off", 10, None), (2.5, 10, 2.5)]
)
def test_the_accounts_rate_is_ten_a_second_per_slot_unless_it_is_set(
    rate: str | float, slots: int, expected: float | None
) -> None:
    gateway = make_gateway(accounts={"default": {"concurrent_executions": slots, "requests_per_second": rate}})
    assert gateway.tables.limits.default.requests_per_second == expected


def test_a_reservation_has_a_rate_of_its_own_and_other_functions_have_none() -> None:
    functions = {"checkout": {"reserved_concurrent_executions": 5}, "plain": {}, "zero": {"requests_per_second": 7.0}}
    gateway = make_gateway(accounts={"default": {"functions": functions}})
    rates = {name: limits.requests_per_second for name, limits in gateway.tables.limits.default.functions.items()}
    assert rates == {"checkout": 50.0, "plain": None, "zero": 7.0}


def test_functions_that_may_loop_are_in_the_table_and_equal_limits_are_one_object() -> None:
    """A million functions have few distinct limits."""
    functions: dict[str, dict[str, Any]] = {f"f{number}": {} for number in range(100)}
    functions |= {f"g{number}": {"recursive_loop": "Allow"} for number in range(100)}
    limits = make_gateway(accounts={"default": {"functions": functions}}).tables.limits.default
    assert [name for name in [*functions, "unnamed"] if limits.may_recurse(name)] == [f"g{n}" for n in range(100)]
    assert len({id(each) for each in limits.functions.values()}) == 2
    assert limits.plan("g1").lanes == limits.plan("f1").lanes == limits.plan("unnamed").lanes


def test_a_reload_replaces_limits_and_quotas_and_leaves_everything_else() -> None:
    gateway = make_gateway()
    gateway.tables = gateway.make_tables(
        Settings.model_validate(
            {
                "accounts": {"default": {"concurrent_executions": 7}},
                "quotas": {"request": 10},
                "payload_error": "as_observed",
            }
        )
    )
    assert gateway.tables.limits.default.concurrent_executions == 7
    quota = gateway.tables.payload_quotas._request
    assert quota.limit == 10
    assert quota.refusal.value.code == "RequestTooLargeException"
