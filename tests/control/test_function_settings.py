"""Loops, and execution environments on managed instances, by Lambda's operations."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from tests.control.conftest import read_refusal
from tests.support.lambda_backend import ControlGateway, LambdaBackend, arn_of, control_gateway

ECHO = {"FunctionName": "echo"}


def test_loops_are_terminated_until_they_are_allowed(served: ControlGateway, client: Any) -> None:
    limits = served.server.gateway
    assert client.get_function_recursion_config(**ECHO)["RecursiveLoop"] == "Terminate"
    for loop in ("Allow", "Terminate"):
        assert client.put_function_recursion_config(**ECHO, RecursiveLoop=loop)["RecursiveLoop"] == loop
        assert client.get_function_recursion_config(**ECHO)["RecursiveLoop"] == loop
        assert limits.tables.limits.default.may_recurse("echo") == (loop == "Allow")


def test_errors_of_loops_are_aws(served: ControlGateway, client: Any) -> None:
    put = client.put_function_recursion_config
    assert read_refusal(put, **ECHO, RecursiveLoop="Never") == (
        400,
        "ValidationException",
        {
            "message": "1 validation error detected: Value 'Never' at 'recursiveLoop' failed to satisfy constraint: "
            "Member must satisfy enum value set: [Terminate, Allow]"
        },
    )
    for call, more in ((put, {"RecursiveLoop": "Allow"}), (client.get_function_recursion_config, {})):
        expected = {"Type": "User", "Message": f"Function not found: {arn_of('missing')}"}
        assert read_refusal(call, FunctionName="missing", **more) == (404, "ResourceNotFoundException", expected)
        assert read_refusal(call, FunctionName=arn_of("echo", "1"), **more)[1] == "ValidationException"


def test_a_loop_of_the_settings_wins() -> None:
    accounts = {"default": {"functions": {"echo": {"recursive_loop": "Allow"}}}}
    with control_gateway(LambdaBackend("echo"), accounts=accounts) as served, closing(served.boto3()) as client:
        assert client.get_function_recursion_config(**ECHO)["RecursiveLoop"] == "Allow"
        status, _, members = read_refusal(client.put_function_recursion_config, **ECHO, RecursiveLoop="Terminate")
        assert (status, members["message"]) == (
            409,
            "recursive_loop of echo is set in the settings. Change it there.",
        )


@pytest.mark.parametrize("qualifier", ["$LATEST.PUBLISHED", "2"])
def test_environments_are_kept_until_they_are_put_without_a_value(
    served: ControlGateway, client: Any, qualifier: str
) -> None:
    named = {**ECHO, "Qualifier": qualifier}
    config = {"MinExecutionEnvironments": 2, "MaxExecutionEnvironments": 15000}
    put = client.put_function_scaling_config(**named, FunctionScalingConfig=config)
    assert (put["ResponseMetadata"]["HTTPStatusCode"], put["FunctionState"]) == (202, "Active")
    found = client.get_function_scaling_config(**named)
    assert (found["FunctionArn"], found["AppliedFunctionScalingConfig"]) == (arn_of("echo", qualifier), config)
    assert "RequestedFunctionScalingConfig" not in found
    client.put_function_scaling_config(**named)
    assert "AppliedFunctionScalingConfig" not in client.get_function_scaling_config(**named)
    assert served.state.accounts == {}


def test_environments_have_bounds_and_a_version(served: ControlGateway, client: Any) -> None:
    put = client.put_function_scaling_config
    status, code, members = read_refusal(
        put, **ECHO, Qualifier="prod", FunctionScalingConfig={"MaxExecutionEnvironments": 15001}
    )
    assert (status, code) == (400, "ValidationException")
    assert members["message"].startswith("2 validation errors detected: ")
    assert "less than or equal to 15000" in members["message"]
    bounds = {"MinExecutionEnvironments": 3, "MaxExecutionEnvironments": 2}
    assert read_refusal(put, **ECHO, Qualifier="2", FunctionScalingConfig=bounds)[0] == 400
    _, _, members = read_refusal(put, **ECHO, Qualifier="9", FunctionScalingConfig={})
    assert members["Message"] == f"Function not found: {arn_of('echo', '9')}"
