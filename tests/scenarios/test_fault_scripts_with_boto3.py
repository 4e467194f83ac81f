"""Fault scripts as their users meet them: through a real SDK, before the demo backend."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ResponseStreamingError
from urllib3.exceptions import ProtocolError

from invoke_gateway.policy.invoke_errors import ERROR_NAMES, THROTTLE_REASONS, find_error, takes_reason
from tests.support.clients import Response
from tests.support.clients import invoke as invoke_once
from tests.support.sockets import Answer, Gateway, Wire, gateway, invoke

ERRORS = [(name, reason) for name in ERROR_NAMES for reason in (THROTTLE_REASONS if takes_reason(name) else [None])]


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    with gateway(backend={"url": "demo"}, faults=True, access_log="-") as started:
        yield started


@pytest.fixture
def demo(shared: Gateway) -> Iterator[Gateway]:
    yield shared
    assert ask(shared, "DELETE").status == 204
    shared.until_idle()


@pytest.fixture
def client(demo: Gateway) -> Iterator[Any]:
    with contextlib.closing(demo.boto3()) as client:
        yield client


def ask(demo: Gateway, method: str, document: object = None) -> Answer:
    data = invoke("", json.dumps(document).encode(), "Content-Type: application/json", method=method, path="/faults")
    with Wire(demo.server.admin.port) as wire:
        return wire.send(data).answer()


def script(demo: Gateway, function: str, *steps: dict[str, Any], loop: bool = False) -> str:
    """Make a script; its id."""
    answer = ask(demo, "POST", {"function": function, "steps": steps, "loop": loop})
    assert answer.status == 201, answer
    return str(answer.json["id"])


@pytest.mark.parametrize(("name", "reason"), ERRORS)
def test_boto3_raises_each_exception_with_all_its_fields(
    demo: Gateway, client: Any, name: str, reason: str | None
) -> None:
    """Typed, with its own members, and in both operations that have a client method of their own."""
    error = find_error(name, reason)
    assert error is not None
    id = script(demo, "echo", {"error": name, **({"reason": reason} if reason else {})}, loop=True)
    methods = {"Invoke": client.invoke, "InvokeWithResponseStream": client.invoke_with_response_stream}
    for operation, method in methods.items():
        with pytest.raises(getattr(client.exceptions, name)) as raised:
            method(FunctionName="echo")
        response = raised.value.response
        text = error.message.format(arn="arn:aws:lambda:us-east-1:000000000000:function:echo:$LATEST")
        assert response["Error"] == {"Code": name, "Message": text}
        assert response["ResponseMetadata"]["HTTPStatusCode"] == error.status
        headers = response["ResponseMetadata"]["HTTPHeaders"]
        assert headers["x-invoke-gateway-decision"] == f'fault-script="{id}", step=1'
        assert response["ResponseMetadata"]["RequestId"]
        assert ("retry-after" in headers, "x-amz-retry-after" in headers) == (error.is_retryable, error.is_retryable)
        listed = {shape.name for shape in client.meta.service_model.operation_model(operation).error_shapes}
        if name in listed:  # else the SDK reads the code alone
            assert (response[error.member], response["Type"]) == (text, error.type)
            assert response.get("Reason") == reason
            assert response.get("EC2ErrorCode") == dict(error.extra).get("EC2ErrorCode")


def outcome(client: Any, payload: bytes = b'"x"') -> str:
    try:
        return str(client.invoke(FunctionName="echo", Payload=payload)["Payload"].read().decode())
    except ClientError as error:
        return str(error.response.get("Reason") or error.response["Error"]["Code"])
    except ResponseStreamingError:
        return "cut"


def test_the_calls_of_a_function_meet_the_steps_in_order(demo: Gateway, client: Any) -> None:
    script(
        demo,
        "echo",
        {"pass": 1},
        {"error": "TooManyRequestsException", "reason": "ReservedFunctionInvocationRateLimitExceeded"},
        {"error": "EC2ThrottledException"},
        {"latency_seconds": 0.01},
        {"cut_after_bytes": 2},
    )
    assert [outcome(client) for _ in range(6)] == [
        '"x"',
        "ReservedFunctionInvocationRateLimitExceeded",
        "EC2ThrottledException",
        '"x"',
        "cut",
        '"x"',
    ]


def test_boto3s_retries_take_steps_like_any_other_call(demo: Gateway) -> None:
    """Two throttles, and the third attempt gets through."""
    script(demo, "echo", {"error": "TooManyRequestsException", "reason": "CallerRateLimitExceeded", "repeat": 2})
    retrying = boto3.client(
        "lambda",
        endpoint_url=demo.url,
        region_name="us-east-1",
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 3, "mode": "standard"}, proxies={}),
    )
    with contextlib.closing(retrying):
        answer = retrying.invoke(FunctionName="echo", Payload=b'"x"')
        assert answer["Payload"].read() == b'"x"'
    assert answer["ResponseMetadata"]["RetryAttempts"] == 2


def test_all_three_operations_take_steps_of_the_same_script(demo: Gateway, client: Any) -> None:
    script(demo, "echo", {"error": "EFSIOException", "repeat": 4}, {"pass": 1})
    for invoke_it in (
        lambda: client.invoke(FunctionName="echo"),
        lambda: client.invoke(FunctionName="echo", InvocationType="Event"),
        lambda: client.invoke_async(FunctionName="echo", InvokeArgs=b"{}"),
        lambda: client.invoke_with_response_stream(FunctionName="echo"),
    ):
        with pytest.raises(client.exceptions.EFSIOException):
            invoke_it()
    assert client.invoke(FunctionName="echo")["StatusCode"] == 200


def test_a_stream_that_is_cut_ends_in_an_error_after_those_bytes(demo: Gateway, client: Any) -> None:
    script(demo, "stream", {"cut_after_bytes": 3000})
    answer = client.invoke_with_response_stream(FunctionName="stream", Payload=b'{"chunks": 9, "bytes": 1024}')
    received: list[bytes] = []
    with pytest.raises(ProtocolError):
        received.extend(event["PayloadChunk"]["Payload"] for event in answer["EventStream"])
    assert 1024 <= len(b"".join(received)) < 3000


def test_what_is_injected_is_counted_as_that_and_as_no_throttle(demo: Gateway, client: Any) -> None:
    def injected(fault: str) -> float:
        name = f'injected_faults_total{{account="000000000000",function="other",fault="{fault}"}}'
        return demo.metrics().get(name, 0.0)

    faults = ("TooManyRequestsException", "ServiceException", "latency", "cut")
    before = [injected(fault) for fault in faults]
    others = {key: value for key, value in demo.metrics().items() if key.startswith(("throttles", "refusals"))}
    reason = "ConcurrentInvocationLimitExceeded"
    late = {"latency_seconds": 0.01, "cut_after_bytes": 0}
    script(demo, "echo", {"error": "TooManyRequestsException", "reason": reason}, {"error": "ServiceException"}, late)
    assert [outcome(client) for _ in range(3)] == [reason, "ServiceException", "cut"]
    assert [injected(fault) for fault in faults] == [count + 1 for count in before]
    after = {key: value for key, value in demo.metrics().items() if key.startswith(("throttles", "refusals"))}
    assert after == others
    totals = demo.server.gateway.totals
    assert demo.on_loop(totals.refused)["injected ServiceException"] >= 1


def test_the_access_log_names_the_script_and_its_step(
    demo: Gateway, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    id = script(demo, "echo", {"error": "EFSIOException"}, {"latency_seconds": 0.01}, {"pass": 1})
    with caplog.at_level("INFO", "invoke_gateway.access"):
        for _ in range(3):
            outcome(client)
        demo.until(lambda: len(caplog.records) >= 3, "the lines are written")
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "invoke_gateway.access"]
    told = [(line["status"], line.get("error"), line.get("decision")) for line in lines]
    assert told == [
        (410, "EFSIOException", f'fault-script="{id}", step=1'),
        (200, None, f'fault-script="{id}", step=2'),
        (200, None, None),
    ]


def test_calls_that_come_together_take_different_steps(demo: Gateway) -> None:
    """Twenty at once: seven of each of the first two kinds, whichever calls they are, and six pass."""
    script(demo, "echo", {"error": "EFSIOException", "repeat": 7}, {"error": "ServiceException", "repeat": 7})

    async def send() -> list[Response]:
        return await asyncio.gather(*(invoke_once(demo.server.listen, "echo") for _ in range(20)))

    answers = asyncio.run_coroutine_threadsafe(send(), demo._loop).result(60)
    assert sorted(answer.status for answer in answers) == [200] * 6 + [410] * 7 + [500] * 7
