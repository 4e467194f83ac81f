"""Reserved concurrency by Lambda's operations: boto3 sets it, and calls are admitted by it at once.

Texts of errors are AWS's, as LocalStack recorded them (tests/aws/services/lambda_, November 2025).
"""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.control.conftest import ACCOUNT, read_refusal
from tests.support.lambda_backend import ControlGateway, LambdaBackend, arn_of, control_gateway
from tests.support.sockets import Wire, calls_under_way, invoke

RESERVED_REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"
AT_LEAST_0 = "Member must have value greater than or equal to 0"
MEMBER = "reservedConcurrentExecutions"
FLOOR = (
    "Specified ReservedConcurrentExecutions for function decreases account's "
    "UnreservedConcurrentExecution below its minimum value of [100]."
)


def test_a_reservation_is_in_force_at_once_and_until_it_is_deleted(served: ControlGateway, client: Any) -> None:
    put = client.put_function_concurrency(FunctionName="hold", ReservedConcurrentExecutions=1)
    assert (put["ResponseMetadata"]["HTTPStatusCode"], put["ReservedConcurrentExecutions"]) == (200, 1)
    with calls_under_way(served, "hold"):
        answers = [served.send(invoke("hold")) for _ in range(2)]
    assert [(answer.status, answer.json["Reason"]) for answer in answers] == [(429, RESERVED_REASON)] * 2
    served.until_idle()

    client.put_function_concurrency(FunctionName="echo", ReservedConcurrentExecutions=0)
    assert served.send(invoke("echo")).json["Reason"] == RESERVED_REASON
    assert client.get_function_concurrency(FunctionName="echo")["ReservedConcurrentExecutions"] == 0

    deleted = client.delete_function_concurrency(FunctionName="echo")
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert served.send(invoke("echo")).status == 200
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName="echo")


def test_no_invocation_is_asked_about_at_the_backend(served: ControlGateway) -> None:
    assert served.send(invoke("echo")).status == 200
    assert served.functions.asked == []


@pytest.mark.parametrize("name", ["echo", arn_of("echo"), "000000000000:function:echo", "function:echo"])
def test_a_function_is_named_by_name_or_arn(served: ControlGateway, client: Any, name: str) -> None:
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    assert served.state.function("000000000000", "echo").reserved_concurrent_executions == 3


def test_existence_is_checked_before_the_value(served: ControlGateway, client: Any) -> None:
    put = {"FunctionName": "missing", "ReservedConcurrentExecutions": 100_000}
    text = f"Function not found: {arn_of('missing', '$LATEST')}"
    assert read_refusal(client.put_function_concurrency, **put) == (
        404,
        "ResourceNotFoundException",
        {"Type": "User", "Message": text},
    )
    _, _, members = read_refusal(client.get_function_concurrency, FunctionName="missing")
    assert members["Message"] == f"Function not found: {arn_of('missing')}"  # unlike Put's


@pytest.mark.parametrize("qualifier", ["$LATEST", "1", "prod"])
@pytest.mark.parametrize("name", ["echo", "missing"])
def test_a_qualified_arn_is_read_refusal(client: Any, name: str, qualifier: str) -> None:
    put = {"FunctionName": arn_of(name, qualifier), "ReservedConcurrentExecutions": 1}
    status, code, members = read_refusal(client.put_function_concurrency, **put)
    assert (status, code, members["Type"]) == (400, "InvalidParameterValueException", "User")
    assert members["message"] == (
        "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
        "Please specify either a function name or an unqualified function ARN."
    )


def test_the_floor_stays_unreserved_and_the_functions_own_slots_are_given_back_first(
    served: ControlGateway, client: Any
) -> None:
    put = client.put_function_concurrency
    put(FunctionName="echo", ReservedConcurrentExecutions=60)
    for slots in (41, 140, 100_000):
        status, code, members = read_refusal(put, FunctionName="other", ReservedConcurrentExecutions=slots)
        assert (status, code, members) == (400, "InvalidParameterValueException", {"message": FLOOR})  # no Type
    put(FunctionName="other", ReservedConcurrentExecutions=40)
    put(FunctionName="echo", ReservedConcurrentExecutions=60)
    assert read_refusal(put, FunctionName="echo", ReservedConcurrentExecutions=61)[2] == {"message": FLOOR}


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ({}, ["Value null at 'reservedConcurrentExecutions' failed to satisfy constraint: Member must not be null"]),
        (
            {"ReservedConcurrentExecutions": -1},
            [
                f"Value '-1' at '{MEMBER}' failed to satisfy constraint: {AT_LEAST_0}",
            ],
        ),
    ],
)
def test_constraints_are_checked_first_and_all_are_reported(
    served: ControlGateway, body: dict[str, Any], texts: list[str]
) -> None:
    answer = put(served, "no.such", json.dumps(body).encode())
    assert (answer.status, answer.header("x-amzn-errortype")) == (400, "ValidationException")
    message = answer.json["message"]
    assert list(answer.json) == ["message"]  # no Type
    assert message.startswith("2 validation errors detected: Value 'no.such' at 'functionName' failed to satisfy")
    assert all(text in message for text in texts)


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"ReservedConcurrentExecutions": "1"}', b'{"ReservedConcurrentExecutions": 1e30}', b"\xff"]
)
def test_a_body_that_is_none_is_refused_and_changes_nothing(served: ControlGateway, body: bytes) -> None:
    answer = put(served, "echo", body)
    assert (answer.status, answer.header("x-amzn-errortype")) == (400, "InvalidRequestContentException")
    assert served.state.accounts == {}


def test_a_body_of_any_length_is_bounded(served: ControlGateway) -> None:
    answer = put(served, "echo", b" " * 200_000)
    assert (answer.status, answer.header("x-amzn-errortype")) == (413, "RequestTooLargeException")


def put(served: ControlGateway, name: str, body: bytes) -> Any:
    with Wire(served.port) as wire:
        path = f"/2017-10-31/functions/{name}/concurrency"
        return wire.send(invoke(path=path, body=body, method="PUT")).answer()


def test_a_value_of_the_settings_wins_and_the_refusal_names_key_and_source() -> None:
    functions = {"echo": {"reserved_concurrent_executions": 5}, "other": {"requests_per_second": 9}}
    accounts = {"default": {**ACCOUNT, "functions": functions}}
    with (
        control_gateway(LambdaBackend("echo", "other"), accounts=accounts) as served,
        closing(served.boto3()) as client,
    ):
        for call, more in (
            (client.put_function_concurrency, {"ReservedConcurrentExecutions": 1}),
            (client.delete_function_concurrency, {}),
        ):
            status, code, members = read_refusal(call, FunctionName="echo", **more)
            assert (status, code, members["Type"]) == (409, "ResourceConflictException", "User")
            assert members["message"] == (
                "reserved_concurrent_executions of echo is set in the settings. Change it there."
            )
        assert client.get_function_concurrency(FunctionName="echo")["ReservedConcurrentExecutions"] == 5
        client.put_function_concurrency(FunctionName="other", ReservedConcurrentExecutions=2)
        (account,) = served.fetch("/limits").json["accounts"]
        rows = {row["function"]: (row["set_by"], row["ceiling"]) for row in account["functions"]}
        assert rows == {"echo": ("file", 5), "other": ("API", 2)}


def test_a_reload_keeps_what_the_operations_have_set(served: ControlGateway, client: Any) -> None:
    client.put_function_concurrency(FunctionName="echo", ReservedConcurrentExecutions=0)
    gateway = served.server.gateway

    def adopt(**account: Any) -> None:
        settings = served.make_settings(accounts={"default": {**ACCOUNT, **account}})
        asyncio.run_coroutine_threadsafe(gateway.adopt(settings), served._loop).result(60)

    adopt(concurrent_executions=150)
    assert served.send(invoke("echo")).status == 429
    assert client.get_account_settings()["AccountLimit"]["ConcurrentExecutions"] == 150
    adopt(functions={"echo": {"reserved_concurrent_executions": 1}})  # now the settings name it, and win
    assert served.send(invoke("echo")).status == 200
    adopt()
    assert served.send(invoke("echo")).status == 429


def test_account_settings_have_the_gateways_numbers_and_the_backends_others(
    served: ControlGateway, client: Any
) -> None:
    client.put_function_concurrency(FunctionName="echo", ReservedConcurrentExecutions=30)
    answer = client.get_account_settings()
    assert answer["AccountLimit"] == {
        "TotalCodeSize": 80530636800,
        "CodeSizeUnzipped": 262144000,
        "CodeSizeZipped": 52428800,
        "ConcurrentExecutions": 200,
        "UnreservedConcurrentExecutions": 170,
    }
    assert answer["AccountUsage"] == {"TotalCodeSize": 0, "FunctionCount": 0}
    limit = {"TotalCodeSize": 5, "CodeSizeUnzipped": 6, "CodeSizeZipped": 7, "ConcurrentExecutions": 8}
    usage = {"TotalCodeSize": 1, "FunctionCount": 2}
    served.functions.account_settings = {"AccountLimit": limit, "AccountUsage": usage}
    answer = client.get_account_settings()
    assert answer["AccountLimit"] == {
        **limit,
        "ConcurrentExecutions": 200,
        "UnreservedConcurrentExecutions": 170,
    }
    assert answer["AccountUsage"] == usage


def test_accounts_are_kept_apart() -> None:
    accounts = {"default": ACCOUNT, "111122223333": ACCOUNT}
    with control_gateway(LambdaBackend("echo"), accounts=accounts) as served:
        with closing(served.boto3("111122223333")) as client:
            client.put_function_concurrency(FunctionName="echo", ReservedConcurrentExecutions=0)
            _, _, members = read_refusal(client.get_function_concurrency, FunctionName="missing")
            assert members["Message"] == f"Function not found: {arn_of('missing', account='111122223333')}"
        with closing(served.boto3()) as client:
            assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName="echo")
            client.invoke(FunctionName="echo")
        with closing(served.boto3("111122223333")) as client, pytest.raises(ClientError, match="Rate Exceeded"):
            client.invoke(FunctionName="echo")


def test_a_call_whose_upload_began_before_a_change_is_admitted_by_the_new_limit(
    served: ControlGateway, client: Any
) -> None:
    """The answer of Put is a promise: from then on no call takes a slot by the limit before."""
    with Wire(served.port) as wire:
        whole = invoke("echo", b'{"slow": true}')
        wire.send(whole[:-5])
        served.until(lambda: served.server._invoke.server_state.tasks, "the call is under way")
        client.put_function_concurrency(FunctionName="echo", ReservedConcurrentExecutions=0)
        answer = wire.send(whole[-5:]).answer()
    assert (answer.status, answer.json["Reason"]) == (429, RESERVED_REASON)
