"""A connection that redis-py has opened carries our exchanges. A reply of no use ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.exceptions import ResponseError

from invoke_gateway.store.connection import ConnectionRules, StoreConnection
from invoke_gateway.store.errors import StoreUnavailable, StoreUnusable
from invoke_gateway.store.resp import encode_commands

from ..support.gateways import eventually

INFO = b"run_id:%b\r\nrole:master\r\nredis_version:7.0.0\r\nmaxmemory:0\r\n" % (b"a" * 40)
PING = encode_commands([("PING",)])
RULES = ConnectionRules((), lambda error: error, lambda facts: None)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def connected(serve: Serve) -> AsyncIterator[StoreConnection]:
    """Yields a connection to a server of ours, which does what `serve` does after the greeting."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while b"$4\r\nINFO" not in (said := await reader.read(65536)):
                assert said, "the connection ended"
                writer.write(b"+OK\r\n" * said.count(b"SETINFO"))
            writer.write(b"$%d\r\n%b\r\n" % (len(INFO), INFO))
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        link = StoreConnection(f"redis://127.0.0.1:{port}/0", RULES, where="the store")
        await link.open()
        try:
            yield link
        finally:
            await link.close(5)


def answer(*pieces: bytes) -> Serve:
    """Sends these pieces, one after the other, for each request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.005)

    return serve


async def test_replies_that_come_in_pieces_are_one_answer() -> None:
    async with connected(answer(b"+PO", b"NG\r\n*2\r\n:1\r", b"\n$1\r\nx\r", b"\n")) as link:
        for _ in range(3):
            assert await link.exchange(PING + PING, 2) == [b"PONG", [1, b"x"]]
        assert link.is_open


async def test_an_exchange_without_waiting_ends_in_a_call() -> None:
    async with connected(answer(b"+PONG\r\n")) as link:
        ended: list[Any] = []
        link.send(PING, 1, ended.append)
        assert not ended
        await eventually(lambda: bool(ended), "an answer")
        assert link.read_replies(ended[0]) == [b"PONG"]


async def test_a_servers_error_is_read_by_the_rules() -> None:
    async with connected(answer(b"-ERR unknown\r\n")) as link:
        (error,) = await link.call([("NONSENSE",)])
        assert isinstance(error, ResponseError)
        assert link.is_open


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", StoreUnusable, "Protocol Error"),
        (b"$-7\r\n", StoreUnusable, "Protocol Error"),
        (b"-NOPERM no rights\r\n", StoreUnusable, "no rights; check user name, password and ACL"),
        (b"-NOAUTH Authentication required.\r\n", StoreUnusable, "Authentication required"),
        (b"-LOADING the dataset\r\n", StoreUnavailable, "the dataset"),
        (b"+PONG\r\n+PONG\r\n", StoreUnavailable, "without a request"),
    ],
)
async def test_a_reply_of_no_use_closes_the_connection(said: bytes, kind: type[Exception], text: str) -> None:
    def read_error(error: ResponseError) -> object:
        raise error

    async with connected(answer(said)) as link:
        link._rules = RULES._replace(read_error=read_error)
        with pytest.raises(kind, match=text):
            await link.call([("PING",)])
        assert not link.is_open
        with pytest.raises(StoreUnavailable, match="not connected"):
            await link.call([("PING",)])


async def test_a_reply_that_nothing_asked_for_ends_the_connection() -> None:
    go = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.write(b"+PONG\r\n")  # it would be taken for the reply to the next request
        await reader.read()

    async with connected(serve) as link:
        go.set()
        await eventually(lambda: not link.is_open, "it is over")
        ended: list[Any] = []
        link.send(PING, 1, ended.append)
        with pytest.raises(StoreUnavailable):
            link.read_replies(ended[0])


async def test_the_end_of_an_idle_connection_is_seen() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async with connected(serve) as link:
        await eventually(lambda: not link.is_open, "it is over")


async def test_the_end_of_the_connection_ends_its_exchange() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"$5\r\nhal")

    async with connected(serve) as link:
        with pytest.raises(StoreUnavailable, match="Connection closed by server"):
            await link.call([("PING",)])


async def test_a_cancelled_exchange_gets_no_reply_later() -> None:
    go = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        await go.wait()
        writer.write(b"+PONG\r\n")
        await reader.read()

    async with connected(serve) as link:
        ended: list[Any] = []
        link.send(PING, 1, ended.append)
        link.cancel()
        assert not link.is_open
        go.set()
        await asyncio.sleep(0.05)
        assert ended == []
