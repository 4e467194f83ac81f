"""Whatever a broken backend sends, the client gets one well-formed error and nothing stays behind."""

from __future__ import annotations

import pytest

from tests.support.backends import (
    OK,
    BackendCall,
    Script,
    ScriptedBackend,
    chunk,
    says,
    says_and_closes,
    says_and_resets,
)
from tests.support.clients import invoke
from tests.support.gateways import GatewayUnderTest, eventually

from .backend_errors import GARBAGE, RESET, check_is_fault

pytestmark = pytest.mark.asyncio(loop_scope="module")
BOTH_LOOPS = True
SETTINGS = {"backend": {"timeout_seconds": 2}}  # a fault that goes unnoticed ends as a time-out


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="before a byte"),
        pytest.param(b"HTTP/1.1 20", id="in the status line"),
        pytest.param(OK + b"Content-Ty", id="in a header"),
        pytest.param(OK + b"Content-Length: 10\r\n", id="before the empty line"),
        pytest.param(OK + b"Content-Length: 10\r\n\r\n", id="before the body"),
        pytest.param(OK + b"Content-Length: 10\r\n\r\n12345", id="in the body"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\na\r\n12345", id="in a chunk"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"12345"), id="before the last chunk"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", id="before the end of the last chunk"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="after an informational response"),
    ],
)
@pytest.mark.parametrize("ending", [says_and_closes, says_and_resets])
async def test_a_response_that_breaks_off_is_a_reset(
    gateway: GatewayUnderTest, backend: ScriptedBackend, ending: Script, sent: bytes
) -> None:
    await check_is_fault(gateway, backend, ending(sent), "reset", RESET)


async def test_a_reset_after_bytes_of_the_body_have_been_buffered_gives_them_back(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    async def script(call: BackendCall) -> None:
        await call.send(OK + b"Content-Length: 200000\r\n\r\n" + b"x" * 100_000)
        await eventually(lambda: gateway.app.buffers.in_use == 100_000, "the gateway buffers what has come")
        call.reset()

    await check_is_fault(gateway, backend, script, "reset", RESET)
    assert gateway.app.buffers.in_use == 0


async def test_a_reset_of_a_response_without_a_length_is_not_taken_for_its_end(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    async def script(call: BackendCall) -> None:
        await call.send(OK + b"\r\n" + b"x" * 1000)
        await eventually(lambda: gateway.app.buffers.in_use == 1000, "the gateway buffers what has come")
        call.reset()

    await check_is_fault(gateway, backend, script, "reset", RESET)


LARGE = b"x" * (1 << 20)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="another protocol"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x46", id="a TLS alert"),
        pytest.param(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\x00" * 18, id="HTTP/2 frames"),
        pytest.param(b"HTTP/1.1 2OO OK\r\n\r\n", id="letters for digits"),
        pytest.param(b"HTTP/1.1 000 Zero\r\nContent-Length: 0\r\n\r\n", id="status 0"),
        pytest.param(b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n", id="status below 100"),
        pytest.param(b"HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n", id="status above 599"),
        pytest.param(b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", id="status 999"),
        pytest.param(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", id="four digits"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", id="101 with upgrade"),
        pytest.param(b"HTTP/1.1 101 Switching\r\n\r\n", id="101 alone"),
        pytest.param(OK + b"X-Large: " + LARGE + b"\r\nContent-Length: 0\r\n\r\n", id="a header of 1 MiB"),
        pytest.param(OK + b"X: y\r\n" * 100_000 + b"\r\n", id="a hundred thousand headers"),
        pytest.param(b"HTTP/1.1 200 " + LARGE, id="an endless reason phrase"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 10_000, id="informational without end"),
        pytest.param(OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="both lengths"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", id="both lengths, swapped"),
        pytest.param(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", id="two lengths that differ"),
        pytest.param(OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", id="two lengths that agree"),
        pytest.param(OK + b"Content-Length: 2, 2\r\n\r\n{}", id="a list of lengths"),
        pytest.param(OK + b"Content-Length: -2\r\n\r\n{}", id="a negative length"),
        pytest.param(OK + b"Content-Length: 0x2\r\n\r\n{}", id="a length in hexadecimal"),
        pytest.param(OK + b"Content-Length: two\r\n\r\n{}", id="a length in words"),
        pytest.param(OK + b"Content-Length: 99999999999999999999999\r\n\r\n{}", id="a length above 64 bits"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", id="a chunk above 64 bits"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", id="a chunk size in letters"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", id="a negative chunk"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n", id="a chunk that is longer"),
        pytest.param(OK + b"Content Length: 2\r\n\r\n{}", id="a space in a header's name"),
        pytest.param(OK + b"Content-Length : 2\r\n\r\n{}", id="a space before the colon"),
        pytest.param(OK + b"X-Nul: a\0b\r\nContent-Length: 2\r\n\r\n{}", id="NUL in a header"),
        pytest.param(OK + b"X-Cr: a\rb\r\nContent-Length: 2\r\n\r\n{}", id="a bare CR in a header"),
    ],
)
async def test_what_is_not_http_is_garbage(gateway: GatewayUnderTest, backend: ScriptedBackend, sent: bytes) -> None:
    await check_is_fault(gateway, backend, says(sent), "garbage", GARBAGE)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", "it switches protocols unasked"),
        (b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", "its status is 999"),
        (OK + b"X-Large: " + LARGE, "its head is too large"),
        (OK + b"Transfer-Encoding: gzip\r\n\r\n", "its Transfer-Encoding is not chunked"),
        (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", "Content-Length"),
    ],
)
async def test_the_text_says_what_is_wrong_with_it(
    gateway: GatewayUnderTest, backend: ScriptedBackend, sent: bytes, reason: str
) -> None:
    await check_is_fault(gateway, backend, says(sent), "garbage", reason)


@pytest.mark.parametrize("size", [5, 5000])
async def test_garbage_behind_good_chunks_gives_their_bytes_back(
    gateway: GatewayUnderTest, backend: ScriptedBackend, size: int
) -> None:
    sent = OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"x" * size)
    await check_is_fault(gateway, backend, says(sent + b"ZZ\r\n"), "garbage", GARBAGE)
    assert gateway.app.buffers.in_use == 0


async def test_garbage_after_good_chunks_gives_their_bytes_back(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    async def script(call: BackendCall) -> None:
        await call.send(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"x" * 5000))
        await eventually(lambda: gateway.app.buffers.in_use == 5000, "the gateway buffers what has come")
        await call.send(b"ZZ\r\n")

    await check_is_fault(gateway, backend, script, "garbage", GARBAGE)
    assert gateway.app.buffers.in_use == 0


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (400, {"x-amzn-ErrorType": "InvalidRequestContentException"}),
        (404, {"x-amzn-ErrorType": "ResourceNotFoundException"}),
        (429, {"x-amzn-ErrorType": "TooManyRequestsException", "Retry-After": "7"}),
        (500, {"x-amzn-ErrorType": "ServiceException"}),
        (502, {"x-amzn-ErrorType": "InvalidRuntimeException"}),
        (599, {}),
        (200, {"X-Amz-Function-Error": "Unhandled", "X-Amz-Executed-Version": "$LATEST"}),
    ],
)
async def test_the_backends_own_errors_pass_unchanged(
    gateway: GatewayUnderTest, backend: ScriptedBackend, status: int, headers: dict[str, str]
) -> None:
    body = b'{"Type": "User", "message": "its own words"}'
    request_id = "11111111-2222-4333-8444-555555555555"

    async def script(call: BackendCall) -> None:
        call.answer(status, body, {"x-amzn-RequestId": request_id, **headers})

    backend.script = script
    answer = await invoke(gateway.listen)
    assert (answer.status, answer.body) == (status, body)
    expected = {name.lower(): value for name, value in headers.items()}
    assert {name: value for name, value in answer.headers if name not in ("date", "content-length")} == {
        "x-amzn-requestid": request_id,
        **expected,
    }
