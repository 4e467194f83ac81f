"""The rest of a large response is taken past the parser, and everything around it stays as with a small one."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.backends import OK, BackendCall, Script, ScriptedBackend, chunk, response, says
from tests.support.clients import Client, invoke, invoke_path, request, stream_path
from tests.support.gateways import GatewayUnderTest

from .backend_errors import RESET, check_is_fault

pytestmark = pytest.mark.asyncio(loop_scope="module")
BOTH_LOOPS = True
QUOTA = 3_000_000
SETTINGS = {"backend": {"timeout_seconds": 10}, "quotas": {"response": QUOTA}}
BODY = bytes(range(256)) * 4_000


def in_pieces(data: bytes, *sizes: int) -> Script:
    """Sends the data in pieces of these sizes, and the rest at the end."""

    async def script(call: BackendCall) -> None:
        at = 0
        for size in sizes:
            await call.send(data[at : at + size])
            at += size
            await asyncio.sleep(0.002)
        await call.send(data[at:])

    return script


def connections_used(backend: ScriptedBackend) -> list[int]:
    return [request.connection.number for request in backend.requests]


@pytest.mark.parametrize(
    "sizes",
    [(), (10, 100, 1_000), (100, 300_000, 300_000), (len(response(200, BODY)) - 1,)],
    ids=["at once", "slow beginning", "three reads", "one byte left"],
)
async def test_a_large_response_arrives_whole_and_its_connection_is_used_again(
    gateway: GatewayUnderTest, backend: ScriptedBackend, sizes: tuple[int, ...]
) -> None:
    for _ in range(3):
        backend.script = in_pieces(response(200, BODY), *sizes)
        assert (await invoke(gateway.listen)).body == BODY
        backend.script = says(response(200, b"small"))
        assert (await invoke(gateway.listen)).body == b"small"
    assert connections_used(backend) == [0] * 6
    assert gateway.app.buffers.in_use == 0


@pytest.mark.parametrize("path", [invoke_path("checkout"), stream_path("checkout")])
async def test_a_connection_with_bytes_behind_the_body_is_not_used_again(
    gateway: GatewayUnderTest, backend: ScriptedBackend, path: str
) -> None:
    backend.script = in_pieces(response(200, BODY) + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 100, 1_000)
    async with Client(gateway.listen) as client:
        await client.send(request(path))
        assert (await client.read_response()).body == BODY
        backend.script = says(response(200, b"small"))
        await client.send(request(path))
        assert (await client.read_response()).body == b"small"
    assert connections_used(backend) == [0, 1]


@pytest.mark.parametrize(
    "whole",
    [
        response(200, BODY, {"Connection": "close"}),
        response(200, BODY).replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=["close", "HTTP/1.0"],
)
async def test_a_connection_that_is_not_kept_is_not_used_again(
    gateway: GatewayUnderTest, backend: ScriptedBackend, whole: bytes
) -> None:
    for _ in range(2):
        backend.script = in_pieces(whole, 200, 300_000)
        assert (await invoke(gateway.listen)).body == BODY
    assert connections_used(backend) == [0, 1]


async def test_a_response_that_is_cut_is_a_fault(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    async def script(call: BackendCall) -> None:
        await call.send(response(200, BODY)[:-1])
        call.connection.close()

    await check_is_fault(gateway, backend, script, "reset", RESET)
    assert gateway.app.buffers.in_use == 0


async def test_a_response_above_the_quota_is_a_function_error(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    backend.script = in_pieces(response(200, b"x" * QUOTA), 100, 1_000)
    assert len((await invoke(gateway.listen)).body) == QUOTA
    backend.script = in_pieces(response(200, b"x" * (QUOTA + 1)), 100, 1_000)
    answer = await invoke(gateway.listen)
    assert answer.header("x-amz-function-error") == "Unhandled"
    assert answer.json()["errorType"] == "Function.ResponseSizeTooLarge"
    backend.script = says(response(200, b"small"))
    assert (await invoke(gateway.listen)).body == b"small"
    assert connections_used(backend) == [0] * 3
    assert gateway.app.buffers.in_use == 0


async def test_a_length_beside_a_coding_is_garbage(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    """It is not for the length to say where such a response ends."""
    both = OK + b"Transfer-Encoding: chunked\r\nContent-Length: 900000\r\n\r\n"
    backend.script = in_pieces(both + b"5\r\nhello\r\n0\r\n\r\n", len(both))
    assert (await invoke(gateway.listen)).header("x-amzn-errortype") == "ServiceException"


@pytest.mark.parametrize("path", [invoke_path("checkout"), stream_path("checkout")])
async def test_a_client_that_reads_slowly_gets_all_of_it(
    gateway: GatewayUnderTest, backend: ScriptedBackend, path: str
) -> None:
    body = BODY * 2
    backend.script = in_pieces(response(200, body), 100, 1_000)
    async with Client(gateway.listen, receive_buffer=65_536) as client:
        await client.send(request(path))
        await asyncio.sleep(0.05)
        assert (await client.read_response()).body == body
    assert gateway.app.buffers.in_use == 0


@pytest.mark.parametrize("size", [1, 32_767, 32_768, 32_769, 200_000], ids=str)
@pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "one by one"])
async def test_a_stream_arrives_in_chunks_of_any_size(
    gateway: GatewayUnderTest, backend: ScriptedBackend, size: int, is_slow: bool
) -> None:
    pieces = [bytes([number]) * size for number in range(1, 6)]
    whole = OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(map(chunk, pieces)) + chunk(b"")
    backend.script = in_pieces(whole, *[len(chunk(pieces[0]))] * 5 * is_slow)
    async with Client(gateway.listen) as client:
        for _ in range(2):
            await client.send(request(stream_path("checkout")))
            assert (await client.read_response()).body == b"".join(pieces)
    assert gateway.app.buffers.in_use == 0


@pytest.mark.parametrize("size", [16_383, 16_384, 16_385, 65_536, 65_537, 120_000], ids=str)
@pytest.mark.parametrize("trace", ["", "X-Amzn-Trace-Id: Root=1-67891233-abcdef012345678912345678;Sampled=0\r\n"])
async def test_a_request_of_any_size_reaches_the_backend_with_its_trace_header(
    gateway: GatewayUnderTest, backend: ScriptedBackend, size: int, trace: str
) -> None:
    """Also one that comes in one piece, whose bytes are passed on."""
    body = b'"' + b"x" * (size - 2) + b'"'
    head = f"POST {invoke_path('checkout')} HTTP/1.1\r\nHost: gateway\r\n{trace}Content-Length: {size}\r\n\r\n"
    backend.script = says(response(200, b"small"))
    async with Client(gateway.listen) as client:
        for _ in range(2):
            await client.send(head.encode() + body)
            assert (await client.read_response()).body == b"small"
    assert [sent.body for sent in backend.requests] == [body] * 2
    for sent in backend.requests:
        assert b";Lineage=" in (sent.header(b"x-amzn-trace-id") or b"")
