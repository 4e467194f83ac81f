"""Events of provisioned versions: which lane they wait for, and which slot wakes them."""

from __future__ import annotations

from invoke_gateway.counters.memory import MemoryCounters
from invoke_gateway.exchange import Slot
from invoke_gateway.policy.concurrency import LimitReached
from invoke_gateway.policy.control.state import ProvisionedConfig
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits
from invoke_gateway.queue.scheduling.slot_gate import Blocked, SlotGate


def make_account(reserved: int | None) -> AccountLimits:
    provisioned = {"f": {"live": ProvisionedConfig(1, 0.0, "7")}}
    return AccountLimits("a", 3, {"f": FunctionLimits(reserved)}, provisioned=provisioned)


async def test_an_event_has_the_provisioned_slot_though_nothing_is_left_on_demand() -> None:
    counters, account = MemoryCounters(), make_account(1)
    gate = SlotGate(counters)
    assert gate.find_blocked(account.plan("f", "$LATEST")) == Blocked(("a/on-demand/f",), None)
    plan = account.plan("f", "live")
    assert gate.find_blocked(plan) is None
    request = gate.request_slot(plan)
    assert request.counters == ["a/provisioned/f/7", "a/function/f", "a/account"]
    # Until it has its slot, another event does not ask for the same one.
    assert gate.find_blocked(plan) == Blocked(("a/provisioned/f/7", "a/on-demand/f"), None)
    request.end()
    assert gate.find_blocked(plan) is None


async def test_with_a_reservation_a_slot_of_either_lane_wakes_it() -> None:
    counters, account = MemoryCounters(), make_account(2)
    gate, plan = SlotGate(counters), account.plan("f", "live")
    slots: list[Slot] = []
    for _ in range(2):
        taken = await counters.acquire(plan)
        assert not isinstance(taken, LimitReached)
        slots.append(taken)
    assert [slot.lane.name for slot in slots] == ["provisioned", "on-demand"]
    blocked = gate.find_blocked(plan)
    assert blocked is not None
    for slot in slots:
        assert {claim.counter for claim in slot.lane.claims} & set(blocked.counters)


async def test_without_a_reservation_the_pool_and_the_provisioned_slot_wake_it() -> None:
    counters, account = MemoryCounters(), make_account(None)
    plan = account.plan("f", "live")
    for _ in range(3):
        assert not isinstance(await counters.acquire(plan), LimitReached)
    assert SlotGate(counters).find_blocked(plan) == Blocked(("a/provisioned/f/7", "a/unreserved"), None)
