"""Responses of invocations: taken whole within their quota, or streamed within theirs."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.backends import OK, BackendCall, ScriptedBackend, chunk, response, says
from tests.support.clients import Client, call, check_is_service_exception, invoke, request, stream_path
from tests.support.gateways import GatewayUnderTest, eventually, stands_still

from .backend_errors import one_fault

pytestmark = pytest.mark.asyncio(loop_scope="module")
MIB = 1 << 20
QUOTA = 100_000
STREAM_QUOTA = 16 * MIB
SETTINGS = {
    "backend": {"timeout_seconds": 20},
    "read_timeout_seconds": 20,
    "quotas": {"response": QUOTA, "streamed_response": STREAM_QUOTA},
}
STREAM = stream_path("checkout")
# What may lie in the sockets on both sides of the gateway and in the backend's own writer.
ON_THE_WAY = 12 * MIB


# Buffered.


@pytest.mark.parametrize("target", ["/2015-03-31/functions/checkout/invocations", STREAM])
async def test_the_answer_to_head_has_a_length_and_no_body(
    gateway: GatewayUnderTest, backend: ScriptedBackend, target: str
) -> None:
    """It is a call as any other, because some backends run the function for every method."""
    backend.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
    async with Client(gateway.listen) as client:
        for _ in range(2):
            answer = await client.call(target, None, method="HEAD")
            assert (answer.status, answer.header("content-length"), answer.body) == (200, "1234", b"")
    await eventually(lambda: not gateway.app.counters.counts(), "every slot is given back")


@pytest.mark.parametrize("size", [0, 1, QUOTA - 1, QUOTA])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_a_response_up_to_the_quota_passes(
    gateway: GatewayUnderTest, backend: ScriptedBackend, size: int, chunked: bool
) -> None:
    backend.script = says(response(200, b"x" * size, chunked=chunked))
    answer = await invoke(gateway.listen)
    assert (answer.status, answer.body, answer.header("x-amz-function-error")) == (200, b"x" * size, None)


@pytest.mark.parametrize("size", [QUOTA + 1, 10 * QUOTA])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_a_response_above_the_quota_becomes_lambdas_function_error(
    gateway: GatewayUnderTest, backend: ScriptedBackend, size: int, chunked: bool
) -> None:
    headers = {"X-Amz-Executed-Version": "7", "Content-Type": "text/plain", "Content-Encoding": "gzip"}
    backend.script = says(response(200, b"x" * size, headers, chunked=chunked))
    answer = await invoke(gateway.listen)
    assert answer.status == 200
    assert answer.header("x-amz-function-error") == "Unhandled"
    assert answer.header("x-amz-executed-version") == "7"
    assert answer.header("content-type") == "application/json"
    assert answer.header("content-encoding") is None
    assert answer.json() == {
        "errorMessage": f"Response payload size exceeded maximum allowed payload size ({QUOTA} bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }
    assert gateway.app.pool.idle == 1, "the backend did nothing wrong: its response was read to the end"


async def test_a_response_above_the_quota_that_breaks_off_is_a_reset(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    async def script(call: BackendCall) -> None:
        await call.send(OK + b"Content-Length: 1000000\r\n\r\n" + b"x" * 500_000)
        call.reset()

    backend.script = script
    check_is_service_exception(await invoke(gateway.listen), "closed the connection before its response was complete")


async def test_an_error_page_above_the_quota_is_a_fault(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    """It is no payload of a function, so it cannot become a function error."""
    backend.script = says(response(502, b"x" * (QUOTA + 1)))
    async with one_fault(gateway, "too_large"):
        answer = await invoke(gateway.listen)
    check_is_service_exception(answer, "The backend's response is above the response quota.")


# Streamed.


async def stream_of(call: BackendCall, size: int) -> None:
    call.write(OK + b"Content-Type: application/vnd.amazon.eventstream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for start in range(0, size, MIB):
        await call.send(chunk(b"x" * min(MIB, size - start)))
    call.end()
    await call.send(chunk(b""))


async def test_a_stream_reaches_the_client_while_the_function_still_runs(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    go_on = asyncio.Event()

    async def script(call: BackendCall) -> None:
        await call.send(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"first"))
        await go_on.wait()
        await call.send(chunk(b"last") + chunk(b""))

    backend.script = script
    async with Client(gateway.listen) as client:
        await client.send(request(STREAM))
        head = await client.read_head()
        pieces = client.body_pieces(head)
        assert await anext(pieces) == b"first"
        assert gateway.in_flight == 1
        go_on.set()
        assert [piece async for piece in pieces] == [b"last"]
    assert head.status == 200


@pytest.mark.parametrize("size", [STREAM_QUOTA - 1, STREAM_QUOTA])
async def test_a_stream_up_to_its_quota_passes(gateway: GatewayUnderTest, backend: ScriptedBackend, size: int) -> None:
    async def script(call: BackendCall) -> None:
        await stream_of(call, size)

    backend.script = script
    answer = await call(gateway.listen, STREAM)
    assert (answer.status, len(answer.body), answer.is_whole) == (200, size, True)


async def test_a_stream_above_its_quota_is_cut_there_and_read_to_its_end(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    async def script(call: BackendCall) -> None:
        await stream_of(call, STREAM_QUOTA + MIB)

    backend.script = script
    async with one_fault(gateway, "too_large"):
        answer = await call(gateway.listen, STREAM)
        await gateway.settled()
    assert (answer.status, answer.is_whole) == (200, False), "the client must see that the stream is not whole"
    assert STREAM_QUOTA - MIB < len(answer.body) <= STREAM_QUOTA
    assert backend.requests[0].has_ended
    assert gateway.app.pool.idle == 1


async def test_a_slow_client_of_a_stream_slows_the_backend_and_costs_one_window(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    sent = 0

    async def script(call: BackendCall) -> None:
        nonlocal sent
        call.write(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(STREAM_QUOTA // MIB):
            await call.send(chunk(b"x" * MIB))
            sent += MIB
        await call.send(chunk(b""))

    backend.script = script
    async with Client(gateway.listen, receive_buffer=65_536) as client:
        await client.send(request(STREAM))
        head = await client.read_head()
        assert await stands_still(lambda: sent) < ON_THE_WAY
        # What is being sent, the window behind it, and one read of 256 KiB beyond that.
        assert gateway.app.buffers.in_use <= 2 * (QUOTA + 262_144)
        assert gateway.in_flight == 1
        received = 0
        async for piece in client.body_pieces(head):
            received += len(piece)
    assert received == STREAM_QUOTA


@pytest.mark.parametrize("leave", [Client.hang_up, Client.reset])
async def test_a_stream_whose_client_has_left_is_read_to_its_end_and_keeps_its_slot_until_then(
    gateway: GatewayUnderTest, backend: ScriptedBackend, leave: object
) -> None:
    may_end = asyncio.Event()
    sent = 0

    async def script(call: BackendCall) -> None:
        nonlocal sent
        call.write(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(STREAM_QUOTA // MIB):
            await call.send(chunk(b"x" * MIB))
            sent += MIB
        await may_end.wait()
        await call.send(chunk(b""))

    backend.script = script
    async with Client(gateway.listen, receive_buffer=65_536) as client:
        await client.send(request(STREAM))
        await client.read_head()
        await stands_still(lambda: sent)
        leave(client)
    await eventually(lambda: sent == STREAM_QUOTA, "the rest is taken off the backend")
    await eventually(lambda: gateway.client_connections == 0, "the gateway knows that the client has left")
    assert gateway.in_flight == 1
    assert backend.running["000000000000", None] == 1
    may_end.set()
    await gateway.settled()
    assert gateway.app.pool.idle == 1


async def test_a_stream_that_the_backend_breaks_is_cut(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    async def script(call: BackendCall) -> None:
        await call.send(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"hello"))
        await has_read.wait()
        call.reset()

    backend.script = script
    has_read = asyncio.Event()
    async with one_fault(gateway, "reset"), Client(gateway.listen) as client:
        await client.send(request(STREAM))
        head = await client.read_head()
        pieces = client.body_pieces(head)
        assert await anext(pieces) == b"hello"
        has_read.set()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await anext(pieces)


async def test_the_backends_error_in_place_of_a_stream_passes_unchanged(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    body = b'{"Type": "User", "Message": "Function not found: nowhere"}'
    backend.script = says(response(404, body, {"x-amzn-ErrorType": "ResourceNotFoundException"}))
    answer = await call(gateway.listen, STREAM)
    assert (answer.status, answer.body) == (404, body)
    assert answer.header("x-amzn-errortype") == "ResourceNotFoundException"
