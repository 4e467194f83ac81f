"""Odd responses that are valid HTTP/1.1 reach the client whole, and once only."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.backends import OK, BackendCall, ScriptedBackend, response, says, says_and_closes
from tests.support.clients import call, invoke
from tests.support.gateways import GatewayUnderTest

from .backend_errors import GARBAGE, check_is_fault

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {"backend": {"timeout_seconds": 3}}


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(OK + b"Content-Length: 5\r\n\r\nhello", id="length"),
        pytest.param(OK + b"cOnTeNt-LeNgTh:5\r\n\r\nhello", id="length in odd case"),
        pytest.param(b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", id="no reason phrase"),
        pytest.param(b"HTTP/1.1 200 \xe9\xff\r\nContent-Length: 5\r\n\r\nhello", id="reason phrase in no ASCII"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", id="chunked"),
        pytest.param(OK + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", id="two chunks"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n005\r\nhello\r\n000\r\n\r\n", id="leading zeros"),
        pytest.param(
            OK + b'Transfer-Encoding: chunked\r\n\r\n5;name=value;other="x"\r\nhello\r\n0;last\r\n\r\n',
            id="chunk extensions",
        ),
        pytest.param(
            OK + b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nDate: x\r\n\r\n",
            id="trailers",
        ),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello", id="after 100"),
        pytest.param(
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3 + OK + b"Content-Length: 5\r\n\r\nhello",
            id="after three 103",
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", id="HTTP/1.0"),
    ],
)
@pytest.mark.parametrize("in_pieces", [False, True], ids=["at once", "byte by byte"])
async def test_every_framing_gives_the_same_response(
    gateway: GatewayUnderTest, backend: ScriptedBackend, sent: bytes, in_pieces: bool
) -> None:
    async def script(call: BackendCall) -> None:
        for piece in [bytes([byte]) for byte in sent] if in_pieces else [sent]:
            await call.send(piece)
            await asyncio.sleep(0)

    backend.script = script
    answer = await invoke(gateway.listen)
    assert (answer.status, answer.body) == (200, b"hello")
    assert {name for name, _ in answer.headers} == {"date", "x-amzn-requestid", "content-length"}
    assert answer.header("content-length") == "5"
    assert len(backend.requests) == 1


@pytest.mark.parametrize("status_line", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n"])
async def test_a_body_without_a_length_ends_with_the_connection(
    gateway: GatewayUnderTest, backend: ScriptedBackend, status_line: bytes
) -> None:
    backend.script = says_and_closes(status_line + b"X-Here: 1\r\n\r\nhello")
    answer = await invoke(gateway.listen)
    assert (answer.status, answer.body, answer.header("x-here")) == (200, b"hello", "1")


async def test_thousands_of_headers_pass(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    headers = {f"x-{number}": str(number) for number in range(5000)}
    backend.script = says(response(200, b"hello", headers))
    answer = await invoke(gateway.listen)
    assert answer.body == b"hello"
    assert dict(answer.headers).items() >= headers.items()


async def test_a_header_of_a_hundred_thousand_bytes_passes(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    backend.script = says(response(200, b"hello", {"x-large": "y" * 100_000}))
    answer = await invoke(gateway.listen)
    assert (answer.body, answer.header("x-large")) == (b"hello", "y" * 100_000)


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(b"garbage", id="garbage"),
        pytest.param(b"\0", id="NUL"),
        pytest.param(b"H", id="the first letter of a response"),
        pytest.param(OK + b"Content-Length: 6\r\n\r\nforged", id="a whole second response"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n", id="an informational response"),
    ],
)
@pytest.mark.parametrize(
    "whole",
    [
        pytest.param(OK + b"Content-Length: 5\r\n\r\nhello", id="length"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", id="chunked"),
    ],
)
async def test_bytes_behind_a_response_cost_only_the_connection(
    gateway: GatewayUnderTest, backend: ScriptedBackend, whole: bytes, behind: bytes
) -> None:
    backend.script = says(whole + behind)
    assert (await invoke(gateway.listen)).body == b"hello"
    assert gateway.app.pool.idle == 0
    backend.script = says(response(200, b"its own"))
    assert (await invoke(gateway.listen)).body == b"its own"
    assert len(backend.requests) == len(backend.connections) == 2


async def test_a_body_longer_than_its_length_is_cut_at_the_length(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    backend.script = says(OK + b"Content-Length: 5\r\n\r\nhello, and more")
    assert (await invoke(gateway.listen)).body == b"hello"
    assert gateway.app.pool.idle == 0


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("headers", [{}, {"Content-Length": "17"}], ids=["no length", "length"])
@pytest.mark.parametrize("is_invocation", [True, False], ids=["invocation", "passed through"])
async def test_a_response_that_has_no_body_is_delivered_without_one(
    gateway: GatewayUnderTest, backend: ScriptedBackend, status: int, headers: dict[str, str], is_invocation: bool
) -> None:
    backend.script = says(response(status, b"", {"X-Here": "1", **headers}))
    answer = await (invoke(gateway.listen) if is_invocation else call(gateway.listen, "/elsewhere", None, method="GET"))
    assert (answer.status, answer.header("x-here"), answer.body) == (status, "1", b"")
    assert answer.header("transfer-encoding") is None
    assert await gateway.metric("upstream_errors_total", kind="internal") == 0


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(OK + b"Content-Length: 17\r\nX-Here: 1\r\n\r\n", id="length"),
        pytest.param(OK + b"Content-Length: 17\r\nX-Here: 1\r\n\r\n" + b"x" * 17, id="length, and a body all the same"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\nX-Here: 1\r\n\r\n", id="chunked"),
        pytest.param(OK + b"X-Here: 1\r\n\r\n", id="no length"),
    ],
)
async def test_a_head_request_gets_the_headers_and_no_body(
    gateway: GatewayUnderTest, backend: ScriptedBackend, sent: bytes
) -> None:
    backend.script = says(sent)
    answer = await call(gateway.listen, "/elsewhere", None, method="HEAD")
    assert (answer.status, answer.header("x-here")) == (200, "1")
    if b"Content-Length" in sent:
        assert answer.header("content-length") == "17"
    assert backend.requests[0].method == b"HEAD"


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "identity", "chunked, gzip"])
async def test_a_transfer_coding_that_cannot_be_undone_is_garbage(
    gateway: GatewayUnderTest, backend: ScriptedBackend, coding: str
) -> None:
    """Without its Transfer-Encoding the client would take the coded bytes for the payload."""
    sent = OK + f"Transfer-Encoding: {coding}\r\n\r\n".encode() + b"3\r\nabc\r\n0\r\n\r\n"
    await check_is_fault(gateway, backend, says_and_closes(sent), "garbage", GARBAGE)
