"""The tables that are made of the settings, and that a reload replaces them."""

from __future__ import annotations

from typing import Any

import pytest

from invoke_gateway.app.gateway import Gateway
from invoke_gateway.app.limits import make_tables
from invoke_gateway.invocation import Caller
from invoke_gateway.settings import Settings


def make_gateway(**values: Any) -> Gateway:
    return Gateway(Settings.model_validate(values), backend_url="http://127.0.0.1:9")


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


@pytest.mark.parametrize(
    ("setting", "source"), [(0, None), (2, "2"), ("cloudwatch", "cloudwatch"), ("command:cat a --b", "command")]
)
def test_the_table_has_the_source_of_outside_concurrency(setting: int | str, source: str | None) -> None:
    account = {"concurrent_executions": 200, "outside_concurrency": setting}
    assert make_gateway(accounts={"default": account}).tables.limits.default.outside_source == source


def test_a_reload_replaces_limits_and_quotas_and_leaves_everything_else() -> None:
    gateway = make_gateway()
    gateway._tables.tables = make_tables(
        Settings.model_validate(
            {
                "accounts": {"default": {"concurrent_executions": 7}},
                "quotas": {"request": 10},
                "payload_error": "as_observed",
            }
        ),
        at_start=gateway.settings,
    )
    assert gateway.tables.limits.default.concurrent_executions == 7
    quota = gateway.tables.payload_quotas._request
    assert quota.limit == 10
    assert quota.refusal.value.code == "RequestTooLargeException"


def test_a_credential_of_the_default_account_shares_its_limits_with_a_rate_of_its_own() -> None:
    accounts = {"default": {"caller_requests_per_second": 1}, "111122223333": {}}
    credentials = {"AKIADEFAULT": "default", "AKIANAMED": "111122223333"}
    limits = make_gateway(accounts=accounts, credentials=credentials).tables.limits
    assert limits.credentials == {"AKIADEFAULT": "000000000000", "AKIANAMED": "111122223333"}
    assert limits.of(limits.credentials["AKIADEFAULT"]) is limits.default
    assert limits.knows(Caller("AKIADEFAULT", limits.credentials["AKIADEFAULT"]))
