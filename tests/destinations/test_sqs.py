"""Queues that speak SQS as targets: a real MiniStack's, read back with boto3, and servers that misbehave."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import boto3
import pytest

from invoke_gateway.destinations.sqs import MOST_BYTES, missing_extra
from invoke_gateway.destinations.targets import Destinations
from invoke_gateway.queue.base import DeliveryFailed
from invoke_gateway.queue.event import FunctionAnswer
from invoke_gateway.queue.outcomes.destination_records import make_record
from tests.live import servers
from tests.support.backends import ScriptedBackend, says
from tests.support.events import ended
from tests.support.processes import free_port

ID = "0a5c5f5e-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.ministack(tmp_path_factory.mktemp("ministack"), "sqs") as url:
        yield url


@pytest.fixture
def sqs(ministack: str) -> Iterator[Any]:
    client = boto3.client(
        "sqs",
        endpoint_url=ministack,
        region_name="us-east-1",
        aws_access_key_id="000000000000",
        aws_secret_access_key="x",
    )
    yield client
    client.close()


@pytest.fixture
def make_queue(sqs: Any, ministack: str) -> Iterator[Callable[..., str]]:
    """Makes queues that are gone when the test ends; returns their targets."""
    made: list[str] = []

    def make(name: str, **attributes: str) -> str:
        made.append(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])
        return f"sqs+{ministack}/000000000000/{name}"

    yield make
    for url in made:
        sqs.delete_queue(QueueUrl=url)


def messages(sqs: Any, target: str) -> list[dict[str, Any]]:
    """All that the queue has; they are taken out of it."""
    url, taken = target.removeprefix("sqs+"), []
    while got := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"]
    ).get("Messages"):
        for message in got:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        taken += got
    return taken


async def test_a_dead_letter_is_the_event_itself_with_the_three_attributes_of_aws(
    targets: Destinations, sqs: Any, make_queue: Callable[..., str]
) -> None:
    queue = make_queue("dead")
    body = '{"id": 7.10,\n "s": "ä😀"}'
    await targets("dead_letter_queue", queue, ended(body=body.encode()))
    (message,) = messages(sqs, queue)
    assert message["Body"] == body
    assert message["MessageAttributes"] == {
        "RequestID": {"StringValue": ID, "DataType": "String"},
        "ErrorCode": {"StringValue": "200", "DataType": "Number"},
        "ErrorMessage": {"StringValue": "no such report", "DataType": "String"},
    }


async def test_a_destination_is_given_its_record_without_attributes(
    targets: Destinations, sqs: Any, make_queue: Callable[..., str]
) -> None:
    queue = make_queue("failed")
    await targets("on_failure", queue, ended())
    (message,) = messages(sqs, queue)
    assert message["Body"].encode() == make_record(ended())
    assert "MessageAttributes" not in message


async def test_a_fifo_queue_takes_what_is_told_again_after_a_crash_once(
    make_targets: Callable[..., Destinations], sqs: Any, make_queue: Callable[..., str]
) -> None:
    queue = make_queue("dead.fifo", FifoQueue="true")
    for targets in (make_targets(), make_targets()):
        await targets("on_failure", queue, ended())
        await targets("dead_letter_queue", queue, ended())
        await targets("on_failure", queue, ended(received_at=1_700_000_001.0))
    taken = messages(sqs, queue)
    assert len(taken) == 3
    assert {message["Attributes"]["MessageGroupId"] for message in taken} == {"report"}


async def test_a_function_that_fails_without_words_has_an_error_message_all_the_same(
    targets: Destinations, sqs: Any, make_queue: Callable[..., str]
) -> None:
    queue = make_queue("wordless")
    await targets("dead_letter_queue", queue, ended(answer=FunctionAnswer(200, b"{}", "Unhandled"), message=""))
    (message,) = messages(sqs, queue)
    assert message["MessageAttributes"]["ErrorMessage"]["StringValue"] == "RetriesExhausted"


async def test_what_the_queue_refuses_is_quoted(targets: Destinations, make_queue: Callable[..., str]) -> None:
    queue = make_queue("small", MaximumMessageSize="1024")
    with pytest.raises(DeliveryFailed, match=r"it responded 400: InvalidParameterValue: ."):
        await targets("dead_letter_queue", queue, ended(body=b'"' + b"x" * 2000 + b'"'))


async def test_a_queue_that_is_not_there_is_said_with_its_cure(targets: Destinations, ministack: str) -> None:
    target = f"sqs+{ministack}/000000000000/missing"
    with pytest.raises(DeliveryFailed, match=r"NonExistentQueue: .*; create it, or correct the URL") as raised:
        await targets("on_failure", target, ended())
    assert str(raised.value).startswith(f"{target}: ")


# ---- without a real queue -------------------------------------------------------------------------------------


@pytest.fixture
async def server() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend() as started:
        yield started


@pytest.fixture
def queue(server: ScriptedBackend) -> str:
    return f"sqs+{server.url}/111122223333/dead"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'"' + b"x" * MOST_BYTES + b'"', r"the message has 1,048,\d+ bytes, and SQS takes 1,048,576"),
        (b'"' + b"x" * (MOST_BYTES - 50) + b'"', r"the message has 1,048,\d+ bytes"),  # with the attributes
        ('"\uffff"'.encode(), r"the event has U\+FFFF, which SQS does not take"),
        (b'"\xff"', "the event is not UTF-8"),
        (b"", "the event is empty"),
    ],
)
async def test_what_sqs_never_takes_is_not_sent(
    targets: Destinations, server: ScriptedBackend, queue: str, body: bytes, message: str
) -> None:
    with pytest.raises(DeliveryFailed, match=message):
        await targets("dead_letter_queue", queue, ended(body=body))
    assert server.requests == []


async def test_a_server_error_is_not_tried_again_by_boto3(
    targets: Destinations, server: ScriptedBackend, queue: str
) -> None:
    async def fail(call: Any) -> None:
        call.answer(503, b"")

    server.script = fail
    with pytest.raises(DeliveryFailed, match="it responded 503"):
        await targets("on_failure", queue, ended())
    assert len(server.requests) == 1


async def test_the_queues_of_an_endpoint_share_a_connection_that_is_kept_until_the_targets_are_closed(
    targets: Destinations, server: ScriptedBackend, queue: str
) -> None:
    server.script = refuse
    for target in (queue, queue, f"{queue}-too"):
        with pytest.raises(DeliveryFailed, match="it responded 400"):
            await targets("on_failure", target, ended())
    assert (len(server.requests), len(server.connections)) == (3, 1)
    await targets.close()
    await server.until(lambda backend: backend.connections[0].closed.is_set())


async def test_an_emulator_is_called_with_its_account_where_there_are_no_credentials(
    targets: Destinations, server: ScriptedBackend, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    server.script = refuse
    with pytest.raises(DeliveryFailed):
        await targets("on_failure", queue, ended())
    signature = (server.requests[0].header(b"authorization") or b"").decode()
    assert "Credential=111122223333/" in signature
    assert "/us-east-1/sqs/aws4_request" in signature
    assert json.loads(server.requests[0].body)["QueueUrl"] == queue.removeprefix("sqs+")


async def test_credentials_that_boto3_finds_are_used(
    targets: Destinations, server: ScriptedBackend, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFOUND")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    server.script = refuse
    with pytest.raises(DeliveryFailed):
        await targets("on_failure", queue, ended())
    assert b"Credential=AKIAFOUND/" in (server.requests[0].header(b"authorization") or b"")


async def refuse(call: Any) -> None:
    call.answer(400, b"{}")


async def test_a_queue_of_aws_is_never_called_without_credentials(
    targets: Destinations, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DeliveryFailed, match="boto3 finds no AWS credentials"):
        await targets("on_failure", "sqs+https://sqs.eu-west-1.amazonaws.com/111122223333/dead", ended())


async def test_a_server_that_is_not_there_or_never_answers_is_a_failure(
    make_targets: Callable[..., Destinations], server: ScriptedBackend, queue: str
) -> None:
    with pytest.raises(DeliveryFailed, match="check that it runs and is reachable"):
        await make_targets()("on_failure", f"sqs+http://127.0.0.1:{free_port()}/111122223333/dead", ended())
    server.script = says(b"")
    with pytest.raises(DeliveryFailed, match=r"no answer within 1 s|check that it runs and is reachable"):
        await make_targets(timeout_seconds=1)("on_failure", queue, ended())


async def test_without_boto3_it_is_said_what_to_install(
    targets: Destinations, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing_extra([queue]) is None
    for name in [name for name in sys.modules if name.split(".")[0] in ("boto3", "botocore")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])  # nothing that was not imported yet is found
    assert missing_extra(["file:///a", "function:b"]) is None
    assert missing_extra(["file:///a", queue]) == (
        "a queue among the targets needs boto3, which is not installed: pip install boto3"
    )
    with pytest.raises(DeliveryFailed, match=r"boto3 is not installed: pip install boto3"):
        await targets("on_failure", queue, ended())
