"""What every store of counters must do, whatever it is made of: memory, and real servers of Redis and Valkey.

What needs a clock of ours or looks inside is memory's own, below; what only networks do is in shared/.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from invoke_gateway.counters.base import CountedSlot, Counters
from invoke_gateway.counters.memory import MemoryCounters
from invoke_gateway.counters.pending_slot import PendingSlot
from invoke_gateway.counters.shared.counters import SharedCounters
from invoke_gateway.counters.shared.shared_config import SharedConfig
from invoke_gateway.policy.caller_limits import CallerLimits
from invoke_gateway.policy.concurrency import Claim, GrowthClaim, Lane, LimitReached, Plan, RateClaim
from invoke_gateway.policy.control.state import ProvisionedConfig
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits, Limits
from invoke_gateway.refusals import Refusal

from ..support.lateness import ATTEMPTS, end_at_once
from ..support.stores import KINDS, Store, running_store
from .toy_store import ToyCounters


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Stores:
    """The servers that tests asked for, each started once."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[str, Store] = {}

    def of(self, kind: str) -> Store:
        store = self._running.get(kind)
        if store is None:
            store = self._running[kind] = self._stack.enter_context(running_store(kind))
        return store


@pytest.fixture(scope="module")
def stores() -> Iterator[Stores]:
    with ExitStack() as stack:
        yield Stores(stack)


async def share(store: Store) -> SharedCounters:
    store.clear("a")
    limits = Limits(AccountLimits("a", 3))
    counters = SharedCounters(SharedConfig(store.url, timeout_seconds=60), limits=lambda: limits, degraded={})
    await counters.start()
    assert counters.unavailable_reason is None
    return counters


@pytest.fixture
def memory(clock: Clock) -> MemoryCounters:
    return MemoryCounters(clock)


@pytest.fixture(params=("memory", "toy", *KINDS))
async def counters(request: pytest.FixtureRequest, stores: Stores) -> AsyncIterator[Counters]:
    if request.param == "memory":
        yield MemoryCounters()
        return
    if request.param == "toy":
        yield ToyCounters()
        return
    store = stores.of(request.param)
    shared = await share(store)
    yield shared
    await told(shared)
    await shared.read_sums()
    assert shared.sums == shared.counts()
    await shared.close()
    assert store.sums("a") == {}


def make_account(total: int = 3, **reserved: int | None) -> AccountLimits:
    return AccountLimits("a", total, {name: FunctionLimits(slots) for name, slots in reserved.items()})


async def take(counters: Counters, plan: Plan) -> CountedSlot:
    taken = await counters.acquire(plan)
    assert not isinstance(taken, LimitReached)
    _taken.append(taken)
    return taken


async def refuse(counters: Counters, plan: Plan) -> LimitReached:
    full = await counters.acquire(plan)
    if not isinstance(full, LimitReached):
        _taken.append(full)
    assert isinstance(full, LimitReached)
    return full


_taken: list[CountedSlot] = []  # the slots of the last attempt

Test = Callable[[Counters], Coroutine[Any, Any, None]]


def repeat_if_late(seconds: float) -> Callable[[Test], Test]:
    """Repeats a test that failed after more than `seconds`, because the store's clock has brought tokens meanwhile."""

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        async def attempt(counters: Counters) -> None:
            for _ in range(ATTEMPTS):
                _taken.clear()
                began = time.monotonic()
                try:
                    return await test(counters)
                except AssertionError:
                    if time.monotonic() - began < seconds:
                        raise
                for slot in _taken:
                    slot.release()
                await asyncio.sleep(1.1)  # each bucket is full then
            pytest.skip("not judged: the machine is too slow for these rates")

        return attempt

    return decorate


async def test_slots_are_given_up_to_the_ceiling_and_not_one_more(counters: Counters) -> None:
    plan = make_account(2).plan("f")
    await take(counters, plan)
    await take(counters, plan)
    full = await refuse(counters, plan)
    assert (full.claim.refusal, full.in_use, full.ceiling) == (Refusal.CONCURRENCY, 2, 2)


async def test_a_ceiling_of_zero_refuses_the_first_call(counters: Counters) -> None:
    full = await refuse(counters, make_account(3, f=0).plan("f"))
    assert full.claim.refusal is Refusal.RESERVED_CONCURRENCY


async def test_a_released_slot_can_be_taken_again_and_a_second_release_does_nothing(counters: Counters) -> None:
    plan = make_account(1).plan("f")
    slot = await take(counters, plan)
    slot.release()
    slot.release()
    assert counters.counts() == {}
    second = await take(counters, plan)
    slot.release()
    assert counters.in_use("a/account") == 1
    second.release()


async def test_a_refused_request_has_taken_nothing_from_any_counter(counters: Counters) -> None:
    account = make_account(2, f=2)
    slot = await take(counters, account.plan("f"))
    await refuse(counters, account.plan("other"))  # nothing is left unreserved
    assert counters.counts() == {"a/function/f": 1, "a/account": 1}
    slot.release()


async def test_the_first_lane_that_has_room_is_taken_and_the_last_one_refuses(counters: Counters) -> None:
    first = Lane("first", (Claim("x", 1, Refusal.CONCURRENCY, "first"),))
    second = Lane("second", (Claim("y", 1, Refusal.RESERVED_CONCURRENCY, "second"),))
    plan = Plan("a", "f", "f", (first, second), ())
    in_first = await take(counters, plan)
    await take(counters, plan)
    assert counters.counts() == {"x": 1, "y": 1}
    full = await refuse(counters, plan)
    assert full.claim.limit == "second"
    in_first.release()
    await take(counters, plan)
    assert counters.counts() == {"x": 1, "y": 1}


async def test_a_lane_is_taken_whole_or_not_at_all(counters: Counters) -> None:
    blocked = Lane("blocked", (Claim("x", 5, Refusal.CONCURRENCY, "x"), Claim("y", 0, Refusal.CONCURRENCY, "y")))
    await refuse(counters, Plan("a", "f", "f", (blocked,), ()))
    assert counters.counts() == {}


async def test_looking_takes_nothing_and_agrees_with_taking(counters: Counters) -> None:
    plan = make_account(1).plan("f")
    assert counters.check(plan) is None
    assert counters.counts() == {}
    await take(counters, plan)
    assert counters.check(plan) == await counters.acquire(plan)


def make_rated(per_second: float, slots: int = 100) -> Plan:
    lane = Lane("only", (Claim("slots", slots, Refusal.CONCURRENCY, "slots"),))
    return Plan("a", "f", "f", (lane,), (RateClaim("bucket", per_second, Refusal.FUNCTION_RATE, "rate"),))


@repeat_if_late(0.2)
async def test_acquiring_now_decides_as_acquiring_does_or_returns_what_gives_the_decision(counters: Counters) -> None:
    plan = make_account(1).plan("f")
    taken = counters.acquire_now(plan)
    if isinstance(taken, PendingSlot):
        assert counters.counts() == {}
        taken = await taken
    assert not isinstance(taken, LimitReached)
    again = counters.acquire_now(plan)
    if isinstance(again, PendingSlot):
        again = await again
    assert isinstance(again, LimitReached)
    assert again.claim == (await refuse(counters, plan)).claim
    taken.release()
    assert counters.counts() == {}


async def test_the_end_of_a_wait_resumes_what_waits_once_and_then_the_decision_is_there(counters: Counters) -> None:
    plan = make_account(1).plan("f")
    resumed: list[str] = []
    awaited = counters.acquire_now(plan)
    if not isinstance(awaited, PendingSlot):
        return  # it waits for nothing
    assert not awaited.has_ended
    awaited.resume_at_end(lambda: resumed.append("resumed"))
    while not awaited.has_ended:  # noqa: ASYNC110 (what waits is resumed, and no future wakes)
        await asyncio.sleep(0.001)
    assert resumed == ["resumed"]

    async def wait() -> CountedSlot | LimitReached:
        return await awaited

    taken = end_at_once(wait())
    assert not isinstance(taken, LimitReached)
    taken.release()


async def test_a_rate_gives_one_second_of_tokens_and_then_refuses(counters: Counters) -> None:
    plan = make_rated(5)
    for _ in range(5):
        (await take(counters, plan)).release()
    full = await refuse(counters, plan)
    assert full.claim.refusal is Refusal.FUNCTION_RATE
    assert 0 < full.retry_seconds <= 1


@repeat_if_late(1)
async def test_a_request_without_a_token_has_taken_no_slot(counters: Counters) -> None:
    plan = make_rated(1)
    (await take(counters, plan)).release()
    await refuse(counters, plan)
    assert counters.counts() == {}


async def test_a_request_without_a_slot_has_taken_no_token(counters: Counters) -> None:
    plan = make_rated(2, slots=1)
    slot = await take(counters, plan)
    for _ in range(10):
        await refuse(counters, plan)
    slot.release()
    assert not isinstance(await counters.acquire(plan), LimitReached)


async def test_a_rate_of_zero_refuses_everything(counters: Counters) -> None:
    assert (await refuse(counters, make_rated(0))).claim.refusal is Refusal.FUNCTION_RATE


async def test_a_rate_below_one_a_second_still_admits_one(counters: Counters) -> None:
    plan = make_rated(0.01)
    (await take(counters, plan)).release()
    await refuse(counters, plan)


@repeat_if_late(0.3)
async def test_a_changed_rate_is_in_force_at_once(counters: Counters) -> None:
    (await take(counters, make_rated(1))).release()
    await refuse(counters, make_rated(1))
    for _ in range(3):
        (await take(counters, make_rated(3))).release()
    await refuse(counters, make_rated(3))


@repeat_if_late(0.3)
async def test_a_request_without_one_of_its_tokens_has_taken_none_of_the_others(counters: Counters) -> None:
    account = AccountLimits("a", 9, {"slow": FunctionLimits(None, 1.0)}, requests_per_second=3.0)
    (await take(counters, account.plan("slow"))).release()
    for _ in range(10):
        assert (await refuse(counters, account.plan("slow"))).claim.limit == "function_requests_per_second"
    for _ in range(2):
        (await take(counters, account.plan("other"))).release()
    assert (await refuse(counters, account.plan("other"))).claim.limit == "requests_per_second"
    assert counters.counts() == {}


@repeat_if_late(0.3)
async def test_the_last_rate_of_several_gives_the_first_ones_tokens_back(counters: Counters) -> None:
    account = AccountLimits("a", 9, {"f": FunctionLimits(None, 3.0)}, requests_per_second=1.0)
    plan = account.plan("f")
    (await take(counters, plan)).release()
    for _ in range(10):
        assert (await refuse(counters, plan)).claim.limit == "requests_per_second"
    relaxed = AccountLimits("a", 9, {"f": FunctionLimits(None, 3.0)}).plan("f")
    for _ in range(2):
        (await take(counters, relaxed)).release()
    assert (await refuse(counters, relaxed)).claim.limit == "function_requests_per_second"


async def test_functions_with_equal_limits_share_a_lane_and_no_counter(counters: Counters) -> None:
    account = make_account(9, f=1, g=1)
    assert account.plan("f").lanes is account.plan("g").lanes
    await take(counters, account.plan("f"))
    await take(counters, account.plan("g"))
    assert (await refuse(counters, account.plan("g"))).in_use == 1
    assert counters.counts() == {"a/function/f": 1, "a/function/g": 1, "a/account": 2}


@repeat_if_late(0.5)
async def test_a_lane_without_a_token_of_its_own_is_skipped_and_has_lost_nothing(counters: Counters) -> None:
    rate = RateClaim("bucket", 2.0, Refusal.FUNCTION_RATE, "lane rate")
    first = Lane("first", (Claim("x", 9, Refusal.CONCURRENCY, "first"),), (rate,))
    second = Lane("second", (Claim("y", 9, Refusal.CONCURRENCY, "second"),))
    for lane_name in ("first", "first", "second", "second"):
        assert (await take(counters, Plan("a", "f", "f", (first, second), ()))).lane.name == lane_name
    assert counters.counts() == {"x": 2, "y": 2}
    full = await refuse(counters, Plan("a", "f", "f", (first,), ()))
    assert (full.claim, full.ceiling) == (rate, 2.0)


async def test_a_refused_call_has_taken_no_token_of_a_lane(counters: Counters) -> None:
    rate = RateClaim("bucket", 2.0, Refusal.FUNCTION_RATE, "lane rate")
    lane = Lane("only", (Claim("x", 9, Refusal.CONCURRENCY, "x"),), (rate,))
    never = RateClaim("never", 0.0, Refusal.FUNCTION_RATE, "never")
    for _ in range(5):
        assert (await refuse(counters, Plan("a", "f", "f", (lane,), (never,)))).claim == never
    for _ in range(2):
        await take(counters, Plan("a", "f", "f", (lane,), ()))


def make_provisioned(
    total: int, reserved: int | None, versions: Mapping[str, int], **others: int | None
) -> AccountLimits:
    """The function `f`: versions by number, of which `7` has the alias `live`."""
    configs = {"live" if version == "7" else version: (version, slots) for version, slots in versions.items()}
    return AccountLimits(
        "a",
        total,
        {"f": FunctionLimits(reserved), **{name: FunctionLimits(slots) for name, slots in others.items()}},
        provisioned={
            "f": {name: ProvisionedConfig(slots, 0.0, version) for name, (version, slots) in configs.items() if slots}
        },
    )


# Of an account with 10 slots: the reservation of f, its provisioned versions, the calls, and for each its lane or the
# limit that refuses it.
SPILLOVER = {
    "all of it provisioned": (
        2,
        {"7": 2},
        ["live", "live", "live", None],
        ["provisioned", "provisioned", "on_demand_concurrent_executions", "on_demand_concurrent_executions"],
    ),
    "some on demand": (
        3,
        {"7": 2},
        ["live", "live", "live", "live"],
        ["provisioned", "provisioned", "on-demand", "on_demand_concurrent_executions"],
    ),
    "by the number of the version": (
        2,
        {"7": 1},
        ["7", "live", "7"],
        ["provisioned", "on-demand", "on_demand_concurrent_executions"],
    ),
    "idle slots of another version": (
        3,
        {"7": 1, "8": 1},
        ["live", "live", "live", "8", "8"],
        [
            "provisioned",
            "on-demand",
            "on_demand_concurrent_executions",
            "provisioned",
            "on_demand_concurrent_executions",
        ],
    ),
    "calls of the unpublished version": (
        2,
        {"7": 1},
        [None, None, "$LATEST", "6", "live"],
        ["on-demand", *["on_demand_concurrent_executions"] * 3, "provisioned"],
    ),
    "without a reservation": (
        None,
        {"7": 7},
        ["live"] * 11,
        ["provisioned"] * 7 + ["unreserved"] * 3 + ["unreserved_concurrent_executions"],
    ),
    "without a reservation, of another version": (
        None,
        {"7": 8},
        ["6", "6", "6", "live"],
        ["unreserved", "unreserved", "unreserved_concurrent_executions", "provisioned"],
    ),
}


@pytest.mark.parametrize("name", SPILLOVER)
async def test_calls_of_a_provisioned_version_spill_over(counters: Counters, name: str) -> None:
    reserved, versions, calls, expected = SPILLOVER[name]
    account = make_provisioned(10, reserved, versions)
    found = []
    for qualifier in calls:
        answer = await counters.acquire(account.plan("f", qualifier))
        found.append(answer.claim.limit if isinstance(answer, LimitReached) else answer.lane.name)
    assert found == expected
    assert counters.in_use("a/account") == counters.in_use("a/function/f") <= 10


async def test_other_functions_cannot_use_idle_provisioned_slots(counters: Counters) -> None:
    account = make_provisioned(5, None, {"7": 3})
    for _ in range(2):
        await take(counters, account.plan("other"))
    full = await refuse(counters, account.plan("other"))
    assert (full.claim.limit, full.ceiling) == ("unreserved_concurrent_executions", 2)
    for _ in range(3):
        assert (await take(counters, account.plan("f", "live"))).lane.name == "provisioned"
    assert (await refuse(counters, account.plan("f", "live"))).claim.refusal is Refusal.CONCURRENCY


async def test_provisioned_slots_serve_ten_requests_a_second_and_others_spill_over(counters: Counters) -> None:
    plan = make_provisioned(10, 4, {"7": 1}).plan("f", "live")
    lanes = []
    for _ in range(12):
        slot = await take(counters, plan)
        lanes.append(slot.lane.name)
        slot.release()
    # A slow server refills a token meanwhile.
    assert lanes[:10] == ["provisioned"] * 10
    assert "on-demand" in lanes[10:]


async def test_calls_from_before_a_change_of_provisioned_slots_keep_counting(counters: Counters) -> None:
    before, after = make_account(4, f=3), make_provisioned(4, 3, {"7": 2})
    for _ in range(2):
        await take(counters, before.plan("f"))
    await take(counters, after.plan("f", "live"))
    full = await refuse(counters, after.plan("f", "live"))
    assert (full.claim.limit, full.in_use) == ("reserved_concurrent_executions", 3)
    pool, less = make_account(3), make_provisioned(3, None, {"7": 2})
    assert counters.in_use("a/account") == 3
    assert (await refuse(counters, less.plan("f", "live"))).claim.limit in (
        "concurrent_executions",
        "unreserved_concurrent_executions",
    )
    assert (await refuse(counters, pool.plan("g"))).claim.limit == "concurrent_executions"


def make_scaled(most: float, qualifier: str | None = None, **limits: int | None) -> Plan:
    """The plan of a function that may gain so many slots, and hardly any more as time passes."""
    provisioned = limits.pop("provisioned", None)
    account = AccountLimits(
        "a",
        20,
        {"f": FunctionLimits(limits.get("reserved"), scaling_rate=1000)},
        provisioned={"f": {"7": ProvisionedConfig(provisioned, 0.0, "7")}} if provisioned else {},
    )
    plan = account.plan("f", qualifier)
    *others, last = plan.lanes
    return replace(plan, lanes=(*others, replace(last, rates=(slow_down(last.rates[0], most, most / 1e6),))))


def slow_down(rate: RateClaim, most: float, per_second: float) -> RateClaim:
    assert isinstance(rate, GrowthClaim)
    assert (rate.per_second, rate.most) == (100, 1000)
    return replace(rate, most=most, per_second=per_second)


@pytest.mark.parametrize("reserved", [None, 9])
async def test_a_function_gains_no_more_slots_than_its_scaling_rate(counters: Counters, reserved: int | None) -> None:
    plan = make_scaled(1, reserved=reserved)
    slots = [await take(counters, plan)]
    full = await refuse(counters, plan)
    name = Refusal.FUNCTION_RATE if reserved is None else Refusal.RESERVED_FUNCTION_RATE
    assert (full.claim.limit, full.claim.refusal, full.ceiling) == ("scaling_rate", name, 1)
    plan = make_scaled(3, reserved=reserved)  # a changed rate is in force at once
    slots += [await take(counters, plan) for _ in range(3)]
    assert (await refuse(counters, plan)).claim.limit == "scaling_rate"
    slots.pop().release()
    slots.pop().release()
    slots += [await take(counters, plan) for _ in range(2)]  # of environments that are there
    assert (await refuse(counters, plan)).claim.limit == "scaling_rate"


@pytest.mark.parametrize("reserved", [None, 9])
async def test_provisioned_slots_are_no_growth(counters: Counters, reserved: int | None) -> None:
    plan = make_scaled(1, "7", reserved=reserved, provisioned=3)
    slots = [await take(counters, plan) for _ in range(4)]
    assert [slot.lane.name == "provisioned" for slot in slots] == [True, True, True, False]
    assert (await refuse(counters, plan)).claim.limit == "scaling_rate"


async def test_a_scaling_rate_is_refilled_continuously(counters: Counters) -> None:
    (lane,) = make_scaled(1).lanes
    lane = replace(lane, rates=(replace(lane.rates[0], per_second=20.0),))
    plan = Plan("a", "f", "a/function/f", (lane,), ())
    await take(counters, plan)
    for _ in range(3):
        await eventually_admitted(counters, plan)


async def eventually_admitted(counters: Counters, plan: Plan) -> None:
    while isinstance(await counters.acquire(plan), LimitReached):  # noqa: ASYNC110 (time alone brings a token)
        await asyncio.sleep(0.01)


async def test_taking_never_waits_even_with_rates(memory: MemoryCounters) -> None:
    coroutine = memory.acquire(make_rated(5))
    with pytest.raises(StopIteration):
        coroutine.send(None)


async def test_a_reservation_that_appears_counts_the_calls_that_already_run(counters: Counters) -> None:
    before, after = make_account(5), make_account(5, f=2)
    slots = [await take(counters, before.plan("f")) for _ in range(3)]
    full = await refuse(counters, after.plan("f"))
    assert (full.in_use, full.ceiling) == (3, 2)
    slots[0].release()
    await refuse(counters, after.plan("f"))
    slots[1].release()
    await take(counters, after.plan("f"))


async def test_a_reservation_that_vanishes_does_not_lift_its_calls_out_of_the_account(counters: Counters) -> None:
    before, after = make_account(3, f=2), make_account(3)
    for _ in range(2):
        await take(counters, before.plan("f"))
    await take(counters, after.plan("g"))
    full = await refuse(counters, after.plan("g"))
    assert full.claim.limit == "concurrent_executions"
    assert counters.in_use("a/account") == 3


def make_called(total: int, **callers: CallerLimits) -> AccountLimits:
    return AccountLimits("a", total, {"f": FunctionLimits(2)}, callers=callers)


async def test_the_slots_of_a_caller_are_counted_over_its_keys_and_over_functions(counters: Counters) -> None:
    alice = CallerLimits("alice", "a", 3)
    account = make_called(9, AKIAOLD=alice, AKIANEW=alice, BOB=CallerLimits("bob", "a", 1))
    slots = [await take(counters, account.plan_for(name, key)) for name, key in (("f", "AKIAOLD"), ("g", "AKIANEW"))]
    slots.append(await take(counters, account.plan_for("h", "AKIANEW")))
    for key in ("AKIAOLD", "AKIANEW"):
        full = await refuse(counters, account.plan_for("g", key))
        assert full.describe() == 'limit="caller_concurrent_executions", in-use=3, ceiling=3'
        assert full.claim.refusal is Refusal.CONCURRENCY
    await take(counters, account.plan_for("g", "BOB"))
    await take(counters, account.plan_for("g", None))
    slots[0].release()
    await take(counters, account.plan_for("g", "AKIAOLD"))
    assert counters.in_use("a/caller/alice") == 3


async def test_a_caller_with_no_slots_is_refused_and_has_taken_nothing(counters: Counters) -> None:
    account = make_called(9, AKIA=CallerLimits("alice", "a", 0))
    full = await refuse(counters, account.plan_for("g", "AKIA"))
    assert (full.in_use, full.ceiling) == (0, 0)
    assert counters.counts() == {}


async def test_the_limits_of_function_and_account_refuse_before_the_callers(counters: Counters) -> None:
    account = make_called(3, AKIA=CallerLimits("alice", "a", 2))
    await take(counters, account.plan_for("f", "AKIA"))
    await take(counters, account.plan_for("f", "AKIA"))
    assert (await refuse(counters, account.plan_for("f", "AKIA"))).claim.refusal is Refusal.RESERVED_CONCURRENCY
    assert (await refuse(counters, account.plan_for("g", "AKIA"))).claim.limit == "caller_concurrent_executions"
    await take(counters, account.plan_for("g", None))
    assert (await refuse(counters, account.plan_for("g", "AKIA"))).claim.limit == "unreserved_concurrent_executions"


async def test_a_changed_limit_of_a_caller_counts_the_calls_that_already_run(counters: Counters) -> None:
    def limited(slots: int | None) -> Plan:
        return make_called(9, AKIA=CallerLimits("alice", "a", slots)).plan_for("g", "AKIA")

    slots = [await take(counters, limited(3)) for _ in range(3)]
    full = await refuse(counters, limited(1))
    assert (full.in_use, full.ceiling) == (3, 1)
    await take(counters, limited(None))
    assert counters.in_use("a/caller/alice") == 3
    slots.pop().release()
    await take(counters, limited(3))


async def test_a_caller_without_a_token_has_taken_no_slot(counters: Counters) -> None:
    account = make_called(9, AKIA=CallerLimits("alice", "a", 5, 1e-6))
    await take(counters, account.plan_for("g", "AKIA"))
    assert (await refuse(counters, account.plan_for("g", "AKIA"))).claim.refusal is Refusal.CALLER_RATE
    assert counters.in_use("a/caller/alice") == 1


async def test_the_hint_of_when_to_retry_follows_the_ages_and_usual_durations(
    memory: MemoryCounters, clock: Clock
) -> None:
    plan = make_account(1).plan("f")
    slot = await take(memory, plan)
    clock.now += 10
    slot.release()
    await take(memory, plan)
    clock.now += 4
    assert (await refuse(memory, plan)).retry_seconds == pytest.approx(6)
    assert memory.oldest_seconds("a/function/f") == 4
    clock.now += 1
    assert (await refuse(memory, plan)).retry_seconds == pytest.approx(5)


async def test_what_was_no_call_does_not_change_how_long_calls_take(memory: MemoryCounters, clock: Clock) -> None:
    plan = make_account(1).plan("f")
    slot = await take(memory, plan)
    clock.now += 2
    slot.release()
    held = await take(memory, plan)
    clock.now += 3000
    held.release(was_call=False)
    await take(memory, plan)
    assert (await refuse(memory, plan)).retry_seconds == pytest.approx(2)


async def test_how_long_a_reserved_functions_calls_take_is_known_after_a_pause(
    memory: MemoryCounters, clock: Clock
) -> None:
    account = make_account(9, f=1, g=1)
    slot = await take(memory, account.plan("f"))
    clock.now += 10
    slot.release()
    assert memory.in_use("a/function/f") == 0
    other = await take(memory, account.plan("g"))  # where it may take up what the first has left
    clock.now += 3
    assert (await refuse(memory, account.plan("g"))).retry_seconds == pytest.approx(3)
    other.release()
    await take(memory, account.plan("f"))
    clock.now += 4
    assert (await refuse(memory, account.plan("f"))).retry_seconds == pytest.approx(6)


async def test_names_that_clients_invent_do_not_pile_up(memory: MemoryCounters) -> None:
    account = make_account(3)
    for number in range(1000):
        (await take(memory, account.plan(f"invented-{number}"))).release()
    assert set(memory._slots._states) == {"a/unreserved", "a/account"}
    assert len(memory._slots._spare) <= 64
    assert memory._slots._usual_seconds == {}


NAMES = ("reserved", "empty", "plain", "unknown")
CALLERS = ("alice", "alice's other key", "bob", "nobody")
"""Access keys; the caller of the last one has no limit."""


class Running(NamedTuple):
    """One call of the model: its lane is `provisioned`, `on-demand`, `reserved` or `unreserved`.

    caller: the caller whose counter it holds
    """

    name: str
    lane: str
    version: str | None
    slot: CountedSlot
    caller: str | None


class CountersMachine(RuleBasedStateMachine):
    """Any order of takes, releases and reloads, beside a model that counts with plain integers."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.counters = self.make_counters()
        self.account = make_account(4, reserved=2, empty=0, plain=None)
        self.aliases: dict[str, str] = {}
        self.callers: dict[str, int] = {}
        self.running: list[Running] = []
        self.tokens: Counter[RateClaim] = Counter()  # that were taken, at least once a second's worth is there

    def make_counters(self) -> MemoryCounters:
        return MemoryCounters()

    def teardown(self) -> None:
        for call in self.running:
            call.slot.release()
        assert self.counters.counts() == {}
        self.loop.close()

    def count(self, name: str, lane: str | None = None, version: str | None = None) -> int:
        return sum(
            call.name == name and lane in (None, call.lane) and version in (None, call.version) for call in self.running
        )

    def find_lanes(self, name: str, qualifier: str | None, caller: str | None) -> list[tuple[str, str | None]]:
        """Returns the lanes that have room by the model, with the version of a provisioned one."""
        account = self.account
        if caller is not None and self.count_caller(caller) >= self.callers[caller]:
            return []
        if len(self.running) >= account.concurrent_executions:
            return []
        limits = account.functions.get(name)
        reserved = limits.reserved_concurrent_executions if limits else None
        if reserved is not None and self.count(name) >= reserved:
            return []
        configs = account.provisioned.get(name, {})
        by_version: Counter[str] = Counter()
        for of, config in configs.items():
            by_version[self.aliases.get(of, of)] += config.requested
        version = self.aliases.get(qualifier, qualifier) if qualifier in configs else qualifier
        lanes: list[tuple[str, str | None]] = []
        if version is not None and self.count(name, "provisioned", version) < by_version[version]:
            lanes.append(("provisioned", version))
        if reserved is None:
            if sum(call.lane == "unreserved" for call in self.running) < account.unreserved_concurrent_executions:
                lanes.append(("unreserved", None))
        elif not by_version:
            lanes.append(("reserved", None))
        elif self.count(name, "on-demand") < reserved - by_version.total():
            lanes.append(("on-demand", None))
        return lanes

    def count_caller(self, caller: str) -> int:
        return sum(call.caller == caller for call in self.running)

    @rule(
        name=st.sampled_from(NAMES),
        qualifier=st.none() | st.sampled_from(("live", "old", "1", "2")),
        key=st.none() | st.sampled_from(CALLERS),
    )
    def take(self, name: str, qualifier: str | None, key: str | None) -> None:
        plan = self.account.plan_for(name, key, qualifier)
        taken = self.loop.run_until_complete(self.counters.acquire(plan))
        caller = (key or "").partition("'")[0]
        limited = caller if caller in self.callers else None
        lanes = self.find_lanes(name, qualifier, limited)
        if lanes and lanes[0][0] == "provisioned":
            (rate,) = plan.lanes[0].rates
            if self.tokens[rate] >= rate.per_second and (
                isinstance(taken, LimitReached) or taken.lane is not plan.lanes[0]
            ):
                del lanes[0]
            else:
                self.tokens[rate] += 1
        assert isinstance(taken, LimitReached) is (not lanes)
        if not isinstance(taken, LimitReached):
            assert taken.lane.name == lanes[0][0]
            self.running.append(Running(name, *lanes[0], taken, limited))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        slot = self.running.pop(data.draw(st.integers(0, len(self.running) - 1))).slot
        slot.release()
        slot.release()

    @rule(
        total=st.integers(0, 6),
        reserved=st.integers(0, 3),
        plain=st.none() | st.integers(0, 2),
        live=st.sampled_from("12"),
        provisioned=st.dictionaries(
            st.sampled_from(NAMES),
            st.dictionaries(st.sampled_from(("live", "old", "1", "2")), st.integers(1, 3), max_size=3),
            max_size=3,
        ),
        callers=st.dictionaries(st.sampled_from(("alice", "bob")), st.integers(0, 3), max_size=2),
    )
    def reload(
        self,
        total: int,
        reserved: int,
        plain: int | None,
        live: str,
        provisioned: dict[str, dict[str, int]],
        callers: dict[str, int],
    ) -> None:
        """Changes the table, aliases and what they point to, whatever AWS's checks would refuse."""
        self.aliases = {"live": live, "old": "1"}
        functions = {"reserved": reserved, "empty": 0, "plain": plain}
        self.account = AccountLimits(
            "a",
            total,
            {name: FunctionLimits(slots) for name, slots in functions.items()},
            provisioned={
                name: {of: ProvisionedConfig(slots, 0.0, self.aliases.get(of, of)) for of, slots in configs.items()}
                for name, configs in provisioned.items()
                if configs
            },
            callers={
                key: CallerLimits(name, "a", callers[name])
                for key in CALLERS
                if (name := key.partition("'")[0]) in callers
            },
        )
        self.callers = callers

    @invariant()
    def every_counter_is_the_number_of_calls_that_hold_it(self) -> None:
        in_use = self.counters.in_use
        assert in_use("a/account") == len(self.running)
        assert in_use("a/unreserved") == sum(call.lane == "unreserved" for call in self.running)
        for caller in ("alice", "bob", "nobody"):
            assert in_use(f"a/caller/{caller}") == self.count_caller(caller)
        for name in NAMES:
            assert in_use(f"a/function/{name}") == self.count(name)
            assert in_use(f"a/on-demand/{name}") == self.count(name, "on-demand")
            for version in "12":
                assert in_use(f"a/provisioned/{name}/{version}") == self.count(name, "provisioned", version)


class SharedMachine(CountersMachine):
    """The same on a real server, whose sums are looked at after every step."""

    _store: Store

    def make_counters(self) -> MemoryCounters:
        return self.loop.run_until_complete(share(self._store))

    def teardown(self) -> None:
        assert isinstance(self.counters, SharedCounters)
        for call in self.running:
            call.slot.release()
        self.running.clear()
        self.the_store_has_the_same_numbers()
        self.loop.run_until_complete(self.counters.close())
        self.loop.close()

    @invariant()
    def the_store_has_the_same_numbers(self) -> None:
        assert isinstance(self.counters, SharedCounters)
        self.loop.run_until_complete(told(self.counters))
        assert self._store.sums("a") == self.counters.counts()


async def told(counters: SharedCounters) -> None:
    """Wait until the store has heard everything."""
    while not all(tally.is_idle for tally in counters._tallies.values()):  # noqa: ASYNC110 (no event tells of it)
        await asyncio.sleep(0)


TestMemory = CountersMachine.TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=40)


@pytest.mark.parametrize("kind", KINDS)
def test_any_order_of_takes_releases_and_reloads_is_counted_on_a_server(kind: str, stores: Stores) -> None:
    class Machine(SharedMachine):
        _store = stores.of(kind)

    run_state_machine_as_test(Machine, settings=settings(max_examples=15, stateful_step_count=30))
