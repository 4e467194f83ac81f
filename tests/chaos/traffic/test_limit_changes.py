"""Limits that change under load at real gateways: one, and three on one store."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from invoke_gateway.chaos.cluster import Sharing
from invoke_gateway.chaos.judging.violations import Violation
from invoke_gateway.chaos.plan import ProvePlan
from invoke_gateway.chaos.quotas import AccountQuota, VersionQuota
from invoke_gateway.chaos.report.progress import Progress
from invoke_gateway.chaos.run import prove
from invoke_gateway.chaos.traffic.limit_changes import CHANGES

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
    verdict = await prove(plan, Progress(Console(file=io.StringIO()), 1))
    assert verdict.counts[Violation.OVERSHOOT] == verdict.counts[Violation.UNEXPECTED] == 0, verdict.examples
    assert verdict.counts[Violation.REASON] == verdict.counts[Violation.MISSING] == 0, verdict.examples
    assert verdict.counts[Violation.WAS_FREE] == 0, verdict.examples
    (note,) = [note for note in verdict.notes if note.startswith("Limit changes")]
    print(note)
    assert f"{CHANGES} Puts" in note
