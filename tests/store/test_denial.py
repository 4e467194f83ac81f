"""A server in protected mode, as a stock Redis or Valkey is, closes connections of other machines after a reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from invoke_gateway.dialing import Dialer
from invoke_gateway.store.connection import ConnectionRules, StoreConnection
from invoke_gateway.store.denial import PROTECTED_MODE, find_denial
from invoke_gateway.store.errors import StoreUnavailable, StoreUnusable
from tests.support.addresses import find_own_address
from tests.support.processes import LOOPBACK, free_port
from tests.support.stores import running_store

RULES = ConnectionRules((), lambda error: error, lambda facts: None)
DENIED = b"-DENIED Running in protected mode because protected mode is enabled and no password is set\r\n"


@asynccontextmanager
async def server(words: bytes) -> AsyncIterator[int]:
    """Serves a port that sends `words` and closes."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        writer.close()

    serving = await asyncio.start_server(serve, LOOPBACK, 0)
    async with serving:
        yield serving.sockets[0].getsockname()[1]


def connection(host: str, port: int) -> StoreConnection:
    return StoreConnection(f"redis://{host}:{port}/0", RULES, where=f"{host}:{port}")


async def test_protected_mode_of_a_real_server_is_named_with_its_cure() -> None:
    """Of a Valkey: to Redis 6.2 each `--bind` is an order to accept other machines."""
    own = find_own_address()
    with running_store("valkey", "--bind", "0.0.0.0", is_tcp=True) as store:
        refused = connection(own, store.port)
        with pytest.raises(StoreUnusable, match=r"refuses other machines \(protected mode\); set its `requirepass`"):
            await refused.open()
        assert not refused.is_open
        near = connection(LOOPBACK, store.port)
        await near.open()
        await near.close(1)


@pytest.mark.parametrize(("words", "denial"), [(DENIED, PROTECTED_MODE), (b"-ERR x\r\n", None), (b"", None)])
async def test_a_denial_is_told_from_other_words(words: bytes, denial: str | None) -> None:
    async with server(words) as port:
        assert await find_denial(Dialer(LOOPBACK, port)) == denial
        expected = StoreUnavailable if denial is None else StoreUnusable
        with pytest.raises(expected) as caught:
            await connection(LOOPBACK, port).open()
        assert (str(caught.value) == PROTECTED_MODE) is (denial is not None)


async def test_a_server_that_does_not_run_is_no_denial() -> None:
    port = free_port()
    assert await find_denial(Dialer(LOOPBACK, port)) is None
    with pytest.raises(StoreUnavailable, match="; check that it runs") as caught:
        await connection(LOOPBACK, port).open()
    assert not isinstance(caught.value, StoreUnusable)
