"""A gateway that is told to stop accepts nothing more, finishes what it has admitted, and then is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.backends import OK, BackendCall, Gate, ScriptedBackend, answer_ok, chunk
from tests.support.clients import Client, call, invoke, invoke_path, request, stream_path
from tests.support.gateways import GatewayUnderTest, eventually, serving
from tests.support.lateness import check_lasted, judge

ACCOUNT = ("000000000000", None)


class Stoppable:
    """A running gateway that ends when it is told to, in a task of its own, so that a test can watch it do so."""

    def __init__(self, gateway: GatewayUnderTest, stop: asyncio.Event) -> None:
        self.gateway = gateway
        self.ended: asyncio.Task[None]
        self._stop = stop

    async def stop(self) -> None:
        """Tell it to stop, and wait until it accepts no more."""
        self._stop.set()
        for _ in range(500):
            try:
                async with Client(self.gateway.listen):
                    pass
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                continue  # it came in the moment in which the socket was closed
            await asyncio.sleep(0.01)
        raise AssertionError("it still accepts connections")


@asynccontextmanager
async def stoppable(backend: ScriptedBackend, **settings: Any) -> AsyncIterator[Stoppable]:
    started: asyncio.Future[GatewayUnderTest] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def serve() -> None:
        async with serving(backend.url, **settings) as gateway:
            started.set_result(gateway)
            await stop.wait()

    task = asyncio.create_task(serve())
    server = Stoppable(await started, stop)
    server.ended = task
    try:
        yield server
    finally:
        stop.set()
        await task


async def test_what_was_admitted_is_finished_and_nothing_new_is_accepted() -> None:
    gate = Gate()

    async def script(call: BackendCall) -> None:
        if b"streaming" in call.target:
            await call.send(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"first "))
            await may_end.wait()
            call.end()
            call.write(chunk(b"last") + chunk(b""))
        else:
            await gate(call)

    may_end = asyncio.Event()
    async with ScriptedBackend(script) as backend, stoppable(backend) as server:
        listen = server.gateway.listen
        calls = [
            asyncio.create_task(invoke(listen)),
            asyncio.create_task(call(listen, stream_path("checkout"))),
            asyncio.create_task(call(listen, "/layer.zip", None, method="GET")),
        ]
        await backend.until(lambda backend: len(backend.requests) == 3)
        await server.stop()
        assert not server.ended.done()
        assert server.gateway.in_flight == 2
        ready = await call(server.gateway.admin, "/readyz", None, method="GET", host="localhost")
        assert ready.status == 503, "whoever balances the load must know"
        gate.open()
        may_end.set()
        answers = await asyncio.gather(*calls)
        assert [(answer.status, answer.body) for answer in answers] == [
            (200, b'"ok"'),
            (200, b"first last"),
            (200, b'"ok"'),
        ]
        await server.ended
        assert server.gateway.what_is_held() == {}


async def test_an_idle_connection_does_not_hold_the_end_up() -> None:
    async with (
        ScriptedBackend() as backend,
        stoppable(backend, drain_seconds=5) as server,
        Client(server.gateway.listen) as client,
    ):
        assert (await client.call(invoke_path("checkout"))).status == 200
        await server.stop()
        assert await client.reader.read() == b""
        async with asyncio.timeout(60):
            await server.ended


async def test_a_call_whose_client_has_left_is_finished_too() -> None:
    """Its function runs, whoever listens."""
    gate = Gate()
    async with ScriptedBackend(gate) as backend, stoppable(backend) as server:
        async with Client(server.gateway.listen) as client:
            await client.send(request(invoke_path("checkout")))
            await backend.request(0)
        await eventually(lambda: server.gateway.client_connections == 0, "the client is known to have left")
        await server.stop()
        assert not server.ended.done()
        assert server.gateway.in_flight == backend.running[ACCOUNT] == 1
        gate.open()
        await server.ended
        assert backend.requests[0].has_ended
        assert server.gateway.what_is_held() == {}


@pytest.mark.lateness
@pytest.mark.parametrize("path", [invoke_path("checkout"), stream_path("checkout")])
async def test_a_backend_that_never_ends_holds_the_end_up_for_drain_seconds_only(path: str) -> None:
    async with ScriptedBackend(Gate()) as backend, stoppable(backend, drain_seconds=1) as server:
        async with Client(server.gateway.listen) as client:
            await client.send(request(path))
            await backend.request(0)
            loop = asyncio.get_running_loop()
            told_at = loop.time()
            await server.stop()
            await server.ended
            check_lasted(told_at, 1)
            judge(told_at, 3)
        assert server.gateway.what_is_held() == {}


async def test_a_new_gateway_takes_over_where_the_old_one_listened() -> None:
    async with ScriptedBackend(answer_ok) as backend:
        async with stoppable(backend) as server:
            await server.stop()
            await server.ended
        async with serving(backend.url, listen=str(server.gateway.listen)) as gateway:
            assert (await invoke(gateway.listen)).status == 200
