"""Asynchronous invocations by boto3, through the gateway, with a real MiniStack's functions and queues behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.live import servers
from tests.live.clients import Boto3, event
from tests.support.processes import wait_until

ACCOUNT = "000000000000"
ONE_TRY = Config(retries={"total_max_attempts": 1})


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.ministack(tmp_path_factory.mktemp("ministack"), "sqs") as url:
        yield url


@pytest.fixture(scope="module")
def sqs(backend: str) -> Iterator[Any]:
    client = boto3.client(
        "sqs", endpoint_url=backend, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    yield client
    client.close()


def target(backend: str, sqs: Any, queue: str) -> str:
    sqs.create_queue(QueueName=queue)
    return f"sqs+{backend}/{ACCOUNT}/{queue}"


def receive(sqs: Any, backend: str, queue: str, seconds: float = 20) -> dict[str, Any]:
    """The next message of the queue, read by boto3."""
    url = f"{backend}/{ACCOUNT}/{queue}"
    found: list[dict[str, Any]] = []

    def look() -> bool:
        answer = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"], WaitTimeSeconds=1)
        found.extend(answer.get("Messages", []))
        return bool(found)

    wait_until(look, f"a message in {queue}", timeout=seconds)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=found[0]["ReceiptHandle"])
    return found[0]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, backend: str, sqs: Any) -> Iterator[servers.Gateway]:
    queue = lambda name: target(backend, sqs, name)  # noqa: E731 - short names make the table below readable
    functions = {
        "fine": {"on_success": queue("successes")},
        "failing": {"dead_letter_queue": queue("dead"), "on_failure": queue("failures")},
        "closed": {
            "reserved_concurrent_executions": 0,
            "dead_letter_queue": queue("dead-closed"),
            "on_failure": queue("failures-closed"),
        },
        "plain": {},
        "one": {"reserved_concurrent_executions": 1},
    }
    folder = tmp_path_factory.mktemp("gateway")
    settings: dict[str, Any] = {
        "accounts": {"default": {"functions": functions}},
        "async": {
            "store": f"sqlite://{folder}/queue.db",
            "function_error_delays_seconds": [0.2, 0.4],
            "shortest_delay_seconds": 0.1,
        },
    }
    with servers.gateway(folder, backend, **settings) as started:
        made = Boto3(started.url)
        for name in ("fine", "failing", "plain", "one"):
            made.create(name)
        made.close()
        yield started


@pytest.fixture
def client(gateway: servers.Gateway) -> Iterator[Any]:
    made = boto3.client(
        "lambda", endpoint_url=gateway.url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x",
        config=ONE_TRY,
    )  # fmt: skip
    yield made
    made.close()


def runs(folder: Path) -> int:
    return len(list(folder.iterdir()))


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    folder = tmp_path / "tally"
    folder.mkdir()
    return folder


def test_an_event_is_answered_with_202_and_the_function_runs_once(client: Any, tally: Path) -> None:
    answer = client.invoke(FunctionName="plain", InvocationType="Event", Payload=event(tally=str(tally)))
    assert answer["StatusCode"] == 202
    assert answer["Payload"].read() == b""
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert "content-type" not in headers
    assert "x-amz-executed-version" not in headers
    assert headers["content-length"] == "0"
    wait_until(lambda: runs(tally) == 1, "the function has run", timeout=20)


def test_invoke_async_answers_with_its_own_body(client: Any, tally: Path) -> None:
    answer = client.invoke_async(FunctionName="plain", InvokeArgs=event(tally=str(tally)))
    assert answer["Status"] == 202
    wait_until(lambda: runs(tally) == 1, "the function has run", timeout=20)


def test_the_record_of_a_success_is_in_the_queue(client: Any, backend: str, sqs: Any) -> None:
    sent = client.invoke(FunctionName="fine", InvocationType="Event", Payload=b'{"padding": "abc"}')
    record = json.loads(receive(sqs, backend, "successes")["Body"])
    context = record["requestContext"]
    assert context["requestId"] == sent["ResponseMetadata"]["RequestId"]
    assert context["functionArn"] == f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:fine:$LATEST"
    assert (context["condition"], context["approximateInvokeCount"]) == ("Success", 1)
    assert record["requestPayload"] == {"padding": "abc"}
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert record["responsePayload"]["padding"] == 3


def test_a_failing_function_runs_three_times_and_both_are_told(
    client: Any, backend: str, sqs: Any, tally: Path
) -> None:
    payload = event(tally=str(tally), fail="no such report")
    sent = client.invoke(FunctionName="failing", InvocationType="Event", Payload=payload)
    request_id = sent["ResponseMetadata"]["RequestId"]
    dead = receive(sqs, backend, "dead")
    assert runs(tally) == 3
    assert json.loads(dead["Body"]) == json.loads(payload)
    attributes = {name: (each["DataType"], each["StringValue"]) for name, each in dead["MessageAttributes"].items()}
    assert attributes == {
        "RequestID": ("String", request_id),
        "ErrorCode": ("Number", "200"),
        "ErrorMessage": ("String", "no such report"),
    }
    record = json.loads(receive(sqs, backend, "failures")["Body"])
    assert record["version"] == "1.0"
    assert record["requestContext"] == {
        "requestId": request_id,
        "functionArn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:failing:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert record["responseContext"] == {
        "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled",
    }  # fmt: skip
    assert record["responsePayload"]["errorMessage"] == "no such report"


def test_a_reservation_of_0_is_accepted_and_ends_at_once_unrun(client: Any, backend: str, sqs: Any) -> None:
    sent = client.invoke(FunctionName="closed", InvocationType="Event", Payload=b'{"n": 1}')
    assert sent["StatusCode"] == 202
    record = json.loads(receive(sqs, backend, "failures-closed")["Body"])
    assert set(record) == {"version", "timestamp", "requestContext", "requestPayload"}
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert record["requestPayload"] == {"n": 1}
    dead = receive(sqs, backend, "dead-closed")
    assert dead["MessageAttributes"]["ErrorCode"]["StringValue"] == "429"


def test_an_event_without_a_payload_is_an_empty_object_in_the_queues(client: Any, backend: str, sqs: Any) -> None:
    """Of Invoke and of the old InvokeAsync; SQS takes no empty message."""
    client.invoke(FunctionName="closed", InvocationType="Event")
    assert receive(sqs, backend, "dead-closed")["Body"] == "{}"
    assert json.loads(receive(sqs, backend, "failures-closed")["Body"])["requestPayload"] == {}
    client.invoke_async(FunctionName="closed", InvokeArgs=b"")
    assert receive(sqs, backend, "dead-closed")["Body"] == "{}"
    assert json.loads(receive(sqs, backend, "failures-closed")["Body"])["requestPayload"] == {}


def test_events_of_a_reservation_of_one_run_one_after_the_other_and_none_is_throttled(client: Any, tally: Path) -> None:
    for _ in range(5):
        sent = client.invoke(FunctionName="one", InvocationType="Event", Payload=event(tally=str(tally)))
        assert sent["StatusCode"] == 202
    wait_until(lambda: runs(tally) == 5, "all have run", timeout=40)


@pytest.mark.parametrize("size", [1_048_576, 1_048_577])
def test_the_quota_of_an_event_is_1_mib_to_the_byte(client: Any, size: int) -> None:
    payload = b'"' + b"x" * (size - 2) + b'"'
    call: Callable[[], Any] = lambda: client.invoke(  # noqa: E731 - said once, tried in two ways
        FunctionName="plain", InvocationType="Event", Payload=payload
    )
    if size == 1_048_576:
        assert call()["StatusCode"] == 202
        return
    with pytest.raises(client.exceptions.RequestTooLargeException) as raised:
        call()
    assert raised.value.response["message"] == (
        "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
    )
