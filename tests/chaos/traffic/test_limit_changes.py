"""Limits that change under load at real gateways: one, and three on one store."""

from __future__ import annotations

import asyncio
import io
import math
from random import Random
from time import monotonic
from typing import cast

import pytest
from rich.console import Console

from invoke_gateway.chaos.backend import RecordingBackend
from invoke_gateway.chaos.calls import PlannedCall
from invoke_gateway.chaos.cluster import Sharing
from invoke_gateway.chaos.judging.changes_history import ChangesHistory
from invoke_gateway.chaos.judging.violations import Violation
from invoke_gateway.chaos.plan import ProvePlan
from invoke_gateway.chaos.quotas import POOL, AccountQuota, VersionQuota
from invoke_gateway.chaos.report.progress import Progress
from invoke_gateway.chaos.report.verdict import UNJUDGED
from invoke_gateway.chaos.run import prove
from invoke_gateway.chaos.scheduler_lag import SchedulerLag
from invoke_gateway.chaos.target import GatewayTarget
from invoke_gateway.chaos.traffic import limit_changes
from invoke_gateway.chaos.traffic.clients import ClientBehaviour, invoke
from invoke_gateway.chaos.traffic.limit_changes import CHANGES, LimitChanges
from invoke_gateway.chaos.traffic.phases import Phases

ATTEMPTS = 3  # of a run in which the machine stood still, so that what was late is not judged
ACCOUNT = AccountQuota(
    "000000000000",
    17,
    {"checkout": 2, "versions": 3},
    {"versions": VersionQuota("7", 2, ("live",)), "idle": VersionQuota("1", 2)},
)


@pytest.mark.parametrize("sharing", [None, Sharing(3)], ids=["one gateway", "three on one store"])
async def test_no_call_is_admitted_above_limits_that_change_every_200_ms_nor_refused_below(
    sharing: Sharing | None,
) -> None:
    plan = ProvePlan([15], accounts=[ACCOUNT], sharing=sharing, phases=("limit changes", "final check"))
    for _ in range(ATTEMPTS):
        verdict = await prove(plan, Progress(Console(file=io.StringIO()), 1))
        if verdict.status != UNJUDGED:
            break
    else:
        pytest.skip(f"not judged: the machine is too slow for changes every 200 ms: {verdict.examples}")
    assert verdict.counts[Violation.OVERSHOOT] == verdict.counts[Violation.UNEXPECTED] == 0, verdict.examples
    assert verdict.counts[Violation.REASON] == verdict.counts[Violation.MISSING] == 0, verdict.examples
    assert verdict.counts[Violation.WAS_FREE] == 0, verdict.examples
    (note,) = [note for note in verdict.notes if note.startswith("Limit changes")]
    print(note)
    assert f"{CHANGES} Puts" in note


async def leave_calls_running(phases: Phases) -> None:
    """Sends calls that fill the pool, and leaves each once it has arrived. Their functions run on."""
    lane = next(lane for lane in phases.accounts[0].lanes if lane.name == POOL)
    calls = [PlannedCall(f"left.{number}", lane, "prove-one", seconds=1.5) for number in range(lane.ceiling)]
    rng = Random(15)
    await asyncio.gather(*(invoke(phases.route, call, ClientBehaviour.LEAVES_DURING, rng) for call in calls))


async def test_calls_whose_clients_have_left_before_the_changes_hold_no_slot_when_these_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limit_changes, "CHANGES", 8)
    monkeypatch.setattr(Phases, "hostile", leave_calls_running)
    plan = ProvePlan([15], accounts=[ACCOUNT], timeout_seconds=10.0, phases=("hostile", "limit changes", "final check"))
    verdict = await prove(plan, Progress(Console(file=io.StringIO()), 1))
    assert verdict.examples == []
    (result,) = verdict.results
    assert result.answers["left"] == ACCOUNT.unreserved


class Lag:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.since = math.inf

    def overloaded_since(self, since: float) -> float:
        self.since = since
        return self.seconds


@pytest.mark.parametrize(
    ("status", "lag", "violation"),
    [
        (500, 0.0, Violation.UNEXPECTED),
        (500, 1.3, Violation.NOT_JUDGED),
        (400, 1.3, Violation.UNEXPECTED),
        (0, 1.3, Violation.UNEXPECTED),
    ],
)
async def test_a_change_that_fails_while_the_machine_stands_still_is_not_judged(
    status: int, lag: float, violation: Violation
) -> None:
    changes = ChangesHistory(ACCOUNT, 4, 60, 90, is_shared=True)
    lags = Lag(lag)
    changes.lag, changes.recovery_seconds = cast("SchedulerLag", lags), 3.0

    async def send() -> tuple[int, bytes]:
        return status, b"no"

    phase = LimitChanges(cast("GatewayTarget", None), cast("RecordingBackend", None), [ACCOUNT], "s")
    await phase._put(changes, changes.reserved, 2, send())
    assert changes.violations.counts == {violation: 1}
    if status == 500:
        assert lags.since <= monotonic() - 3.0, "a gateway may still recover from it"
    assert phase.puts == 0
