"""Several gateways on one store, as processes in real time: exact sharing passes, and each flaw of sharing is seen.

`test_workload.py` has the same in virtual time, for every run of the tests.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Awaitable

import pytest
from rich.console import Console

from invoke_gateway.chaos.cluster import Sharing
from invoke_gateway.chaos.faults import fault_log
from invoke_gateway.chaos.faults.fault_log import TIMEOUT
from invoke_gateway.chaos.faults.kinds import FaultKind
from invoke_gateway.chaos.judging.violations import Violation
from invoke_gateway.chaos.plan import ProvePlan
from invoke_gateway.chaos.quotas import UNRESERVED_REASON, AccountQuota
from invoke_gateway.chaos.report.calls import list_tables
from invoke_gateway.chaos.report.console import print_verdict
from invoke_gateway.chaos.report.html import render
from invoke_gateway.chaos.report.progress import Progress
from invoke_gateway.chaos.report.verdict import CallsVerdict
from invoke_gateway.chaos.run import prove
from invoke_gateway.chaos.traffic import workload

from ..fake_sharing import SharedFlaw

SMALL = [AccountQuota("000000000000", 6, {"checkout": 2})]
LEASE_SECONDS = 1.0
GRACE_SECONDS = 3.0  # many processes start at once here
AT_ONCE = 3  # of the judgings: each starts a store and its gateways


async def judge_fakes(
    flaw: SharedFlaw,
    *kinds: FaultKind,
    gateways: int = 2,
    reclaim_after: str = "lease",
    phases: tuple[str, ...] = ("faults",),
) -> CallsVerdict:
    plan = ProvePlan(
        [2],
        clients=30,
        accounts=SMALL,
        sharing=Sharing(gateways, lease_seconds=LEASE_SECONDS, reclaim_after=reclaim_after),
        kinds=kinds,
        phases=phases,
        serve=(sys.executable, "-m", "tests.chaos.fake_sharing", flaw),
    )
    return await prove(plan, Progress(Console(file=io.StringIO()), 1))


@pytest.mark.soak
async def test_gateways_that_share_exactly_pass_and_each_flaw_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "PATIENCE", 0.0)
    monkeypatch.setattr(fault_log, "GRACE_SECONDS", GRACE_SECONDS)
    flaws = {
        (SharedFlaw.ONE_TOO_MANY, FaultKind.SLOW): Violation.OVERSHOOT,
        (SharedFlaw.NO_FENCE, FaultKind.STOPPED): Violation.OVERSHOOT,
        (SharedFlaw.NO_REFILL, FaultKind.FLUSHED_MEANWHILE): Violation.OVERSHOOT,
        (SharedFlaw.OPEN, FaultKind.ALL_CUT_OFF): Violation.OVERSHOOT,
        (SharedFlaw.NEVER_PRUNES, FaultKind.KILLED): Violation.NOT_HEALED,
        (SharedFlaw.STAYS_AWAY, FaultKind.RESET): Violation.NOT_HEALED,
        (SharedFlaw.FAILS_CALM, FaultKind.FLUSHED): Violation.NO_FAULT,
    }
    few = asyncio.Semaphore(AT_ONCE)

    async def in_turn(judging: Awaitable[CallsVerdict]) -> CallsVerdict:
        async with few:
            return await judging

    judgings = [
        judge_fakes(SharedFlaw.NONE, FaultKind.KILLED, reclaim_after=TIMEOUT),
        judge_fakes(
            SharedFlaw.NONE, FaultKind.KILLED, FaultKind.REPLIES_LOST, gateways=3, phases=("faults", "final check")
        ),
        judge_fakes(SharedFlaw.NONE, FaultKind.TWO_KILLED, gateways=3),
        judge_fakes(SharedFlaw.NONE, FaultKind.CUT_OFF_AT_RESTART),
        judge_fakes(SharedFlaw.NO_REFILL, FaultKind.CUT_OFF_AT_RESTART),
        judge_fakes(SharedFlaw.PRUNES_AT_LEASE, FaultKind.KILLED, reclaim_after=TIMEOUT),
        *(judge_fakes(flaw, kind) for flaw, kind in flaws),
    ]
    kept, honest, two, cut, unfilled, broken, *verdicts = await asyncio.gather(*map(in_turn, judgings))
    if honest.status == 2:  # the machine was overloaded, and what was late is not judged
        honest = await judge_fakes(
            SharedFlaw.NONE, FaultKind.KILLED, FaultKind.REPLIES_LOST, gateways=3, phases=("faults", "final check")
        )
    assert honest.examples == []
    assert honest.holds
    assert [(peak.name, peak.highest) for peak in honest.peaks] == [("account", 6), ("unreserved", 4), ("checkout", 2)]
    (result,) = honest.results
    assert result.faults[0].name == "load alone"
    assert sorted(fault.kind for fault in result.faults[1:]) == [FaultKind.KILLED, FaultKind.REPLIES_LOST]
    assert all(recovery.within_deadline for fault in result.faults for recovery in fault.recoveries)
    killed = next(fault for fault in result.faults if fault.kind == FaultKind.KILLED)
    assert killed.lasted is None
    table = {second.at: second for second in killed.timeline}
    assert [*table][0:4] == [-3, -2, -1, 0]
    assert any("killed" in mark for mark in table[0].marks)
    assert any("lease over" in mark for at in (0, 1) for mark in table[at].marks)
    assert all(table[at].running[1] == 6 for at in (-3, -2, -1)), "the load fills every slot"
    assert max(second.affected for second in killed.timeline) > 0, "nothing ran through it when it was killed"
    assert table[max(table)].affected <= table[0].affected
    assert sum(second.admitted for second in killed.timeline) > 0
    assert sum(second.refusals.get(UNRESERVED_REASON, 0) for second in killed.timeline) > 0
    assert any(second.store is not None for second in killed.timeline)
    assert [recovery.name.partition(" started")[1] for recovery in killed.recoveries] == ["", " started"]
    assert killed.unanswered > 0, "nobody called it when it was killed"
    assert killed.refused_while_free > 0, "its slots were idle until its lease had ended"
    for verdict, names in (
        (two, [FaultKind.TWO_KILLED]),
        (cut, [FaultKind.CUT_OFF_AT_RESTART, "store restarted empty meanwhile"]),
    ):
        assert verdict.examples == []
        assert [fault.kind for fault in verdict.results[0].faults] == ["load alone", *names]
        assert all(fault.recoveries for fault in verdict.results[0].faults)
        over = [fault.over for fault in verdict.results[0].faults[1:]]
        assert None not in over, "from then on no fault excuses anything any more"
    assert unfilled.counts[Violation.OVERSHOOT] > 0
    for place, ((flaw, kind), violation) in enumerate(flaws.items()):
        if not verdicts[place].counts[
            violation
        ]:  # the fault began when little ran: on a busy machine it does, now and then
            verdicts[place] = await judge_fakes(flaw, kind)
    for (what, violation), verdict in zip(flaws.items(), verdicts, strict=True):
        assert verdict.counts[violation] > 0, f"{what}: {verdict.sentence} {verdict.examples}"
        assert verdict.status == 1
    assert any(fault.overshoot for fault in verdicts[1].results[0].faults if fault.kind == FaultKind.STOPPED)
    assert kept.examples == []
    waited = next(fault.recoveries[0].seconds for fault in kept.results[0].faults if fault.kind == FaultKind.KILLED)
    assert waited is not None
    assert waited > 9.0 > LEASE_SECONDS + GRACE_SECONDS, "9 s are the time-out"
    assert broken.counts[Violation.GIVEN_AWAY] > 0
    assert broken.counts[Violation.OVERSHOOT] > 0, "what is promised after the time-out must not happen after the lease"
    output = io.StringIO()
    print_verdict(Console(file=output, width=120), verdicts[4], list_tables(verdicts[4]))
    for text in (output.getvalue(), render(verdicts[4], "prove")):
        assert "killed (-9)" in text
        assert "never" in text
        assert "4 s" in text, "the promise"
