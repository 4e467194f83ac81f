"""Servers and URLs that can never work, and settings of a server that lose events."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import ExitStack
from pathlib import Path

import pytest

from invoke_gateway.queue.base import CannotOpen, StoreError
from invoke_gateway.queue.redis.address import check_server
from invoke_gateway.queue.redis.store import StreamStore
from invoke_gateway.store.errors import StoreUnusable
from invoke_gateway.store.server_facts import read_info
from tests.queue.redis.sharing import TIMEOUT, at_last, fetch, put_claimed, sharing, shown
from tests.support.certificates import make_certificate
from tests.support.event_places import StreamPlace, hear_nothing, make_event
from tests.support.gateways import eventually
from tests.support.processes import free_port
from tests.support.relay import relaying
from tests.support.stores import KINDS, running_store


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1/", "redis://"),
        ("redis+cluster://:secret@127.0.0.1:1", "not supported"),
        ("redis://127.0.0.1:x/0", "not understood"),
        ("redis://127.0.0.1:1/0?colour=red", "colour"),
        ("redis://127.0.0.1:1/0?wait_replicas=1&wait_ms=99999", "wait_ms"),
        ("redis://127.0.0.1:1/0?wait_replicas=some", "not understood"),
    ],
)
async def test_a_url_that_cannot_work_is_refused_in_words(url: str, said: str) -> None:
    with pytest.raises(CannotOpen, match=said) as caught:
        await StreamStore(url, gateway="g", timeout_seconds=TIMEOUT).open(hear_nothing)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wrong_password_and_a_user_without_rights_are_refused_in_words(kind: str) -> None:
    commands = "+evalsha +script|load +info +xread +@stream +@hash +@set +@sortedset +@string +del +time +wait"
    with running_store(
        kind, "--user", "gateway", "on", ">right", "~{invoke-gateway:events}:*", "~{invoke-gateway:events}",
        *commands.split(), "--user", "poor", "on", ">poor", "~*", "+info", "+script", "+evalsha", is_tcp=True,
    ) as server:  # fmt: skip

        async def use(user: str) -> None:
            store = StreamStore(server.url.replace("//", f"//{user}@"), gateway="g", timeout_seconds=TIMEOUT)
            await store.open(hear_nothing)
            try:
                await store.enqueue(make_event())
                (event,) = await fetch(store)
                await store.ack(event)
                await asyncio.sleep(0.1)  # the news are asked for
                assert store.problem is None
            finally:
                await store.close()

        await use("gateway:right")
        with pytest.raises(CannotOpen, match="check user name, password") as caught:
            await use("gateway:wrong-one")
        assert "wrong-one" not in str(caught.value)
        with pytest.raises(CannotOpen, match="cannot be used"):
            await use("poor:poor")


async def test_tls_is_spoken_where_the_url_says_so(place: StreamPlace, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with relaying(place.server.url) as relay:
        server = await asyncio.start_server(relay.serve, "127.0.0.1", 0, ssl=context)
        async with server:
            url = f"rediss://localhost:{server.sockets[0].getsockname()[1]}/0"
            async with sharing(place, url=f"{url}?ssl_ca_certs={certificate}", timeout_seconds=2) as store:
                await store.enqueue(make_event())
                assert await shown(store) == [("r", 0, False)]
            async with sharing(place, url=url, timeout_seconds=2) as store:
                assert store.problem is not None
                assert "certificate" in store.problem


async def test_a_replica_a_node_of_a_cluster_and_what_is_no_redis_are_refused_in_words() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(running_store("redis", is_tcp=True))
        replica = stack.enter_context(running_store("redis", "--replicaof", "127.0.0.1", str(server.port)))
        with pytest.raises(CannotOpen, match=r"is a replica of 127\.0\.0\.1"):
            await StreamPlace(replica, "p").make().open(hear_nothing)
        clustered = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        node = stack.enter_context(running_store("valkey", *clustered, is_tcp=True))
        with pytest.raises(CannotOpen, match="node of a cluster"):
            await StreamPlace(node, "p").make().open(hear_nothing)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        url = f"redis://127.0.0.1:{other.sockets[0].getsockname()[1]}/0"
        with pytest.raises(CannotOpen, match="is a Redis or Valkey"):
            await StreamStore(url, gateway="g", timeout_seconds=TIMEOUT).open(hear_nothing)


def test_a_server_that_is_too_old_is_refused_in_words() -> None:
    with pytest.raises(StoreUnusable, match=r"6\.2 or newer"):
        check_server(read_info(b"redis_version:5.0.7\r\nrole:master\r\n"))


async def test_a_primary_that_becomes_a_replica_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with running_store("redis") as server:
        async with sharing(StreamPlace(server, "p")) as store:
            with server.client() as client:
                client.replicaof("127.0.0.1", free_port())
                with pytest.raises(StoreError, match="replica"):
                    await store.enqueue(make_event())
                client.replicaof("NO", "ONE")
            await at_last(lambda: store.enqueue(make_event()))
            assert await shown(store) == [("r", 0, False)]


async def test_a_store_that_may_evict_or_forget_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with running_store("redis", "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru") as server:
        async with sharing(StreamPlace(server, "p")):
            assert [record.message for record in caplog.records if "noeviction" in record.message]
        caplog.clear()
        with server.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
        async with sharing(StreamPlace(server, "p")):
            assert [record.message for record in caplog.records if "appendonly yes" in record.message]


async def test_a_put_waits_for_replicas_where_the_url_says_so() -> None:
    with running_store("redis", is_tcp=True) as server:
        place = StreamPlace(server, "p")
        async with sharing(place, url=f"{server.url}?wait_replicas=1&wait_ms=300") as store:
            with pytest.raises(StoreError, match="0 of 1 replicas") as caught:
                await put_claimed(store, "1")
            assert caught.value.kind == "unavailable"
            with running_store("redis", "--replicaof", "127.0.0.1", str(server.port)) as replica:
                await eventually(lambda: replica.info()["master_link_status"] == "up", "the replica is there", 10)
                await at_last(lambda: store.enqueue(make_event("2")))
                assert replica.info()["master_link_status"] == "up"
            assert await shown(store) == [("1", 0, False), ("2", 0, False)]
