"""Asserts that an event store whose primary is watched by sentinels is followed through a failover."""

from __future__ import annotations

import asyncio

import pytest

from invoke_gateway.queue.base import CannotOpen, StoreError
from invoke_gateway.queue.redis.store import StreamStore
from tests.support.clusters import watched_store
from tests.support.event_places import hear_nothing, make_event
from tests.support.gateways import eventually

SECRET = "s3cret&more"


async def test_events_are_stored_on_the_primary_that_takes_over() -> None:
    with watched_store("redis", password=SECRET) as watched:
        store = StreamStore(f"{watched.url}&wait_replicas=1&wait_ms=900", gateway="g", lease_seconds=3)
        await store.open(hear_nothing)
        try:
            await store.enqueue(make_event("1"))
            watched.sentinels[0].fail_over()
            await eventually(lambda: watched.replica.info()["role"] == "master", "it took over", 10)
            await eventually(lambda: watched.primary.info()["role"] == "slave", "the old one is a replica", 30)
            await at_last(store, "2")
            lanes = await store.backlog()
            assert sum(lane.events for lane in lanes) == 2
            assert store.problem is None
        finally:
            await store.close()


async def test_an_address_without_sentinels_is_no_reason_to_stop() -> None:
    store = StreamStore("redis+sentinel://127.0.0.1:1/mymaster/0", gateway="g", timeout_seconds=1)
    await store.open(hear_nothing)
    try:
        assert "check that they run" in (store.problem or "")
    finally:
        await store.close()


async def test_a_cluster_is_refused() -> None:
    with pytest.raises(CannotOpen, match="Clusters are not supported"):
        await StreamStore("redis+cluster://127.0.0.1:1", gateway="g").open(hear_nothing)


async def at_last(store: StreamStore, request_id: str) -> None:
    """Puts an event, as often as the failover makes it fail."""
    async with asyncio.timeout(120):  # a failover, and attempts that each wait for the store's time-out
        while True:
            try:
                await store.enqueue(make_event(request_id))
                return
            except StoreError:
                await asyncio.sleep(0.2)
