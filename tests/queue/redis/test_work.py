"""Lost replies and late requests: an operation is done once, and each claim has one owner."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from invoke_gateway.queue.base import LaneBacklog, StoreError
from invoke_gateway.queue.redis import script as scripts
from invoke_gateway.queue.redis.request_channel import RequestChannel
from invoke_gateway.queue.redis.store import StreamStore
from tests.queue.redis.sharing import (
    ack,
    at_last,
    fetch,
    held,
    ids,
    put_claimed,
    release,
    requeue,
    sharing,
    shown,
    update,
)
from tests.support.event_places import LANE, NOW, Heard, StreamPlace, make_event
from tests.support.gateways import eventually
from tests.support.relay import relaying

# Lost replies


async def do_put(store: StreamStore) -> None:
    await store.enqueue(make_event("new", due_at=NOW + 1))


async def do_put_claimed(store: StreamStore) -> None:
    await store.ack(await put_claimed(store, "claimed"))


async def do_fetch(store: StreamStore) -> None:
    (event,) = await fetch(store)
    assert event.request_id == "r"
    await store.release([event])


async def do_take(store: StreamStore) -> None:
    ((event, _),) = await store.find("r", 1)
    assert event.key is not None
    taken = await store.claim_one(event.key)
    assert taken is not None
    await store.release([taken])


async def do_waiting(store: StreamStore) -> None:
    assert await store.backlog() == [LaneBacklog(LANE, 1, 0, NOW, NOW)]


async def do_renew(store: StreamStore) -> None:
    await store._membership.renew()


REPLIES = {
    "put": (scripts.ENQUEUE, do_put, [("r", 0, False), ("new", 0, False)]),
    "put_claimed": (scripts.ENQUEUE, do_put_claimed, [("r", 0, False)]),
    "fetch": (scripts.CLAIM_DUE, do_fetch, [("r", 0, False)]),
    "take": (scripts.CLAIM_ONE, do_take, [("r", 0, False)]),
    "waiting": (scripts.BACKLOG, do_waiting, [("r", 0, False)]),
    "renew": (scripts.RENEW, do_renew, [("r", 0, False)]),
}


@pytest.mark.parametrize("name", REPLIES)
async def test_a_lost_reply_costs_nobody_an_error_and_nothing_is_done_twice(place: StreamPlace, name: str) -> None:
    script, do, wanted = REPLIES[name]
    async with relaying(place.server.url) as relay, sharing(place, url=relay.url, lease_seconds=30) as store:
        await store.enqueue(make_event())
        relay.lose(script.sha)
        await do(store)
        assert relay.has_lost_all
        assert await shown(store) == wanted
        assert ids(await fetch(store, now=NOW + 9)) == [row[0] for row in wanted]


SETTLES = {
    "ack": (ack, []),
    "requeue": (requeue, [("r", 1, False)]),
    "update": (update, [("r", 1, True)]),
    "release": (release, [("r", 0, False)]),
}


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("name", SETTLES)
async def test_what_became_of_an_event_is_said_until_it_is_heard(place: StreamPlace, name: str, times: int) -> None:
    settle, wanted = SETTLES[name]
    async with relaying(place.server.url) as relay, sharing(place, url=relay.url, lease_seconds=30) as store:
        await store.enqueue(make_event())
        (event,) = await fetch(store)
        relay.lose(scripts.SETTLE.sha, times)
        await settle(store, event)
        assert relay.has_lost_all
        assert await at_last(lambda: shown(store)) == wanted


async def test_a_fetch_that_failed_leaves_no_claim_behind(place: StreamPlace) -> None:
    async with relaying(place.server.url) as relay, sharing(place, url=relay.url, lease_seconds=30) as store:
        await store.enqueue(make_event())
        relay.lose(scripts.CLAIM_DUE.sha, 2)
        with pytest.raises(StoreError) as caught:
            await fetch(store)
        assert caught.value.kind == "unavailable"
        assert ids(await at_last(lambda: fetch(store))) == ["r"]


async def test_a_put_that_failed_is_kept_once_at_most_and_claimed_by_nobody(place: StreamPlace) -> None:
    async with relaying(place.server.url) as relay, sharing(place, url=relay.url, lease_seconds=30) as store:
        for name, put in (("1", store.enqueue_claimed), ("2", store.enqueue)):
            await store.enqueue(make_event("before"))
            relay.lose(scripts.ENQUEUE.sha, 2)
            with pytest.raises(StoreError, match="unavailable"):
                await put(make_event(name))
            assert relay.has_lost_all
            await eventually(lambda: store._enqueuer._channel.why_unavailable is None, "it is asked again")
        await at_last(store.backlog)
        assert await shown(store) == [(name, 0, False) for name in ("before", "1", "before", "2")]


async def test_what_was_kept_though_its_client_was_told_an_error_is_heard_of(place: StreamPlace) -> None:
    heard = Heard()
    async with (
        relaying(place.server.url) as relay,
        sharing(place, heard, url=relay.url, lease_seconds=30) as store,
        sharing(place, lease_seconds=30),
    ):
        for name, put in (("1", store.enqueue_claimed), ("2", store.enqueue)):
            await store.enqueue(make_event("before"))
            relay.lose(scripts.ENQUEUE.sha, 2)
            with pytest.raises(StoreError, match="unavailable"):
                await put(make_event(name, due_at=NOW + int(name)))
            await eventually(lambda: store._enqueuer._channel.why_unavailable is None, "it is asked again")
        await eventually(lambda: len(heard.calls) == 2, "both are told")
        assert heard.calls == [(LANE, 0, NOW + 1), (LANE, 0, NOW + 2)]
        for put in (store.enqueue_claimed, store.enqueue):
            putting = asyncio.create_task(put(make_event("3")))
            await asyncio.sleep(0)
            while store._enqueuer._queue:  # noqa: ASYNC110 (until it is on its way)
                await asyncio.sleep(0)
            putting.cancel()
        await eventually(lambda: len(heard.calls) == 4, "those whose clients hung up")
        assert heard.calls[2:] == [(LANE, 1, NOW)] * 2
        assert len(await fetch(store, now=NOW + 9)) == 6


@pytest.mark.parametrize("what", ["put", "put_claimed", "fetch"])
async def test_who_is_cancelled_when_the_answer_has_come_leaves_no_claim_behind(
    place: StreamPlace, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    heard = Heard()
    async with sharing(place, heard, lease_seconds=30) as store:
        if what == "fetch":
            await store.enqueue(make_event())
        exchange = RequestChannel._exchange

        async def exchange_and_cancel(line: RequestChannel, build: Any) -> Any:
            replies = await exchange(line, build)
            asyncio.get_running_loop().call_soon(lambda: cancel.pop().cancel() if cancel else None)
            return replies

        ask = {"put": store.enqueue, "put_claimed": store.enqueue_claimed}
        asking = asyncio.create_task(fetch(store) if what == "fetch" else ask[what](make_event()))
        monkeypatch.setattr(RequestChannel, "_exchange", exchange_and_cancel)
        cancel = [asking]
        with pytest.raises(asyncio.CancelledError):
            await asking
        await store.backlog()
        assert await shown(store) == [("r", 0, False)]
        assert heard.calls == ([] if what == "fetch" else [(LANE, 1, NOW)])


# Late requests


async def test_a_fetch_that_arrives_after_it_was_given_up_claims_nothing(place: StreamPlace) -> None:
    async with relaying(place.server.url) as relay, sharing(place, url=relay.url, lease_seconds=30) as store:
        await store.enqueue(make_event("1"))
        relay.hold(scripts.CLAIM_DUE.sha)
        await held(relay, asyncio.create_task(fetch(store)))
        assert ids(await at_last(lambda: fetch(store))) == ["1"]
        await store.enqueue(make_event("2"))
        await relay.let_go()
        assert ids(await fetch(store)) == ["2"]


async def test_a_put_that_arrives_after_it_was_given_up_is_not_kept(place: StreamPlace) -> None:
    async with relaying(place.server.url) as relay, sharing(place, url=relay.url, lease_seconds=30) as store:
        await store.enqueue(make_event("1"))
        relay.hold(scripts.ENQUEUE.sha)
        await held(relay, asyncio.create_task(put_claimed(store, "2")))
        await at_last(store.backlog)
        await relay.let_go()
        assert await shown(store) == [("1", 0, False)]


async def test_a_rewrite_that_arrives_after_a_later_one_changes_nothing(place: StreamPlace) -> None:
    async with relaying(place.server.url) as relay, sharing(place, url=relay.url, lease_seconds=30) as store:
        await store.enqueue(make_event())
        (event,) = await fetch(store)
        relay.hold(scripts.SETTLE.sha)
        await update(store, event)  # again and again, on another connection at last
        assert relay.has_held
        await update(store, event)
        await relay.let_go()
        assert await shown(store) == [("r", 2, True)]
