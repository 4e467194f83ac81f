"""The wait on a store that is new, or was emptied: how long it lasts, who is waited for, and what callers read of it.

Leases are so long here that none ends within a test: where calls are admitted, the recovery has ended early."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest

from invoke_gateway.counters.base import StoreNotCounting
from invoke_gateway.counters.local_slots import LocalSlot
from invoke_gateway.counters.shared.counters import SharedCounters
from invoke_gateway.counters.shared.shard import Shard
from invoke_gateway.counters.shared.shared_config import SharedConfig
from invoke_gateway.policy.concurrency import LimitReached
from invoke_gateway.policy.limits import AccountLimits, Limits
from invoke_gateway.refusals import Refusal, render

from ...support.gateways import eventually
from ...support.stores import KINDS, Store, running_store

ACCOUNT = AccountLimits("a", 4)
PLAN = ACCOUNT.plan("f")


@pytest.fixture(scope="module", params=KINDS)
def kept(request: pytest.FixtureRequest) -> Iterator[Store]:
    with running_store(request.param) as running:
        yield running


@pytest.fixture
def store(kept: Store) -> Store:
    kept.clear()
    return kept


@asynccontextmanager
async def sharing(
    store: Store, name: str, expected: int | None, workers: int = 1, lease: float = 60.0
) -> AsyncIterator[SharedCounters]:
    table = Limits(ACCOUNT)
    config = SharedConfig(store.url, lease, 5.0, gateway=name, expected_gateways=expected, workers=workers)
    counters = SharedCounters(config, limits=lambda: table, degraded={})
    await counters.start()
    try:
        yield counters
    finally:
        await counters.close()


async def take(counters: SharedCounters) -> LocalSlot:
    taken = await counters.acquire(PLAN)
    assert isinstance(taken, LocalSlot), taken
    return taken


async def refuse(counters: SharedCounters) -> StoreNotCounting:
    refused = await counters.acquire(PLAN)
    assert isinstance(refused, StoreNotCounting), refused
    assert refused.claim.refusal is Refusal.COUNTERS_RECOVERING
    return refused


def shard_of(counters: SharedCounters) -> Shard:
    return counters._tallies["a"].shard  # type: ignore[return-value]  # no node of a cluster, so it is a shard


def beat(*gateways: SharedCounters) -> None:
    """Their heartbeats come now; they are minutes apart by themselves."""
    for gateway in gateways:
        shard_of(gateway)._lease_events.renew_now()


@asynccontextmanager
async def unheard(gateway: SharedCounters) -> AsyncIterator[None]:
    """Keeps the heartbeats of a gateway from the store. Those that were on their way are over at the begin."""
    lease = shard_of(gateway)._lease_events._lease
    tallies, on_replies = lease._tallies, lease._on_replies
    beats: list[object] = []
    lease._tallies = list  # a heartbeat for no account
    lease._on_replies = beats.append
    for _ in range(2):  # the first to end may have begun before
        known = len(beats)
        beat(gateway)
        await eventually(partial(has_more, beats, known), "no heartbeat")
    try:
        yield
    finally:
        lease._tallies, lease._on_replies = tallies, on_replies


def has_more(beats: list[object], known: int) -> bool:
    return len(beats) > known


async def admits(*gateways: SharedCounters) -> None:
    def all_count() -> bool:
        return not any(gateway._degraded["store_recovering"] for gateway in gateways)

    await eventually(all_count, lambda: f"{gateways} still recover", 20)


async def recovers(*gateways: SharedCounters) -> None:
    def all_recover() -> bool:
        return all(gateway._degraded["store_recovering"] for gateway in gateways)

    await eventually(all_recover, lambda: f"{gateways} do not recover", 20)


async def test_one_gateway_that_is_the_only_one_waits_for_nobody(store: Store) -> None:
    async with sharing(store, "g-1", 1) as one:
        await admits(one)
        await take(one)


async def test_the_wait_ends_once_as_many_as_are_expected_have_reported(store: Store) -> None:
    async with sharing(store, "g-1", 2) as one:
        await recovers(one)
        await refuse(one)
        async with sharing(store, "g-2", 2) as two:
            await admits(one, two)
            slots = [await take(one), await take(two), await take(one), await take(two)]
            full = await one.acquire(PLAN)
            assert isinstance(full, LimitReached)
            assert not isinstance(full, StoreNotCounting)
            slots[0].release()


async def test_where_fewer_come_than_are_expected_the_wait_lasts_a_lease(store: Store) -> None:
    async with sharing(store, "g-1", 3, lease=2.0) as one, sharing(store, "g-2", 3, lease=2.0) as two:
        await recovers(one, two)
        await refuse(two)
        await admits(one, two)
        await take(two)


async def test_workers_of_one_gateway_count_once_and_each_is_waited_for(store: Store) -> None:
    async with sharing(store, "g-1.1", 1, workers=2) as one:
        await recovers(one)
        await refuse(one)
        async with sharing(store, "g-1.2", 1, workers=2) as two:
            await admits(one, two)
            await take(two)


async def test_a_store_that_is_emptied_in_the_middle_is_complete_once_all_have_reported(store: Store) -> None:
    async with AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(sharing(store, f"g-{number}", 3)) for number in (1, 2, 3)]
        await admits(*gateways)
        running = [await take(gateway) for gateway in gateways]
        async with unheard(gateways[2]):
            store.clear()
            beat(*gateways[:2])
            await recovers(*gateways[:2])
            await refuse(gateways[0])  # the third runs a call, and has not reported it
        beat(gateways[2])
        await admits(*gateways)
        running.append(await take(gateways[1]))
        full = await gateways[0].acquire(PLAN)
        assert (full.in_use, full.ceiling) == (4, 4)  # type: ignore[union-attr]  # no slot: nothing is free
        for slot in running:
            slot.release()


async def test_a_gateway_beyond_the_number_is_waited_for_by_those_that_know_it(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async with sharing(store, "g-1", 1) as one:
        await admits(one)
        async with sharing(store, "g-2", 1) as two:
            await take(two)
            beat(one)
            await eventually(lambda: one.gateways == 2, "it knows of the other", 20)
            assert "more than shared.expected_gateways (1)" in caplog.text
            async with unheard(two):
                store.clear()
                beat(one)
                await recovers(one)
                await refuse(one)
            beat(two)
            await admits(one, two)
            assert store.sums("a")["a/account"] == 1


async def test_a_gateway_that_stopped_is_not_waited_for(store: Store) -> None:
    async with sharing(store, "g-1", 2) as one:
        async with sharing(store, "g-2", 2) as two:
            await admits(one, two)
        beat(one)
        await eventually(lambda: one.gateways == 1, "it knows that the other has stopped", 20)
        store.clear()
        beat(one)
        await recovers(one)
        # It took its leave; its successor has another name.
        async with sharing(store, "g-3", 2) as three:
            await admits(one, three)
            await take(three)


async def test_callers_and_the_log_read_until_when_it_lasts_and_what_shortens_it(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "invoke_gateway")
    async with sharing(store, "g-1", None) as one:
        await recovers(one)
        refused = await refuse(one)
        text = render(refused.claim.refusal, **refused.refusal_values).body.decode()
        until = re.search(r"at most until (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\.", text)
        assert until is not None, text
        assert "set shared.expected_gateways to the number of gateways" in text
        assert one.trouble is not None
        assert until[1] in one.trouble
        assert one.why_not_ready == one.trouble
        (line,) = [record.getMessage() for record in caplog.records if "being rebuilt" in record.getMessage()]
        assert until[1] in line
        assert "shared.expected_gateways" in line
