"""A server that is paused, killed, emptied, full or absent, between gateways and their events."""

from __future__ import annotations

import asyncio
import time

import pytest

from invoke_gateway.queue.base import StoreError
from tests.queue.redis.sharing import (
    LEASE,
    TIMEOUT,
    ack,
    at_last,
    fetch,
    ids,
    put_claimed,
    release,
    requeue,
    sharing,
    shown,
    update,
)
from tests.support.event_places import LANE, NOW, Heard, StreamPlace, hear_nothing, make_event
from tests.support.gateways import eventually
from tests.support.lateness import end_at_once, judge
from tests.support.stores import KINDS, running_store


@pytest.mark.lateness
async def test_a_paused_server_fails_puts_in_time_and_costs_no_claim_and_no_settled_event(place: StreamPlace) -> None:
    async with sharing(place) as one, sharing(place) as two:
        for number in range(4):
            await one.enqueue(make_event(str(number)))
        first, second, third = await fetch(one, most=3)
        (fourth,) = await fetch(two)
        place.server.pause()
        try:
            started = time.monotonic()
            with pytest.raises(StoreError) as caught:
                await one.enqueue(make_event("late"))
            assert caught.value.kind == "unavailable"
            judge(started, TIMEOUT + 0.3)
            with pytest.raises(StoreError, match="unavailable"):  # nobody waits for what is known to be away
                end_at_once(one.enqueue(make_event("late")))
            settling = [asyncio.create_task(ack(one, first)), asyncio.create_task(requeue(one, second))]
            await asyncio.sleep(1.5 * LEASE)
            assert not any(task.done() for task in settling)
            assert one.problem is not None
        finally:
            place.server.resume()
        await asyncio.gather(*settling)
        await at_last(lambda: one.enqueue(make_event("new")))
        await asyncio.sleep(LEASE)  # heartbeats of both
        assert (one.totals.taken_over, two.totals.taken_over) == (0, 0)
        assert (one.totals.lost_leases, two.totals.lost_leases) == (0, 0)
        assert one.problem is None
        await ack(one, third)
        await ack(two, fourth)
        left = await shown(one)
        assert [row for row in left if row[0] != "late"] == [("1", 1, False), ("new", 0, False)]
        assert len(left) <= 3  # the one whose client was told an error may be there
        assert one.totals.refused == two.totals.refused == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_with_an_append_only_file_is_killed_and_has_everything_again(kind: str) -> None:
    with running_store(kind, "--appendonly", "yes", "--appendfsync", "always") as server:
        place = StreamPlace(server, "aof")
        heard = Heard()
        async with sharing(place) as one, sharing(place, heard) as two:
            for number in range(200):
                await one.enqueue(make_event(str(number)))
            events = await fetch(one, most=150)
            for event in events[:50]:
                await one.ack(event)
            for event in events[50:100]:
                await requeue(one, event)
            server.kill()
            settling = [asyncio.create_task(ack(one, event)) for event in events[100:110]]
            with pytest.raises(StoreError):
                await two.enqueue(make_event("no"))
            server.start()
            await asyncio.gather(*settling)
            assert (await at_last(two.backlog))[0].events == 100
            left = await shown(two)
            assert (len(left), sum(is_claimed for *_, is_claimed in left)) == (140, 40)
            before = heard.events()
            await one.enqueue(make_event("heard"))
            await eventually(lambda: heard.events() > before, "news go on")
            for event in events[110:]:
                await one.ack(event)
            assert one.totals.refused == 0
        place.check()


async def test_an_emptied_server_is_noticed_and_gone_on_with_and_what_is_here_is_put_again(
    place: StreamPlace, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()
    async with sharing(place) as one, sharing(place, heard) as two:
        for name in ("0", "1", "2", "3", "lost"):
            await one.enqueue(make_event(name))
        events = await fetch(one, most=4)
        with place.server.client() as client:
            client.flushall()
        await two.enqueue(make_event("new"))  # its number is not that of an event that was lost
        await requeue(one, events[0])
        await update(one, events[1])
        await release(one, events[2])
        await ack(one, events[3])
        await asyncio.sleep(LEASE)
        assert any("has lost all events" in record.message for record in caplog.records if record.levelname == "ERROR")
        assert await shown(two) == [("new", 0, False), ("0", 1, False), ("1", 1, True), ("2", 0, False)]
        await ack(one, events[1])
        before = heard.events()
        await one.enqueue(make_event("heard"))
        await eventually(lambda: heard.events() > before, "news go on")
        assert sorted(ids(await fetch(two))) == ["0", "2", "heard", "new"]


async def test_a_server_that_restarts_with_nothing_gets_back_what_is_claimed(caplog: pytest.LogCaptureFixture) -> None:
    with running_store("redis") as server:
        async with sharing(StreamPlace(server, "p")) as store:
            await store.enqueue(make_event("1"))
            (event,) = await fetch(store)
            server.restart()
            await requeue(store, event)
            assert await at_last(lambda: shown(store)) == [("1", 1, False)]


async def test_scripts_that_the_store_forgot_are_brought_again(place: StreamPlace) -> None:
    async with sharing(place) as store:
        with place.server.client() as client:
            client.script_flush()
        await store.enqueue(make_event())
        (event,) = await fetch(store)
        with place.server.client() as client:
            client.script_flush()
        await store.ack(event)
        assert await store.backlog() == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_full_store_takes_nothing_new_and_can_be_worked_off(kind: str) -> None:
    with running_store(kind) as server:
        place = StreamPlace(server, "full")
        async with sharing(place) as store:
            for number in range(20):
                await store.enqueue(make_event(str(number), body=b"x" * 100_000))
            (own,) = await fetch(store, most=1)
            with server.client() as client:
                client.config_set("maxmemory", client.info()["used_memory"] - 500_000)
            for put in (store.enqueue, store.enqueue_claimed):
                with pytest.raises(StoreError, match="Raise maxmemory") as caught:
                    await put(make_event("more"))
                assert caught.value.kind == "full"
                assert store.problem == str(caught.value)
            await requeue(store, own)
            await store._membership.renew()
            events = await fetch(store, now=NOW, most=5)
            await update(store, events[0])
            await release(store, events[1])
            for event in (events[0], *events[2:]):
                await store.ack(event)
            assert store.totals.refused == 0
            assert (await store.backlog())[0].events == 16
            for event in await fetch(store, most=10):
                await store.ack(event)
            await store.enqueue(make_event("there is room"))
            assert store.problem is None
        place.check()


@pytest.mark.lateness
async def test_a_store_that_is_away_at_the_start_is_used_when_it_comes(caplog: pytest.LogCaptureFixture) -> None:
    with running_store("redis", "--appendonly", "yes", "--appendfsync", "always") as server:
        place = StreamPlace(server, "p")
        async with sharing(place) as store:
            for number in range(3):
                await store.enqueue(make_event(str(number)))
        server.kill()
        heard = Heard()
        store = place.make(lease_seconds=LEASE, timeout_seconds=TIMEOUT)
        started = time.monotonic()
        assert await store.open(heard) == []
        judge(started, TIMEOUT + 0.2)
        assert any("check that it runs" in record.message for record in caplog.records)
        with pytest.raises(StoreError):
            await store.enqueue(make_event("no", lane="a/function/g"))
        server.start()
        await eventually(lambda: heard.events(), "what waits is told", 5)
        assert (LANE, 3, NOW) in heard.calls
        assert ids(await fetch(store)) == ["0", "1", "2"]
        await store.close()


@pytest.mark.lateness
async def test_an_end_while_the_store_is_away_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    with running_store("redis") as server:
        store = StreamPlace(server, "p").make(lease_seconds=LEASE, timeout_seconds=TIMEOUT)
        await store.open(hear_nothing)
        event = await put_claimed(store, "1")
        server.pause()
        finishing = asyncio.create_task(store.ack(event))
        await asyncio.sleep(0)
        started = time.monotonic()
        await store.close()
        judge(started, 3 * TIMEOUT)
        assert any("the outcomes of 1 events could not be written" in record.message for record in caplog.records)
        server.resume()
        finishing.cancel()
