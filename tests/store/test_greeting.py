"""A real server accepts or refuses the greeting. The error has the cause, and the action for the operator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from invoke_gateway.store.connection import ConnectionRules, StoreConnection
from invoke_gateway.store.errors import StoreUnavailable, StoreUnusable
from tests.support.processes import LOOPBACK
from tests.support.stores import KINDS, Store, running_store

RULES = ConnectionRules((), lambda error: error, lambda facts: None)
USERS = (
    ("gateway", "on", ">r:ght", "~*", "&*", "+@all"),
    ("narrow", "on", ">r:ght", "~*", "&*", "+get", "+set", "+ping"),
    ("off", "off", ">r:ght", "~*", "&*", "+@all"),
)


@pytest.fixture(scope="module", params=KINDS)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with running_store(request.param, is_tcp=True) as started:
        with started.client() as client:
            for user in USERS:
                client.execute_command("ACL", "SETUSER", *user)
        yield started


@pytest.fixture(params=["tcp", "unix"])
def base(request: pytest.FixtureRequest, store: Store) -> str:
    """The start of a URL, with a place for user and password."""
    if request.param == "tcp":
        return f"redis://%s{LOOPBACK}:{store.port}"
    with store.client() as client:
        return f"unix://%s{client.config_get('unixsocket')['unixsocket']}"


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[StoreConnection]:
    link = StoreConnection(url, RULES, where="the store")
    async with asyncio.timeout(60):
        await link.connect()
    try:
        yield link
    finally:
        await link.close(5)


async def test_a_user_with_a_password_is_authenticated(base: str) -> None:
    async with connected(base % "gateway:r%3Aght@") as link:
        assert await link.call([("ACL", "WHOAMI")]) == [b"gateway"]


async def test_the_password_alone_is_that_of_the_default_user() -> None:
    for kind in KINDS:
        with running_store(kind, is_tcp=True) as locked, locked.client() as client:
            client.config_set("requirepass", "a b&c")
            async with connected(f"redis://:a%20b&c@{LOOPBACK}:{locked.port}") as link:
                assert await link.call([("ACL", "WHOAMI")]) == [b"default"]
            for secret in ("", ":wrong-one@", "gateway:wrong-one@"):
                with pytest.raises(StoreUnusable, match="check user name, password and ACL") as caught:
                    async with connected(f"redis://{secret}{LOOPBACK}:{locked.port}"):
                        pass
                assert "wrong-one" not in str(caught.value)


@pytest.mark.parametrize(
    "secret", ["gateway:wrong-one@", "nobody:wrong-one@", "off:r%3Aght@", ":wrong-one@", "gateway@"]
)
async def test_a_wrong_password_is_refused_with_its_cure(base: str, secret: str) -> None:
    link = StoreConnection(base % secret, RULES, where="the store")
    with pytest.raises(StoreUnusable, match="check user name, password and ACL") as caught:
        await link.connect()
    assert "wrong-one" not in str(caught.value)
    assert not link.is_open
    with pytest.raises(StoreUnavailable, match="not connected"):
        await link.call([("PING",)])


async def test_a_connection_has_the_database_and_the_name_of_its_url(base: str, store: Store) -> None:
    async with connected(f"{base % ''}?db=3&client_name=gateway-7") as link:
        assert await link.call([("SET", "mark", "3"), ("CLIENT", "GETNAME")]) == [b"OK", b"gateway-7"]
        with store.client() as client:
            (listed,) = [each for each in client.client_list() if each["name"] == "gateway-7"]
            assert listed["db"] == "3"
            if store.kind == "valkey":  # Redis 6.2 has no CLIENT SETINFO, which is no error
                assert listed["lib-name"] == "invoke-gateway"
            assert client.get("mark") is None
    if base.startswith("redis"):
        async with connected(f"{base % ''}/3") as link:
            assert await link.call([("GET", "mark")]) == [b"3"]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("db=99", "the server refuses the database 99 of its URL: .*; correct it"),
        ("client_name=two+words", "the server refuses the client_name 'two words' of its URL: .*; correct it"),
    ],
)
async def test_a_refused_database_or_name_is_an_error_of_the_url(base: str, query: str, text: str) -> None:
    link = StoreConnection(f"{base % ''}?{query}", RULES, where="the store")
    with pytest.raises(StoreUnusable, match=text):
        await link.connect()
    assert not link.is_open


async def test_a_user_without_rights_to_what_the_url_needs_is_refused(base: str) -> None:
    async with connected(base % "narrow:r%3Aght@") as link:  # it has no right to CLIENT SETINFO
        assert await link.call([("PING",)]) == [b"PONG"]
    for query in ("db=1", "client_name=x"):
        with pytest.raises(StoreUnusable, match="check user name, password and ACL"):
            await StoreConnection(f"{base % 'narrow:r%3Aght@'}?{query}", RULES, where="the store").connect()
    with pytest.raises(StoreUnusable, match=r"no permissions.*check user name, password and ACL"):  # of INFO
        await StoreConnection(base % "narrow:r%3Aght@", RULES, where="the store").open()


async def test_a_connection_too_many_is_no_mistake_of_the_url(store: Store) -> None:
    with store.client() as client:
        before = client.config_get("maxclients")["maxclients"]
        client.config_set("maxclients", 1)
        try:
            with pytest.raises(StoreUnavailable, match="max number of clients reached; check that it runs") as caught:
                await StoreConnection(
                    f"redis://gateway:r%3Aght@{LOOPBACK}:{store.port}/1", RULES, where="the store"
                ).connect()
        finally:
            client.config_set("maxclients", before)
    assert not isinstance(caught.value, StoreUnusable)


# ---- servers of ours -------------------------------------------------------------------------------------------


@asynccontextmanager
async def server(answer: bytes, *, at_once: bool = False) -> AsyncIterator[str]:
    """Serves a port that sends `answer` and closes, before or after the greeting has come."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not at_once:
            await reader.readuntil(b"invoke-gateway\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, LOOPBACK, 0) as serving:
        yield f"{LOOPBACK}:{serving.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n" * 2, StoreUnavailable, "loading the dataset"),
        (b"-BUSY Redis is busy running a script\r\n" * 2, StoreUnavailable, "BUSY Redis is busy"),
        (b"-MISCONF no disk\r\n" * 2, StoreUnavailable, "MISCONF no disk"),
        (b"-ERR max number of clients reached\r\n", StoreUnavailable, "max number of clients reached"),
        (b"-DENIED Redis is running in protected mode\r\n", StoreUnusable, "protected mode"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", StoreUnusable, "that it is a Redis or Valkey"),
        (b"-ERR invalid password\r\n-NOAUTH x\r\n", StoreUnusable, "invalid password; check user name, password"),
        (b"+OK\r\n-NOAUTH Authentication required.\r\n", StoreUnusable, "check user name, password"),
        (b"+OK\r\n" * 3, StoreUnavailable, "without a request"),
        (b"+OK\r\n", StoreUnavailable, "Connection closed by server; check that it runs"),
        (b"", StoreUnavailable, "Connection closed by server; check that it runs"),
    ],
)
async def test_an_error_is_classified_by_its_code(answer: bytes, kind: type[StoreUnavailable], text: str) -> None:
    async with server(answer) as address:
        with pytest.raises(StoreUnavailable, match=text) as caught:
            await StoreConnection(f"redis://:secret@{address}", RULES, where="the store").connect()
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("banner", "text"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "that it is a Redis or Valkey|cannot connect|closed by server"),
        (b"-ERR max number of clients reached\r\n", "max number of clients reached|cannot connect|closed by server"),
    ],
)
async def test_a_server_that_sends_first_is_read(banner: bytes, text: str) -> None:
    async with server(banner, at_once=True) as address:
        with pytest.raises(StoreUnavailable, match=text):
            await StoreConnection(f"redis://{address}", RULES, where="the store").connect()


@pytest.mark.parametrize("quote", ["'%s'", "`%s`"])
async def test_a_server_that_repeats_its_arguments_does_not_disclose_the_password(quote: str) -> None:
    args = " ".join(quote % part for part in ("bob", "s3cret"))
    async with server(f"-ERR unknown command 'AUTH', with args beginning with: {args}\r\n+OK\r\n".encode()) as address:
        with pytest.raises(StoreUnusable, match="unknown command 'AUTH'") as caught:
            await StoreConnection(f"redis://bob:s3cret@{address}", RULES, where="the store").connect()
    assert "s3cret" not in str(caught.value)
