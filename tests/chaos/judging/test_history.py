"""What the history counts as running, and when it says that a slot was free for certain."""

from __future__ import annotations

import pytest

from invoke_gateway.chaos.calls import CallEnding, PlannedCall
from invoke_gateway.chaos.judging.history import CallHistory
from invoke_gateway.chaos.judging.violations import Violation
from invoke_gateway.chaos.quotas import POOL, WHOLE, AccountQuota, QuotaLane

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
def history(clock: Clock) -> CallHistory:
    return CallHistory([AccountQuota(ACCOUNT, 3, {"checkout": 1})], FUNCTION_SECONDS, TIMEOUT_SECONDS, clock)


def lane(history: CallHistory, name: str) -> QuotaLane:
    return next(lane for lane in AccountQuota(ACCOUNT, 3, {"checkout": 1}).lanes if lane.name == name)


def sent(history: CallHistory, id: str, name: str = POOL) -> PlannedCall:
    of = lane(history, name)
    call = PlannedCall(id, of, of.functions[0], ending=CallEnding.ANSWERS)
    history.open(call)
    history.send(call)
    return call


def running(history: CallHistory) -> dict[str, int]:
    return {name: track.running for (_, name), track in history.tracks.items()}


def test_a_call_counts_in_its_lane_and_in_its_account_until_it_ends_once(history: CallHistory) -> None:
    pool, reserved = history.begin(sent(history, "a")), history.begin(sent(history, "b", "checkout"))
    assert running(history) == {WHOLE: 2, POOL: 1, "checkout": 1}
    history.end(pool)
    history.end(pool)
    history.end(reserved)
    assert running(history) == {WHOLE: 0, POOL: 0, "checkout": 0}
    assert {name: track.highest for (_, name), track in history.tracks.items()} == {WHOLE: 2, POOL: 1, "checkout": 1}
    assert not history.violations


def test_one_above_a_limit_is_an_overshoot_and_exactly_the_limit_is_none(history: CallHistory) -> None:
    history.begin(sent(history, "a", "checkout"))
    assert not history.violations
    history.begin(sent(history, "b", "checkout"))
    assert history.violations.counts == {Violation.OVERSHOOT: 1}
    assert history.tracks[ACCOUNT, "checkout"].overshoot == 1


def test_a_function_ends_at_its_own_time_out_counted_from_when_its_client_sent_it(
    history: CallHistory, clock: Clock
) -> None:
    first = sent(history, "a", "checkout")
    clock.now += 1.0  # this process was asleep: the gateway's own time-out may have begun long ago
    history.begin(first)
    clock.now += 0.6
    history.begin(sent(history, "b", "checkout"))
    assert not history.violations
    assert history.tracks[ACCOUNT, "checkout"].series == [(101.0, 1), (101.5, 0), (101.6, 1)]


def test_what_arrives_after_its_functions_time_out_never_counts(history: CallHistory, clock: Clock) -> None:
    call = sent(history, "a")
    clock.now += FUNCTION_SECONDS
    history.end(history.begin(call))
    assert history.tracks[ACCOUNT, POOL].highest == 0
    assert call.arrivals == 1


def test_an_arrival_that_nobody_asked_for_is_a_fault(history: CallHistory) -> None:
    refused, twice = sent(history, "a"), sent(history, "b")
    refused.is_refused = True
    history.end(history.begin(refused))
    history.end(history.begin(twice))
    history.end(history.begin(twice))
    half = PlannedCall("c", lane(history, POOL), "prove-one")
    history.open(half)
    history.end(history.begin(half))
    assert history.violations.counts == {Violation.REFUSED_AND_RUN: 1, Violation.TWICE: 1, Violation.NOT_WHOLE: 1}


def test_a_slot_was_free_when_too_few_others_could_hold_one(history: CallHistory) -> None:
    sent(history, "other")
    assert history.was_free(sent(history, "refused"))


def test_no_slot_is_known_to_be_free_while_as_many_others_as_slots_may_hold_one(history: CallHistory) -> None:
    others = [sent(history, "a"), sent(history, "b")]
    refused = sent(history, "refused")
    for other in others:
        history.answered(other)
    assert not history.was_free(refused), "they may have held it when the gateway looked"
    assert history.was_free(sent(history, "later"))


def test_one_that_was_sent_while_the_refused_call_was_under_way_may_have_held_the_slot(history: CallHistory) -> None:
    slow = PlannedCall("slow", lane(history, "checkout"), "checkout")
    history.open(slow)
    history.answered(sent(history, "between", "checkout"))
    history.send(slow)
    assert not history.was_free(slow)


def test_a_call_whose_client_left_may_hold_its_slot_until_all_is_quiet(history: CallHistory) -> None:
    sent(history, "left", "checkout")
    assert not history.was_free(sent(history, "b", "checkout"))
    history.release_all()
    assert history.was_free(sent(history, "c", "checkout"))


def test_lanes_do_not_lend_to_one_another(history: CallHistory) -> None:
    for id in "abc":
        sent(history, id)
    assert history.was_free(sent(history, "d", "checkout"))


def test_a_reservation_of_nothing_is_never_free(history: CallHistory) -> None:
    closed = CallHistory([AccountQuota(ACCOUNT, 3, {"closed": 0})], FUNCTION_SECONDS, TIMEOUT_SECONDS)
    of = next(lane for lane in AccountQuota(ACCOUNT, 3, {"closed": 0}).lanes if lane.name == "closed")
    call = PlannedCall("a", of, "closed")
    closed.open(call)
    closed.send(call)
    assert not closed.was_free(call)
