"""Execution environments of tenants: reused by their tenant, counted while idle, never above their ceiling."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.counters.memory import MemoryCounters
from invoke_gateway.counters.tenant_environments import TenantEnvironments
from invoke_gateway.exchange import Slot
from invoke_gateway.policy.concurrency import LimitReached
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits
from invoke_gateway.refusals import Refusal
from tests.support.virtual_time import VirtualLoop

COUNTER = "a/environments/f"


class World:
    """One function with a reservation, and so with two and a half times as many environments."""

    def __init__(self, reserved: int) -> None:
        self.counters = MemoryCounters()
        self.environments = TenantEnvironments(self.counters)
        self.plan = AccountLimits("a", 100, {"f": FunctionLimits(reserved, tenancy="per_tenant")}).plan("f")

    async def acquire(self, tenant: str) -> Slot | LimitReached:
        claim = self.plan.lanes[-1].environments
        assert claim is not None
        return await self.environments.acquire(self.plan, claim, tenant.encode())

    async def take(self, tenant: str) -> Slot:
        taken = await self.acquire(tenant)
        assert not isinstance(taken, LimitReached)
        return taken

    async def refuse(self, tenant: str) -> LimitReached:
        full = await self.acquire(tenant)
        assert isinstance(full, LimitReached)
        return full

    def count(self) -> int:
        return self.counters.in_use(COUNTER)


def run(work: object) -> None:
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(work)
    loop.close()


def test_idle_environments_of_other_tenants_use_up_the_ceiling_until_they_end() -> None:
    async def play() -> None:
        world = World(2)
        for tenant in "abcde":
            (await world.take(tenant)).release()
        full = await world.refuse("f")
        assert (full.claim.limit, full.in_use, full.ceiling) == ("tenant_environments", 5, 5)
        assert full.claim.refusal is Refusal.RESERVED_FUNCTION_RATE
        assert full.claim.refusal.message == "Rate exceeded"
        (await world.take("a")).release()  # which has one
        assert world.counters.counts() == {COUNTER: 5}
        await asyncio.sleep(61)
        assert world.counters.counts() == {}
        await world.take("f")

    run(play())


def test_a_tenant_with_two_calls_has_two_environments_and_the_last_one_used_is_used_again() -> None:
    async def play() -> None:
        world = World(4)
        first, second = await world.take("a"), await world.take("a")
        assert world.count() == 2
        first.release()
        second.release()
        await asyncio.sleep(40)
        again = await world.take("a")
        again.release()
        again.release()
        await asyncio.sleep(40)
        assert world.count() == 1
        await asyncio.sleep(40)
        assert world.count() == 0

    run(play())


def test_a_call_without_a_slot_has_made_no_environment_and_ended_none() -> None:
    async def play() -> None:
        world = World(1)
        running = await world.take("a")
        assert (await world.refuse("b")).claim.limit == "reserved_concurrent_executions"
        assert world.count() == 1
        running.release()
        other = await world.take("b")
        assert (await world.refuse("a")).claim.limit == "reserved_concurrent_executions"
        assert world.count() == 2
        other.release()
        (await world.take("a")).release()
        assert world.count() == 2

    run(play())


def test_the_end_of_the_gateway_ends_all_environments() -> None:
    async def play() -> None:
        world = World(2)
        (await world.take("a")).release()
        running = await world.take("b")
        world.environments.close()
        assert world.count() == 1
        running.release()
        assert world.counters.counts() == {}

    run(play())


class Call(NamedTuple):
    tenant: str
    slot: Slot


@given(
    reserved=st.integers(0, 4),
    steps=st.lists(st.sampled_from("abcdefgh") | st.integers(0, 9) | st.sampled_from([0.5, 30.0, 61.0]), max_size=50),
)
def test_calls_and_idle_environments_together_are_never_above_the_ceiling(
    reserved: int, steps: list[str | int | float]
) -> None:
    """A letter is a call of this tenant, a whole number ends a call, any other number is a pause in seconds."""

    async def play() -> None:
        world = World(reserved)
        running: list[Call] = []
        for step in steps:
            if isinstance(step, str):
                taken = await world.acquire(step)
                if not isinstance(taken, LimitReached):
                    running.append(Call(step, taken))
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif running:
                running.pop(step % len(running)).slot.release()
            assert len(running) == world.counters.in_use("a/function/f") <= reserved
            assert len(running) <= world.count() <= reserved * 5 // 2
        for call in running:
            call.slot.release()
        await asyncio.sleep(61)
        assert world.counters.counts() == {}

    run(play())
