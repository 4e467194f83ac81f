"""A backend, a store and a target whose name has several addresses, or a resolver that is slow or fails."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from invoke_gateway import dialing
from invoke_gateway.counters.shared.connecting import SERVER_RULES
from invoke_gateway.dialing import Found
from invoke_gateway.queue.redis.address import EventStoreAddress
from invoke_gateway.store.connection import StoreConnection
from tests.support.addresses import blackhole, common_port, found, listener
from tests.support.backends import ScriptedBackend
from tests.support.clients import call, check_is_service_exception, invoke
from tests.support.gateways import eventually, serving
from tests.support.stores import Store, running_store

NAME = "one-of-several.test"
DEAD, ALIVE = "127.0.0.2", "127.0.0.3"
GIVES_UP = {"connect_timeout_seconds": 0.5}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the resolver says, by name; an empty list never comes to an end."""
    said: dict[str, list[str]] = {}

    async def resolve(host: str, port: int) -> list[Found]:
        if host not in said:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        if not said[host]:
            await asyncio.get_running_loop().create_future()
        return [found(one, port) for one in said[host]]

    monkeypatch.setattr(dialing, "_resolve", resolve)
    return said


@contextlib.asynccontextmanager
async def relaying(host: str, port: int, target: int) -> AsyncIterator[None]:
    """Hands connections to an address of ours on to a port of 127.0.0.1."""
    under_way: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", target)
        for work in (pipe(reader, back), pipe(there, writer)):
            under_way.add(asyncio.create_task(work))

    server = await asyncio.start_server(accept, sock=listener(host, port))
    try:
        yield
    finally:
        server.close()
        await asyncio.gather(*under_way)


async def test_a_call_is_answered_though_the_first_address_of_the_backend_is_dead(names: dict[str, list[str]]) -> None:
    port = common_port(DEAD, ALIVE)
    names[NAME] = [DEAD, ALIVE]
    async with ScriptedBackend() as backend:
        with blackhole(DEAD, port):
            async with (
                relaying(ALIVE, port, backend.port),
                serving(f"http://{NAME}:{port}", backend={"connect_timeout_seconds": 30}) as gateway,
            ):
                for _ in range(3):
                    assert (await invoke(gateway.listen)).status == 200
                answer = await call(gateway.admin, "/readyz", None, method="GET", host="localhost")
                assert answer.json()["backend"] == "up"
                await gateway.settled()
                await gateway.app.pool.close()


@pytest.mark.parametrize(
    ("addresses", "text"),
    [
        ([DEAD, ALIVE], "The backend did not accept a connection in time."),
        ([], "The backend did not accept a connection in time."),
        (None, "The backend refused the connection."),
    ],
    ids=["none of them answers", "the resolver hangs", "the resolver fails"],
)
async def test_the_connect_time_out_bounds_all_of_it_and_nothing_is_left(
    names: dict[str, list[str]], addresses: list[str] | None, text: str
) -> None:
    port = common_port(DEAD, ALIVE)
    if addresses is not None:
        names[NAME] = addresses
    with blackhole(DEAD, port), blackhole(ALIVE, port):
        async with serving(f"http://{NAME}:{port}", backend=GIVES_UP) as gateway:
            calls = [asyncio.create_task(invoke(gateway.listen)) for _ in range(5)]
            if addresses is not None:  # the loop goes on meanwhile
                await eventually(lambda: gateway.in_flight == 5, "five calls")
                assert (await call(gateway.admin, "/healthz", None, method="GET", host="localhost")).status == 200
            for answer in await asyncio.gather(*calls):
                check_is_service_exception(answer, text)
                if addresses == []:
                    assert "(its name was not resolved)" in str(answer.body)
            await gateway.settled()


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store("redis", is_tcp=True) as started:
        yield started


@pytest.mark.parametrize("kind", ["counters", "events"])
async def test_a_store_is_reached_though_the_first_address_of_its_name_is_dead(
    names: dict[str, list[str]], store: Store, kind: str
) -> None:
    port = common_port(DEAD, ALIVE)
    names[NAME] = [DEAD, ALIVE]
    url = f"redis://{NAME}:{port}/0"
    with blackhole(DEAD, port):
        async with relaying(ALIVE, port, store.port):
            link = (
                StoreConnection(url, SERVER_RULES, where=url)
                if kind == "counters"
                else EventStoreAddress(url, 2).connect()
            )
            for _ in range(2):
                async with asyncio.timeout(60):
                    await link.open()
                assert link.is_open
                await link.close(5)


async def test_an_endpoint_is_told_though_the_first_address_of_its_name_is_dead(names: dict[str, list[str]]) -> None:
    port = common_port(DEAD, ALIVE)
    names[NAME] = [DEAD, ALIVE]
    async with ScriptedBackend() as backend:
        with blackhole(DEAD, port):
            async with relaying(ALIVE, port, backend.port):
                dialer = dialing.Dialer(NAME, port)
                async with asyncio.timeout(60):
                    _, writer = await dialer.open_streams()
                writer.close()
                await writer.wait_closed()
