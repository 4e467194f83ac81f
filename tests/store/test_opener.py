"""Connections by TCP, TLS and a Unix socket are opened, are refused with the cause, and are cut short at any step."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from invoke_gateway.store import opener
from invoke_gateway.store.connection import ConnectionRules, StoreConnection
from invoke_gateway.store.errors import StoreUnavailable, StoreUnusable
from invoke_gateway.store.exchange_protocol import ExchangeProtocol
from tests.support.certificates import make_certificate
from tests.support.gateways import eventually
from tests.support.processes import LOOPBACK
from tests.support.relay import Relay
from tests.support.stepping import Cancelled, Stepped
from tests.support.stores import Store, running_store
from tests.support.tools import OPENSSL

RULES = ConnectionRules((), lambda error: error, lambda facts: None)
MOST_STEPS = 100

Loop = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store("valkey", is_tcp=True) as started:
        yield started


@pytest.fixture(scope="module")
def path(store: Store) -> str:
    with store.client() as client:
        return str(client.config_get("unixsocket")["unixsocket"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the certificate of a server, `localhost`, and of a client, `127.0.0.1`, whose second key is locked."""
    folder = tmp_path_factory.mktemp("tls")
    make_certificate(folder, "localhost")
    _, key = make_certificate(folder, LOOPBACK)
    subprocess.run(
        [OPENSSL.require(), "ec", "-aes128", "-passout", "pass:open sesame", "-in", key, "-out", folder / "locked.key"],
        check=True,
        capture_output=True,
    )
    return folder


@asynccontextmanager
async def behind_tls(path: str, folder: Path, *, wants_certificate: bool = False) -> AsyncIterator[str]:
    """Yields host and port of a relay that takes TLS off: no server of the tests is built with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "localhost.pem", folder / "localhost.key")
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # a refused certificate then ends the handshake
    if wants_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / f"{LOOPBACK}.pem")
    relay = Relay(path)
    async with await asyncio.start_server(relay.serve, LOOPBACK, 0, ssl=context) as server:
        yield f"localhost:{server.sockets[0].getsockname()[1]}"


async def ping(url: str) -> list[object]:
    link = StoreConnection(url, RULES, where="the store")
    async with asyncio.timeout(60):
        await link.open()
        try:
            return await link.call([("PING",)])
        finally:
            await link.close(60)


@pytest.mark.parametrize(
    "query",
    [
        "ssl_ca_certs={folder}/localhost.pem",
        "ssl_ca_certs={folder}/localhost.pem&ssl_min_version=771&ssl_ciphers=ECDHE%2BAESGCM",
        "ssl_cert_reqs=none",
        "ssl_cert_reqs=none&ssl_check_hostname=no",
    ],
)
async def test_a_server_is_trusted_as_the_url_allows(path: str, folder: Path, query: str) -> None:
    async with behind_tls(path, folder) as address:
        assert await ping(f"rediss://{address}/0?{query.format(folder=folder)}") == [b"PONG"]


@pytest.mark.parametrize(
    ("host", "query", "text"),
    [
        ("localhost", "ssl_check_hostname=yes", "certificate verify failed"),
        (LOOPBACK, "ssl_ca_certs={folder}/localhost.pem", "IP address mismatch"),
        ("localhost", "ssl_ca_certs={folder}/localhost.pem&ssl_min_version=772", "cannot connect to localhost"),
        ("localhost", "ssl_ca_certs={folder}/none.pem", "TLS parameters of its URL cannot be used: No such file"),
        ("localhost", "ssl_ciphers=none-of-them", "TLS parameters of its URL cannot be used: .*check their values"),
        ("localhost", "ssl_min_version=5", "TLS parameters of its URL cannot be used"),
        ("localhost", "ssl_certfile={folder}/localhost.pem&ssl_keyfile={folder}/127.0.0.1.key", "cannot be used"),
    ],
)
async def test_a_fault_of_tls_has_its_cause(path: str, folder: Path, host: str, query: str, text: str) -> None:
    async with behind_tls(path, folder) as address:
        with pytest.raises(StoreUnavailable, match=text) as caught:
            await ping(f"rediss://{address.replace('localhost', host)}/0?{query.format(folder=folder)}")
    assert not isinstance(caught.value, StoreUnusable), "files may be corrected while the gateway runs"


@pytest.mark.parametrize("key", ["127.0.0.1.key", "locked.key&ssl_password=open+sesame"])
async def test_a_client_presents_its_certificate(path: str, folder: Path, key: str) -> None:
    trust = f"ssl_ca_certs={folder}/localhost.pem"
    async with behind_tls(path, folder, wants_certificate=True) as address:
        own = f"ssl_certfile={folder}/{LOOPBACK}.pem&ssl_keyfile={folder}/{key}"
        assert await ping(f"rediss://{address}/0?{trust}&{own}") == [b"PONG"]
        with pytest.raises(StoreUnavailable, match="check that it runs"):
            await ping(f"rediss://{address}/0?{trust}")


async def test_a_renewed_certificate_is_read_by_the_next_connection(path: str, folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    own.write_bytes((folder / f"{LOOPBACK}.pem").read_bytes())
    async with behind_tls(path, folder) as address:
        link = StoreConnection(f"rediss://{address}/0?ssl_ca_certs={own}", RULES, where="the store")
        with pytest.raises(StoreUnavailable, match="certificate verify failed"):
            await link.open()
        own.write_bytes((folder / "localhost.pem").read_bytes())
        await link.open()
        assert link.is_open
        await link.close(60)


async def test_plain_text_to_a_server_of_tls_ends(path: str, folder: Path) -> None:
    async with behind_tls(path, folder) as address:
        with pytest.raises(StoreUnavailable, match="check that it runs"):
            await ping(f"redis://{address}")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("unix:///none/such", "cannot connect to /none/such: No such file or directory; check that it runs"),
        ("redis://no-such-host.invalid", r"cannot connect to no-such-host\.invalid:6379: .+; check that it runs"),
        ("redis://127.0.0.1:1", r"cannot connect to 127\.0\.0\.1:1: .*; check that it runs"),
    ],
)
async def test_what_cannot_be_connected_to_is_named(url: str, text: str) -> None:
    with pytest.raises(StoreUnavailable, match=text):
        await ping(url)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize(("query", "is_kept_alive"), [("", 1), ("?socket_keepalive=no", 0), ("?socket_keepalive=1", 1)])
def test_a_socket_is_kept_alive_unless_the_url_says_otherwise(
    store: Store, new_loop: Loop, query: str, is_kept_alive: int
) -> None:
    async def read_options() -> tuple[int, int]:
        link = StoreConnection(f"redis://{LOOPBACK}:{store.port}/0{query}", RULES, where="the store")
        await link.open()
        assert link._protocol is not None
        with socket.socket(fileno=socket.dup(link._protocol._transport.get_extra_info("socket").fileno())) as opened:
            options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_NODELAY)]
            found = tuple(opened.getsockopt(*option) for option in options)
        await link.close(60)
        return found[0], found[1]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(read_options()) == (is_kept_alive, 1)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("kind", ["tcp", "name", "unix", "tls"])
def test_an_opening_that_is_cut_short_at_any_step_leaves_no_socket_open(
    store: Store, path: str, folder: Path, monkeypatch: pytest.MonkeyPatch, new_loop: Loop, kind: str, late: bool
) -> None:
    """The caller's time bound may come at each step. A transport or a socket that is left open warns, which fails."""
    urls = {"tcp": f"redis://{LOOPBACK}", "name": "redis://localhost"}
    made: list[ExchangeProtocol] = []

    def make_recorded() -> ExchangeProtocol:
        made.append(ExchangeProtocol())
        return made[-1]

    def is_one_open() -> bool:
        return any(hasattr(each, "_transport") and not each._is_lost for each in made)

    # uvloop calls no `connection_lost` where it closes a transport before its opening has returned.
    is_told = new_loop is asyncio.new_event_loop or kind == "tls"

    def count_connections() -> int:
        with store.client() as client:
            return len(client.client_list()) - 1

    monkeypatch.setattr(opener, "ExchangeProtocol", make_recorded)

    async def cut_short(url: str) -> None:
        for step in range(MOST_STEPS):
            link = StoreConnection(url, RULES, where="the store")
            stepped = Stepped(link.open(), step, late=late)
            try:
                await stepped.end()
            except Cancelled:
                assert not link.is_open
            if not stepped.has_cancelled:
                break
            await asyncio.sleep(0)
        assert 2 <= step < MOST_STEPS - 1
        assert link.is_open
        await link.close(60)
        await eventually(lambda: not (is_told and is_one_open()) and count_connections() == 0, "all have ended")

    async def run() -> None:
        if kind == "tls":
            async with behind_tls(path, folder) as address:
                await cut_short(f"rediss://{address}?ssl_ca_certs={folder}/localhost.pem")
        else:
            await cut_short(f"unix://{path}" if kind == "unix" else f"{urls[kind]}:{store.port}")

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())
    gc.collect()
