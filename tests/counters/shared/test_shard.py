"""What only networks and processes do, to counters on a real store: cancelled takes, lost connections, a store that
is away or comes back empty, an event loop that stands still, gateways that stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from invoke_gateway.counters.base import StoreNotCounting
from invoke_gateway.counters.local_slots import LocalSlot
from invoke_gateway.counters.shared.counters import SharedCounters
from invoke_gateway.counters.shared.shard import Shard
from invoke_gateway.counters.shared.shared_config import SharedConfig
from invoke_gateway.policy.concurrency import LimitReached, Plan
from invoke_gateway.policy.limits import AccountLimits, Limits
from invoke_gateway.refusals import Refusal

from ...support.certificates import make_certificate
from ...support.gateways import PATIENCE, eventually
from ...support.lateness import end_at_once, judge
from ...support.stores import KINDS, Store, running_store

LEASE = 2.0  # seconds; a busy machine stands still for a part of one now and then
TIMEOUT = 1.0  # seconds, where the store hangs; elsewhere as long as the slowest machine needs for a reply
ACCOUNT = AccountLimits("a", 4)
PLAN = ACCOUNT.plan("f")
RATED = AccountLimits("a", 4, requests_per_second=10.0)


@pytest.fixture(scope="module", params=KINDS)
def kept(request: pytest.FixtureRequest) -> Iterator[Store]:
    with running_store(request.param) as running:
        yield running


@pytest.fixture
def store(kept: Store) -> Store:
    kept.clear("a")
    return kept


@asynccontextmanager
async def sharing(store: Store, limits: AccountLimits = ACCOUNT, **terms: Any) -> AsyncIterator[SharedCounters]:
    values: dict[str, Any] = {"url": store.url, "lease_seconds": LEASE, "timeout_seconds": PATIENCE, **terms}
    table = Limits(limits)
    counters = SharedCounters(SharedConfig(**values), limits=lambda: table, degraded={})
    await counters.start()
    try:
        yield counters
    finally:
        await counters.close()


def shard_of(counters: SharedCounters) -> Shard:
    return counters._tallies["a"].shard


async def take(counters: SharedCounters, plan: Plan = PLAN) -> LocalSlot:
    taken = await counters.acquire(plan)
    assert isinstance(taken, LocalSlot), taken
    return taken


async def refuse(counters: SharedCounters) -> LimitReached:
    full = await counters.acquire(PLAN)
    assert isinstance(full, LimitReached)
    return full


async def refuse_until(counters: SharedCounters, end: float) -> LimitReached | None:
    """Returns the refusal of a take that has ended before `end`, on the monotonic clock. None on a machine so slow that
    the take ended later, and may have been admitted."""
    answer = await counters.acquire(PLAN)
    if time.monotonic() < end:
        assert isinstance(answer, LimitReached)
    elif isinstance(answer, LocalSlot):
        answer.release()
    return answer if isinstance(answer, LimitReached) else None


async def admitted(counters: SharedCounters) -> LocalSlot:
    """Ask until there is a slot."""
    while not isinstance(taken := await counters.acquire(PLAN), LocalSlot):  # noqa: ASYNC110 (the store tells nobody)
        await asyncio.sleep(0.01)
    return taken


async def counted(store: Store, slots: int, timeout: float = 2) -> None:
    """Wait until the store counts so many."""
    await eventually(
        lambda: store.sums("a").get("a/account", 0) == slots, lambda: f"{store.sums('a')} is not {slots}", timeout
    )


async def test_two_gateways_hold_one_limit_together(store: Store) -> None:
    async with sharing(store) as one, sharing(store) as two:
        first = [await take(one) for _ in range(3)]
        await take(two)
        full = await refuse(two)
        assert (full.claim.refusal, full.in_use, full.ceiling) == (Refusal.CONCURRENCY, 4, 4)
        first[0].release()
        await counted(store, 3)
        await take(two)
        await one.read_sums()
        assert one.sums == {"a/account": 4, "a/unreserved": 4, "a/function/f": 4}
        assert one.counts()["a/account"] == 2
    assert store.sums("a") == {}


async def test_what_is_asked_in_one_tick_is_one_round_trip(store: Store) -> None:
    many = AccountLimits("a", 1000)
    async with sharing(store, many) as counters:
        before = counters.totals.batches
        taken = await asyncio.gather(*(counters.acquire(many.plan("f")) for _ in range(300)))
        assert all(isinstance(slot, LocalSlot) for slot in taken)
        assert counters.totals.batches == before + 1


# Nobody waits any more


async def test_a_take_that_is_cancelled_before_it_is_sent_takes_nothing(store: Store) -> None:
    async with sharing(store) as counters:
        asking = asyncio.create_task(counters.acquire(PLAN))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await counted(store, 0)
        assert counters.counts() == {}


async def test_a_take_that_is_cancelled_under_way_is_given_back(store: Store) -> None:
    async with sharing(store) as counters:
        store.pause()
        asking = asyncio.create_task(counters.acquire(PLAN))
        await asyncio.sleep(0.05)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        store.resume()
        slot = await take(counters)
        await counted(store, 1)
        slot.release()
        await counted(store, 0)


async def test_a_take_that_is_cancelled_when_its_answer_has_come_is_given_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sharing(store) as counters:
        shard = shard_of(counters)
        deliver = shard._deliver

        def deliver_and_cancel(*arguments: Any) -> None:
            deliver(*arguments)
            assert counters.counts() != {}
            asking.cancel()  # granted, and the task has not run since

        monkeypatch.setattr(shard, "_deliver", deliver_and_cancel)
        asking = asyncio.create_task(counters.acquire(PLAN))
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert counters.counts() == {}
        await counted(store, 0)


async def test_a_slot_that_is_released_twice_is_given_back_once(store: Store) -> None:
    async with sharing(store) as counters:
        slots = [await take(counters) for _ in range(2)]
        slots[0].release()
        slots[0].release()
        await counted(store, 1)


# The store is away


async def test_a_connection_that_ended_unseen_costs_no_call(store: Store) -> None:
    async with sharing(store) as counters:
        with store.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        await take(counters)
        await counted(store, 1)
        assert counters.totals.fallback == {"refused": 0, "admitted": 0}


async def test_a_write_after_a_reset_counts_as_a_lost_connection(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop raises RuntimeError for it. The question goes again on a new connection, and takes one slot."""
    async with sharing(store) as counters:
        (await take(counters)).release()
        await counted(store, 0)

        class Reset:
            def write(self, data: bytes) -> None:
                raise RuntimeError("the handler is closed")

            def is_closing(self) -> bool:
                return True

            def close(self) -> None:
                transport.close()

        protocol = shard_of(counters)._link._protocol
        transport = protocol._transport
        monkeypatch.setattr(protocol, "_transport", Reset())
        await take(counters)
        await counted(store, 1)
        assert counters.totals.fallback == {"refused": 0, "admitted": 0}


@pytest.mark.lateness
async def test_closed_refuses_within_the_time_bound_and_recovers_by_itself(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "invoke_gateway")
    async with sharing(store, timeout_seconds=TIMEOUT) as counters:
        held = await take(counters)
        store.pause()
        started = time.monotonic()
        refused = await refuse(counters)
        judge(started, TIMEOUT + 0.2)
        assert isinstance(refused, StoreNotCounting)
        assert (refused.claim.refusal, refused.describe()) == (Refusal.COUNTERS_UNAVAILABLE, "counters=away")
        assert isinstance(end_at_once(counters.acquire(PLAN)), StoreNotCounting), "a known outage is not waited for"
        assert counters.why_not_ready == f"The shared counters are unavailable: no answer within {TIMEOUT:g} s."
        assert counters.totals.fallback == {"refused": 2, "admitted": 0}
        held.release()
        store.resume()
        await eventually(lambda: counters.unavailable_reason is None, "answers again")
        assert counters.why_not_ready is None
        await counted(store, 0)
        for _ in range(4):
            await take(counters)
        await counted(store, 4)
    said = [record.message for record in caplog.records if "unavailable: " in record.message]
    assert len(said) == 1
    assert "on_store_failure: refuse" in said[0]


async def test_share_admits_this_gateways_part_and_tells_of_it_later(store: Store) -> None:
    async with (
        sharing(store, on_store_failure="local_share", timeout_seconds=TIMEOUT) as one,
        sharing(store, on_store_failure="local_share", timeout_seconds=TIMEOUT) as two,
    ):
        await eventually(lambda: one.gateways == two.gateways == 2, "they know of each other")
        await asyncio.sleep(0.05)
        store.pause()
        slots = []
        for counters in (one, two):
            slots += [await take(counters) for _ in range(2)]
            assert (await refuse(counters)).ceiling == 2
        assert one.trouble is not None
        assert one.why_not_ready is None
        store.resume()
        await counted(store, 4)
        for slot in slots:
            slot.release()
        await counted(store, 0)


async def test_open_admits_as_if_it_were_alone(store: Store) -> None:
    options = {"on_store_failure": "admit", "timeout_seconds": TIMEOUT}
    async with sharing(store, **options) as one, sharing(store, **options) as two:
        store.pause()
        for counters in (one, two):
            for _ in range(4):
                await take(counters)
            assert (await refuse(counters)).ceiling == 4
        store.resume()
        await counted(store, 8)
        await eventually(lambda: one.unavailable_reason is None, "answers again")
        full = one.check(PLAN)
        assert full is not None
        assert (full.in_use, full.ceiling) == (4, 4)  # what it holds itself is enough to refuse
        full = await refuse(one)
        assert (full.in_use, full.ceiling) == (8, 4)


async def test_without_a_store_it_starts_all_the_same(kept: Store) -> None:
    limits = Limits(ACCOUNT)
    terms = SharedConfig("unix:///nowhere/store.sock", LEASE, TIMEOUT)
    counters = SharedCounters(terms, limits=lambda: limits, degraded={})
    await counters.start()
    assert isinstance(await refuse(counters), StoreNotCounting)
    assert counters.why_not_ready is not None
    assert "check that it runs" in counters.why_not_ready
    await counters.close()


@pytest.mark.lateness
async def test_a_store_that_came_back_empty_is_refilled_before_anybody_is_admitted() -> None:
    with running_store("redis") as store:
        store.clear("a")
        async with sharing(store) as one, sharing(store) as two:
            slots = [await take(one) for _ in range(3)]
            restarted = time.monotonic()
            store.restart()
            await eventually(
                lambda: one.unavailable_reason is None and two.unavailable_reason is None and not shard_of(one)._dirty,
                "they are back",
            )
            refused = await refuse_until(two, restarted + LEASE - 0.1)
            assert refused is None or refused.claim.refusal is Refusal.COUNTERS_RECOVERING
            await counted(store, 3)
            await admitted(two)
            assert time.monotonic() - restarted > LEASE - 0.1
            judge(restarted, 2 * LEASE + 1.5)
            assert (await refuse(two)).in_use == 4
            for slot in slots:
                slot.release()
            await counted(store, 1)


async def test_scripts_that_the_store_forgot_are_brought_again(store: Store) -> None:
    async with sharing(store) as counters:
        with store.client() as client:
            client.script_flush()
        await take(counters)
        await counted(store, 1)


# Leases


async def test_an_event_loop_that_stands_still_keeps_its_slots(store: Store) -> None:
    async with sharing(store) as one:
        await take(one)
        await asyncio.sleep(0.1)
        time.sleep(2 * LEASE)  # noqa: ASYNC251 (that is what is tested)
        async with sharing(store) as two:
            for _ in range(3):
                await take(two)
            assert (await refuse(two)).in_use == 4
        before = one._tallies["a"].epoch
        await take(one)
        assert one._tallies["a"].epoch == before  # it was never fenced


@pytest.mark.lateness
async def test_slots_of_a_gateway_that_is_gone_come_back_when_its_lease_has_ended(store: Store) -> None:
    async with sharing(store) as one, sharing(store) as two:
        for _ in range(4):
            await take(one)
        died = time.monotonic()
        await die(one)
        refused = await refuse_until(two, died + LEASE / 2)
        assert refused is None or refused.in_use == 4
        await admitted(two)
        assert time.monotonic() - died > LEASE / 2
        judge(died, LEASE + 1)


@pytest.mark.lateness
async def test_slots_are_kept_for_the_calls_of_a_dead_gateway_where_that_is_wanted(store: Store) -> None:
    async with sharing(store, keep_seconds=1.5) as one, sharing(store, keep_seconds=1.5) as two:
        for _ in range(4):
            await take(one)
        died = time.monotonic()
        await die(one)
        await admitted(two)
        assert time.monotonic() - died > LEASE / 2 + 1.5
        judge(died, LEASE + 1.5 + 1)


async def die(counters: SharedCounters) -> None:
    """End a gateway without a word to the store, as kill -9 does."""
    shard = shard_of(counters)
    await shard._lease_events.close()
    assert shard._task is not None
    await shard._task.close()
    await shard._link.close()


async def test_a_clean_stop_gives_everything_back_at_once(store: Store) -> None:
    async with sharing(store) as counters:
        for _ in range(4):
            await take(counters)
        await counted(store, 4)
    assert store.sums("a") == {}
    with store.client() as client:
        assert [key for key in client.keys("*") if not key.endswith(":state")] == []


# Limits, addresses


async def test_gateways_that_were_told_different_limits_say_so_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async with sharing(store), sharing(store, AccountLimits("a", 5)):

        def warned() -> list[str]:
            return [record.message for record in caplog.records if "different limits" in record.message]

        await eventually(lambda: len(warned()) == 2, "a warning of each")
        await asyncio.sleep(LEASE)
        assert len(warned()) == 2
        for message in warned():
            assert "concurrent_executions 4" in message
            assert "concurrent_executions 5" in message


# The commands that docs/guides/shared-counters.md says the store's user needs.
DOCUMENTED = "+evalsha +script|load +info +ping +hgetall +@hash +@sortedset +@string +del +time"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_password_is_given_by_the_url_and_a_wrong_one_is_not_repeated(kind: str) -> None:
    with running_store(
        kind, "--user", "gateway", "on", ">right", "~invoke-gateway:*", *DOCUMENTED.split(), is_tcp=True
    ) as store:
        right = store.url.replace("//", "//gateway:right@")
        store.clear("a")
        async with sharing(store, url=right) as counters:
            await take(counters, RATED.plan("f"))
            await counted(store, 1)
            await counters.read_sums()
            assert counters.sums["a/account"] == 1
            await asyncio.sleep(LEASE / 2)  # a heartbeat or two
            assert counters.unavailable_reason is None
        async with sharing(store, url=right.replace("right", "wrong-one")) as counters:
            assert counters.unavailable_reason is not None
            assert "check user name, password and ACL" in counters.unavailable_reason
            assert "wrong-one" not in counters.unavailable_reason


async def test_a_mistake_in_the_query_of_the_url_is_told(store: Store) -> None:
    async with sharing(store, url=f"{store.url}?colour=red") as counters:
        assert counters.unavailable_reason is not None
        assert "colour" in counters.unavailable_reason


async def test_a_store_that_may_evict_what_is_counted_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with running_store("redis", "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru") as store:
        async with sharing(store):
            assert any("noeviction" in record.message for record in caplog.records)


def test_memory_needs_no_redis() -> None:
    code = "import sys; import invoke_gateway.server.run; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@asynccontextmanager
async def behind_tls(store: Store, certificate: Path, key: Path) -> AsyncIterator[int]:
    """The port of a relay that takes TLS off; neither of the servers is built with it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
        target.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_unix_connection(store.url.removeprefix("unix://"))
        await asyncio.gather(pipe(reader, forth), pipe(back, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_tls_is_spoken_where_the_url_says_so(store: Store, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "localhost")
    async with behind_tls(store, certificate, key) as port:
        url = f"rediss://localhost:{port}/0"
        async with sharing(store, url=f"{url}?ssl_ca_certs={certificate}", timeout_seconds=2) as counters:
            await take(counters)
            await counted(store, 1)
        async with sharing(store, url=url, timeout_seconds=2) as counters:
            assert counters.unavailable_reason is not None
            assert "certificate" in counters.unavailable_reason


async def test_a_mistake_of_ours_lets_nobody_wait_for_ever(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with sharing(store) as counters:
        with monkeypatch.context() as patched:
            patched.setattr(shard_of(counters), "_totals", None)  # each reply raises AttributeError
            assert isinstance(await refuse(counters), StoreNotCounting)
        assert any(record.exc_info for record in caplog.records)
        await eventually(lambda: counters.unavailable_reason is None, "answers again")
        await take(counters)
        await counted(store, 1)


async def test_what_is_under_way_at_a_clean_stop_is_given_back_too(store: Store) -> None:
    async with sharing(store) as counters:
        slots = [await take(counters) for _ in range(3)]
        asking = asyncio.create_task(counters.acquire(PLAN))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # it has been sent
        slots[0].release()
    assert store.sums("a") == {}
    await asking
