"""A call that has to connect does so in a task that ends with that. The rest of its request waits without one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any, cast

import pytest

from invoke_gateway.asgi import AWAITED, EXCHANGE, Message
from invoke_gateway.backend_errors import BackendReset, BackendUnreachable
from invoke_gateway.buffers import Buffers
from invoke_gateway.dialing import Found
from invoke_gateway.exchange import Exchange
from invoke_gateway.invocation import Function, Invocation, InvocationType, Operation
from invoke_gateway.policy.limits import AccountLimits
from invoke_gateway.upstream.call import UpstreamCall
from invoke_gateway.upstream.forward import Forward, ResponseQuotas
from invoke_gateway.upstream.pool import Pool
from tests.support.gateways import eventually
from tests.support.processes import free_port

BODY = b'{"a": 1}'
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Slot:
    def __init__(self) -> None:
        self.releases = 0

    def release(self) -> None:
        self.releases += 1


class Backend:
    """Keeps the requests that it gets, and responds when the test says so."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.has_request = asyncio.Event()
        self.may_respond = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            self.requests.append(data)
            self.has_request.set()
            await self.may_respond.wait()
            writer.write(RESPONSE)
        writer.close()


class Scene:
    """A forwarded call to a backend whose name is resolved when the test says so."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.is_resolved = asyncio.Event()
        self.buffers = Buffers(1000)
        self.pool = Pool("backend.test", port, buffers=self.buffers, resolve=self._resolve)
        self.slot = Slot()
        self.exchange = Exchange(0.0)
        self.exchange.invocation = Invocation(Operation.INVOKE, Function("f"), InvocationType.REQUEST_RESPONSE)
        self.exchange.plan = AccountLimits("111122223333", 10).plan("f")
        self.exchange.slot = cast("Any", self.slot)
        self.exchange.body, self.exchange.buffered = BODY, len(BODY)
        self.buffers.reserve(len(BODY))
        self.scope: dict[str, Any] = {
            "method": "POST",
            "raw_path": b"/2015-03-31/functions/f/invocations",
            "query_string": b"",
            "headers": [(b"host", b"gateway")],
            EXCHANGE: self.exchange,
        }
        self.sent: list[Message] = []

    async def _resolve(self, _host: str, _port: int) -> list[Found]:
        await self.is_resolved.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", self.port))]

    def forward(self) -> Coroutine[Any, Any, None]:
        forward = Forward(
            self.pool,
            buffers=self.buffers,
            quotas=lambda: ResponseQuotas(1000, 1000),
            region="us-east-1",
            own_host="backend.test",
        )
        return cast("Coroutine[Any, Any, None]", forward(self.scope, self._receive, self._send))

    @property
    def call(self) -> UpstreamCall:
        call: UpstreamCall = self.scope[AWAITED]
        return call

    async def _receive(self) -> Message:
        raise AssertionError("the body has been read")

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
async def scene(backend: Backend) -> AsyncIterator[Scene]:
    server = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
    scene = Scene(server.sockets[0].getsockname()[1])
    yield scene
    backend.may_respond.set()
    await scene.pool.close()
    server.close()
    await server.wait_closed()


async def end_of(call: UpstreamCall) -> None:
    ended = asyncio.Event()
    call.resume_at_end(ended.set)
    if not call.has_ended:
        await asyncio.wait_for(ended.wait(), 60)


async def test_a_call_in_flight_on_a_new_connection_has_no_task(scene: Scene, backend: Backend) -> None:
    rest = scene.forward()
    call = scene.call
    assert scene.exchange.buffered == 0, "the stage that has read the body need not wait to release it"
    assert scene.buffers.in_use == len(BODY)
    scene.is_resolved.set()
    await asyncio.wait_for(backend.has_request.wait(), 60)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("connect to")]
    assert scene.buffers.in_use == 0
    assert (scene.slot.releases, call.has_ended) == (0, False)
    backend.may_respond.set()
    await end_of(call)
    assert scene.slot.releases == 1
    with pytest.raises(StopIteration):  # in one step
        rest.send(None)
    assert [message.get("body") for message in scene.sent] == [None, b"{}"]


async def test_a_call_that_finds_no_connection_ends_with_the_reason() -> None:
    scene = Scene(free_port())
    rest = scene.forward()
    scene.is_resolved.set()
    await end_of(scene.call)
    assert scene.slot.releases == 1
    with pytest.raises(BackendUnreachable):
        rest.send(None)
    assert (scene.buffers.in_use, scene.pool.busy) == (0, 0)


async def test_a_call_that_is_cancelled_before_it_is_connected_is_not_sent(scene: Scene, backend: Backend) -> None:
    rest = scene.forward()
    call = scene.call
    rest.send(None)  # as a task would
    with pytest.raises(asyncio.CancelledError):
        rest.throw(asyncio.CancelledError())
    assert (scene.slot.releases, call.has_ended) == (1, True), "no backend works"
    scene.is_resolved.set()
    await eventually(lambda: scene.pool.idle == 1, "the connection is kept")
    assert (scene.pool.busy, scene.pool.idle) == (0, 1), "the next call takes the connection"
    assert (scene.slot.releases, scene.buffers.in_use) == (1, 0)
    assert not backend.requests


@pytest.mark.parametrize("turns", [1, 5])
async def test_a_call_that_is_not_connected_ends_with_the_pool(scene: Scene, turns: int) -> None:
    rest = scene.forward()
    call = scene.call
    for _ in range(turns):
        await asyncio.sleep(0)
    await scene.pool.close()
    await end_of(call)
    assert scene.slot.releases == 1
    with pytest.raises(BackendReset):
        rest.send(None)
    assert scene.buffers.in_use == 0
