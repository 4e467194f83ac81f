"""Real gateways whose slots are kept for the dead until the backend's time-out."""

from __future__ import annotations

import io

from rich.console import Console

from invoke_gateway.chaos.cluster import Sharing
from invoke_gateway.chaos.faults.fault_log import TIMEOUT
from invoke_gateway.chaos.faults.kinds import FaultKind
from invoke_gateway.chaos.judging.violations import Violation
from invoke_gateway.chaos.plan import ProvePlan
from invoke_gateway.chaos.quotas import AccountQuota
from invoke_gateway.chaos.report.progress import Progress
from invoke_gateway.chaos.run import prove

LEASE_SECONDS = 1.0
CERTAIN = (Violation.OVERSHOOT, Violation.GIVEN_AWAY, Violation.MISSING, Violation.TWICE, Violation.REFUSED_AND_RUN)


async def test_the_slots_of_a_killed_gateway_stay_taken_until_the_time_out_and_no_more_than_the_limit_ever_runs() -> (
    None
):
    sharing = Sharing(2, lease_seconds=LEASE_SECONDS, reclaim_after=TIMEOUT)
    accounts = [AccountQuota("000000000000", 6, {"checkout": 2})]
    plan = ProvePlan(
        [3], accounts=accounts, sharing=sharing, kinds=[FaultKind.KILLED], phases=("faults", "final check")
    )
    verdict = await prove(plan, Progress(Console(file=io.StringIO()), 1))
    assert {violation: verdict.counts[violation] for violation in CERTAIN} == dict.fromkeys(CERTAIN, 0), (
        verdict.examples
    )
    assert [peak.highest_with_lost for peak in verdict.peaks] == [6, 4, 2], (
        "not one call more, the killed one's included"
    )
    (killed,) = [fault for fault in verdict.results[0].faults if fault.kind == FaultKind.KILLED]
    others = killed.recoveries[0]
    assert others.seconds is not None, verdict.examples
    assert others.seconds > sharing.timeout_seconds
    waiting = [second for second in killed.timeline if 3 <= second.at < sharing.timeout_seconds]
    assert any(second.affected == 0 for second in waiting), "its calls have ended"
    assert all(second.running[1] < 6 for second in waiting if second.affected == 0), "and their slots are idle"
