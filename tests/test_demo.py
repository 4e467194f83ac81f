"""The demo backend over a real loopback socket, as boto3 sees it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import logging
import socket
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import boto3
import pytest
import uvicorn
from botocore.config import Config
from botocore.exceptions import ClientError

from invoke_gateway.demo import DemoBackend
from tests.support.lateness import check_lasted

REGION = "eu-west-1"
ACCOUNT = "111122223333"


class Served:
    """A demo backend under uvicorn in a thread of its own."""

    def __init__(self) -> None:
        self.backend = DemoBackend(region=REGION, account=ACCOUNT)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.server = uvicorn.Server(
            uvicorn.Config(self.backend, log_config=None, lifespan="on", ws="none", timeout_graceful_shutdown=2)
        )
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],), daemon=True)

    def start(self) -> None:
        self.thread.start()
        until(lambda: self.server.started)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(timeout=5)
        assert not self.thread.is_alive()
        self.listener.close()

    def post(self, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self.request("POST", path, body, **headers)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return (
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read(),
            )
        finally:
            connection.close()


def until(is_so: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.002)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    served = Served()
    served.start()
    yield served
    served.stop()


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Any]:
    client = boto3.client(
        "lambda",
        endpoint_url=f"http://127.0.0.1:{served.port}",
        region_name=REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=60, read_timeout=60),
    )
    yield client
    client.close()


def invoke(client: Any, name: str, event: object = None, **parameters: Any) -> dict[str, Any]:
    """Invoke's typed output, with its payload read and parsed."""
    if event is not None:
        parameters["Payload"] = json.dumps(event)
    output: dict[str, Any] = client.invoke(FunctionName=name, **parameters)
    text = output["Payload"].read()
    output["Payload"] = json.loads(text) if text else None
    return output


def invoke_streamed(client: Any, name: str, event: object, **parameters: Any) -> tuple[list[bytes], dict[str, str]]:
    """The chunks, and what InvokeComplete said."""
    output = client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event), **parameters)
    assert (output["StatusCode"], output["ExecutedVersion"]) == (200, "$LATEST")
    assert output["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    *chunks, last = output["EventStream"]
    return [chunk["PayloadChunk"]["Payload"] for chunk in chunks], last["InvokeComplete"]


# ---- the functions ---------------------------------------------------------------------------------------


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


# ---- the operations --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "echo",
        "echo:$LATEST",
        "echo:prod",
        f"{ACCOUNT}:function:echo",
        f"{ACCOUNT}:function:echo:3",
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:echo",
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:echo:prod",
        f"arn:aws-cn:lambda:cn-north-1:{ACCOUNT}:function:echo",
    ],
)
def test_a_function_may_be_called_by_name_or_arn_with_or_without_a_qualifier(client: Any, name: str) -> None:
    output = invoke(client, name, {"a": 1})
    assert (output["StatusCode"], output["ExecutedVersion"], output["Payload"]) == (200, "$LATEST", {"a": 1})


def test_a_name_may_be_percent_encoded_and_the_qualifier_in_the_query(client: Any, served: Served) -> None:
    assert invoke(client, "echo", [], Qualifier="$LATEST")["Payload"] == []
    status, _, body = served.post("/2015-03-31/functions/%65cho%3A%24LATEST/invocations?Qualifier=%24LATEST", b"1")
    assert (status, body) == (200, b"1")


def test_a_success_has_the_headers_that_lambda_sends(served: Served) -> None:
    status, headers, body = served.post("/2015-03-31/functions/echo/invocations", b"[1]")
    assert status == 200
    assert body == b"[1]"
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == "3"
    assert headers["x-amz-executed-version"] == "$LATEST"
    assert str(uuid.UUID(headers["x-amzn-requestid"])) == headers["x-amzn-requestid"]
    assert "x-amz-function-error" not in headers
    assert "x-amz-log-result" not in headers
    assert "date" in headers


def test_a_request_id_that_is_a_uuid_is_kept_and_any_other_replaced(served: Served) -> None:
    own = str(uuid.uuid4())
    path = "/2015-03-31/functions/echo/invocations"
    assert served.post(path, b"1", x_amzn_RequestId=own)[1]["x-amzn-requestid"] == own
    other = served.post(path, b"1", x_amzn_RequestId="not one")[1]["x-amzn-requestid"]
    assert str(uuid.UUID(other)) == other


def test_an_event_is_accepted_with_an_empty_202_and_runs_afterwards(client: Any, served: Served) -> None:
    output = invoke(client, "sleep", {"seconds": 0.1}, InvocationType="Event")
    assert (output["StatusCode"], output["Payload"]) == (202, None)
    assert "ExecutedVersion" not in output
    until(lambda: repr(served.backend) == "<DemoBackend <Functions sleeping=1> events=1>")
    until(lambda: repr(served.backend) == "<DemoBackend <Functions sleeping=0> events=0>")


@pytest.mark.parametrize("name", ["echo", "fail", "blob", "stream", "sleep"])
def test_an_event_for_any_function_leaves_nothing_behind(client: Any, served: Served, name: str) -> None:
    for event in ({"seconds": 0}, []):
        assert invoke(client, name, event, InvocationType="Event")["StatusCode"] == 202
    until(lambda: repr(served.backend) == "<DemoBackend <Functions sleeping=0> events=0>")


@pytest.mark.parametrize(("invocation_type", "status"), [("Event", 202), ("DryRun", 204)])
def test_neither_202_nor_204_has_a_content_type_or_a_version(served: Served, invocation_type: str, status: int) -> None:
    path = "/2015-03-31/functions/echo/invocations"
    answer = served.post(path, b"1", X_Amz_Invocation_Type=invocation_type)
    assert (answer[0], answer[2]) == (status, b"")
    assert not {"content-type", "x-amz-executed-version", "transfer-encoding"} & answer[1].keys()
    assert "x-amzn-requestid" in answer[1]


def test_a_dry_run_does_not_run_the_function(client: Any) -> None:
    output = invoke(client, "sleep", {"seconds": 900}, InvocationType="DryRun")
    assert (output["StatusCode"], output["Payload"]) == (204, None)


def test_invoke_async_is_accepted_with_202_and_runs_afterwards(client: Any, served: Served) -> None:
    assert client.invoke_async(FunctionName="sleep", InvokeArgs=b'{"seconds":0.1}')["Status"] == 202
    until(lambda: repr(served.backend) == "<DemoBackend <Functions sleeping=1> events=1>")
    until(lambda: repr(served.backend) == "<DemoBackend <Functions sleeping=0> events=0>")


def test_tail_brings_the_log_with_the_request_id_in_it(client: Any) -> None:
    output = invoke(client, "echo", {}, LogType="Tail")
    request_id = output["ResponseMetadata"]["RequestId"]
    lines = base64.b64decode(output["LogResult"]).decode().splitlines()
    assert lines[0] == f"START RequestId: {request_id} Version: $LATEST"
    assert lines[-1].startswith(f"REPORT RequestId: {request_id}\tDuration: ")


def test_an_unknown_invocation_type_is_a_validation_error(client: Any) -> None:
    with pytest.raises(ClientError) as caught:
        invoke(client, "echo", {}, InvocationType="Later")
    assert caught.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": "1 validation error detected: Value 'Later' at 'invocationType' failed to satisfy "
        "constraint: Member must satisfy enum value set: [Event, RequestResponse, DryRun]",
    }


@pytest.mark.parametrize("body", [b"{", b"no", b'"\xff"', b" "])
def test_a_body_that_is_not_json_is_an_invalid_request_content(client: Any, body: bytes) -> None:
    with pytest.raises(client.exceptions.InvalidRequestContentException) as caught:
        client.invoke(FunctionName="echo", Payload=body)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert caught.value.response["Type"] == "User"
    assert caught.value.response["message"].startswith(
        "Could not parse request body into json: Could not parse payload into json: "
    )


@pytest.mark.parametrize(
    ("name", "parameters", "arn"),
    [
        ("missing", {}, f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:missing:$LATEST"),
        ("missing:prod", {}, f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:missing:prod"),
        ("missing", {"Qualifier": "7"}, f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:missing:7"),
        (
            "444455556666:function:missing",
            {},
            f"arn:aws:lambda:{REGION}:444455556666:function:missing:$LATEST",
        ),
        (
            "arn:aws:lambda:us-east-2:444455556666:function:missing",
            {},
            "arn:aws:lambda:us-east-2:444455556666:function:missing:$LATEST",
        ),
        ("Echo", {}, f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:Echo:$LATEST"),
    ],
)
def test_an_unknown_function_is_not_found_under_its_qualified_arn(
    client: Any, name: str, parameters: dict[str, str], arn: str
) -> None:
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        invoke(client, name, {}, **parameters)
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert response["ResponseMetadata"]["HTTPHeaders"]["x-amzn-errortype"] == "ResourceNotFoundException"
    assert (response["Type"], response["Message"]) == ("User", f"Function not found: {arn}")


@pytest.mark.parametrize("name", ["", "%20", "a%2Fb", "%00", "%ff", "%22", "echo:", "echo:a:b", "x" * 300])
def test_what_is_no_name_is_not_found_either(served: Served, name: str) -> None:
    status, headers, body = served.post(f"/2015-03-31/functions/{name}/invocations", b"{}")
    assert (status, headers["x-amzn-errortype"]) == (404, "ResourceNotFoundException")
    assert json.loads(body)["Message"].startswith("Function not found: ")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("POST", "/2015-03-31/functions/echo"),
        ("POST", "/2014-11-13/functions/echo/invocations"),
        ("GET", "/2015-03-31/functions/echo/invocations"),
        ("GET", "/2015-03-31/functionsecho"),
        ("PUT", "/2015-03-31/functions/echo/invocations"),
        ("GET", "/favicon.ico"),
    ],
)
def test_any_other_request_is_told_which_functions_there_are(served: Served, method: str, path: str) -> None:
    status, headers, body = served.request(method, path, b"x")
    error = json.loads(body)
    assert (status, headers["x-amzn-errortype"]) == (404, "ResourceNotFoundException")
    assert error["Type"] == "User"
    assert f"{method} {path} is not an operation" in error["Message"]
    assert "(echo, sleep, fail, blob, stream)" in error["Message"]


# ---- streaming -------------------------------------------------------------------------------------------


def test_stream_comes_in_as_many_chunks_as_asked_for(client: Any) -> None:
    chunks, complete = invoke_streamed(client, "stream", {"chunks": 4, "bytes": 1_000, "seconds": 0.005})
    assert [len(chunk) for chunk in chunks] == [1_000] * 4
    assert json.loads(b"".join(chunks)) == "x" * 3_998
    assert complete == {}


@pytest.mark.parametrize(
    ("name", "event", "result"),
    [("echo", {"a": 1}, {"a": 1}), ("sleep", {"seconds": 0}, {"slept": 0}), ("blob", {"bytes": 5}, "xxx")],
)
def test_any_function_can_be_streamed(client: Any, name: str, event: object, result: object) -> None:
    chunks, complete = invoke_streamed(client, name, event)
    assert json.loads(b"".join(chunks)) == result
    assert complete == {}


@pytest.mark.parametrize("size", [1_048_576, 1_048_577, 1_048_578, 3_145_728])
def test_a_large_blob_is_streamed_in_chunks_of_at_most_a_mebibyte(client: Any, size: int) -> None:
    chunks, _ = invoke_streamed(client, "blob", {"bytes": size})
    assert all(0 < len(chunk) <= 1_048_576 for chunk in chunks)
    assert sum(len(chunk) for chunk in chunks) == size


@pytest.mark.parametrize(
    ("name", "event", "code"), [("fail", {}, "DemoError"), ("sleep", {"seconds": "x"}, "InvalidEvent")]
)
def test_an_error_of_a_streaming_function_comes_in_the_last_message(
    client: Any, name: str, event: object, code: str
) -> None:
    chunks, complete = invoke_streamed(client, name, event)
    assert (chunks, complete["ErrorCode"]) == ([], code)
    assert json.loads(complete["ErrorDetails"])["errorType"] == code


def test_the_log_of_a_streaming_function_comes_in_the_last_message(client: Any) -> None:
    _, complete = invoke_streamed(client, "echo", {}, LogType="Tail")
    assert b"REPORT RequestId: " in base64.b64decode(complete["LogResult"])


def test_a_streaming_function_can_be_run_dry_but_not_as_an_event(client: Any) -> None:
    answer = client.invoke_with_response_stream(FunctionName="echo", InvocationType="DryRun")
    with contextlib.closing(answer["EventStream"]):
        assert answer["StatusCode"] == 204
    with pytest.raises(ClientError, match=r"enum value set: \[RequestResponse, DryRun\]"):
        client.invoke_with_response_stream(FunctionName="echo", InvocationType="Event")


# ---- listing ---------------------------------------------------------------------------------------------


def test_the_five_functions_can_be_listed(client: Any) -> None:
    functions = client.list_functions()["Functions"]
    assert [function["FunctionName"] for function in functions] == ["echo", "sleep", "fail", "blob", "stream"]
    assert functions[0]["FunctionArn"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:echo"
    assert functions[0]["Version"] == "$LATEST"


def test_a_function_can_be_looked_up_and_waited_for(client: Any) -> None:
    assert client.get_function(FunctionName="blob:$LATEST")["Configuration"]["FunctionName"] == "blob"
    client.get_waiter("function_active_v2").wait(FunctionName="echo", WaiterConfig={"Delay": 0, "MaxAttempts": 1})


def test_looking_up_an_unknown_function_names_it_without_latest(client: Any) -> None:
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        client.get_function(FunctionName="missing")
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:missing"
    assert caught.value.response["Message"] == f"Function not found: {arn}"


# ---- clients that leave, and the end ---------------------------------------------------------------------


def hang_up(served: Served, request: bytes, *, after: Callable[[], bool] = lambda: True) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(request)
        until(after)


def test_a_client_may_leave_before_during_and_after_without_a_word_in_the_log(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    post = b"POST /2015-03-31/functions/%b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b"
    sleep = b'{"seconds":0.05}'
    stream = b'{"chunks":3,"seconds":0.02,"bytes":1048576}'
    streaming = post.replace(b"2015-03-31", b"2021-11-15")
    with caplog.at_level(logging.INFO):
        hang_up(served, b"POST /2015-03-31/fun")
        hang_up(served, post % (b"sleep/invocations", 1_000, b"{"))
        hang_up(
            served,
            post % (b"sleep/invocations", len(sleep), sleep),
            after=lambda: "sleeping=1" in repr(served.backend),
        )
        hang_up(
            served,
            streaming % (b"stream/response-streaming-invocations", len(stream), stream),
            after=lambda: "sleeping=1" in repr(served.backend),
        )
        hang_up(served, post % (b"blob/invocations", 18, b'{"bytes":20000000}'))
        until(lambda: repr(served.backend) == "<DemoBackend <Functions sleeping=0> events=0>")
        until(lambda: not served.server.server_state.tasks)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_stopping_ends_events_that_sleep_and_leaves_no_task(caplog: pytest.LogCaptureFixture) -> None:
    served = Served()
    served.start()
    body = b'{"seconds":900}'
    assert served.post("/2015-03-31/functions/sleep/invocations", body, X_Amz_Invocation_Type="Event")[0] == 202
    until(lambda: repr(served.backend) == "<DemoBackend <Functions sleeping=1> events=1>")
    served.stop()
    assert repr(served.backend) == "<DemoBackend <Functions sleeping=0> events=0>"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_the_end_of_the_lifespan_waits_for_events_and_a_new_one_starts_afresh() -> None:
    backend = DemoBackend()
    sent: list[str] = []
    path, body = "/2014-11-13/functions/sleep/invoke-async", b'{"seconds":900}'

    async def live(receive: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        async def send(message: Any) -> None:
            sent.append(f"{message['type']} {backend!r}")

        await backend({"type": "lifespan"}, receive, send)

    async def receive() -> dict[str, Any]:
        if not sent:
            return {"type": "lifespan.startup"}
        assert (await call(backend, path, body))[0] == 202
        await asyncio.sleep(0)
        assert repr(backend) == "<DemoBackend <Functions sleeping=1> events=1>"
        return {"type": "lifespan.shutdown"}

    for _ in range(2):
        sent.clear()
        await live(receive)
        assert sent == [
            "lifespan.startup.complete <DemoBackend <Functions sleeping=0> events=0>",
            "lifespan.shutdown.complete <DemoBackend <Functions sleeping=0> events=0>",
        ]


async def test_a_function_is_not_run_for_a_client_that_leaves_before_the_end_of_its_body() -> None:
    messages = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"{}", "more_body": True},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop()

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "query_string": b"", "headers": []}
    await DemoBackend()({**scope, "path": "/2015-03-31/functions/echo/invocations"}, receive, send)
    assert messages == []


async def call(backend: DemoBackend, path: str, body: bytes) -> tuple[int, bytes]:
    """One request without a socket: the status and the body."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
    await backend(scope, receive, send)
    return sent[0]["status"], b"".join(message["body"] for message in sent[1:])


async def test_close_ends_sleeping_functions_with_a_function_error_and_may_be_called_twice() -> None:
    backend = DemoBackend()
    sleeping = asyncio.create_task(call(backend, "/2015-03-31/functions/sleep/invocations", b'{"seconds":900}'))
    streaming = asyncio.create_task(
        call(backend, "/2021-11-15/functions/stream/response-streaming-invocations", b'{"seconds":400}')
    )
    await asyncio.sleep(0)  # one turn of the loop: both run until they wait
    assert repr(backend) == "<DemoBackend <Functions sleeping=2> events=0>"
    backend.close()
    backend.close()
    status, body = await sleeping
    assert (status, json.loads(body)["errorType"]) == (200, "Runtime.ExitError")
    status, body = await streaming
    assert (status, body.count(b"PayloadChunk"), body.count(b"Runtime.ExitError")) == (200, 1, 2)
    late = await call(backend, "/2015-03-31/functions/sleep/invocations", b'{"seconds":900}')
    assert json.loads(late[1])["errorMessage"] == "The demo backend is stopping."
    await backend.aclose()


# ---- how many calls run at once --------------------------------------------------------------------------


class Exchanged:
    """One request without a socket: what was sent, and what the backend counted at each of those moments."""

    def __init__(self, backend: DemoBackend, path: str, body: bytes) -> None:
        self.backend = backend
        self.sent: list[tuple[Any, str]] = []
        self._body = body
        self._scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}

    async def run(self) -> Exchanged:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": self._body, "more_body": False}

        async def send(message: Any) -> None:
            self.sent.append((message, repr(self.backend._overlap)))

        await self.backend(self._scope, receive, send)
        return self

    @property
    def running(self) -> str | None:
        headers = dict(self.sent[0][0]["headers"])
        return headers[b"x-demo-running"].decode() if b"x-demo-running" in headers else None


def invocation_of(name: str) -> str:
    return f"/2015-03-31/functions/{name}/invocations"


async def test_a_call_is_told_how_many_run_of_its_function_of_the_others_and_in_all() -> None:
    backend = DemoBackend()
    names = ("sleep-a", "sleep-b", "arn:aws:lambda:us-east-1:111122223333:function:sleep-a:live")
    exchanges = [Exchanged(backend, invocation_of(name), b"{}") for name in names]
    tasks = [asyncio.create_task(exchange.run()) for exchange in exchanges]
    await asyncio.sleep(0)  # one turn of the loop: all run until they wait
    backend.close()
    await asyncio.gather(*tasks)
    assert [exchange.running for exchange in exchanges] == [
        "all=1, sleep-a=1",
        "all=2, sleep-b=1, sleep-a=1",
        "all=3, sleep-a=2, sleep-b=1",
    ]
    assert repr(backend._overlap) == "<Overlap 0 {}>"


async def test_a_call_counts_no_longer_when_the_last_bytes_of_its_response_are_written() -> None:
    """Otherwise a gateway that gives the slot back on those bytes would be accused of letting one too many through."""
    backend = DemoBackend()
    buffered = await Exchanged(backend, invocation_of("echo"), b"{}").run()
    assert [count for _, count in buffered.sent] == ["<Overlap 0 {}>", "<Overlap 0 {}>"]
    path = "/2021-11-15/functions/stream/response-streaming-invocations"
    streamed = await Exchanged(backend, path, b'{"chunks":2}').run()
    while_running, over = "<Overlap 1 {'stream': 1}>", "<Overlap 0 {}>"
    assert [count for _, count in streamed.sent] == [while_running, while_running, while_running, over]


async def test_a_function_error_ends_the_count_and_events_dry_runs_and_refusals_are_not_counted() -> None:
    backend = DemoBackend()
    assert (await Exchanged(backend, invocation_of("fail"), b"{}").run()).running == "all=1, fail=1"
    assert repr(backend._overlap) == "<Overlap 0 {}>"
    assert (await Exchanged(backend, invocation_of("nothing"), b"{}").run()).running is None
    event = Exchanged(backend, "/2014-11-13/functions/sleep/invoke-async", b"{}")
    assert (await event.run()).running is None
    assert event.sent[0][1] == "<Overlap 0 {}>"
    await backend.aclose()


async def test_a_call_that_is_cancelled_is_not_counted_for_ever() -> None:
    backend = DemoBackend()
    task = asyncio.create_task(Exchanged(backend, invocation_of("sleep"), b'{"seconds":900}').run())
    await asyncio.sleep(0)
    assert repr(backend._overlap) == "<Overlap 1 {'sleep': 1}>"
    task.cancel()
    await asyncio.wait([task])
    assert repr(backend._overlap) == "<Overlap 0 {}>"


async def test_the_header_names_its_own_function_and_at_most_fifteen_others() -> None:
    backend = DemoBackend()
    exchanges = [Exchanged(backend, invocation_of(f"sleep-{number}"), b"{}") for number in range(20)]
    tasks = [asyncio.create_task(exchange.run()) for exchange in exchanges]
    await asyncio.sleep(0)
    backend.close()
    await asyncio.gather(*tasks)
    total, own, *others = (exchanges[-1].running or "").split(", ")
    assert (total, own, len(others)) == ("all=20", "sleep-19=1", 15)


def test_a_function_is_there_under_longer_names_too(client: Any) -> None:
    assert invoke(client, "echo-checkout", {"a": 1})["Payload"] == {"a": 1}
    assert client.get_function(FunctionName="echo-checkout")["Configuration"]["FunctionName"] == "echo-checkout"
    with pytest.raises(ClientError, match="Function not found: arn:aws:lambda:eu-west-1:111122223333:function:echoes"):
        invoke(client, "echoes")


@pytest.mark.parametrize(
    ("name", "arn"),
    [
        ("nowhere", "arn:aws-cn:lambda:cn-north-1:000000000000:function:nowhere:$LATEST"),
        (
            "us-gov-west-1:111122223333:nowhere",
            "arn:aws-us-gov:lambda:us-gov-west-1:111122223333:function:nowhere:$LATEST",
        ),
        ("arn:aws-iso:lambda:cn-north-1:111122223333:function:nowhere", None),
    ],
)
async def test_a_function_that_is_not_found_is_named_in_its_partition(name: str, arn: str | None) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    path = f"/2015-03-31/functions/{name}/invocations"
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
    await DemoBackend(region="cn-north-1")(scope, receive, send)
    assert json.loads(sent[1]["body"])["Message"] == f"Function not found: {arn or name + ':$LATEST'}"
