"""What the ledger counts as running, and when it says that a slot was free for certain."""

from __future__ import annotations

import pytest

from invoke_gateway.chaos.calls import Call, Ending
from invoke_gateway.chaos.history import Ledger
from invoke_gateway.chaos.quotas import POOL, WHOLE, Account, Lane
from invoke_gateway.chaos.violations import Fault

ACCOUNT = "000000000000"
FUNCTION_SECONDS, TIMEOUT_SECONDS = 1.5, 3.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> Ledger:
    return Ledger([Account(ACCOUNT, 3, {"checkout": 1})], FUNCTION_SECONDS, TIMEOUT_SECONDS, clock)


def lane(ledger: Ledger, name: str) -> Lane:
    return next(lane for lane in Account(ACCOUNT, 3, {"checkout": 1}).lanes if lane.name == name)


def sent(ledger: Ledger, id: str, name: str = POOL) -> Call:
    of = lane(ledger, name)
    call = Call(id, of, of.functions[0], ending=Ending.ANSWERS)
    ledger.open(call)
    ledger.send(call)
    return call


def running(ledger: Ledger) -> dict[str, int]:
    return {name: level.running for (_, name), level in ledger.levels.items()}


def test_a_call_counts_in_its_lane_and_in_its_account_until_it_ends_once(ledger: Ledger) -> None:
    pool, reserved = ledger.begin(sent(ledger, "a")), ledger.begin(sent(ledger, "b", "checkout"))
    assert running(ledger) == {WHOLE: 2, POOL: 1, "checkout": 1}
    ledger.end(pool)
    ledger.end(pool)
    ledger.end(reserved)
    assert running(ledger) == {WHOLE: 0, POOL: 0, "checkout": 0}
    assert {name: level.highest for (_, name), level in ledger.levels.items()} == {WHOLE: 2, POOL: 1, "checkout": 1}
    assert not ledger.faults


def test_one_above_a_limit_is_an_overshoot_and_exactly_the_limit_is_none(ledger: Ledger) -> None:
    ledger.begin(sent(ledger, "a", "checkout"))
    assert not ledger.faults
    ledger.begin(sent(ledger, "b", "checkout"))
    assert ledger.faults.counts == {Fault.OVERSHOOT: 1}
    assert ledger.levels[ACCOUNT, "checkout"].overshoot == 1


def test_a_function_ends_at_its_own_time_out_counted_from_when_its_client_sent_it(ledger: Ledger, clock: Clock) -> None:
    first = sent(ledger, "a", "checkout")
    clock.now += 1.0  # this process was asleep: the gateway's own time-out may have begun long ago
    ledger.begin(first)
    clock.now += 0.6
    ledger.begin(sent(ledger, "b", "checkout"))
    assert not ledger.faults
    assert ledger.levels[ACCOUNT, "checkout"].series == [(101.0, 1), (101.5, 0), (101.6, 1)]


def test_what_arrives_after_its_functions_time_out_never_counts(ledger: Ledger, clock: Clock) -> None:
    call = sent(ledger, "a")
    clock.now += FUNCTION_SECONDS
    ledger.end(ledger.begin(call))
    assert ledger.levels[ACCOUNT, POOL].highest == 0
    assert call.arrivals == 1


def test_an_arrival_that_nobody_asked_for_is_a_fault(ledger: Ledger) -> None:
    refused, twice = sent(ledger, "a"), sent(ledger, "b")
    refused.is_refused = True
    ledger.end(ledger.begin(refused))
    ledger.end(ledger.begin(twice))
    ledger.end(ledger.begin(twice))
    half = Call("c", lane(ledger, POOL), "prove-one")
    ledger.open(half)
    ledger.end(ledger.begin(half))
    assert ledger.faults.counts == {Fault.REFUSED_AND_RUN: 1, Fault.TWICE: 1, Fault.NOT_WHOLE: 1}


def test_a_slot_was_free_when_too_few_others_could_hold_one(ledger: Ledger) -> None:
    sent(ledger, "other")
    assert ledger.was_free(sent(ledger, "refused"))


def test_no_slot_is_known_to_be_free_while_as_many_others_as_slots_may_hold_one(ledger: Ledger) -> None:
    others = [sent(ledger, "a"), sent(ledger, "b")]
    refused = sent(ledger, "refused")
    for other in others:
        ledger.answered(other)
    assert not ledger.was_free(refused), "they may have held it when the gateway looked"
    assert ledger.was_free(sent(ledger, "later"))


def test_one_that_was_sent_while_the_refused_call_was_under_way_may_have_held_the_slot(ledger: Ledger) -> None:
    slow = Call("slow", lane(ledger, "checkout"), "checkout")
    ledger.open(slow)
    ledger.answered(sent(ledger, "between", "checkout"))
    ledger.send(slow)
    assert not ledger.was_free(slow)


def test_a_call_whose_client_left_may_hold_its_slot_until_all_is_quiet(ledger: Ledger) -> None:
    sent(ledger, "left", "checkout")
    assert not ledger.was_free(sent(ledger, "b", "checkout"))
    ledger.quiet()
    assert ledger.was_free(sent(ledger, "c", "checkout"))


def test_lanes_do_not_lend_to_one_another(ledger: Ledger) -> None:
    for id in "abc":
        sent(ledger, id)
    assert ledger.was_free(sent(ledger, "d", "checkout"))


def test_a_reservation_of_nothing_is_never_free(ledger: Ledger) -> None:
    closed = Ledger([Account(ACCOUNT, 3, {"closed": 0})], FUNCTION_SECONDS, TIMEOUT_SECONDS)
    of = next(lane for lane in Account(ACCOUNT, 3, {"closed": 0}).lanes if lane.name == "closed")
    call = Call("a", of, "closed")
    closed.open(call)
    closed.send(call)
    assert not closed.was_free(call)
