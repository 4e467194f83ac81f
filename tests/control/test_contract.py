"""Every operation's answer against the service model of botocore: status, and no member unknown, missing or of another
type. A member that AWS leaves out is listed here with its reason.
"""

from __future__ import annotations

import json
from typing import Any

import botocore.session
import pytest
from botocore.model import ListShape, OperationModel, Shape, StructureShape

from tests.support.lambda_backend import ControlGateway

ECHO = {"FunctionName": "echo"}
PROD = {**ECHO, "Qualifier": "prod"}
MODEL = botocore.session.get_session().get_service_model("lambda")

# What is absent from an answer, and why.
ABSENT = {
    "StatusReason": "only of a failed allocation, and none can fail here",
    "NextMarker": "only of a page that has a next one",
    "RequestedFunctionScalingConfig": "only while a change settles; here it is in force at once",
}

Step = tuple[str, dict[str, Any]]
PROVISION: Step = ("put_provisioned_concurrency_config", {**PROD, "ProvisionedConcurrentExecutions": 2})
RULES: Step = (
    "put_function_event_invoke_config",
    {
        **ECHO,
        "MaximumRetryAttempts": 1,
        "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": {
            "OnSuccess": {"Destination": "arn:aws:lambda:us-east-1:000000000000:function:other"},
            "OnFailure": {"Destination": "arn:aws:lambda:us-east-1:000000000000:function:hold"},
        },
    },
)
SCALE: Step = (
    "put_function_scaling_config",
    {**ECHO, "Qualifier": "1", "FunctionScalingConfig": {"MinExecutionEnvironments": 1, "MaxExecutionEnvironments": 2}},
)
RESERVE: Step = ("put_function_concurrency", {**ECHO, "ReservedConcurrentExecutions": 7})

# Each operation, after the steps that it needs.
CALLS: list[tuple[Step, list[Step]]] = [
    (RESERVE, []),
    (("get_function_concurrency", ECHO), [RESERVE]),
    (("delete_function_concurrency", ECHO), [RESERVE]),
    (("get_account_settings", {}), [RESERVE]),
    (PROVISION, []),
    (("get_provisioned_concurrency_config", PROD), [PROVISION]),
    (("list_provisioned_concurrency_configs", ECHO), [PROVISION]),
    (("delete_provisioned_concurrency_config", PROD), [PROVISION]),
    (RULES, []),
    (("update_function_event_invoke_config", {**ECHO, "MaximumRetryAttempts": 2}), [RULES]),
    (("get_function_event_invoke_config", ECHO), [RULES]),
    (("list_function_event_invoke_configs", ECHO), [RULES]),
    (("delete_function_event_invoke_config", ECHO), [RULES]),
    (("put_function_recursion_config", {**ECHO, "RecursiveLoop": "Allow"}), []),
    (("get_function_recursion_config", ECHO), []),
    (SCALE, []),
    (("get_function_scaling_config", {**ECHO, "Qualifier": "1"}), [SCALE]),
]

TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "long": int,
    "timestamp": (int, float),  # seconds since the epoch, which is rest-json's default
    "structure": dict,
    "list": list,
}


def find_differences(shape: Shape, value: Any, where: str) -> list[str]:
    """Returns what a value has that the shape does not allow, and what it lacks."""
    if not isinstance(value, TYPES[shape.type_name]) or isinstance(value, bool):
        return [f"{where} is {value!r}, and not a {shape.type_name}"]
    if isinstance(shape, StructureShape):
        body = {name: member for name, member in shape.members.items() if "location" not in member.serialization}
        differences = [f"{where}.{name} is unknown" for name in value if name not in body]
        differences += [f"{where}.{name} is missing" for name in body if name not in value and name not in ABSENT]
        for name, member in body.items():
            if name in value:
                differences += find_differences(member, value[name], f"{where}.{name}")
        return differences
    if isinstance(shape, ListShape):
        assert value, f"{where} has no row to compare"
        return [
            one for number, row in enumerate(value) for one in find_differences(shape.member, row, f"{where}[{number}]")
        ]
    bounds = shape.metadata
    if "enum" in bounds and value not in bounds["enum"]:
        return [f"{where} is {value!r}, and not one of {bounds['enum']}"]
    return []


def operation_of(client: Any, method: str) -> OperationModel:
    return MODEL.operation_model(client.meta.method_to_api_mapping[method])


@pytest.mark.parametrize(("call", "before"), CALLS, ids=[call[0] for call, _ in CALLS])
def test_an_answer_has_the_models_status_and_members(
    served: ControlGateway, client: Any, call: Step, before: list[Step]
) -> None:
    for method, arguments in before:
        getattr(client, method)(**arguments)
    raw: dict[str, Any] = {}

    def keep(response_dict: dict[str, Any], **_: Any) -> None:
        raw.update(response_dict)

    method, arguments = call
    operation = operation_of(client, method)
    event = f"before-parse.lambda.{operation.name}"
    client.meta.events.register(event, keep)
    try:
        answer = getattr(client, method)(**arguments)
    finally:
        client.meta.events.unregister(event, keep)
    assert raw["status_code"] == operation.http["responseCode"]
    assert raw["headers"]["x-amzn-RequestId"] == answer["ResponseMetadata"]["RequestId"]
    if operation.output_shape is None:
        assert raw["body"] == b""
        assert "content-type" not in raw["headers"]
        return
    assert raw["headers"]["content-type"] == "application/json"
    assert find_differences(operation.output_shape, json.loads(raw["body"]), operation.name) == []


def test_every_operation_on_limits_of_the_model_is_here(client: Any) -> None:
    """A new one of AWS is seen here, and served or left to the backend on purpose."""
    words = ("Concurrency", "EventInvoke", "RecursionConfig", "ScalingConfig", "AccountSettings")
    named = {name for name in MODEL.operation_names if any(word in name for word in words)}
    assert named == {operation_of(client, call[0]).name for call, _ in CALLS}


def test_the_comparison_sees_what_is_unknown_missing_or_of_another_type() -> None:
    shape = MODEL.operation_model("GetProvisionedConcurrencyConfig").output_shape
    assert shape is not None
    good = {
        "RequestedProvisionedConcurrentExecutions": 1,
        "AvailableProvisionedConcurrentExecutions": 1,
        "AllocatedProvisionedConcurrentExecutions": 1,
        "Status": "READY",
        "LastModified": "2026-01-01T00:00:00+0000",
    }
    assert find_differences(shape, good, "") == []
    for bad in ({**good, "New": 1}, {**good, "Status": "Ready"}, {**good, "LastModified": 1}, {"Status": "READY"}):
        assert find_differences(shape, bad, "")
