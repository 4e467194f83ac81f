"""Whatever is no invocation streams through, both ways, at the speed of the slower side."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from tests.support.backends import OK, BackendCall, ScriptedBackend, chunk, response, says, says_and_resets
from tests.support.clients import Client, call, check_is_service_exception, request
from tests.support.gateways import GatewayUnderTest, eventually, stands_still

from .backend_errors import GARBAGE, RESET

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {"backend": {"timeout_seconds": 20}, "read_timeout_seconds": 20}

MIB = 1 << 20
UPLOAD = 70 * MIB  # what CreateFunction may carry
DOWNLOAD = 64 * MIB
BLOCK = bytes(range(256)) * (MIB // 256)
# What the sockets of four processes' ends, and the readers behind them, hold on their way. Both are far below the
# bodies, so a gateway that took all it can get would be seen at once.
ON_THE_WAY = 40 * MIB
# The window of a response that passes through, and one read of 256 KiB beyond it; and as much again, because what the
# client is being sent is held until it has taken it.
BUFFERED = 4 * 262_144

CREATE = "/2015-03-31/functions"


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
async def test_an_upload_goes_at_the_backends_speed_and_arrives_whole(
    gateway: GatewayUnderTest, backend: ScriptedBackend, is_chunked: bool
) -> None:
    may_read = asyncio.Event()
    digest = hashlib.sha256()
    sizes: list[int] = []

    async def script(call: BackendCall) -> None:
        await may_read.wait()
        async for piece in call.body_pieces():
            digest.update(piece)
            sizes.append(len(piece))
        call.answer(201, b'{"FunctionName": "checkout"}')

    backend.on_head = script
    sent = 0

    async def upload(client: Client) -> None:
        nonlocal sent
        for _ in range(UPLOAD // MIB):
            await client.send(chunk(BLOCK) if is_chunked else BLOCK)
            sent += MIB
        if is_chunked:
            await client.send(chunk(b""))

    async with Client(gateway.listen) as client:
        framing = {"Transfer-Encoding": "chunked"} if is_chunked else {"Content-Length": str(UPLOAD)}
        await client.send(request(CREATE, None, framing))
        uploading = asyncio.create_task(upload(client))
        assert await stands_still(lambda: sent) < ON_THE_WAY, "the client must wait for the backend"
        assert gateway.in_flight == 0, "only invocations take slots"
        may_read.set()
        await uploading
        answer = await client.read_response()
    assert (answer.status, answer.body) == (201, b'{"FunctionName": "checkout"}')
    assert sum(sizes) == UPLOAD
    assert digest.digest() == hashlib.sha256(BLOCK * (UPLOAD // MIB)).digest()
    framing_there = b"transfer-encoding" if is_chunked else b"content-length"
    assert backend.requests[0].header(framing_there) == (b"chunked" if is_chunked else str(UPLOAD).encode())


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
async def test_a_download_goes_at_the_clients_speed_and_arrives_whole(
    gateway: GatewayUnderTest, backend: ScriptedBackend, is_chunked: bool
) -> None:
    sent = 0

    async def script(call: BackendCall) -> None:
        nonlocal sent
        framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % DOWNLOAD
        call.write(OK + framing + b"\r\n\r\n")
        for _ in range(DOWNLOAD // MIB):
            await call.send(chunk(BLOCK) if is_chunked else BLOCK)
            sent += MIB
        if is_chunked:
            await call.send(chunk(b""))

    backend.script = script
    most_buffered = received = 0
    digest = hashlib.sha256()
    async with Client(gateway.listen, receive_buffer=65_536) as client:
        await client.send(request("/layer.zip", None, method="GET"))
        head = await client.read_head()
        assert await stands_still(lambda: sent) < ON_THE_WAY, "the backend must wait for the client"
        await eventually(lambda: gateway.app.buffers.in_use > 0, "the rest is buffered")
        assert gateway.app.buffers.in_use <= BUFFERED
        async for piece in client.body_pieces(head):
            digest.update(piece)
            received += len(piece)
            most_buffered = max(most_buffered, gateway.app.buffers.in_use)
    assert received == DOWNLOAD
    assert digest.digest() == hashlib.sha256(BLOCK * (DOWNLOAD // MIB)).digest()
    assert most_buffered <= BUFFERED
    assert head.header("content-length") == (None if is_chunked else str(DOWNLOAD))


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("leave", [Client.hang_up, Client.reset])
async def test_a_client_that_leaves_in_its_upload_breaks_the_request(
    gateway: GatewayUnderTest, backend: ScriptedBackend, leave: object, is_chunked: bool
) -> None:
    """Half a request must not look whole to the backend."""
    framing = {"Transfer-Encoding": "chunked"} if is_chunked else {"Content-Length": "1000"}
    pieces: list[bytes] = []
    gone_before = gateway.app.totals.client_disconnects
    faults_before = dict(gateway.app.totals.upstream_errors)

    async def script(call: BackendCall) -> None:
        async for piece in call.body_pieces():
            pieces.append(piece)

    backend.on_head = script
    async with Client(gateway.listen) as client:
        await client.send(request(CREATE, None, framing) + (chunk(b"x" * 500) if is_chunked else b"x" * 500))
        await eventually(lambda: b"".join(pieces) == b"x" * 500, "the backend has what was sent")
        leave(client)
        await backend.until(lambda backend: backend.broken)
    assert backend.requests == []
    await gateway.settled()
    assert gateway.app.totals.client_disconnects == gone_before + 1
    assert gateway.app.totals.upstream_errors == faults_before, "it was not the backend's fault"


async def test_a_client_that_leaves_in_its_upload_gives_back_what_was_buffered_of_an_early_response(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    async def script(call: BackendCall) -> None:
        await call.send(response(200, b"x" * DOWNLOAD))
        await call.read_body()

    backend.on_head = script
    async with Client(gateway.listen, receive_buffer=65_536) as client:
        await client.send(request(CREATE, None, {"Content-Length": "1000"}) + b"x" * 500)
        await client.read_head()
        assert await stands_still(lambda: gateway.app.buffers.in_use) > 0, "the early response is buffered"
        client.reset()
        await gateway.settled()
    assert backend.requests == []


async def test_a_response_that_comes_before_the_upload_has_ended_is_delivered(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    """The backend has heard enough; neither side must wait for the other for ever."""

    async def script(call: BackendCall) -> None:
        call.answer(413, b'"too large"')
        await call.stay()

    backend.on_head = script
    body = b"x" * UPLOAD
    async with Client(gateway.listen) as client:
        sending = asyncio.create_task(client.send(request(CREATE, body)))
        answer = await client.read_response()
        assert (answer.status, answer.body) == (413, b'"too large"')
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert gateway.app.pool.idle == 0, "the rest of the upload would be the start of the next request"


async def test_a_response_is_delivered_while_its_upload_still_goes_on(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    """A backend that answers as it reads, and a client that reads as it sends, need never wait for an end."""

    async def echo(call: BackendCall) -> None:
        call.write(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        async for piece in call.body_pieces():
            await call.send(chunk(piece))
        await call.send(chunk(b""))

    backend.on_head = echo
    async with Client(gateway.listen) as client:
        await client.send(request("/echo", None, {"Content-Length": "10"}) + b"first")
        head = await client.read_head()
        pieces = client.body_pieces(head)
        assert await anext(pieces) == b"first"
        await client.send(b" last")
        assert [piece async for piece in pieces] == [b" last"]
    assert gateway.app.pool.idle == 1, "both sides agree that request and response have ended"


async def test_an_echo_of_any_size_comes_back_whole(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    """The backend stops reading until its answer is read, the client until its request is."""

    async def echo(call: BackendCall) -> None:
        call.write(OK + b"Content-Length: %d\r\n\r\n" % UPLOAD)
        async for piece in call.body_pieces():
            await call.send(piece)

    backend.on_head = echo
    async with Client(gateway.listen) as client:
        sending = asyncio.create_task(client.send(request("/echo", BLOCK * (UPLOAD // MIB))))
        answer = await client.read_response()
        await sending
    assert answer.body == BLOCK * (UPLOAD // MIB)


async def test_a_backend_that_fails_before_the_upload_has_ended_is_a_fault_at_once(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    """The client need not send the rest to hear of it."""
    backend.on_head = says_and_resets(b"")
    async with Client(gateway.listen) as client:
        await client.send(request(CREATE, None, {"Content-Length": "1000"}) + b"x" * 500)
        check_is_service_exception(await client.read_response(), RESET)


async def test_a_response_cut_in_its_body_reaches_the_client_cut(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    """A head that is on its way cannot be taken back; but the client must see that the body is not whole."""
    for framing in (b"Content-Length: 10\r\n\r\n12345", b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"12345")):
        backend.script = says_and_resets(OK + framing)
        answer = await call(gateway.listen, "/layer.zip", None, method="GET")
        assert answer.status == 500 or (answer.body, answer.is_whole) == (b"12345", False)


async def test_garbage_in_place_of_a_response_is_a_fault(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    backend.script = says(b"SSH-2.0-OpenSSH_9.6\r\n")
    check_is_service_exception(await call(gateway.listen, "/layer.zip", None, method="GET"), GARBAGE)


async def test_an_empty_chunked_upload_arrives_as_one(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    async with Client(gateway.listen) as client:
        await client.send(request(CREATE, None, {"Transfer-Encoding": "chunked"}) + chunk(b""))
        assert (await client.read_response()).status == 200
    assert (backend.requests[0].header(b"transfer-encoding"), backend.requests[0].body) == (b"chunked", b"")


async def test_a_kept_connection_serves_requests_of_every_kind_in_turn(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    async def script(call: BackendCall) -> None:
        call.write(response(200, call.method + b" " + call.target + b" " + call.body, chunked=len(call.target) % 2 > 0))

    backend.script = script
    async with Client(gateway.listen) as client:
        for target in ("/a", "/bc", "/2015-03-31/functions/checkout/invocations", "/def"):
            for method in ("POST", "PUT"):
                answer = await client.call(target, b'"x"', method=method)
                assert answer.body == f'{method} {target} "x"'.encode()
    assert len(backend.connections) == 1
