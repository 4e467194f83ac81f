"""uvicorn's server with an end of its own: at once where nothing runs, after the running calls elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from invoke_gateway.asgi import Receive, Scope, Send
from invoke_gateway.background import BackgroundTasks
from invoke_gateway.server import http_server
from invoke_gateway.server.http_server import Server, configure, serve_on
from invoke_gateway.server.sockets import bind
from invoke_gateway.settings import Address
from tests.support.gateways import eventually

REQUEST = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"


class Slow:
    """An application that responds when a test lets it."""

    def __init__(self) -> None:
        self.may_respond = asyncio.Event()
        self.running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.running += 1
        await self.may_respond.wait()
        self.running -= 1
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@contextlib.asynccontextmanager
async def serving(app: Slow) -> AsyncIterator[tuple[Server, Address]]:
    with contextlib.closing(bind(Address("127.0.0.1", 0), "listen")) as listeners:
        server = Server(configure(app, drain_seconds=60))
        async with serve_on(server, listeners, BackgroundTasks()):
            yield server, listeners.addresses[0]


def record_sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Returns the seconds of all sleeps from here on."""
    seconds: list[float] = []
    sleep = asyncio.sleep

    async def recorded(delay: float) -> None:
        seconds.append(delay)
        await sleep(delay)

    monkeypatch.setattr(asyncio, "sleep", recorded)
    return seconds


async def test_an_end_with_idle_connections_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Slow()
    app.may_respond.set()
    async with serving(app) as (_, address):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(REQUEST)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        sleeps = record_sleeps(monkeypatch)
    assert set(sleeps) == {0}
    assert await reader.read() == b""
    writer.close()


async def respond_once_ending(server: Server, app: Slow) -> None:
    await eventually(lambda: server.should_exit and not any(one.is_serving() for one in server.servers), "a drain")
    assert app.running
    app.may_respond.set()


async def test_an_end_waits_for_the_calls_that_run() -> None:
    app = Slow()
    async with serving(app) as (server, address):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(REQUEST)
        await eventually(lambda: app.running, "a call that runs")
        late = asyncio.create_task(respond_once_ending(server, app))
    await late
    assert (await reader.read()).endswith(b"ok")
    writer.close()


async def test_the_date_of_responses_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_TICK_SECONDS", 0.001)
    async with serving(Slow()) as (server, _):
        server.server_state.default_headers = []
        await eventually(lambda: server.server_state.default_headers, "a new date")
        assert server.server_state.default_headers[0][0] == b"date"
