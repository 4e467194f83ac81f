"""What the proxy between a gateway and the store does to the traffic, and that it stops doing it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from time import monotonic

import pytest

from invoke_gateway.chaos.faults.proxy import FaultProxy, Flow
from invoke_gateway.chaos.wire import HostPort
from tests.support.lateness import check_lasted

SOON = 0.15  # seconds in which what passes has passed
LONG = 5.0

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that sends back what it gets, and keeps it."""

    def __init__(self) -> None:
        self.got = b""
        self.got_both = asyncio.Event()
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(1000):
                self.got += piece
                if self.got == b"ab":
                    self.got_both.set()
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            self.ended.set()
            writer.close()


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[FaultProxy, Echo, Pair]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    proxy = FaultProxy(HostPort(*server.sockets[0].getsockname()[:2]), Random(1))
    await proxy.start()
    reader, writer = await asyncio.open_connection(*proxy.endpoint)
    try:
        yield proxy, echo, (reader, writer)
    finally:
        writer.close()
        await proxy.stop()
        server.close()


async def read(reader: asyncio.StreamReader, seconds: float = LONG) -> bytes:
    """What comes next; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        return await reader.read(1000)


async def test_without_a_fault_everything_passes() -> None:
    async with proxied() as (_, _, (reader, writer)):
        writer.write(b"hello")
        assert await read(reader) == b"hello"


async def test_what_is_held_comes_late_and_whole() -> None:
    async with proxied() as (proxy, echo, (reader, writer)):
        proxy.set_flows(Flow.STALL, Flow.STALL)
        writer.write(b"late")
        with pytest.raises(TimeoutError):
            await read(reader, SOON)
        assert echo.got == b""
        proxy.clear()
        assert await read(reader) == b"late"


async def test_a_reply_can_be_lost_whose_request_was_carried_out() -> None:
    async with proxied() as (proxy, echo, (reader, writer)):
        proxy.set_flows(Flow.PASS, Flow.DROP)
        writer.write(b"take")
        with pytest.raises(TimeoutError):
            await read(reader, SOON)
        assert echo.got == b"take"
        proxy.reset()
        with pytest.raises(ConnectionError):
            assert await read(reader) == b"never"


async def test_a_slow_line_delays_each_piece() -> None:
    async with proxied() as (proxy, _, (reader, writer)):
        proxy.delay = (0.1, 0.1)
        started = monotonic()
        writer.write(b"slow")
        assert await read(reader) == b"slow"
        check_lasted(started, 0.2)


async def test_a_closed_half_ends_one_direction_only() -> None:
    async with proxied() as (proxy, echo, (reader, writer)):
        writer.write(b"a")
        await read(reader)
        proxy.half_close(towards_store=False)
        assert await read(reader) == b""
        writer.write(b"b")
        async with asyncio.timeout(LONG):
            await echo.got_both.wait()
    async with proxied() as (proxy, echo, (reader, writer)):
        writer.write(b"a")
        await read(reader)
        proxy.half_close(towards_store=True)
        async with asyncio.timeout(LONG):
            await echo.ended.wait()


async def test_refused_connections_end_at_once_and_later_ones_do_not() -> None:
    async with proxied() as (proxy, _, _):
        proxy.refuses = True
        reader, writer = await asyncio.open_connection(*proxy.endpoint)
        with pytest.raises(ConnectionError):
            assert await read(reader) == b"never"
        writer.close()
        proxy.clear()
        reader, writer = await asyncio.open_connection(*proxy.endpoint)
        writer.write(b"again")
        assert await read(reader) == b"again"
        writer.close()
