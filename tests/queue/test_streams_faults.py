"""What only networks, servers and processes do, to events on a real Redis or Valkey: lost and late messages, a server
that is away, paused, full, restarted or emptied, gateways that die or stand still."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from invoke_gateway.queue.base import CannotOpen, LaneBacklog, StoreError
from invoke_gateway.queue.event import Event
from invoke_gateway.queue.redis import script as scripts
from invoke_gateway.queue.redis.address import check_server
from invoke_gateway.queue.redis.request_channel import RequestChannel
from invoke_gateway.queue.redis.store import StreamStore
from invoke_gateway.store.errors import StoreUnusable
from invoke_gateway.store.server_facts import read_info
from tests.support.certificates import make_certificate
from tests.support.event_places import LANE, NOW, Heard, StreamPlace, hear_nothing, make_event
from tests.support.gateways import eventually
from tests.support.lateness import end_at_once, judge
from tests.support.processes import free_port
from tests.support.relay import Relay, relaying
from tests.support.stores import KINDS, Store, running_store

LEASE = 3.0  # seconds; a busy machine stands still for a part of one now and then
TIMEOUT = 1.2
MANY = 1 << 30
_numbers = count()


@pytest.fixture(scope="module", params=KINDS)
def kept(request: pytest.FixtureRequest) -> Iterator[Store]:
    with running_store(request.param) as running:
        yield running


@pytest.fixture
def place(kept: Store) -> Iterator[StreamPlace]:
    place = StreamPlace(kept, f"faults-{os.getpid()}-{next(_numbers)}")
    yield place
    place.check()


@asynccontextmanager
async def sharing(
    place: StreamPlace, hear: Callable[[str, int, float], None] = hear_nothing, **more: Any
) -> AsyncIterator[StreamStore]:
    store = place.make(**{"lease_seconds": LEASE, "timeout_seconds": TIMEOUT, **more})
    await store.open(hear)
    try:
        yield store
    finally:
        await store.close()


async def fetch(store: StreamStore, lane: str = LANE, now: float = NOW, most: int = 100) -> list[Event]:
    return (await store.claim_due(lane, now, most, MANY)).events


def ids(events: list[Event]) -> list[str]:
    return [event.request_id for event in events]


async def shown(store: StreamStore, lane: str = LANE) -> list[tuple[str, int, bool]]:
    return [(event.request_id, event.runs, is_claimed) for event, is_claimed in await store.oldest(lane, 1000)]


async def at_last(ask: Callable[[], Any]) -> Any:
    """Ask until the store answers."""
    for _ in range(200):
        try:
            return await ask()
        except StoreError as fault:
            if fault.kind != "away":
                raise
            await asyncio.sleep(0.05)
    raise AssertionError("the store never answers")


# Lost replies


async def do_put(store: StreamStore) -> None:
    await store.enqueue(make_event("new", due_at=NOW + 1))


async def do_put_claimed(store: StreamStore) -> None:
    await store.ack(await put_claimed(store, "claimed"))


async def put_claimed(store: StreamStore, name: str) -> Event:
    event = make_event(name)
    await store.enqueue_claimed(event)
    return event


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
    "put": (scripts.PUT, do_put, [("r", 0, False), ("new", 0, False)]),
    "put_claimed": (scripts.PUT, do_put_claimed, [("r", 0, False)]),
    "fetch": (scripts.FETCH, do_fetch, [("r", 0, False)]),
    "take": (scripts.TAKE, do_take, [("r", 0, False)]),
    "waiting": (scripts.WAITING, do_waiting, [("r", 0, False)]),
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


async def finish(store: StreamStore, event: Event) -> None:
    await store.ack(event)


async def postpone(store: StreamStore, event: Event) -> None:
    event.runs += 1
    await store.requeue(event)


async def rewrite(store: StreamStore, event: Event) -> None:
    event.runs += 1
    await store.update(event)


async def give_back(store: StreamStore, event: Event) -> None:
    await store.release([event])


SETTLES = {
    "finish": (finish, []),
    "postpone": (postpone, [("r", 1, False)]),
    "rewrite": (rewrite, [("r", 1, True)]),
    "give_back": (give_back, [("r", 0, False)]),
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
        relay.lose(scripts.FETCH.sha, 2)
        with pytest.raises(StoreError) as caught:
            await fetch(store)
        assert caught.value.kind == "away"
        assert ids(await at_last(lambda: fetch(store))) == ["r"]


async def test_a_put_that_failed_is_kept_once_at_most_and_claimed_by_nobody(place: StreamPlace) -> None:
    async with relaying(place.server.url) as relay, sharing(place, url=relay.url, lease_seconds=30) as store:
        for name, put in (("1", store.enqueue_claimed), ("2", store.enqueue)):
            await store.enqueue(make_event("before"))
            relay.lose(scripts.PUT.sha, 2)
            with pytest.raises(StoreError, match="unavailable"):
                await put(make_event(name))
            assert relay.has_lost_all
            await eventually(lambda: store._enqueuer._channel.why_away is None, "it is asked again")
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
            relay.lose(scripts.PUT.sha, 2)
            with pytest.raises(StoreError, match="unavailable"):
                await put(make_event(name, due_at=NOW + int(name)))
            await eventually(lambda: store._enqueuer._channel.why_away is None, "it is asked again")
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


async def held(relay: Relay, asking: asyncio.Task[Any]) -> None:
    """Wait until the gateway has given up what the relay holds."""
    with pytest.raises(StoreError):
        await asking
    assert relay.has_held


async def test_a_fetch_that_arrives_after_it_was_given_up_claims_nothing(place: StreamPlace) -> None:
    async with relaying(place.server.url) as relay, sharing(place, url=relay.url, lease_seconds=30) as store:
        await store.enqueue(make_event("1"))
        relay.hold(scripts.FETCH.sha)
        await held(relay, asyncio.create_task(fetch(store)))
        assert ids(await at_last(lambda: fetch(store))) == ["1"]
        await store.enqueue(make_event("2"))
        await relay.let_go()
        assert ids(await fetch(store)) == ["2"]


async def test_a_put_that_arrives_after_it_was_given_up_is_not_kept(place: StreamPlace) -> None:
    async with relaying(place.server.url) as relay, sharing(place, url=relay.url, lease_seconds=30) as store:
        await store.enqueue(make_event("1"))
        relay.hold(scripts.PUT.sha)
        await held(relay, asyncio.create_task(put_claimed(store, "2")))
        await at_last(store.backlog)
        await relay.let_go()
        assert await shown(store) == [("1", 0, False)]


async def test_a_rewrite_that_arrives_after_a_later_one_changes_nothing(place: StreamPlace) -> None:
    async with relaying(place.server.url) as relay, sharing(place, url=relay.url, lease_seconds=30) as store:
        await store.enqueue(make_event())
        (event,) = await fetch(store)
        relay.hold(scripts.SETTLE.sha)
        await rewrite(store, event)  # again and again, on another connection at last
        assert relay.has_held
        await rewrite(store, event)
        await relay.let_go()
        assert await shown(store) == [("r", 2, True)]


# The server


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
            assert caught.value.kind == "away"
            judge(started, TIMEOUT + 0.3)
            with pytest.raises(StoreError, match="does not answer"):  # nobody waits for what is known to be away
                end_at_once(one.enqueue(make_event("late")))
            settling = [asyncio.create_task(finish(one, first)), asyncio.create_task(postpone(one, second))]
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
        await finish(one, third)
        await finish(two, fourth)
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
                await postpone(one, event)
            server.kill()
            settling = [asyncio.create_task(finish(one, event)) for event in events[100:110]]
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
        await postpone(one, events[0])
        await rewrite(one, events[1])
        await give_back(one, events[2])
        await finish(one, events[3])
        await asyncio.sleep(LEASE)
        assert any("has lost all events" in record.message for record in caplog.records if record.levelname == "ERROR")
        assert await shown(two) == [("new", 0, False), ("0", 1, False), ("1", 1, True), ("2", 0, False)]
        await finish(one, events[1])
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
            await postpone(store, event)
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
                with pytest.raises(StoreError, match="raise maxmemory") as caught:
                    await put(make_event("more"))
                assert caught.value.kind == "full"
                assert store.problem == str(caught.value)
            await postpone(store, own)
            await store._membership.renew()
            events = await fetch(store, now=NOW, most=5)
            await rewrite(store, events[0])
            await give_back(store, events[1])
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
        assert any("what became of 1 events could not be written" in record.message for record in caplog.records)
        server.resume()
        finishing.cancel()


# What can never work


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
            assert caught.value.kind == "away"
            with running_store("redis", "--replicaof", "127.0.0.1", str(server.port)) as replica:
                await eventually(lambda: replica.info()["master_link_status"] == "up", "the replica is there", 10)
                await at_last(lambda: store.enqueue(make_event("2")))
                assert replica.info()["master_link_status"] == "up"
            assert await shown(store) == [("1", 0, False), ("2", 0, False)]


# Gateways


@pytest.mark.lateness
async def test_what_a_dead_gateway_had_claimed_is_run_by_another_soon_after_its_lease(place: StreamPlace) -> None:
    heard = Heard()
    async with sharing(place, heard) as two:
        one = place.make(lease_seconds=LEASE, timeout_seconds=TIMEOUT)
        await one.open(hear_nothing)
        for number in range(1200):  # more than one script takes over
            await one.enqueue(make_event(str(number)))
        events = await fetch(one, most=1100)
        events[0].runs = 2
        await one.update(events[0])
        await eventually(lambda: heard.events() == 1200, "what was put is heard")
        died = time.monotonic()
        presence = one._membership
        for task in (*presence._tasks, one._work._task, one._enqueuer._task):
            assert task is not None
            await task.close()
        await eventually(lambda: two.totals.taken_over == 1100, "it is taken over", 3 * LEASE)
        judge(died, LEASE * 1.34 + 1)
        assert heard.events() == 1200 + 1100
        assert len(await fetch(two, most=2000)) == 1200
        with place.server.client() as client:
            assert client.zcard(f"{place.base}:leases") == 1
        for line in one._channels:
            await line.close()


async def test_a_gateway_that_stood_still_undoes_nothing_of_what_others_did(place: StreamPlace) -> None:
    async with sharing(place, lease_seconds=1) as two:
        names = [f"{kind}-{n}" for kind in ("finish", "postpone", "rewrite", "back") for n in range(3)]
        for name in names:
            await two.enqueue(make_event(name))
        arguments = [place.server.url, place.base.strip("{}"), "1", LANE, repr(NOW)]
        process = subprocess.Popen(  # noqa: ASYNC220 (it starts at once)
            [sys.executable, str(Path(__file__).with_name("paused_gateway.py")), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert await asyncio.to_thread(process.stdout.readline) == f"claimed {len(names)}\n"
            process.send_signal(signal.SIGSTOP)
            await eventually(lambda: two.totals.taken_over == len(names), "it is taken over", 10)
            events = {event.request_id: event for event in await fetch(two)}
            assert len(events) == len(names)
            for name in names:  # one of each kind is finished, one postponed, one still runs
                if name.endswith("0"):
                    await two.ack(events[name])
                elif name.endswith("1"):
                    events[name].runs, events[name].due_at = 7, NOW + 100
                    await two.requeue(events[name])
            process.send_signal(signal.SIGCONT)
            process.stdin.write("go\n")
            process.stdin.flush()
            said = await asyncio.to_thread(process.stdout.readline)
            assert said == f"refused {len(names)} lost 1 again 0\n"
            assert await asyncio.to_thread(process.wait, 10) == 0
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
        assert sorted(await shown(two)) == sorted(
            [(name, 7, False) for name in names if name.endswith("1")]
            + [(name, 0, True) for name in names if name.endswith("2")]
        )
        for name in names:
            if name.endswith("2"):
                await two.ack(events[name])
        assert two.totals.refused == 0
        assert two.totals.lost_leases == 0


async def test_a_lost_lease_costs_a_put_and_a_fetch_nothing(place: StreamPlace) -> None:
    async with sharing(place, lease_seconds=30) as one, sharing(place, lease_seconds=30) as two:
        first = await put_claimed(one, "1")
        with place.server.client() as client:
            client.zadd(f"{place.base}:leases", {one._membership.session: 1})
        await two._membership.renew()
        assert two.totals.taken_over == 1
        second = await put_claimed(one, "2")
        assert one.totals.lost_leases == 1
        assert ids(await fetch(one)) == ["1"]
        await finish(one, first)
        assert one.totals.refused == 1  # it is claimed by this very gateway, but not by that claim
        await finish(one, second)
        assert one.totals.refused == 1
        assert await shown(one) == [("1", 0, True)]


async def test_missed_news_are_made_up_for(place: StreamPlace) -> None:
    heard = Heard()
    async with sharing(place) as one, sharing(place, heard):
        with place.server.client() as client:
            client.hincrby(f"{place.base}:state", "news", 1)  # one was trimmed before it was read
        await one.enqueue(make_event())
        await eventually(lambda: len(heard.calls) == 2, "the news and what waits")
        assert heard.calls == [(LANE, 1, NOW), (LANE, 0, NOW)]


async def test_an_event_of_another_version_hinders_nobody(place: StreamPlace, caplog: pytest.LogCaptureFixture) -> None:
    async with sharing(place) as one:
        for number in range(3):
            await one.enqueue(make_event(str(number)))
        key = (await one.oldest(LANE, 3))[1][0].key
        with place.server.client() as client:
            client.hset(f"{place.base}:heads", key, b"\xc1 of tomorrow")
        assert ids(await fetch(one)) == ["0", "2"]
        assert any("another version" in record.message for record in caplog.records)
        assert await fetch(one) == []


async def test_a_backlog_takes_no_memory_of_the_gateway(place: StreamPlace) -> None:
    async with sharing(place, timeout_seconds=10) as store, sharing(place, timeout_seconds=10) as other:

        async def put(numbers: range) -> None:
            for number in numbers:
                await store.enqueue(make_event(str(number), body=b"x" * 1000))

        async def put_many(events: int) -> None:
            await asyncio.gather(*(put(range(start, events, 64)) for start in range(64)))

        await put_many(1000)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            await put_many(10_000)
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert grown < 1_000_000  # 100 bytes an event
        assert (await other.backlog())[0].events == 11_000
        found = await other.find("77", 10)
        assert ids([event for event, _ in found]) == ["77", "77"]
        with place.server.client() as client:
            client.flushall()
