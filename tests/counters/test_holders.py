"""Who holds the slots, by what gateways list in a real store; and giving back what a dead one holds."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from invoke_gateway.counters.holders import NoAnswer, Report
from invoke_gateway.counters.local_slots import LocalSlot
from invoke_gateway.counters.memory import MemoryCounters
from invoke_gateway.counters.shared.connecting import SERVER_RULES
from invoke_gateway.counters.shared.counters import SharedConfig, SharedCounters
from invoke_gateway.counters.shared.holder_snapshots import MOST_ROWS, HolderSnapshots
from invoke_gateway.counters.shared.script import REGISTER, base_key
from invoke_gateway.counters.shared.store_admin import StoreAdmin
from invoke_gateway.exchange import Exchange
from invoke_gateway.policy.limits import AccountLimits, Limits
from invoke_gateway.store.connection import StoreConnection

from ..support.gateways import eventually
from ..support.lateness import check_is_age
from ..support.stores import KINDS, Store, running_store

LEASE = 100.0  # seconds; the ends of leases are moved to where a test needs them
KEEP = 50.0
ACCOUNT = AccountLimits("a", 1000)
BASE = base_key("a")
ID = "12345678-abcd-4000-8000-123456789abc"
DOCUMENT = Path(__file__).parents[2] / "docs" / "guides" / "shared-counters.md"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def take(counters: MemoryCounters, function: str = "f", account: AccountLimits = ACCOUNT) -> LocalSlot:
    slot = await counters.acquire(account.plan(function))
    assert isinstance(slot, LocalSlot)
    exchange = Exchange(0.0)
    exchange.headers = {b"x-amzn-requestid": ID.encode()}
    slot.holder = exchange
    return slot


# What a process lists


def listing_of(counters: MemoryCounters, clock: Clock, *accounts: str) -> HolderSnapshots:
    return HolderSnapshots(counters, gateway="g-1", accounts=lambda: accounts, kept_seconds=9, clock=clock)


def told(snapshots: HolderSnapshots) -> dict[str, list[Any]]:
    """What the commands say, by key: gateway, age and keep in ms, rows."""
    said = {}
    for _, _, _, key, argument in snapshots.commands(snapshots._accounts()):
        assert isinstance(argument, bytes)
        *numbers, rows = msgspec.msgpack.decode(argument)
        said[str(key)] = [*numbers, msgspec.json.decode(rows)]
    return said


async def test_a_list_has_the_oldest_calls_and_is_told_once() -> None:
    clock = Clock()
    counters = MemoryCounters(clock)
    snapshots = listing_of(counters, clock, "a", "b")
    assert told(snapshots) == {}
    for _ in range(MOST_ROWS + 1):
        await take(counters)
        clock.now += 1
    snapshots.refresh()
    clock.now += 0.5
    ((gateway, age_ms, kept_ms, rows),) = told(snapshots).values()
    assert (gateway, age_ms, kept_ms, len(rows)) == ("g-1", 500, 9000, MOST_ROWS)
    assert rows[0] == {
        "account": "a",
        "function": "f",
        "request_id": ID,
        "caller": None,
        "slots": 1,
        "age_seconds": MOST_ROWS + 1.0,
    }
    assert told(snapshots) == {}


async def test_a_slot_that_was_just_taken_is_told_once_its_holder_is_known() -> None:
    counters, clock = MemoryCounters(), Clock()
    listing = listing_of(counters, clock, "a")
    await take(counters)
    slot = await counters.acquire(ACCOUNT.plan("f"))
    assert isinstance(slot, LocalSlot)
    listing.refresh()
    ((*_, rows),) = told(listing).values()
    assert [row["request_id"] for row in rows] == [ID]
    exchange = Exchange(0.0)
    slot.holder = exchange
    listing.refresh()
    ((*_, rows),) = told(listing).values()
    assert [row["request_id"] for row in rows] == [ID, exchange.request_id]


async def test_an_account_whose_calls_have_ended_is_told_so_once() -> None:
    clock = Clock()
    counters = MemoryCounters(clock)
    snapshots = listing_of(counters, clock, "a")
    slot = await take(counters)
    snapshots.refresh()
    assert len(told(snapshots)[BASE][-1]) == 1
    slot.release()
    snapshots.refresh()
    assert told(snapshots)[BASE][-1] == []
    snapshots.refresh()
    assert told(snapshots) == {}


async def test_with_many_accounts_it_looks_at_no_more_slots_and_shows_fewer_of_each() -> None:
    counters, clock = MemoryCounters(), Clock()
    names = [f"{number:012}" for number in range(50)]
    for name in names:
        for _ in range(12):
            await take(counters, account=AccountLimits(name, 100))
    snapshots = listing_of(counters, clock, *names)
    snapshots.refresh()
    assert [len(said[-1]) for said in told(snapshots).values()] == [10] * 50


# What the store shows


@pytest.fixture(scope="module", params=KINDS)
def kept(request: pytest.FixtureRequest) -> Iterator[Store]:
    with running_store(request.param) as running:
        yield running


@pytest.fixture
def store(kept: Store) -> Store:
    kept.clear("a")
    return kept


@asynccontextmanager
async def sharing(store: Store, url: str | None = None, **terms: Any) -> AsyncIterator[SharedCounters]:
    values: dict[str, Any] = {"lease_seconds": LEASE, "keep_seconds": 0.0, "timeout_seconds": 60.0, **terms}
    table = Limits(ACCOUNT)
    counters = SharedCounters(SharedConfig(url or store.url, **values), limits=lambda: table, degraded={})
    await counters.start()
    try:
        yield counters
    finally:
        await counters.close()


def connect(url: str) -> StoreConnection:
    return StoreConnection(url, SERVER_RULES, where=url)


def ask(store: Store, keep_seconds: float = 0.0, timeout_seconds: float = 1.0) -> StoreAdmin:
    make_link = partial(connect, store.url)
    return StoreAdmin(
        lambda account: make_link, lease_seconds=LEASE, keep_seconds=keep_seconds, timeout_seconds=timeout_seconds
    )


async def send(url: str, commands: list[Any]) -> None:
    link = connect(url)
    await link.open()
    await link.call(commands)
    await link.close()


async def register(store: Store, gateway: str, held: dict[str, int], keep_seconds: float = 0.0) -> None:
    """A gateway that says what it holds, and nothing more."""
    run = store.client().hget(f"{BASE}:state", "run")
    request = (gateway, 1, int(LEASE * 1000), int(keep_seconds * 1000), run, held)
    await send(store.url, [("EVALSHA", REGISTER.sha, 1, BASE, msgspec.msgpack.encode(request))])


def pass_time(store: Store, gateway: str, seconds: float) -> None:
    """For so long this gateway was not heard."""
    store.client().zincrby(f"{BASE}:leases", -seconds * 1000, gateway)


def held(function: str, slots: int) -> dict[str, int]:
    return {"a/account": slots, "a/unreserved": slots, f"a/function/{function}": slots}


async def publish(counters: SharedCounters) -> None:
    """Look now, and say so."""
    counters._snapshots.refresh()
    await send(counters.config.url, counters._snapshots.commands(counters.accounts))


async def test_the_calls_of_one_gateway_are_found_by_another(store: Store) -> None:
    async with sharing(store) as one, sharing(store) as two:
        began = time.monotonic()
        await take(one, "f")
        await take(one, "g")
        await publish(one)
        await asyncio.sleep(0.01)
        reports = {report.gateway: report for report in await two.store_admin.report(["a"], None)}
        assert reports.keys() == {one.gateway, two.gateway}
        report = reports[one.gateway]
        assert (report.account, report.slots, report.is_alive) == ("a", 2, True)
        assert [(row["function"], row["request_id"]) for row in report.rows] == [("f", ID), ("g", ID)]
        assert report.listed_seconds_ago is not None
        for age in (*(row["age_seconds"] for row in report.rows), report.listed_seconds_ago):
            assert age >= 0.01, "also since the list was made"
            check_is_age(age, began)
        assert report.seconds_left is not None
        assert 0 < report.seconds_left <= LEASE
        assert (reports[two.gateway].slots, reports[two.gateway].rows) == (0, [])


async def test_of_one_function_only_its_slots_are_counted_and_its_calls_shown(store: Store) -> None:
    async with sharing(store) as one:
        for function in ("f", "f", "g"):
            await take(one, function)
        await publish(one)
        (report,) = await one.store_admin.report(["a"], "f")
        assert (report.slots, [row["function"] for row in report.rows]) == (2, ["f", "f"])


async def test_the_heartbeat_tells_the_list(store: Store) -> None:
    async with sharing(store, lease_seconds=0.4, timeout_seconds=0.1) as one:
        await take(one)
        client = store.client()
        await eventually(lambda: client.exists(f"{BASE}:holders:{one.gateway}"), "the list is in the store")
        assert 0 < client.pttl(f"{BASE}:holders:{one.gateway}") <= 2 * 400 + 2000, "it ends by itself"


async def test_of_a_gateway_whose_list_is_gone_the_slots_are_known(store: Store) -> None:
    await register(store, "g-dead", held("f", 12))
    pass_time(store, "g-dead", LEASE - 3)
    (report,) = await ask(store).report(["a"], None)
    assert report == Report("g-dead", "a", 12, [], None, report.seconds_left, False)
    assert report.seconds_left is not None
    assert 2 < report.seconds_left <= 3


async def test_who_was_not_heard_for_a_lease_is_shown_until_the_next_script_gives_its_slots_back(store: Store) -> None:
    await register(store, "g-dead", held("f", 12))
    pass_time(store, "g-dead", 2 * LEASE)
    (report,) = await ask(store).report(["a"], None)
    assert (report.slots, report.seconds_left, report.is_alive) == (12, 0.0, False)
    assert store.sums("a") == held("f", 12), "to look changes nothing"


@pytest.mark.parametrize("keep", [0.0, KEEP])
async def test_whoever_was_heard_within_half_a_lease_lives(store: Store, keep: float) -> None:
    for gateway, silent in (("g-alive", LEASE / 2 - 5), ("g-dead", LEASE / 2 + 5)):
        await register(store, gateway, held("f", 3), keep)
        pass_time(store, gateway, silent)
    inquiry = ask(store, keep)
    reports = {report.gateway: report.is_alive for report in await inquiry.report(["a"], None)}
    assert reports == {"g-alive": True, "g-dead": False}
    assert await inquiry.release_gateway([("g-alive", "a"), ("g-dead", "a")], force=False) == [None, 3]
    assert store.sums("a") == held("f", 3)
    assert await inquiry.release_gateway([("g-alive", "a")], force=True) == [3]
    assert store.sums("a") == {}


async def test_what_was_given_back_twice_was_given_back_once(store: Store) -> None:
    await register(store, "g-dead", held("f", 3))
    await register(store, "g-other", held("f", 2))
    pass_time(store, "g-dead", LEASE)
    assert await ask(store).release_gateway([("g-dead", "a")], force=False) == [3]
    assert await ask(store).release_gateway([("g-dead", "a")], force=False) == [0]
    assert store.sums("a") == held("f", 2)


async def test_a_forgotten_gateway_leaves_nothing_in_the_store(store: Store) -> None:
    async with sharing(store) as one:
        await take(one)
        await publish(one)
        assert store.client().exists(f"{BASE}:holders:{one.gateway}")
    assert [key for key in store.client().keys("*") if one.gateway in key] == []


async def test_a_living_gateway_that_was_forgotten_by_force_counts_its_calls_again(store: Store) -> None:
    async with sharing(store) as one:
        slot = await take(one)
        assert await one.store_admin.release_gateway([(one.gateway, "a")], force=True) == [1]
        await take(one)  # fenced, registered with what runs, then granted
        assert store.sums("a")["a/account"] == 2
        slot.release()
        await eventually(lambda: store.sums("a")["a/account"] == 1, "one is back")


async def test_a_store_that_hangs_is_no_answer_within_the_bound(store: Store) -> None:
    store.pause()
    try:
        with pytest.raises(NoAnswer, match="no answer within 1 s"):
            await ask(store, timeout_seconds=0.1).report(["a"], None)
    finally:
        store.resume()


async def test_each_server_is_asked_for_its_accounts_and_answers_stand_in_the_order_of_the_questions() -> None:
    with running_store("redis") as one, running_store("redis") as other:
        for store, slots in ((one, 3), (other, 5)):
            store.clear("a")
            await register(store, "g-1", {"a/account": slots})
        makers = {"a": partial(connect, one.url), "b": partial(connect, other.url)}
        inquiry = StoreAdmin(makers.__getitem__, lease_seconds=LEASE, keep_seconds=0, timeout_seconds=1.0)
        assert await inquiry.release_gateway([("g-1", "b"), ("g-1", "a")], force=True) == [0, 3], (
            "of b the other knows nothing"
        )
        assert await inquiry.release_gateway([("g-1", "a"), ("g-1", "b")], force=True) == [0, 0]


async def test_an_address_where_nothing_listens_is_no_answer() -> None:
    nowhere = partial(connect, "redis://127.0.0.1:1/0")
    inquiry = StoreAdmin(lambda account: nowhere, lease_seconds=LEASE, keep_seconds=0, timeout_seconds=0.1)
    with pytest.raises(NoAnswer, match="check that it runs"):
        await inquiry.report(["a"], None)


async def test_the_rights_that_the_documentation_names_are_enough(store: Store) -> None:
    text = " ".join(DOCUMENT.read_text().split())
    keys, commands = re.findall(r"Its user needs the keys `([^`]+)` and the commands `([^`]+)`", text)[0]
    client = store.client()
    client.execute_command("ACL", "SETUSER", "gateway", "reset", "on", ">secret", keys, *commands.split())
    async with sharing(store, store.url.replace("unix://", "unix://gateway:secret@")) as one:
        slot = await take(one)
        await publish(one)
        (report,) = await one.store_admin.report(["a"], "f")
        assert (report.slots, len(report.rows)) == (1, 1)
        assert await one.store_admin.release_gateway([(one.gateway, "a")], force=True) == [1]
        await one.read_sums()
        slot.release()
    assert store.sums("a") == {}
