"""Counters on the nodes of a real cluster: what happens to one node, or to one slot, is no matter to the accounts of
the others; and wherever an account goes, nothing is admitted above its limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from invoke_gateway.counters.base import StoreNotCounting
from invoke_gateway.counters.local_slots import LocalSlot
from invoke_gateway.counters.shared.counters import SharedCounters
from invoke_gateway.counters.shared.script import control_key
from invoke_gateway.counters.shared.shared_config import SharedConfig
from invoke_gateway.policy.concurrency import LimitReached
from invoke_gateway.policy.control.state import ControlDocument
from invoke_gateway.policy.limits import AccountLimits, Limits
from invoke_gateway.store.errors import StoreUnavailable

from ...support import lateness
from ...support.clusters import Cluster, running_cluster
from ...support.gateways import PATIENCE, eventually
from ...support.lateness import judge
from ...support.processes import wait_until
from ...support.stores import KINDS

LEASE = 1.5
LIMIT = 4


@pytest.fixture(scope="module", params=KINDS)
def kept(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with running_cluster(request.param) as running:
        yield running


@pytest.fixture
def cluster(kept: Cluster) -> Cluster:
    kept.clear()
    return kept


# What takes seconds is done with the oldest server only.
with_redis = pytest.mark.parametrize("kept", ["redis"], indirect=True)


@asynccontextmanager
async def sharing(cluster: Cluster, **terms: Any) -> AsyncIterator[SharedCounters]:
    first, *others = (AccountLimits(account, LIMIT) for account in cluster.accounts())
    limits = Limits(first, {other.account: other for other in others})
    values: dict[str, Any] = {"url": cluster.url, "lease_seconds": LEASE, "timeout_seconds": PATIENCE, **terms}
    degraded: dict[str, bool] = {}
    counters = SharedCounters(SharedConfig(**values), limits=lambda: limits, degraded=degraded)
    await counters.start()
    assert counters._degraded is degraded
    try:
        yield counters
    finally:
        await counters.close()


async def ask(counters: SharedCounters, account: str) -> LocalSlot | LimitReached:
    return await counters.acquire(counters._limits().of(account).plan("f"))


async def take(counters: SharedCounters, account: str) -> LocalSlot:
    """Take a slot, also where a busy machine lets the node answer too late at first."""
    end = time.monotonic() + PATIENCE
    while isinstance(taken := await ask(counters, account), StoreNotCounting):
        assert time.monotonic() < end, taken
        await asyncio.sleep(0.01)
    assert isinstance(taken, LocalSlot), taken
    return taken


async def refuse(counters: SharedCounters, account: str) -> LimitReached:
    full = await ask(counters, account)
    assert isinstance(full, LimitReached), full
    return full


async def fill(counters: SharedCounters, account: str, seconds: float = 60) -> list[LocalSlot]:
    """Ask until the limit is reached, through whatever is away meanwhile."""
    taken = []
    end = time.monotonic() + seconds
    while isinstance(answer := await ask(counters, account), LocalSlot | StoreNotCounting):
        if isinstance(answer, LocalSlot):
            taken.append(answer)
        assert time.monotonic() < end, f"{answer!r}: {counters!r}"
        await asyncio.sleep(0.01)
    return taken


async def test_accounts_on_different_nodes_are_counted_over_all_gateways(cluster: Cluster) -> None:
    accounts = cluster.accounts()
    async with sharing(cluster) as one, sharing(cluster) as two:
        assert one.trouble is None
        for account in accounts:
            for counters in (one, one, one, two):
                await take(counters, account)
            assert (await refuse(two, account)).in_use == LIMIT
            assert cluster.node_of(account).sums(account)[f"{account}/account"] == LIMIT
        await two.read_sums()
        assert [two.sums[f"{account}/account"] for account in accounts] == [LIMIT] * 3
        await eventually(lambda: one.gateways == 2, "they know of each other")
    for account in accounts:
        assert cluster.node_of(account).sums(account) == {}


@with_redis
@pytest.mark.lateness
async def test_a_dead_node_hurts_its_accounts_only_until_it_is_back(cluster: Cluster) -> None:
    hurt, *well = cluster.accounts()
    node = cluster.node_of(hurt)
    async with sharing(cluster) as one, sharing(cluster) as two:
        held = [await take(one, hurt) for _ in range(3)]
        node.kill()
        assert isinstance(await refuse(one, hurt), StoreNotCounting)
        for account in well:  # at once, and again while the dead node is looked for
            for _ in range(2):
                started = time.monotonic()
                slot = await take(one, account)
                slot.release()
                judge(started, 0.3)
                await asyncio.sleep(0.2)
        await one.read_sums()
        assert one.sums[f"{hurt}/account"] == len(held)  # what is here is known
        assert one._degraded["store_unavailable"]
        assert f"127.0.0.1:{node.port}" in (one.trouble or "")
        assert one.why_not_ready is None  # a balancer must not take it from the accounts that are well
        node.start()
        assert len(await fill(two, hurt)) == LIMIT - len(held)
        assert node.sums(hurt)[f"{hurt}/account"] == LIMIT
        await eventually(lambda: one.trouble is two.trouble is None, "all is well", 5)
        assert not one._degraded["store_unavailable"]


@with_redis
@pytest.mark.lateness
async def test_a_node_that_hangs_holds_up_nobody_else(cluster: Cluster) -> None:
    hurt, *well = cluster.accounts()
    node = cluster.node_of(hurt)
    async with sharing(cluster, timeout_seconds=LEASE / 4) as counters:
        node.pause()
        try:
            waiting = asyncio.create_task(ask(counters, hurt))
            await asyncio.sleep(0.02)
            for account in well:
                started = time.monotonic()
                (await take(counters, account)).release()
                judge(started, LEASE / 8)
            if lateness.is_judged:
                assert not waiting.done()
            assert isinstance(await waiting, StoreNotCounting)
        finally:
            node.resume()
        assert len(await fill(counters, hurt)) == LIMIT


@with_redis
@pytest.mark.parametrize("with_keys", [True, False], ids=["with its keys", "without them"])
async def test_a_slot_that_moves_takes_its_account_along(cluster: Cluster, with_keys: bool) -> None:
    moving, beside, _ = cluster.accounts()
    target = cluster.node_of(beside)
    async with sharing(cluster) as one, sharing(cluster) as two:
        held = [await take(one, moving) for _ in range(3)]
        began = time.monotonic()
        with cluster.moving(moving, target, with_keys=with_keys):
            assert isinstance(await refuse(one, moving), StoreNotCounting)  # no node counts it meanwhile
            assert "being moved" in (one.trouble or "")
            held[0].release()
            (await take(one, beside)).release()
        assert len(await fill(two, moving)) == LIMIT - 2
        assert time.monotonic() - began > LEASE / 2  # another server process, so it was refilled first
        assert target.sums(moving)[f"{moving}/account"] == LIMIT
        assert (await refuse(one, moving)).in_use == LIMIT
        await eventually(lambda: one.trouble is two.trouble is None, "all is well", 5)
    cluster.move_home(moving, target)


async def test_an_account_that_says_nothing_follows_its_slot_by_its_heartbeat(cluster: Cluster) -> None:
    account, beside, _ = cluster.accounts()
    target = cluster.node_of(beside)
    async with sharing(cluster) as counters:
        await take(counters, account)
        with cluster.moving(account, target):
            pass
        await counters.read_sums()
        assert counters.sums[f"{account}/account"] == 1  # its old node says that it is elsewhere; it is our own
        await eventually(lambda: target.sums(account).get(f"{account}/account") == 1, "it is told", LEASE)
        where = f"node 127.0.0.1:{target.port}"
        await eventually(lambda: counters._tallies[account].shard.availability.where == where, "it follows", LEASE)
    cluster.move_home(account, target)


async def test_a_replica_that_takes_over_is_found_and_refilled() -> None:
    with running_cluster("redis", replicas=1) as cluster:
        cluster.clear()
        account, beside, _ = cluster.accounts()
        async with sharing(cluster) as one, sharing(cluster) as two:
            held = [await take(one, account) for _ in range(3)]
            cluster.nodes[0].kill()
            wait_until(lambda: cluster.nodes[3].info()["role"] == "master", "it took over")
            (await take(one, beside)).release()
            assert len(await fill(two, account)) == LIMIT - len(held)
            assert cluster.nodes[3].sums(account)[f"{account}/account"] == LIMIT
            await eventually(lambda: one.trouble is two.trouble is None, "all is well", 5)


async def test_a_cluster_that_is_not_there_or_none_is_told(cluster: Cluster) -> None:
    account = cluster.accounts()[0]
    async with sharing(cluster, url="redis+cluster://127.0.0.1:1") as counters:
        assert isinstance(await refuse(counters, account), StoreNotCounting)
        assert "none of its nodes says who has which slots (127.0.0.1:1: " in (counters.trouble or "")
        assert counters.why_not_ready is not None
    async with sharing(cluster, url=f"redis://127.0.0.1:{cluster.nodes[0].port}") as counters:
        assert "write redis+cluster://" in (counters.trouble or "")


async def test_each_account_has_its_control_state_on_its_own_node(cluster: Cluster) -> None:
    moving, beside, _ = cluster.accounts()
    target = cluster.node_of(beside)
    async with sharing(cluster) as one, sharing(cluster) as two:
        for account in (moving, beside):
            made = await one.control.replace(account, ControlDocument(), "{}")
            assert made.revision.startswith("1:")
            assert (await two.control.read(account)) == made
            with cluster.node_of(account).client() as client:
                assert client.hget(control_key(account), "revision") == made.revision
        assert set((await two.control.read_revisions(two.control.accounts)).values()) >= {""}
        with cluster.moving(moving, target):
            pass
        second: list[ControlDocument] = []
        end = time.monotonic() + PATIENCE
        while not second:  # the new node recovers first
            assert time.monotonic() < end
            try:
                second.append(await one.control.replace(moving, made_of(await one.control.read(moving)), '{"a":1}'))
            except StoreUnavailable:
                await asyncio.sleep(0.05)
        assert second[0].number == 2
        with target.client() as client:
            assert client.hget(control_key(moving), "document") == '{"a":1}'
    cluster.move_home(moving, target)


def made_of(document: ControlDocument) -> ControlDocument:
    assert document.number == 1, "it moved with its account"
    return document


# What docs/guides/shared-counters.md says the user of a cluster needs.
DOCUMENTED = "+evalsha +script|load +info +ping +hgetall +@hash +@sortedset +@string +del +time +cluster|slots"


async def test_the_user_needs_no_more_than_is_documented(cluster: Cluster) -> None:
    account = cluster.accounts()[0]
    for node in cluster.nodes:
        with node.client() as client:
            client.execute_command(
                "ACL", "SETUSER", "gateway", "on", ">right", "~invoke-gateway:*", *DOCUMENTED.split()
            )
    async with sharing(cluster, url=cluster.url.replace("//", "//gateway:right@")) as counters:
        assert counters.trouble is None
        await take(counters, account)
        await counters.read_sums()
        assert counters.sums[f"{account}/account"] == 1
    async with sharing(cluster, url=cluster.url.replace("//", "//gateway:wrong-one@")) as counters:
        assert "check user name, password and ACL" in (counters.trouble or "")
        assert "wrong-one" not in (counters.trouble or "")
