"""Counters on a primary that sentinels watch: a failover heals without a restart, and nothing is admitted above the
limit meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from invoke_gateway.counters.base import StoreNotCounting
from invoke_gateway.counters.local_slots import LocalSlot
from invoke_gateway.counters.shared.counters import SharedCounters
from invoke_gateway.counters.shared.shared_config import SharedConfig
from invoke_gateway.policy.limits import AccountLimits, Limits
from invoke_gateway.policy.store_url import Host, split_store_url
from invoke_gateway.store.sentinel import Sentinels

from ...support.clusters import Watched, watched_store
from ...support.gateways import eventually

LEASE = 6.0  # seconds; a quarter of it is the store's time, and no busy machine stands still for so long
LIMIT = 4
ACCOUNT = AccountLimits("a", LIMIT)
PLAN = ACCOUNT.plan("f")
SECRET = "s3cret&more"


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with watched_store("redis", password=SECRET) as store:
        store.primary.clear("a")
        yield store


@asynccontextmanager
async def sharing(url: str) -> AsyncIterator[SharedCounters]:
    table = Limits(ACCOUNT)
    counters = SharedCounters(SharedConfig(url, LEASE, LEASE / 4), limits=lambda: table, degraded={})
    await counters.start()
    try:
        yield counters
    finally:
        await counters.close()


async def take(counters: SharedCounters, count: int) -> list[LocalSlot]:
    taken = [await counters.acquire(PLAN) for _ in range(count)]
    return [slot for slot in taken if isinstance(slot, LocalSlot)]


async def fill(counters: SharedCounters) -> list[LocalSlot]:
    """Ask until the limit is reached, through whatever is away meanwhile."""
    taken = []
    end = time.monotonic() + 60
    while isinstance(answer := await counters.acquire(PLAN), LocalSlot | StoreNotCounting):
        if isinstance(answer, LocalSlot):
            taken.append(answer)
        assert time.monotonic() < end, counters
        await asyncio.sleep(0.01)
    return taken


async def test_what_is_wrong_with_the_sentinels_or_the_primary_is_told(watched: Watched) -> None:
    for url, words in (
        (watched.url.replace("mymaster", "other"), "check the name"),
        ("redis+sentinel://127.0.0.1:1/mymaster", "check that they run"),
        (f"{watched.url}&ssl_colour=red", "is not understood"),
        (watched.url.replace("s3cret", "wrong-one"), "check sentinel_username and sentinel_password"),
        (f"redis://127.0.0.1:{watched.replica.port}/0", f"it is a replica of 127.0.0.1:{watched.primary.port}"),
    ):
        async with sharing(url) as counters:
            await eventually(lambda words=words: words in (counters.trouble or ""), f"{url}: {words}")
            assert "wrong-one" not in (counters.trouble or "")


async def test_the_sentinel_that_saw_the_latest_failover_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"s1": (3, ("old", 1)), "s2": (4, ("new", 2)), "s3": None}

    async def answer(self: Sentinels, host: Host) -> tuple[int, Host] | None:
        if host[0] == "s4":
            raise OSError
        return answers[host[0]]

    monkeypatch.setattr(Sentinels, "_query", answer)
    sentinels = Sentinels(split_store_url("redis+sentinel://s1,s2,s3,s4/mymaster"), 1.0)
    assert await sentinels.find_primary() == ("new", 2)


async def test_a_primary_that_is_made_a_replica_is_left_for_the_new_one(watched: Watched) -> None:
    """An orderly failover, for maintenance: the old primary lives on, and may not be written."""
    async with sharing(watched.url) as one, sharing(watched.url) as two:
        held = await take(one, 3)
        watched.sentinels[0].fail_over()
        await eventually(lambda: watched.replica.info()["role"] == "master", "it took over", 10)
        await eventually(lambda: one.trouble is not None, "it is seen")
        held += await fill(two)
        assert len(held) == LIMIT
        await eventually(lambda: watched.replica.sums("a")["a/account"] == LIMIT, "all are counted")
        await eventually(lambda: one.trouble is two.trouble is None, "all is well")


async def test_a_dead_primary_is_left_for_the_replica_that_takes_over() -> None:
    with watched_store("valkey") as store:
        store.primary.clear("a")
        async with sharing(store.url) as one, sharing(store.url) as two:
            await eventually(lambda: one.trouble is None, "the primary is found")
            held = await take(one, 3)
            store.sentinels[0].close()  # two are enough to agree, and to be asked
            store.primary.kill()
            held += await fill(two)
            assert len(held) == LIMIT
            assert store.replica.sums("a")["a/account"] == LIMIT
            held.pop().release()
            await eventually(lambda: store.replica.sums("a")["a/account"] == LIMIT - 1, "a slot is given back")
            await eventually(lambda: one.trouble is two.trouble is None, "all is well")
