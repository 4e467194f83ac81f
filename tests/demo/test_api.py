"""The API of the demo backend: operations, streaming, listing, clients that leave, and its end."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import socket
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from invoke_gateway.demo import DemoBackend
from tests.demo.serving import ACCOUNT, REGION, Served, invoke, invoke_streamed, until


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
    sleep = b'{"seconds":0.5}'
    stream = b'{"chunks":3,"seconds":0.5,"bytes":1048576}'
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
