"""Limits that change under load: the rules by which calls of that time are judged."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from invoke_gateway.chaos.calls import CallRun, PlannedCall
from invoke_gateway.chaos.judging.changes_history import ChangesHistory, ChangingLimit, LimitInForce
from invoke_gateway.chaos.judging.violations import Violation
from invoke_gateway.chaos.quotas import CHANGED_FUNCTION, POOL, AccountQuota, QuotaLane

ACCOUNT = AccountQuota("000000000000", 12, {"checkout": 2})  # which leaves 10


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Judge:
    """A history whose clock is ours."""

    def __init__(self, *, is_shared: bool) -> None:
        self.clock = Clock()
        self.history = ChangesHistory(ACCOUNT, 4, 60, 90, is_shared=is_shared, clock=self.clock)
        self.number = 0

    def set(self, limit: ChangingLimit, slots: int, at: float = 0.0) -> None:
        limit.limits.append(LimitInForce(slots, at, at + 0.5))

    def open(self, lane: QuotaLane, at: float, *, is_sent: bool = True) -> PlannedCall:
        self.clock.now = at
        self.number += 1
        call = PlannedCall(f"c{self.number}", lane, lane.functions[0])
        self.history.open(call)
        if is_sent:
            self.history.send(call)
        return call

    def arrive(self, lane: QuotaLane, at: float) -> CallRun:
        call = self.open(lane, at)
        self.clock.now = at + 0.1
        return self.history.begin(call)

    def end(self, run: CallRun) -> None:
        self.history.end(run)
        self.history.answered(run.call)

    @property
    def overshoot(self) -> int:
        return self.history.violations.counts[Violation.OVERSHOOT]


@pytest.fixture
def judge() -> Judge:
    return Judge(is_shared=False)


@pytest.mark.parametrize(
    ("since", "until", "least", "most"),
    [
        (1, 9, 4, 4),
        (1, 10.5, 1, 4),
        (10.5, 10.6, 1, 4),
        (11.1, 12, 1, 1),
        (10.9, 12, 1, 4),
        (12, 20.5, 1, 3),
        (21, 22, 1, 3),
        (9, 25, 1, 4),
    ],
)
def test_any_limit_counts_that_may_have_been_in_force(since: float, until: float, least: int, most: int) -> None:
    """The limit is 4, from 10 s to 11 s perhaps 1 already, and then 1; from 20 s perhaps 3."""
    limit = ChangingLimit([LimitInForce(4, 0, 0.5), LimitInForce(1, 10, 11), LimitInForce(3, 20, math.inf)])
    assert (limit.least(since, until), limit.most(since, until)) == (least, most)


@pytest.mark.parametrize(("sent_at", "running", "violations"), [(10.5, 3, 0), (10.5, 4, 1), (11.5, 0, 0), (11.5, 1, 1)])
def test_a_call_that_was_sent_after_a_lower_limit_was_answered_must_not_join_those_that_run(
    judge: Judge, sent_at: float, running: int, violations: int
) -> None:
    judge.set(judge.history.reserved, 4)
    judge.history.reserved.limits.append(LimitInForce(1, 10, 11))
    judge.set(judge.history.provisioned, 0)
    lane = judge.history.lane(CHANGED_FUNCTION)
    for _ in range(running):
        judge.arrive(lane, 5)
    judge.arrive(lane, sent_at)
    assert judge.overshoot == violations


@pytest.fixture
def provisioned(judge: Judge) -> Judge:
    """Of 10 slots 3 are reserved, and 2 provisioned: the pool has 5."""
    judge.set(judge.history.reserved, 3)
    judge.set(judge.history.provisioned, 2)
    return judge


def test_the_pool_is_smaller_by_what_is_reserved_and_provisioned(provisioned: Judge) -> None:
    pool = provisioned.history.lane(POOL)
    for _ in range(5):
        provisioned.arrive(pool, 5)
    assert provisioned.overshoot == 0
    provisioned.arrive(pool, 6)
    assert provisioned.overshoot == 1


@pytest.mark.parametrize("of_version", range(8))
def test_a_version_has_its_slots_and_what_the_pool_has_left(provisioned: Judge, of_version: int) -> None:
    history = provisioned.history
    for number in range(7):
        provisioned.arrive(history.spilling if number < of_version else history.lane(POOL), 5)
    assert provisioned.overshoot == max(0, 7 - of_version - 5)
    provisioned.arrive(history.spilling, 6)
    assert provisioned.overshoot > 0


def test_calls_that_run_since_a_time_of_higher_limits_are_no_overshoot(provisioned: Judge) -> None:
    history = provisioned.history
    running = [provisioned.arrive(history.spilling, 5) for _ in range(7)]
    provisioned.set(history.provisioned, 0, at=10)
    provisioned.set(history.reserved, 5, at=11)  # the pool has 5 again
    provisioned.arrive(history.lane(POOL), 12)
    assert provisioned.overshoot == 0
    for run in running:
        provisioned.end(run)
    for _ in range(4):
        provisioned.arrive(history.lane(POOL), 13)
    assert provisioned.overshoot == 0
    provisioned.arrive(history.spilling, 14)
    assert provisioned.overshoot == 1


Held = Callable[[ChangesHistory], list[QuotaLane]]


@pytest.mark.parametrize(
    ("held", "refused", "was_free"),
    [
        (lambda h: [h.lane(POOL)] * 4, POOL, True),
        (lambda h: [h.lane(POOL)] * 5, POOL, False),
        (lambda h: [h.lane(POOL)] * 2 + [h.spilling] * 2, POOL, True),
        (lambda h: [h.lane(POOL)] * 2 + [h.spilling] * 3, POOL, False),  # which may have spilled over
        (lambda h: [h.lane(POOL)] * 4, "spilling", True),
        (lambda h: [h.lane(CHANGED_FUNCTION)] * 2, CHANGED_FUNCTION, True),
        (lambda h: [h.lane(CHANGED_FUNCTION)] * 3, CHANGED_FUNCTION, False),
        (lambda h: [h.lane(POOL)] * 12, CHANGED_FUNCTION, False),  # the account may be full
    ],
)
def test_a_refusal_is_wrong_where_fewer_than_the_lowest_limits_could_hold_a_slot(
    provisioned: Judge, held: Held, refused: str, was_free: bool
) -> None:
    history = provisioned.history
    for lane in held(history):
        provisioned.open(lane, 5)
    call = provisioned.open(history.spilling if refused == "spilling" else history.lane(refused), 6)
    assert history.was_free(call) is was_free


@pytest.mark.parametrize(("is_shared", "changed_at", "was_free"), [(False, 4, True), (True, 4, True), (True, 5, False)])
def test_gateways_that_share_counters_may_refuse_by_the_lower_limit_for_a_second(
    is_shared: bool, changed_at: float, was_free: bool
) -> None:
    judge = Judge(is_shared=is_shared)
    judge.set(judge.history.provisioned, 0)
    judge.set(judge.history.reserved, 0)
    judge.set(judge.history.reserved, 3, at=changed_at)
    call = judge.open(judge.history.lane(CHANGED_FUNCTION), 6)
    assert judge.history.was_free(call) is was_free


def test_one_gateway_refuses_by_the_limits_since_the_call_was_opened() -> None:
    judge = Judge(is_shared=False)
    judge.set(judge.history.provisioned, 0)
    judge.set(judge.history.reserved, 3)
    call = judge.open(judge.history.lane(CHANGED_FUNCTION), 6)
    judge.set(judge.history.reserved, 0, at=6)
    assert not judge.history.was_free(call)
