"""Terraform's calls for Lambda's limits, through the gateway before MiniStack and moto: no plan shows a change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.live import servers
from tests.live.clients import Boto3
from tests.live.terraform import UNSET, Replay, make_configuration, read_data_source

SOME, UNSET_FUNCTION = "aws_lambda_function.some", "aws_lambda_function.unset"
PROVISIONED = "aws_lambda_provisioned_concurrency_config.alias"
RULES = "aws_lambda_function_event_invoke_config.all"


@pytest.fixture(scope="module", params=["ministack", "moto"])
def client(request: pytest.FixtureRequest, folder: Path) -> Iterator[Any]:
    """A client of a gateway before one of the emulators."""
    backend = request.getfixturevalue(request.param)
    accounts = {"default": {"concurrent_executions": 200, "requests_per_second": "off"}}
    with (
        servers.gateway(folder / f"terraform-{request.param}", backend, accounts=accounts) as gateway,
        closing(Boto3(gateway.url)) as made,
    ):
        yield made.sdk


def test_a_second_plan_is_empty(client: Any, request: pytest.FixtureRequest) -> None:
    compared = 0
    for _ in range(2):  # the second time every function has the name of a deleted one
        replay = Replay(make_configuration(client))
        replay.apply()
        replay.plan()
        for name, reserved in (("tf-some", 20), ("tf-zero", 0), ("tf-unset", UNSET)):
            for qualifier in (None, "1", "$LATEST"):
                found = read_data_source(client, name, qualifier)
                replay.compare(f"data.{name}:{qualifier}", {"reserved_concurrent_executions": reserved}, found)

        replay.update(SOME, reserved_concurrent_executions=7)
        replay.update(SOME, reserved_concurrent_executions=8, timeout=4)
        replay.update(UNSET_FUNCTION, reserved_concurrent_executions=9)
        replay.update(UNSET_FUNCTION, reserved_concurrent_executions=UNSET)
        replay.update(PROVISIONED, provisioned_concurrent_executions=6)
        replay.update(RULES, maximum_event_age_in_seconds=0, on_failure="")
        replay.update("aws_lambda_function.zero", reserved_concurrent_executions=UNSET)
        replay.update("aws_lambda_function.zero", reserved_concurrent_executions=0)
        replay.update("aws_lambda_function_recursion_config.allow", recursive_loop="Terminate")
        replay.update("aws_lambda_function_scaling_config.bounds", min=1)

        # An import reads by the resource's id alone, into a state that has nothing.
        imported = Replay(make_configuration(client))
        for address, resource in imported.resources.items():
            imported.compare(address, replay.resources[address].wanted, resource.read())
        replay.differences += imported.differences

        replay.destroy()
        assert replay.differences == []
        compared += replay.compared + imported.compared
        assert [name for name in list_functions(client) if name.startswith("tf-")] == []
    assert compared > 400
    print(f"{request.node.name}: {compared} attributes compared, 0 differences")


def list_functions(client: Any) -> list[str]:
    return [function["FunctionName"] for function in client.list_functions()["Functions"]]


def test_the_comparison_sees_a_difference(client: Any) -> None:
    """The replay of a plan in which somebody else has changed a value."""
    replay = Replay({SOME: make_configuration(client)[SOME]})
    replay.apply()
    client.put_function_concurrency(FunctionName="tf-some", ReservedConcurrentExecutions=3)
    replay.plan()
    replay.destroy()
    replay.plan()
    assert replay.differences == [f"{SOME}.reserved_concurrent_executions: 20 -> 3", f"{SOME}.the resource is gone"]
