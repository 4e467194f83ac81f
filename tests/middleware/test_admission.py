"""Slots and tokens are taken for synchronous invocations, and given back by whoever was last responsible."""

from __future__ import annotations

import asyncio

import pytest

from invoke_gateway.counters.memory import MemoryCounters
from invoke_gateway.counters.shared.messages import Take
from invoke_gateway.exchange import Exchange
from invoke_gateway.middleware.admission import Admission, Precheck
from invoke_gateway.middleware.handoff import Handoff
from invoke_gateway.policy.concurrency import LimitReached, Plan
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits
from invoke_gateway.refusals import Refusal
from tests.middleware.stages import ECHO, Driven, Inside, drive, make_exchange

ONE = AccountLimits("000000000000", 2, {"echo": FunctionLimits(1)})
EVENT = (("x-amz-invocation-type", "Event"),)
DRY_RUN = (("x-amz-invocation-type", "DryRun"),)
ASYNC = "/2014-11-13/functions/echo/invoke-async"


def exchange_for(account: AccountLimits, path: str = ECHO, headers: tuple[tuple[str, str], ...] = ()) -> Exchange:
    exchange = make_exchange(path, headers)
    assert exchange.invocation is not None
    exchange.plan = account.plan(exchange.invocation.function.name)
    return exchange


async def test_a_slot_is_held_while_the_rest_of_the_chain_runs_and_given_back_if_nothing_was_sent() -> None:
    counters = MemoryCounters()
    held = []
    await drive(
        Admission(Inside(lambda exchange: held.append(counters.counts())), counters=counters), exchange_for(ONE)
    )
    assert held == [{"000000000000/function/echo": 1, "000000000000/account": 1}]
    assert counters.counts() == {}


async def test_a_slot_comes_back_when_the_rest_of_the_chain_fails_before_it_has_sent_anything() -> None:
    counters = MemoryCounters()

    def fail(exchange: Exchange) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await drive(Admission(Inside(fail), counters=counters), exchange_for(ONE))
    assert counters.counts() == {}


async def test_once_the_backend_may_have_the_request_the_slot_is_the_backends() -> None:
    """Also when we fail: only the end of the backend's work gives it back."""
    counters = MemoryCounters()

    def dispatch(exchange: Exchange) -> None:
        exchange.is_dispatched = True
        raise RuntimeError

    exchange = exchange_for(ONE)
    with pytest.raises(RuntimeError):
        await drive(Admission(Inside(dispatch), counters=counters), exchange)
    assert counters.counts() == {"000000000000/function/echo": 1, "000000000000/account": 1}
    assert exchange.slot is not None
    exchange.slot.release()
    assert counters.counts() == {}


class AskedCounters(MemoryCounters):
    """A store that decides when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Plan, Take]] = []

    def acquire_now(self, plan: Plan) -> Take:  # type: ignore[override]  # it is never decided at once
        pending = Take(plan, asyncio.get_running_loop())
        self.asked.append((plan, pending))
        return pending

    def decide(self) -> None:
        plan, pending = self.asked.pop(0)
        pending.end(super().acquire_now(plan))


async def ask(counters: AskedCounters, inside: Inside, exchange: Exchange) -> asyncio.Task[Driven]:
    driving = asyncio.create_task(drive(Admission(inside, counters=counters), exchange))
    while not counters.asked:  # noqa: ASYNC110 (the task has a few steps to go)
        await asyncio.sleep(0)
    assert not inside.exchanges
    return driving


async def test_a_slot_that_a_store_decides_over_is_held_and_given_back_as_any_other() -> None:
    counters, held, inside = AskedCounters(), [], Inside(lambda exchange: held.append(counters.counts()))
    driving = await ask(counters, inside, exchange_for(ONE))
    counters.decide()
    await driving
    assert held == [{"000000000000/function/echo": 1, "000000000000/account": 1}]
    assert counters.counts() == {}


async def test_a_store_without_room_refuses() -> None:
    counters, inside, exchange = AskedCounters(), Inside(), exchange_for(ONE)
    taken = MemoryCounters.acquire_now(counters, ONE.plan("echo"))
    driving = await ask(counters, inside, exchange)
    counters.decide()
    await driving
    assert exchange.refusal is Refusal.RESERVED_CONCURRENCY
    assert not inside.exchanges
    assert not isinstance(taken, LimitReached)
    taken.release()
    assert counters.counts() == {}


async def test_an_error_of_the_store_is_an_error_of_the_request() -> None:
    counters = AskedCounters()
    driving = await ask(counters, Inside(), exchange_for(ONE))
    counters.asked.pop()[1].fail(RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        await driving


@pytest.mark.parametrize("is_decided", [False, True], ids=["before the decision", "after it"])
async def test_a_request_that_is_cancelled_while_it_waits_for_a_store_keeps_no_slot(is_decided: bool) -> None:
    counters, inside = AskedCounters(), Inside()
    driving = await ask(counters, inside, exchange_for(ONE))
    await asyncio.sleep(0)
    pending = counters.asked[0][1]
    if is_decided:
        counters.decide()
        assert counters.counts()
    driving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await driving
    if not is_decided:
        counters.decide()
    assert pending.is_waiting is is_decided
    assert counters.counts() == {}
    assert not inside.exchanges


@pytest.mark.parametrize("stage", [Admission, Precheck])
async def test_without_room_the_request_goes_no_further_and_says_why(stage: type[Admission] | type[Precheck]) -> None:
    counters = MemoryCounters()
    taken = await counters.acquire(ONE.plan("echo"))
    inside = Inside()
    driven = await drive(stage(inside, counters=counters), exchange_for(ONE))
    exchange = driven.exchange
    assert exchange.refusal is Refusal.RESERVED_CONCURRENCY
    assert exchange.full is not None
    assert exchange.full.describe() == 'limit="reserved_concurrent_executions", in-use=1, ceiling=1'
    assert (inside.exchanges, driven.reads) == ([], 0)
    assert len(counters.counts()) == 2
    taken.release()


async def test_looking_ahead_takes_nothing() -> None:
    counters = MemoryCounters()
    rated = AccountLimits("000000000000", 2, requests_per_second=1)
    for _ in range(3):
        driven = await drive(Precheck(Inside(), counters=counters), exchange_for(rated))
        assert driven.exchange.refusal is None
    assert counters.counts() == {}
    assert not isinstance(await counters.acquire(rated.plan("echo")), tuple)


@pytest.mark.parametrize(("path", "headers"), [(ECHO, EVENT), (ECHO, DRY_RUN), (ASYNC, ())])
async def test_what_takes_no_slot_is_never_throttled(path: str, headers: tuple[tuple[str, str], ...]) -> None:
    """Event and DryRun go past the limits, also at a reservation of 0."""
    closed = AccountLimits("000000000000", 0, {"echo": FunctionLimits(0, 0)}, requests_per_second=0)
    admitted, unadmitted = Inside(), Inside()
    chain = Precheck(Handoff(admitted, unadmitted=unadmitted), counters=MemoryCounters())
    driven = await drive(chain, exchange_for(closed, path, headers))
    assert (admitted.exchanges, unadmitted.exchanges) == ([], [driven.exchange])


@pytest.mark.parametrize(("path", "headers"), [(ECHO, EVENT), (ASYNC, ())])
async def test_an_event_takes_a_slot_before_a_runtime_that_runs_every_call(
    path: str, headers: tuple[tuple[str, str], ...]
) -> None:
    limits = AccountLimits("000000000000", 1)
    admitted, unadmitted = Inside(), Inside()
    chain = Handoff(admitted, unadmitted=unadmitted, before_runtime=True)
    driven = await drive(chain, exchange_for(limits, path, headers))
    assert (admitted.exchanges, unadmitted.exchanges) == ([driven.exchange], [])


async def test_a_dry_run_never_reaches_a_runtime_that_runs_every_call() -> None:
    admitted, unadmitted = Inside(), Inside()
    chain = Handoff(admitted, unadmitted=unadmitted, before_runtime=True)
    driven = await drive(chain, exchange_for(ONE, ECHO, DRY_RUN))
    assert (admitted.exchanges, unadmitted.exchanges) == ([], [])
    assert driven.exchange.status == 204


async def test_what_is_no_invocation_takes_no_slot() -> None:
    admitted, unadmitted = Inside(), Inside()
    chain = Precheck(Handoff(admitted, unadmitted=unadmitted), counters=MemoryCounters())
    await drive(chain, make_exchange("/2015-03-31/functions"))
    assert (len(admitted.exchanges), len(unadmitted.exchanges)) == (0, 1)


async def test_the_time_that_taking_took_is_noted() -> None:
    times = iter([1.0, 1.5])
    driven = await drive(Admission(Inside(), counters=MemoryCounters(), clock=lambda: next(times)), exchange_for(ONE))
    assert driven.exchange.admission_seconds == 0.5
