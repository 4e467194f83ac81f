"""Limits that change under load: the checker's rule, and three real gateways on one store."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from invoke_gateway.chaos.calls import PlannedCall
from invoke_gateway.chaos.cluster import Sharing
from invoke_gateway.chaos.judging.violations import Violation
from invoke_gateway.chaos.plan import ProvePlan
from invoke_gateway.chaos.quotas import CHANGED_FUNCTION, AccountQuota
from invoke_gateway.chaos.report.progress import Progress
from invoke_gateway.chaos.run import prove
from invoke_gateway.chaos.traffic.limit_changes import CHANGES, ChangesHistory, LimitInForce

ACCOUNT = AccountQuota("000000000000", 12, {"checkout": 2})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def history() -> ChangesHistory:
    """The limit is 4, from 10 s to 11 s perhaps 1 already, and then 1; from 20 s perhaps 3."""
    made = ChangesHistory(ACCOUNT, 4, 60, 90)
    made.clock = Clock()
    made.limits = [LimitInForce(4, 0, 0.5), LimitInForce(1, 10, 11), LimitInForce(3, 20, math.inf)]
    return made


@pytest.mark.parametrize(
    ("since", "until", "most"),
    [(1, 9, 4), (1, 10.5, 4), (10.5, 10.6, 4), (11.1, 12, 1), (10.9, 12, 4), (12, 20.5, 3), (21, 22, 3), (9, 25, 4)],
)
def test_the_limit_of_a_call_is_the_highest_that_may_have_been_in_force(
    history: ChangesHistory, since: float, until: float, most: int
) -> None:
    assert history.most(since, until) == most


@pytest.mark.parametrize(("sent_at", "running", "violations"), [(10.5, 3, 0), (10.5, 4, 1), (11.5, 0, 0), (11.5, 1, 1)])
def test_a_call_that_was_sent_after_a_lower_limit_was_answered_must_not_join_those_that_run(
    history: ChangesHistory, sent_at: float, running: int, violations: int
) -> None:
    clock = history.clock
    assert isinstance(clock, Clock)
    lane = next(lane for lane in history.quota.lanes if lane.name == CHANGED_FUNCTION)

    def arrive(number: int, at: float) -> None:
        call = PlannedCall(f"c{number}", lane, CHANGED_FUNCTION)
        clock.now = at
        history.open(call)
        history.send(call)
        clock.now = at + 0.1
        history.begin(call)

    for number in range(running):
        arrive(number, 5)
    arrive(running, sent_at)
    assert history.violations.counts[Violation.OVERSHOOT] == violations


async def test_no_call_is_admitted_above_a_limit_that_changes_every_200_ms_at_three_gateways() -> None:
    plan = ProvePlan([15], accounts=[ACCOUNT], sharing=Sharing(3), phases=("limit changes", "final check"))
    verdict = await prove(plan, Progress(Console(file=io.StringIO()), 1))
    assert verdict.counts[Violation.OVERSHOOT] == verdict.counts[Violation.UNEXPECTED] == 0, verdict.examples
    assert verdict.counts[Violation.REASON] == verdict.counts[Violation.MISSING] == 0, verdict.examples
    (note,) = [note for note in verdict.notes if note.startswith("Limit changes")]
    print(note)
    assert f"{CHANGES} Puts" in note
