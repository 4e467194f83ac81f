"""Calls of provisioned versions, through a gateway whose provisioned concurrency was set by Lambda's operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.control.conftest import ACCOUNT
from tests.support.lambda_backend import ControlGateway, LambdaBackend, control_gateway
from tests.support.sockets import calls_under_way, invoke

HOLD = {"FunctionName": "hold"}
RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"
UNRESERVED = "ConcurrentInvocationLimitExceeded"
LABELS = '{account="000000000000",function="hold"}'


@pytest.fixture
def served() -> Iterator[ControlGateway]:
    """A gateway before a backend with the versions 1 and 2 of `hold`, and two aliases of version 1."""
    backend = LambdaBackend("hold")
    backend.functions["hold"] = ["1", "2"]
    backend.aliases["hold", "prod"] = ("1", {})
    backend.aliases["hold", "same"] = ("1", {})
    with control_gateway(backend, accounts={"default": ACCOUNT}) as started:
        yield started


@pytest.fixture
def client(served: ControlGateway) -> Iterator[Any]:
    with closing(served.boto3()) as made:
        yield made


def put(client: Any, qualifier: str, slots: int) -> None:
    client.put_provisioned_concurrency_config(**HOLD, Qualifier=qualifier, ProvisionedConcurrentExecutions=slots)


def describe(served: ControlGateway) -> dict[str, Any]:
    (account,) = served.fetch("/limits").json["accounts"]
    return next(row for row in account["functions"] if row["function"] == "hold")


def count(served: ControlGateway) -> tuple[float, float]:
    """Returns the provisioned invocations and the spill-over invocations."""
    metrics = served.metrics()
    names = ("provisioned_concurrency_invocations_total", "provisioned_concurrency_spillover_invocations_total")
    first, second = (metrics.get(name + LABELS, 0.0) for name in names)
    return first, second


def test_calls_spill_over_into_what_the_reservation_has_left(served: ControlGateway, client: Any) -> None:
    client.put_function_concurrency(**HOLD, ReservedConcurrentExecutions=3)
    put(client, "prod", 2)
    before = count(served)
    with calls_under_way(served, "hold:prod", "hold:1", "hold:prod"):
        refused = served.send(invoke("hold:prod"))
        assert (refused.status, refused.json["Reason"]) == (429, RESERVED)
        assert served.send(invoke("hold")).json["Reason"] == RESERVED
        row = describe(served)
        assert (row["ceiling"], row["in_flight"], row["set_by"]) == (3, 3, "API")
        assert row["provisioned"] == [
            {"version": "1", "aliases": ["prod", "same"], "requested": 2, "ceiling": 2, "set_by": "API", "in_flight": 2}
        ]
        metrics = served.metrics()
        assert metrics[f"provisioned_concurrent_executions{LABELS}"] == 2
        assert metrics[f"provisioned_concurrency_utilization{LABELS}"] == 1
        assert metrics[f"allocated_provisioned_concurrent_executions{LABELS}"] == 2
        assert metrics['claimed_account_concurrency{account="000000000000"}'] == 3
    served.until_idle()
    assert count(served) == (before[0] + 2, before[1] + 1)


def test_an_unqualified_call_never_has_a_provisioned_slot(served: ControlGateway, client: Any) -> None:
    client.put_function_concurrency(**HOLD, ReservedConcurrentExecutions=2)
    put(client, "1", 2)
    before = count(served)
    assert served.send(invoke("hold")).json["Reason"] == RESERVED
    with calls_under_way(served, "hold:1", "hold:prod"):
        pass
    served.until_idle()
    assert count(served) == (before[0] + 2, before[1])


def test_other_functions_have_the_pool_without_provisioned_slots(served: ControlGateway, client: Any) -> None:
    put(client, "prod", 100)
    (account,) = served.fetch("/limits").json["accounts"]
    assert (account["unreserved"]["ceiling"], describe(served)["ceiling"]) == (100, 200)
    assert served.metrics()['claimed_account_concurrency{account="000000000000"}'] == 100


@pytest.mark.parametrize("operation", ["update", "delete and create"])
def test_calls_of_an_alias_follow_it_to_another_version(served: ControlGateway, client: Any, operation: str) -> None:
    put(client, "1", 1)
    alias = {"FunctionName": "hold", "Name": "same", "FunctionVersion": "2"}
    if operation == "update":
        client.update_alias(**alias)
    else:
        client.delete_alias(FunctionName="hold", Name="same")
        client.create_alias(**alias)
    assert [row["aliases"] for row in describe(served)["provisioned"]] == [["prod"]]
    client.update_alias(**{**alias, "FunctionVersion": "1"})
    assert [row["aliases"] for row in describe(served)["provisioned"]] == [["prod", "same"]]
    client.update_alias(**{**alias, "FunctionVersion": "1"}, RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    assert [row["aliases"] for row in describe(served)["provisioned"]] == [["prod"]]


def test_the_provisioned_concurrency_of_an_alias_goes_with_it(served: ControlGateway, client: Any) -> None:
    put(client, "prod", 1)
    client.update_alias(FunctionName="hold", Name="prod", FunctionVersion="2")
    assert [(row["version"], row["aliases"]) for row in describe(served)["provisioned"]] == [("2", ["prod"])]


def test_deleted_provisioned_concurrency_leaves_the_plain_lane(served: ControlGateway, client: Any) -> None:
    put(client, "prod", 1)
    client.delete_provisioned_concurrency_config(**HOLD, Qualifier="prod")
    assert served.state.accounts == {}
    before = count(served)
    with calls_under_way(served, "hold:prod"):
        pass
    served.until_idle()
    assert count(served) == before


@pytest.fixture
def slow() -> Iterator[ControlGateway]:
    backend = LambdaBackend("hold")
    backend.functions["hold"] = ["1"]
    settings = {"accounts": {"default": {"concurrent_executions": 200}}, "provisioned": {"allocation_seconds": 0.5}}
    with control_gateway(backend, **settings) as started:
        yield started


def test_slots_are_ready_after_the_time_of_allocation_and_count_at_once(slow: ControlGateway) -> None:
    with closing(slow.boto3()) as client:
        put(client, "1", 4)
        row = describe(slow)
        assert (row["provisioned"][0]["requested"], row["provisioned"][0]["ceiling"]) == (4, 0)
        assert slow.fetch("/limits").json["accounts"][0]["unreserved"]["ceiling"] == 196
        slow.until(lambda: slow.server.gateway.tables.limits.default.allocated_slots("hold") == 4, "is allocated")
        assert client.get_provisioned_concurrency_config(**HOLD, Qualifier="1")["Status"] == "READY"
        with calls_under_way(slow, "hold:1"):
            assert describe(slow)["provisioned"][0]["in_flight"] == 1
