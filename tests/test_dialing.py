"""Connections to names with several addresses, some of which are dead."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from invoke_gateway.dialing import Dialer, Found
from tests.support.addresses import blackhole, common_port, found, has_ipv6, listener
from tests.support.certificates import make_certificate
from tests.support.gateways import eventually

BOTH_LOOPS = True
ONE, TWO, THREE = "127.0.0.2", "127.0.0.3", "127.0.0.4"
LONG = 600.0  # seconds: a pause that no test waits for
BOUND = 30.0  # seconds: what hangs is a failure

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


class Resolver:
    """A resolver that says what the test has set. `asked` counts lookups; they wait while `gate` is closed."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = list(hosts)
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def __call__(self, host: str, port: int) -> list[Found]:
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [found(one, port) for one in self.hosts]


class Accepts(asyncio.Protocol):
    """The server's side of a connection: it waits for the other's end."""

    def __init__(self, accepted: set[asyncio.BaseTransport]) -> None:
        self._accepted = accepted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._accepted.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._accepted.discard(self._transport)


@contextlib.asynccontextmanager
async def server(host: str, port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    accepted: set[asyncio.BaseTransport] = set()
    started = await asyncio.get_running_loop().create_server(
        lambda: Accepts(accepted), sock=listener(host, port), ssl=tls
    )
    try:
        yield
    finally:
        started.close()
        for transport in accepted:
            transport.close()
        await eventually(lambda: not accepted, "the connections have ended")


async def peer_of(dialer: Dialer) -> str:
    async with asyncio.timeout(BOUND):
        transport, _ = await dialer.connect(asyncio.Protocol)
    host: str = transport.get_extra_info("peername")[0]
    transport.close()
    return host


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_the_second_address_is_taken_where_the_first_does_not_answer() -> None:
    port = common_port(ONE, TWO)
    with blackhole(ONE, port):
        async with server(TWO, port):
            dialer = Dialer("backend", port, resolve=Resolver(ONE, TWO), delay_seconds=0.01)
            assert await peer_of(dialer) == TWO


async def test_an_address_that_did_not_answer_is_tried_last_from_then_on() -> None:
    """By the pause that each attempt would cost: the second connection would wait for it longer than the test does."""
    port = common_port(ONE, TWO)
    with blackhole(ONE, port):
        async with server(TWO, port):
            dialer = Dialer("backend", port, resolve=Resolver(ONE, TWO), delay_seconds=0.01)
            assert await peer_of(dialer) == TWO
            dialer._delay = LONG
            for _ in range(3):
                assert await peer_of(dialer) == TWO


async def test_an_address_that_is_avoided_is_taken_where_the_others_are_gone_and_is_then_no_more_avoided() -> None:
    port = common_port(ONE, TWO)
    dialer = Dialer("backend", port, resolve=Resolver(ONE, TWO), delay_seconds=LONG)
    async with server(TWO, port):
        assert await peer_of(dialer) == TWO, "the first refuses"
    async with server(ONE, port):
        assert await peer_of(dialer) == ONE
        assert dialer._avoided.keys() == {(TWO, port)}


async def test_an_address_that_refuses_costs_no_pause() -> None:
    port = common_port(ONE, TWO)
    async with server(TWO, port):
        assert await peer_of(Dialer("backend", port, resolve=Resolver(ONE, TWO), delay_seconds=LONG)) == TWO


async def test_connections_are_spread_as_the_resolver_orders_its_addresses() -> None:
    port = common_port(ONE, TWO, THREE)
    resolver = Resolver(ONE, TWO, THREE)
    dialer = Dialer("backend", port, resolve=resolver, delay_seconds=LONG)
    async with server(ONE, port), server(TWO, port), server(THREE, port):
        seen = []
        for _ in range(3):
            seen.append(await peer_of(dialer))
            resolver.hosts.append(resolver.hosts.pop(0))
    assert seen == [ONE, TWO, THREE]


@needs_ipv6
async def test_families_take_turns() -> None:
    """RFC 8305, section 4: a whole family that is dead costs one pause, not one for each of its addresses."""
    port = common_port(ONE, "::1")
    dialer = Dialer("backend", port, resolve=Resolver("2001:db8::1", "2001:db8::2", ONE))
    dialer._resolve = Resolver(ONE, TWO, THREE, "::1")
    in_order = dialer._put_in_order(await dialer._find())
    assert [one[4][0] for one in in_order] == [ONE, "::1", TWO, THREE]


@needs_ipv6
async def test_a_name_with_only_an_ipv6_address_is_reached() -> None:
    port = common_port("::1")
    async with server("::1", port):
        assert await peer_of(Dialer("backend", port, resolve=Resolver("::1"))) == "::1"
        assert await peer_of(Dialer("::1", port)) == "::1"


async def test_one_lookup_is_shared_by_a_burst_and_the_next_asks_again() -> None:
    port = common_port(ONE)
    resolver = Resolver(ONE)
    resolver.gate.clear()
    dialer = Dialer("backend", port, resolve=resolver)
    async with server(ONE, port):
        burst = [asyncio.create_task(peer_of(dialer)) for _ in range(50)]
        await eventually(lambda: dialer.is_looking_up, "a lookup")
        burst[0].cancel()
        await asyncio.sleep(0)
        resolver.gate.set()
        assert set((await asyncio.gather(*burst, return_exceptions=True))[1:]) == {ONE}
        assert resolver.asked == 1
        await peer_of(dialer)
        assert resolver.asked == 2, "addresses change: none is kept"


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")])
async def test_a_lookup_that_fails_is_an_error_of_the_system_and_the_next_may_succeed(error: Exception) -> None:
    port = common_port(ONE)
    resolver = Resolver(ONE)
    resolver.error = error
    dialer = Dialer("backend", port, resolve=resolver)
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await peer_of(dialer)
    resolver.error = None
    async with server(ONE, port):
        assert await peer_of(dialer) == ONE


async def test_a_name_without_an_address_is_an_error() -> None:
    with pytest.raises(socket.gaierror, match="has no address"):
        await peer_of(Dialer("backend", 1, resolve=Resolver()))


async def test_where_no_address_answers_the_error_is_theirs() -> None:
    port = common_port(ONE, TWO)
    with pytest.raises(OSError, match=r"(?i)refused|connect"):
        await peer_of(Dialer("backend", port, resolve=Resolver(ONE, TWO)))


@pytest.mark.parametrize("at", ["the lookup", "the first address", "both addresses"])
async def test_a_connect_that_is_given_up_leaves_no_socket(at: str) -> None:
    port = common_port(ONE, TWO)
    with blackhole(ONE, port), blackhole(TWO, port):
        resolver = Resolver(ONE, TWO)
        if at == "the lookup":
            resolver.gate.clear()
        dialer = Dialer("backend", port, resolve=resolver, delay_seconds=0.001 if at.startswith("both") else LONG)
        before = open_files()
        waiting = [asyncio.create_task(dialer.connect(asyncio.Protocol)) for _ in range(20)]
        sockets = {"the lookup": 0, "the first address": 20, "both addresses": 40}[at]
        await eventually(lambda: open_files() >= before + sockets, "sockets")
        for one in waiting:
            one.cancel()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in ended)
        await eventually(lambda: open_files() <= before, lambda: open_files() - before)
        resolver.gate.set()


async def test_those_that_lose_the_race_are_closed() -> None:
    port = common_port(ONE, TWO, THREE)
    async with server(ONE, port), server(TWO, port), server(THREE, port):
        dialer = Dialer("backend", port, resolve=Resolver(ONE, TWO, THREE), delay_seconds=0.0001)
        await peer_of(dialer)  # what the loop itself opens is open now
        before = open_files()
        for _ in range(100):
            await peer_of(dialer)
        await eventually(lambda: open_files() <= before, lambda: open_files() - before)


async def test_tls_is_checked_against_the_name_and_an_address_that_fails_it_is_avoided(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "backend")
    of_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    of_server.load_cert_chain(certificate, key)
    of_client = ssl.create_default_context(cafile=str(certificate))
    port = common_port(ONE, TWO)

    class HangsUp(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.close()

    broken = await asyncio.get_running_loop().create_server(HangsUp, sock=listener(ONE, port))
    async with server(TWO, port, of_server):
        dialer = Dialer("backend", port, resolve=Resolver(ONE, TWO))
        with pytest.raises(OSError, match=r".*"):
            await dialer.connect(asyncio.Protocol, tls=of_client)
        transport, _ = await dialer.connect(asyncio.Protocol, tls=of_client)
        assert transport.get_extra_info("peername")[0] == TWO
        transport.close()
        other = Dialer("other", port, resolve=Resolver(TWO))
        with pytest.raises(ssl.SSLCertVerificationError):
            await other.connect(asyncio.Protocol, tls=of_client)
    broken.close()


async def test_the_usual_resolver_finds_names_of_this_machine() -> None:
    port = common_port("127.0.0.1")
    async with server("127.0.0.1", port):
        assert await peer_of(Dialer("localhost", port)) in ("127.0.0.1", "::1")
    with pytest.raises(socket.gaierror):
        await peer_of(Dialer("nowhere.invalid", port))
    with pytest.raises(socket.gaierror):
        await peer_of(Dialer("x" * 100, port))
