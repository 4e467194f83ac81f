"""What sentinels answer, and connections to them that a time-out cuts short."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from invoke_gateway.policy.store_url import split_store_url
from invoke_gateway.store import opener
from invoke_gateway.store.errors import StoreUnavailable
from invoke_gateway.store.exchange_protocol import ExchangeProtocol
from invoke_gateway.store.sentinel import Sentinels

MOST_STEPS = 1000  # of an event loop, for one search


@asynccontextmanager
async def sentinel(flags: str = "master") -> AsyncIterator[Sentinels]:
    """Runs a sentinel that watches two primaries, of which ours is the second."""
    masters = [["name", "other", "flags", "master"]]
    state = {"name": "mymaster", "ip": "10.0.0.1", "port": "6380", "flags": flags}
    state |= {"config-epoch": "3", "num-other-sentinels": "2"}
    masters.append([part for field in state.items() for part in field])

    def encode(value: str | list[str] | list[list[str]]) -> bytes:
        if isinstance(value, str):
            return b"$%d\r\n%b\r\n" % (len(value), value.encode())
        return b"*%d\r\n" % len(value) + b"".join(encode(part) for part in value)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                parts = [await reader.readline() for _ in range(2 * int(line[1:]))]
                writer.write(encode(masters) if parts[1].upper() == b"SENTINEL\r\n" else b"+OK\r\n")
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield Sentinels(split_store_url(f"redis+sentinel://127.0.0.1:{port}/mymaster"), 60.0)


async def test_the_primary_is_found_by_its_name() -> None:
    async with sentinel() as sentinels:
        assert await sentinels.find_primary() == ("10.0.0.1", 6380)


@pytest.mark.parametrize("flags", ["master,s_down", "master,s_down,o_down", "master,o_down", "slave"])
async def test_a_primary_that_is_down_is_none(flags: str) -> None:
    async with sentinel(flags) as sentinels:
        with pytest.raises(StoreUnavailable, match="a failover is under way"):
            await sentinels.find_primary()


async def test_a_search_that_is_cut_short_at_any_step_leaves_no_connection_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The caller's time-out may come at every one of them."""
    made: list[ExchangeProtocol] = []

    def make_recorded() -> ExchangeProtocol:
        made.append(ExchangeProtocol())
        return made[-1]

    monkeypatch.setattr(opener, "ExchangeProtocol", make_recorded)
    async with sentinel() as sentinels:
        for steps in range(MOST_STEPS):
            search = asyncio.create_task(sentinels.find_primary())
            for _ in range(steps):
                await asyncio.sleep(0)
            has_ended = search.done()
            search.cancel()
            await asyncio.gather(search, return_exceptions=True)
            opened = [protocol for protocol in made if hasattr(protocol, "_transport")]
            assert all(protocol._transport.is_closing() for protocol in opened), f"cut at step {steps}"
            made.clear()
            if has_ended:
                break
    assert has_ended
    assert steps > 5
    gc.collect()  # what is left open warns
