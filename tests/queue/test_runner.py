"""Checks what answers of a backend mean for an event: a real gateway before a scripted backend, and its targets."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import time
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.support.backends import BackendCall, ScriptedBackend
from tests.support.certificates import make_certificate
from tests.support.clients import call, invoke_path
from tests.support.gateways import GatewayUnderTest, eventually, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLAIN = {"Content-Type": "text/plain; charset=utf-8"}
API = {"Content-Type": "application/json", "X-Amz-Executed-Version": "$LATEST"}
FAILED = {**API, "X-Amz-Function-Error": "Unhandled"}
FAILURE = b'{"errorMessage":"no such report","errorType":"ValueError"}'
Answer = tuple[int, bytes, dict[str, str]]


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # the same at every run: it is in the names of tests


class World:
    """A gateway whose function `report` has every target. The backend gives the answers in turn, the last for ever."""

    def __init__(self, folder: Path, backend: ScriptedBackend, gateway: GatewayUnderTest) -> None:
        self.folder = folder
        self.backend = backend
        self.gateway = gateway
        self.errors_before = 0.0
        self.id = str(uuid4())  # of the test's events: those of an earlier test may have something to deliver still

    async def errors(self) -> float:
        """How many runs of the function are counted as failed."""
        return await self.gateway.metric("errors_total", account="000000000000", function="report")

    def answers(self, *answers: Answer) -> None:
        left = list(answers)

        async def script(arrived: BackendCall) -> None:
            status, body, headers = left.pop(0) if len(left) > 1 else left[0]
            arrived.answer(status, body, headers)

        self.backend.script = script

    async def send(self, body: bytes = b'{"id":7}', *, path: str = invoke_path("report"), **headers: str) -> None:
        given = {"X-Amz-Invocation-Type": "Event", "x-amzn-RequestId": self.id, **headers}
        assert (await call(self.gateway.listen, path, body, given)).status == 202

    def lines(self, kind: str) -> list[dict[str, Any]]:
        file = self.folder / f"{kind}.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        return [json.loads(line) for line in lines if self.id in line and line.endswith("\n")]  # of whole lines

    async def line(self, kind: str) -> dict[str, Any]:
        """What this target was given first."""
        await eventually(lambda: self.lines(kind), lambda: f"{kind}: {self.backend.requests}", 20)
        return self.lines(kind)[0]

    async def record(self, kind: str = "on_success") -> dict[str, Any]:
        record: dict[str, Any] = (await self.line(kind))["record"]
        return record

    async def dead_letter(self) -> dict[str, Any]:
        attributes: dict[str, Any] = (await self.line("dead_letter_queue"))["attributes"]
        return attributes


@asynccontextmanager
async def opened(folder: Path, *, age: int = 3600, **changes: Any) -> AsyncIterator[World]:
    targets = {kind: f"file://{folder}/{kind}.jsonl" for kind in ("dead_letter_queue", "on_success", "on_failure")}
    function = {**targets, "maximum_retry_attempts": 1, "maximum_event_age_seconds": age}
    settings: dict[str, Any] = {
        "accounts": {"default": {"functions": {"report": function}}},
        "async": {
            "function_error_delays_seconds": [0.05],
            "shortest_delay_seconds": 0.05,
            "longest_delay_seconds": 0.1,
        },
        **changes,
    }
    async with ScriptedBackend() as backend, serving(backend.url, **settings) as gateway:
        world = World(folder, backend, gateway)
        yield world
        await gateway.settled()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with opened(tmp_path_factory.mktemp("runs")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared: World) -> AsyncIterator[World]:
    """The module's world, with nothing in its memory."""
    shared.backend.forget()
    shared.errors_before = await shared.errors()
    shared.id = str(uuid4())
    yield shared
    await shared.gateway.settled()


# ---- errors of the function ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "headers", "text"),
    [
        (200, FAILURE, FAILED, "no such report"),
        (200, FAILURE, {**API, "X-Amz-Function-Error": ""}, "no such report"),
        (200, FAILURE, PLAIN, "no such report"),
        (200, FAILURE, {}, "no such report"),
        (502, FAILURE, PLAIN, "no such report"),
        (200, b"Task timed out after 3.00 seconds", PLAIN, "Task timed out after 3.00 seconds"),
        (200, zipped(FAILURE), {**FAILED, "Content-Encoding": "gzip"}, "no such report"),
        (200, zlib.compress(FAILURE), {**FAILED, "Content-Encoding": "deflate"}, "no such report"),
        (200, zipped(FAILURE), {**PLAIN, "Content-Encoding": "gzip"}, "no such report"),
        (200, rb'{"errorMessage":"bad \ud800","errorType":"E"}', FAILED, "bad \ufffd"),
        (200, b'{"errorMessage":"bad","errorType":"E","nan":NaN}', FAILED, "bad"),
        (200, b'\xef\xbb\xbf{"errorMessage":"caf\xc3\xa9","errorType":"E"}', FAILED, "café"),
        (200, '{"errorMessage":"café","errorType":"E"}'.encode("utf-16"), FAILED, "café"),
        (200, b'{"errorMessage":"%b"}' % ("ä" * 600).encode(), FAILED, "ä" * 512),
        (200, b'{"errorMessage":"a\\u0000b"}', FAILED, "a\ufffdb"),
        (200, b"\x0b\x02\x80hi\x03", {**FAILED, "Content-Encoding": "br"},
         "The answer's content encoding cannot be read: nothing here decodes br."),
        (200, b"it broke", {**FAILED, "Content-Type": "text/plain"}, "it broke"),
    ],
)  # fmt: skip
async def test_a_function_error_is_retried_and_its_text_is_in_the_dead_letter(
    world: World, status: int, body: bytes, headers: dict[str, str], text: str
) -> None:
    world.answers((status, body, headers))
    await world.send()
    assert await world.dead_letter() == {"RequestID": world.id, "ErrorCode": 200, "ErrorMessage": text}
    record = await world.record("on_failure")
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == len(world.backend.requests) == 2
    assert record["responseContext"] == {
        "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled",
    }  # fmt: skip
    assert world.lines("on_success") == []
    assert await world.errors() - world.errors_before == 2


@pytest.mark.parametrize("headers", [API, {"Content-Type": "application/json"}])
async def test_a_result_that_looks_like_an_error_is_a_success(world: World, headers: dict[str, str]) -> None:
    world.answers((200, FAILURE, headers))
    await world.send()
    assert (await world.record())["responsePayload"] == json.loads(FAILURE)
    assert await world.errors() == world.errors_before


async def test_what_reports_a_function_error_is_a_setting(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    async with opened(tmp_path / "a", backend={"function_errors": "header"}) as world:
        world.answers((200, FAILURE, PLAIN))
        await world.send()
        assert (await world.record())["responsePayload"] == json.loads(FAILURE)
    (tmp_path / "b").mkdir()
    async with opened(tmp_path / "b", backend={"function_errors": "body"}) as world:
        world.answers((200, FAILURE, API))
        await world.send()
        assert (await world.dead_letter())["ErrorMessage"] == "no such report"


@pytest.mark.parametrize(
    ("backend", "errors"), [({}, 0), ({"function_errors": "body"}, 1), ({"function_path": "function"}, 1)]
)
async def test_the_errors_of_synchronous_calls_are_read_from_bodies_where_the_settings_say_so(
    tmp_path: Path, backend: dict[str, str], errors: int
) -> None:
    async with opened(tmp_path, backend=backend) as world:
        world.answers((200, FAILURE, PLAIN))
        answer = await call(world.gateway.listen, invoke_path("report"), b"{}")
        assert (answer.status, answer.body) == (200, FAILURE)
        assert answer.header("x-amz-function-error") is None
        assert await world.errors() == errors


# ---- answers that are no success ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "headers", "text"),
    [
        (409, b'{"Message":"It has been started.","Type":"User"}',
         {"x-amzn-ErrorType": "DurableExecutionAlreadyStartedException"}, "It has been started."),
        (409, b'{"__type":"DurableExecutionAlreadyStartedException","Message":"It has been started."}', {},
         "It has been started."),
        (404, b'{"Message":"Function not found: x","Type":"User"}', {}, "Function not found: x"),
        (404, zipped(b'{"Message":"Function not found: x"}'), {"Content-Encoding": "gzip"},
         "Function not found: x"),
        (404, rb'{"Message":"Function not found: \ud800"}', {}, "Function not found: \ufffd"),
        (404, b"404 page not found\n", PLAIN, "404 page not found"),
        (404, b"<html><title>Not &amp; found</title></html>", {"Content-Type": "text/html"}, "Not & found"),
        (404, b'{"detail":"Not Found"}', {}, "Not Found"),
        (404, b"", {}, "The backend answered 404."),
        (400, b"\xff\xfe\x00", {}, "The backend answered 400."),
        (400, b"", {}, "The backend answered 400."),
        (413, b'{"message":"too large"}', {}, "too large"),
    ],
)  # fmt: skip
async def test_what_never_runs_ends_at_once_with_the_backends_own_text(
    world: World, status: int, body: bytes, headers: dict[str, str], text: str
) -> None:
    world.answers((status, body, headers))
    await world.send()
    assert await world.dead_letter() == {"RequestID": world.id, "ErrorCode": status, "ErrorMessage": text}
    assert len(world.backend.requests) == 1


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (402, b"{}", {"x-amzn-ErrorType": "ServiceQuotaExceededException"}),
        (410, b"{}", {"x-amzn-ErrorType": "EFSIOException"}),
        (400, b"{}", {"x-amzn-ErrorType": "SnapStartException"}),
        (400, b"{}", {"x-amzn-ErrorType": "ThrottlingException"}),
        (409, b"{}", {"x-amzn-ErrorType": "ResourceConflictException"}),
        (425, b"", {}),
        (502, b"<h1>Bad Gateway</h1>", {}),
        (504, b"", {}),
    ],
)
async def test_what_time_mends_is_tried_again(world: World, status: int, body: bytes, headers: dict[str, str]) -> None:
    world.answers((status, body, headers), (status, body, headers), (200, b"1", API))
    await world.send()
    assert (await world.record())["responsePayload"] == 1
    assert len(world.backend.requests) == 3
    assert await world.gateway.metric("degraded", cause="backend_refuses_events") == 0


@pytest.mark.parametrize(
    ("status", "body", "headers", "remedy"),
    [
        (401, b"", {}, "async.mode"),
        (403, b'{"message":"The security token is invalid."}', {"x-amzn-ErrorType": "UnrecognizedClientException"},
         "async.mode"),
        (403, b'{"Message":"no"}', {"x-amzn-ErrorType": "AccessDeniedException"}, "lambda:InvokeFunction"),
        (403, b'{"__type":"InvalidSignatureException"}', {}, "async.mode"),
        (400, b'{"__type":"ExpiredTokenException"}', {}, "async.mode"),
        (403, b"Forbidden", {}, "async.mode"),
        (405, b"Not Allowed", {}, "backend.url"),
        (407, b"", {}, "backend.url"),
        (501, b"", {}, "backend.url"),
        (301, b"", {"Location": "https://elsewhere/"}, "https://elsewhere/"),
        (307, b"", {"Location": "https://elsewhere/"}, "https://elsewhere/"),
    ],
)  # fmt: skip
async def test_an_event_that_is_refused_by_a_mistake_of_the_setup_is_kept_and_the_log_says_what_to_do(
    world: World,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: bytes,
    headers: dict[str, str],
    remedy: str,
) -> None:
    caplog.set_level(logging.INFO, "invoke_gateway")
    function = f"unlisted-{uuid4()}"
    world.answers((status, body, headers))
    await world.send(path=invoke_path(function))
    await eventually(lambda: len(world.backend.requests) > 3, "it is tried again", 20)
    assert await world.gateway.metric("degraded", cause="backend_refuses_events") == 1
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert f"events of {function} (account 000000000000)" in line
    assert remedy in line
    assert str(status) in line
    world.answers((200, b"1", API))
    await eventually(lambda: any("run again" in one.getMessage() for one in caplog.records), lambda: caplog.records)
    assert await world.gateway.metric("degraded", cause="backend_refuses_events") == 0


async def test_an_event_that_is_refused_until_it_is_too_old_ends_with_the_backends_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is logged with the function's name, also of one that has no label."""
    async with opened(tmp_path, age=60, metric_functions=0) as world:
        world.answers((403, b'{"Message":"no"}', {"x-amzn-ErrorType": "AccessDeniedException"}))
        monkeypatch.setattr(
            world.gateway.app.events.dispatcher.settlement, "_now", lambda: time() + 3600
        )  # it is very old at once
        await world.send()
        assert await world.dead_letter() == {"RequestID": world.id, "ErrorCode": 403, "ErrorMessage": "no"}
        assert (await world.record("on_failure"))["requestContext"]["condition"] == "EventAgeExceeded"
        assert await world.gateway.metric("degraded", cause="backend_refuses_events") == 0  # no event waits for it
    assert "1 event dropped: 1 EventAgeExceeded (report)" in [record.getMessage() for record in caplog.records]


async def test_a_backend_whose_certificate_is_not_trusted_is_a_mistake_of_the_setup_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_certificate(tmp_path, "127.0.0.1"))
    async with ScriptedBackend(tls=context) as backend, serving(backend.url) as gateway:
        headers = {"X-Amz-Invocation-Type": "Event"}
        assert (await call(gateway.listen, invoke_path("report"), b"{}", headers)).status == 202
        wanted = "backend.certificate_authority"
        await eventually(lambda: any(wanted in record.getMessage() for record in caplog.records), "a line of log", 20)
        assert await gateway.metric("degraded", cause="backend_refuses_events") == 1


# ---- payloads -----------------------------------------------------------------------------------------------------

CUT = zipped(b"it is cut off")[:-3]
RESULT = '{"id":7,"text":"café","number":12345678901234567890.10}'.encode()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", zipped(RESULT)),
        ("x-gzip", zipped(RESULT)),
        ("GZIP", zipped(RESULT)),
        ("deflate", zlib.compress(RESULT)),
        ("deflate", zlib.compress(RESULT)[2:-4]),
        ("identity", RESULT),
        ("deflate, gzip", zipped(zlib.compress(RESULT))),
        ("gzip", RESULT),
        ("br", RESULT),
    ],
)
async def test_the_result_of_a_coded_answer_is_in_the_record(world: World, coding: str, body: bytes) -> None:
    world.answers((200, body, {**API, "Content-Encoding": coding}))
    await world.send(**{"Accept-Encoding": "gzip, br"})
    await world.line("on_success")
    assert RESULT in (world.folder / "on_success.jsonl").read_bytes()
    assert world.backend.requests[0].header(b"accept-encoding") == b"identity"


@pytest.mark.parametrize(
    ("headers", "body", "payload"),
    [
        ({"Content-Encoding": "br"}, b"\x0b\x02\x80hi\x03", "CwKAaGkD"),
        ({"Content-Encoding": "gzip"}, CUT, base64.b64encode(CUT).decode()),
        ({}, b"\x1f\x8b\x08\x00\xff", "H4sIAP8="),
        ({}, b"<html>\xff", "<html>\ufffd"),
        ({}, b"it is done", "it is done"),
        ({}, b"NaN", "NaN"),
        ({}, b"", None),
        ({}, b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        ({}, '{"a":"é"}'.encode("utf-16-le"), {"a": "é"}),
        ({"Content-Type": "application/json; charset=iso-8859-1"}, b'{"a":"\xe9"}', {"a": "é"}),
        ({}, b'{"a":1,"a":2}', {"a": 2}),
        ({}, rb'"\ud800"', "\ud800"),
    ],
)
async def test_a_payload_that_is_no_json_is_a_string_in_the_record(
    world: World, headers: dict[str, str], body: bytes, payload: object
) -> None:
    world.answers((200, body, {**API, **headers}))
    await world.send()
    assert (await world.record())["responsePayload"] == payload


async def test_a_payload_that_is_nested_without_end_is_in_the_record_as_it_is_and_its_text_is_found(
    world: World,
) -> None:
    deep = b'{"trace":%b,"errorMessage":"deep"}' % (b"[" * 10_000 + b"]" * 10_000)
    world.answers((200, deep, FAILED))
    await world.send()
    assert (await world.dead_letter())["ErrorMessage"] == "deep"
    file = world.folder / "on_failure.jsonl"
    await eventually(lambda: file.exists() and deep in file.read_bytes(), "the payload", 20)


async def test_an_answer_that_is_above_the_quota_once_decoded_is_the_function_error_that_lambda_makes_of_it(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, quotas={"response": 1000}) as world:
        world.answers((200, zipped(b'"' + b"a" * 10_000_000 + b'"')[:900], {**API, "Content-Encoding": "gzip"}))
        await world.send()
        said = "Response payload size exceeded maximum allowed payload size (1000 bytes)."
        assert (await world.dead_letter())["ErrorMessage"] == said
        assert (await world.record("on_failure"))["responsePayload"]["errorType"] == "Function.ResponseSizeTooLarge"


# ---- events without a payload -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [invoke_path("report"), "/2014-11-13/functions/report/invoke-async"])
async def test_an_event_without_a_payload_is_an_empty_object_wherever_it_goes(world: World, path: str) -> None:
    world.answers((200, FAILURE, FAILED))
    await world.send(b"", path=path)
    assert (await world.record("on_failure"))["requestPayload"] == {}
    assert (await world.line("dead_letter_queue"))["body"] == "{}"
    assert [arrived.body for arrived in world.backend.requests] == [b"{}", b"{}"]
    assert [arrived.header(b"content-length") for arrived in world.backend.requests] == [b"2", b"2"]


# ---- the access log -----------------------------------------------------------------------------------------------


async def test_the_line_of_a_run_has_the_events_id_and_attempt_also_where_the_backend_has_ids_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "invoke_gateway.access")
    async with opened(tmp_path, access_log="-") as world:
        ids = {"x-amzn-RequestId": "the-backends-own"}
        world.answers((503, b"", {}), (200, FAILURE, {**FAILED, **ids}), (200, b"1", {**API, **ids}))
        await world.send()
        await world.line("on_success")
        await call(world.gateway.listen, invoke_path("report"), b"{}")
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "invoke_gateway.access"]
    accepted, *runs, synchronous = lines
    assert (accepted["request_id"], accepted["invocation_type"], accepted["status"]) == (world.id, "Event", 202)
    assert "attempt" not in accepted
    assert [(run["request_id"], run["invocation_type"], run["attempt"], run["status"]) for run in runs] == [
        (world.id, "Event", 1, 503),
        (world.id, "Event", 2, 200),
        (world.id, "Event", 3, 200),
    ]
    assert [run.get("backend_request_id") for run in runs] == [None, "the-backends-own", "the-backends-own"]
    assert [run.get("function_error") for run in runs] == [None, True, None]
    assert (synchronous["request_id"], synchronous["invocation_type"]) == ("the-backends-own", "RequestResponse")
    assert "attempt" not in synchronous
