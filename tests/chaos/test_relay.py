"""What the relay between a gateway and the store does to the traffic, and that it stops doing it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from time import monotonic

import pytest

from invoke_gateway.chaos.fault_proxy import Flow, Relay
from invoke_gateway.chaos.wire import Endpoint
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
async def relayed() -> AsyncIterator[tuple[Relay, Echo, Pair]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    relay = Relay(Endpoint(*server.sockets[0].getsockname()[:2]), Random(1))
    await relay.start()
    reader, writer = await asyncio.open_connection(*relay.endpoint)
    try:
        yield relay, echo, (reader, writer)
    finally:
        writer.close()
        await relay.stop()
        server.close()


async def read(reader: asyncio.StreamReader, seconds: float = LONG) -> bytes:
    """What comes next; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        return await reader.read(1000)


async def test_without_a_fault_everything_passes() -> None:
    async with relayed() as (_, _, (reader, writer)):
        writer.write(b"hello")
        assert await read(reader) == b"hello"


async def test_what_is_held_comes_late_and_whole() -> None:
    async with relayed() as (relay, echo, (reader, writer)):
        relay.set_flows(Flow.HOLDS, Flow.HOLDS)
        writer.write(b"late")
        with pytest.raises(TimeoutError):
            await read(reader, SOON)
        assert echo.got == b""
        relay.clear()
        assert await read(reader) == b"late"


async def test_a_reply_can_be_lost_whose_request_was_carried_out() -> None:
    async with relayed() as (relay, echo, (reader, writer)):
        relay.set_flows(Flow.PASSES, Flow.SWALLOWS)
        writer.write(b"take")
        with pytest.raises(TimeoutError):
            await read(reader, SOON)
        assert echo.got == b"take"
        relay.reset()
        with pytest.raises(ConnectionError):
            assert await read(reader) == b"never"


async def test_a_slow_line_delays_each_piece() -> None:
    async with relayed() as (relay, _, (reader, writer)):
        relay.delay = (0.1, 0.1)
        started = monotonic()
        writer.write(b"slow")
        assert await read(reader) == b"slow"
        check_lasted(started, 0.2)


async def test_a_closed_half_ends_one_direction_only() -> None:
    async with relayed() as (relay, echo, (reader, writer)):
        writer.write(b"a")
        await read(reader)
        relay.half_close(towards_store=False)
        assert await read(reader) == b""
        writer.write(b"b")
        async with asyncio.timeout(LONG):
            await echo.got_both.wait()
    async with relayed() as (relay, echo, (reader, writer)):
        writer.write(b"a")
        await read(reader)
        relay.half_close(towards_store=True)
        async with asyncio.timeout(LONG):
            await echo.ended.wait()


async def test_refused_connections_end_at_once_and_later_ones_do_not() -> None:
    async with relayed() as (relay, _, _):
        relay.refuses = True
        reader, writer = await asyncio.open_connection(*relay.endpoint)
        with pytest.raises(ConnectionError):
            assert await read(reader) == b"never"
        writer.close()
        relay.clear()
        reader, writer = await asyncio.open_connection(*relay.endpoint)
        writer.write(b"again")
        assert await read(reader) == b"again"
        writer.close()
