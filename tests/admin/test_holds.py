"""Holds: all of the slots or none, until they are released, their time is over or the gateway closes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

import pytest

from invoke_gateway.admin.holds import ActiveHold, HoldRequest, Holds, describe_no_room, read_hold_request
from invoke_gateway.admin.json_documents import BadDocument
from invoke_gateway.counters.local_slots import LocalSlot
from invoke_gateway.counters.memory import MemoryCounters
from invoke_gateway.policy.concurrency import LimitReached, Plan
from invoke_gateway.policy.limits import DEFAULT_ACCOUNT, AccountLimits, FunctionLimits, Limits
from tests.support.gateways import eventually

NAMED = "111122223333"
DEFAULT = f"{DEFAULT_ACCOUNT}/account"
POOL = f"{DEFAULT_ACCOUNT}/unreserved"
CHECKOUT = f"{DEFAULT_ACCOUNT}/function/checkout"


class Time:
    """A clock, and the timers that go by it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: dict[int, tuple[float, Callable[[], object]]] = {}
        self._ids = count()

    def clock(self) -> float:
        return self.now

    def call_later(self, seconds: float, do: Callable[[], object]) -> Timer:
        id = next(self._ids)
        self.timers[id] = self.now + seconds, do
        return Timer(self, id)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        for id, (due, do) in list(self.timers.items()):
            if due <= self.now:
                del self.timers[id]
                do()


class Timer:
    def __init__(self, time: Time, id: int) -> None:
        self._time = time
        self._id = id

    def cancel(self) -> None:
        self._time.timers.pop(self._id, None)


class DistantCounters(MemoryCounters):
    """A store that gives `quick` slots at once; then each `take` waits until `arrive` is set, as over a network."""

    def __init__(self, quick: int) -> None:
        super().__init__()
        self.quick = quick
        self.is_waiting = asyncio.Event()
        self.arrive = asyncio.Event()

    async def acquire(self, plan: Plan) -> LocalSlot | LimitReached:
        if not self.quick:
            self.is_waiting.set()
            await self.arrive.wait()
        self.quick -= bool(self.quick)
        return await super().acquire(plan)


def make_limits(total: int = 10, reserved: int | None = 2) -> Limits:
    default = AccountLimits(DEFAULT_ACCOUNT, total, {"checkout": FunctionLimits(reserved)}, requests_per_second=1.0)
    return Limits(default, {NAMED: AccountLimits(NAMED, 5)})


class Bench:
    """Holds over a store of their own, at a time of their own. `limits` may be replaced, as by a reload."""

    def __init__(self, limits: Limits | None = None, counters: MemoryCounters | None = None) -> None:
        self.limits = limits or make_limits()
        self.time = Time()
        self.counters = counters or MemoryCounters()
        self.holds = Holds(
            self.counters, limits=lambda: self.limits, clock=self.time.clock, call_later=self.time.call_later
        )

    async def hold(
        self, function: str | None = None, slots: int = 1, seconds: float = 30, account: str | None = None
    ) -> ActiveHold:
        taken = await self.holds.take(HoldRequest(function, slots, seconds, account))
        assert isinstance(taken, ActiveHold), taken
        return taken

    async def refused(self, function: str | None, slots: int, account: str | None = None) -> tuple[str, int, float]:
        """Which limit has no room, what is in use of it, and its ceiling."""
        taken = await self.holds.take(HoldRequest(function, slots, 30, account))
        assert isinstance(taken, LimitReached), taken
        return taken.claim.limit, taken.in_use, taken.ceiling


async def test_a_hold_of_a_reserved_function_takes_its_slots_and_nothing_of_the_pool() -> None:
    bench = Bench()
    hold = await bench.hold("checkout", 2)
    assert bench.counters.counts() == {CHECKOUT: 2, DEFAULT: 2}
    assert bench.holds.by_counter() == {CHECKOUT: 2, DEFAULT: 2}
    assert bench.holds.describe(hold) == {
        "id": hold.id,
        "account": DEFAULT_ACCOUNT,
        "function": "checkout",
        "slots": 2,
        "seconds_left": 30,
    }


async def test_a_hold_of_the_pool_takes_slots_of_no_function() -> None:
    bench = Bench()
    await bench.hold(None, 3)
    assert bench.counters.counts() == bench.holds.by_counter() == {POOL: 3, DEFAULT: 3}


async def test_a_hold_of_any_other_function_takes_slots_of_the_pool_in_its_name() -> None:
    bench = Bench()
    await bench.hold("report", 3)
    held = {POOL: 3, DEFAULT: 3, f"{DEFAULT_ACCOUNT}/function/report": 3}
    assert bench.counters.counts() == bench.holds.by_counter() == held


async def test_an_account_that_is_not_named_shares_the_default_accounts_pool() -> None:
    bench = Bench()
    assert (await bench.hold(account=NAMED)).account == NAMED
    assert (await bench.hold(account="999999999999")).account == DEFAULT_ACCOUNT
    assert bench.counters.in_use(POOL) == bench.counters.in_use(f"{NAMED}/unreserved") == 1


async def test_a_hold_takes_all_its_slots_or_none() -> None:
    """And what it says is in use does not include what it took and gave back."""
    bench = Bench()
    await bench.hold("checkout", 1)
    before = bench.counters.counts()
    assert await bench.refused("checkout", 2) == ("reserved_concurrent_executions", 1, 2)
    assert await bench.refused(None, 9) == ("unreserved_concurrent_executions", 0, 8)
    assert bench.counters.counts() == before
    assert len(bench.holds.describe_all()) == 1


async def test_no_room_is_described_with_what_helps() -> None:
    bench = Bench()
    wanted = HoldRequest(None, 9)
    full = await bench.holds.take(wanted)
    assert isinstance(full, LimitReached)
    assert describe_no_room(wanted, full) == {
        "error": "unreserved_concurrent_executions leaves no room for 9 slots of the unreserved pool: 0 of 8 in use, "
        "8 free. Hold fewer, wait until calls end, end a hold (GET /holds lists them), or raise the limit.",
        "limit": "unreserved_concurrent_executions",
        "in_use": 0,
        "ceiling": 8,
    }


async def test_a_hold_uses_no_tokens() -> None:
    """Ten at once, where the account has one request a second."""
    bench = Bench()
    await bench.hold("checkout", 2)
    await bench.hold("report", 8)
    assert bench.counters._rates._buckets == {}


async def test_a_hold_ends_by_itself_when_its_time_is_over() -> None:
    bench = Bench()
    hold = await bench.hold("checkout", 2, seconds=30)
    bench.time.pass_by(29.5)
    assert bench.holds.describe(hold)["seconds_left"] == 0.5
    assert bench.counters.in_use(CHECKOUT) == 2
    bench.time.pass_by(0.5)
    assert bench.counters.counts() == bench.holds.by_counter() == {}
    assert bench.holds.describe_all() == []


async def test_releasing_a_hold_twice_is_harmless() -> None:
    """Also the timer of a hold that was released does nothing to the next one."""
    bench = Bench()
    first = await bench.hold("checkout", 2)
    assert bench.holds.release(first.id)
    second = await bench.hold("checkout", 2, seconds=60)
    assert first.id != second.id
    assert not bench.holds.release(first.id)
    bench.time.pass_by(30)
    assert bench.counters.in_use(CHECKOUT) == 2
    assert len(bench.time.timers) == 1


async def test_closing_ends_all_holds_and_there_are_no_more() -> None:
    bench = Bench()
    await bench.hold("checkout", 2)
    await bench.hold(None, 3)
    bench.holds.close()
    assert bench.counters.counts() == {}
    assert bench.time.timers == {}
    with pytest.raises(RuntimeError, match="closed"):
        await bench.hold()
    assert bench.counters.counts() == {}


async def test_a_hold_survives_a_reload_and_counts_under_the_new_limits() -> None:
    bench = Bench()
    hold = await bench.hold("checkout", 2)
    bench.limits = make_limits(reserved=3)
    assert await bench.refused("checkout", 2) == ("reserved_concurrent_executions", 2, 3)
    await bench.hold("checkout", 1)
    bench.limits = make_limits(reserved=1)
    assert await bench.refused("checkout", 1) == ("reserved_concurrent_executions", 3, 1)
    assert bench.holds.release(hold.id)
    assert bench.counters.counts() == {CHECKOUT: 1, DEFAULT: 1}


async def test_a_hold_that_is_cancelled_half_way_leaves_nothing_taken() -> None:
    counters = DistantCounters(quick=3)
    bench = Bench(counters=counters)
    task = asyncio.create_task(bench.hold(None, 5))
    await counters.is_waiting.wait()
    assert counters.in_use(POOL) == 3
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counters.counts() == bench.holds.by_counter() == {}
    assert bench.time.timers == {}


async def test_a_hold_that_is_taken_while_the_gateway_closes_leaves_nothing_taken() -> None:
    counters = DistantCounters(quick=1)
    bench = Bench(counters=counters)
    task = asyncio.create_task(bench.hold(None, 2))
    await counters.is_waiting.wait()
    bench.holds.close()
    counters.arrive.set()
    with pytest.raises(RuntimeError, match="closed"):
        await task
    assert counters.counts() == {}


async def test_the_event_loop_ends_a_hold_in_time() -> None:
    counters = MemoryCounters()
    holds = Holds(counters, limits=make_limits)
    assert isinstance(await holds.take(HoldRequest("checkout", 2, 0.001)), ActiveHold)
    await eventually(lambda: not counters.counts(), counters.counts)
    assert holds.describe_all() == []


def test_an_empty_object_asks_for_one_slot_of_the_default_pool_for_30_seconds() -> None:
    assert read_hold_request(b"{}") == read_hold_request(b'{"function": null}') == HoldRequest(None, 1, 30.0, None)


def test_all_keys_are_read() -> None:
    body = b'{"function": "a.B-9_", "slots": 1000000, "seconds": 3600, "account": "111122223333"}'
    assert read_hold_request(body) == HoldRequest("a.B-9_", 1_000_000, 3600.0, NAMED)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "The body is no JSON."),
        (b"slots=2", "The body is no JSON."),
        (b'{"function": "\xff"}', "The body is no JSON."),
        (b'{"seconds": NaN}', "The body is no JSON."),
        (b'{"seconds": 1e999}', "The body is no JSON."),
        (b'{"slots": ' + b"9" * 60_000 + b"}", "The body is no JSON."),
        (b"[" * 60_000, "The body is no JSON."),
        (b"[]", "The body is no JSON object."),
        (b"null", "The body is no JSON object."),
        (b'{"slot": 1}', "A hold has no key 'slot'. Its keys are function, slots, seconds, account."),
        (b'{"' + b"x" * 99 + b'": 1}', f"A hold has no key '{'x' * 64}'."),
        (b'{"slots": 0}', "slots must be a whole number from 1 to 1000000"),
        (b'{"slots": 1000001}', "slots must be"),
        (b'{"slots": "2"}', "slots must be"),
        (b'{"slots": 1.5}', "slots must be"),
        (b'{"slots": true}', "slots must be"),
        (b'{"slots": null}', "slots must be"),
        (b'{"seconds": 0}', "seconds must be a number above 0, at most 3600"),
        (b'{"seconds": -1}', "seconds must be"),
        (b'{"seconds": 3600.1}', "seconds must be"),
        (b'{"seconds": "30"}', "seconds must be"),
        (b'{"function": ""}', "function must be a plain function name"),
        (b'{"function": "a b"}', "function must be"),
        (b'{"function": "checkout\\n"}', "function must be"),
        (b'{"function": "checkout:live"}', "function must be"),
        (b'{"function": "\xc3\xa4"}', "function must be"),
        (b'{"function": "' + b"x" * 257 + b'"}', "function must be"),
        (b'{"function": 1}', "function must be"),
        (b'{"account": "default"}', "account must be a text of 12 digits"),
        (b'{"account": 111122223333}', "account must be"),
        (b'{"account": "1111222233334"}', "account must be"),
    ],
    ids=lambda value: value[:30].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_what_is_no_hold_is_refused_with_the_key_and_the_cure(body: bytes, text: str) -> None:
    with pytest.raises(BadDocument) as caught:
        read_hold_request(body)
    assert str(caught.value).startswith(text)
