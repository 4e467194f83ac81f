"""The rest of a large response is taken past the parser, and everything around it stays as with a small one."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.backends import OK, BackendCall, Script, ScriptedBackend, response, says
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
