"""The demo functions, as boto3 sees them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.demo.serving import Served, invoke
from tests.support.lateness import check_lasted


@pytest.mark.parametrize("event", [{}, {"a": [1, None, "é\ud800"]}, [], "text", 0, None])
def test_echo_returns_its_event_of_any_type(served: Served, event: object) -> None:
    text = json.dumps(event).encode()
    assert served.post("/2015-03-31/functions/echo/invocations", text)[2] == text


def test_an_empty_payload_is_an_empty_event(client: Any) -> None:
    assert invoke(client, "echo")["Payload"] == {}


def test_echo_returns_a_payload_of_six_mebibytes_whole(client: Any) -> None:
    event = "x" * (6_291_456 - 2)
    assert invoke(client, "echo", event)["Payload"] == event


@pytest.mark.parametrize("seconds", [0, 0.02])
def test_sleep_waits_as_long_as_it_says_it_did(client: Any, seconds: float) -> None:
    began = time.monotonic()
    assert invoke(client, "sleep", {"seconds": seconds})["Payload"] == {"slept": seconds}
    check_lasted(began, seconds)


def test_fail_is_a_function_error_and_a_200(client: Any) -> None:
    output = invoke(client, "fail", {})
    assert (output["StatusCode"], output["FunctionError"]) == (200, "Unhandled")
    assert output["ExecutedVersion"] == "$LATEST"
    assert output["Payload"] == {
        "errorMessage": "The function fail fails.",
        "errorType": "DemoError",
        "requestId": output["ResponseMetadata"]["RequestId"],
        "stackTrace": ['  File "/var/task/demo.py", in handler\n'],
    }


@pytest.mark.parametrize("size", [2, 3, 1_024, 1_048_576, 1_048_577, 1_048_578, 1_048_579, 6_291_557])
def test_blob_is_a_json_string_of_exactly_so_many_bytes(served: Served, size: int) -> None:
    path = "/2015-03-31/functions/blob/invocations"
    status, headers, body = served.post(path, b'{"bytes":%d}' % size)
    assert (status, len(body), headers["content-length"]) == (200, size, str(size))
    assert isinstance(json.loads(body), str)


def test_stream_on_invoke_is_its_chunks_joined_to_one_json_string(client: Any) -> None:
    event = {"chunks": 4, "bytes": 10, "seconds": 0.005}
    assert invoke(client, "stream", event)["Payload"] == "x" * 38


NO_NUMBERS = ["x", None, True, {}, [], 1e400, -1]
UNSUITABLE = [
    *((name, event) for name in ("sleep", "blob", "stream") for event in ([], "text", None, 1)),
    *(("sleep", {"seconds": value}) for value in (*NO_NUMBERS, 900.5, 901)),
    *(("blob", {"bytes": value}) for value in (*NO_NUMBERS, 0, 1, 2.5, 2**40, 10**400)),
    *(("stream", {"chunks": value}) for value in (*NO_NUMBERS, 0, 1.5)),
    *(("stream", {"bytes": value}) for value in (*NO_NUMBERS, 1, 2**21)),
    *(("stream", {"seconds": value}) for value in NO_NUMBERS),
]


@pytest.mark.parametrize(("name", "event"), UNSUITABLE, ids=lambda value: repr(value)[:40])
def test_an_event_that_does_not_suit_the_function_is_a_function_error(client: Any, name: str, event: Any) -> None:
    text = json.dumps(event).replace("Infinity", "1e400")
    output = invoke(client, name, Payload=text)
    assert (output["StatusCode"], output["FunctionError"]) == (200, "Unhandled")
    assert output["Payload"]["errorType"] == "InvalidEvent"
    assert output["Payload"]["errorMessage"].startswith("The event does not suit the function: ")


@pytest.mark.parametrize(
    "event", [{"chunks": 1_000, "bytes": 1_048_576}, {"chunks": 3, "seconds": 451}, {"chunks": 1_000_001}]
)
def test_a_stream_is_bounded_in_bytes_in_seconds_and_in_chunks(client: Any, event: Any) -> None:
    assert invoke(client, "stream", event)["Payload"]["errorType"] == "InvalidEvent"


def test_unknown_members_of_an_event_are_left_alone(client: Any) -> None:
    assert invoke(client, "blob", {"bytes": 2, "more": [1]})["Payload"] == ""


def test_an_event_nested_deeper_than_a_function_reads_is_a_function_error(client: Any) -> None:
    deep = b"[" * 500_000 + b"]" * 500_000  # beyond what any Python reads: 3.11 stops at 1,000, newer ones far later
    assert client.invoke(FunctionName="echo", Payload=deep)["Payload"].read() == deep
    assert invoke(client, "blob", Payload=b'{"bytes":2,"more":%b}' % deep)["FunctionError"] == "Unhandled"


def test_a_function_is_there_under_longer_names_too(client: Any) -> None:
    assert invoke(client, "echo-checkout", {"a": 1})["Payload"] == {"a": 1}
    assert client.get_function(FunctionName="echo-checkout")["Configuration"]["FunctionName"] == "echo-checkout"
    with pytest.raises(ClientError, match="Function not found: arn:aws:lambda:eu-west-1:111122223333:function:echoes"):
        invoke(client, "echoes")
