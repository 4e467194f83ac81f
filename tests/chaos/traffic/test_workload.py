"""Several gateways on one store, in virtual time: those that share exactly pass, and each flaw of sharing is seen.

`test_workload_soak.py` is the same with processes and in real time, where a busy machine leaves some of it unjudged.
"""

from __future__ import annotations

import asyncio
import io
from random import Random

import pytest
from rich.console import Console

from invoke_gateway.chaos.cluster import Sharing
from invoke_gateway.chaos.faults.fault_log import TIMEOUT, FaultLog
from invoke_gateway.chaos.faults.kinds import FaultKind
from invoke_gateway.chaos.judging.history import CallHistory
from invoke_gateway.chaos.judging.violations import Violation
from invoke_gateway.chaos.plan import ProvePlan
from invoke_gateway.chaos.quotas import UNRESERVED_REASON, AccountQuota, Unusable
from invoke_gateway.chaos.report.calls import list_tables
from invoke_gateway.chaos.report.console import print_verdict
from invoke_gateway.chaos.report.html import render
from invoke_gateway.chaos.report.progress import Progress
from invoke_gateway.chaos.report.verdict import CallsVerdict, sum_up
from invoke_gateway.chaos.run import prove
from invoke_gateway.chaos.traffic import workload
from invoke_gateway.chaos.traffic.workload import Workload
from tests.support.virtual_time import run_in_virtual_time

from ..fake_sharing import SharedFlaw
from ..virtual_cluster import VirtualCluster, invoke

SMALL = [AccountQuota("000000000000", 6, {"checkout": 2})]
LEASE_SECONDS = 1.0


@pytest.fixture(autouse=True)
def _without_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "invoke", invoke)


def judge_fakes(
    flaw: SharedFlaw, *kinds: FaultKind, gateways: int = 2, reclaim_after: str = "lease", seed: int = 2
) -> CallsVerdict:
    return run_in_virtual_time(_judge(flaw, kinds, Sharing(gateways, "", LEASE_SECONDS, reclaim_after), seed))


async def _judge(flaw: SharedFlaw, kinds: tuple[FaultKind, ...], sharing: Sharing, seed: int) -> CallsVerdict:
    clock = asyncio.get_running_loop().time
    fault_log = FaultLog(SMALL, LEASE_SECONDS, sharing.timeout_seconds, sharing.reclaim_after)
    history = CallHistory(SMALL, sharing.function_seconds, sharing.timeout_seconds, clock, fault_log)
    cluster = VirtualCluster(sharing, flaw, history, Random(seed))
    await cluster.start()
    began = clock()
    phases: list[tuple[str, float]] = []
    load = Workload(
        cluster.route(history),
        cluster,
        SMALL,
        fault_log,
        f"{seed}.1",
        kinds=kinds,
        partition_seconds=0.0,
        timeline=kinds,
        begin=lambda name: phases.append((name, clock() - began)),
        log=lambda text: None,
    )
    await load.run()
    cluster.stop()
    return CallsVerdict("fake gateways", [sum_up(seed, history, began, phases)], options=sharing.options)


KINDS = [kind for kind in FaultKind if kind is not FaultKind.WORKER_KILLED]


@pytest.mark.parametrize("kind", KINDS)
def test_gateways_that_share_exactly_pass(kind: FaultKind) -> None:
    check_that_it_holds(kind, seed=2)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3, 23))
@pytest.mark.parametrize("kind", KINDS)
def test_gateways_that_share_exactly_pass_with_other_seeds(kind: FaultKind, seed: int) -> None:
    check_that_it_holds(kind, seed)


def check_that_it_holds(kind: FaultKind, seed: int) -> None:
    verdict = judge_fakes(SharedFlaw.NONE, kind, gateways=3, seed=seed)
    assert verdict.examples == []
    assert verdict.status == 0
    assert [(peak.name, peak.highest) for peak in verdict.peaks] == [("account", 6), ("unreserved", 4), ("checkout", 2)]
    faults = verdict.results[0].faults
    assert faults[0].name == "load alone"
    assert kind in [fault.kind for fault in faults]
    assert all(recovery.within_deadline for fault in faults for recovery in fault.recoveries)
    assert None not in [fault.over for fault in faults[1:]], "from then on no fault excuses anything any more"


@pytest.mark.parametrize(
    ("flaw", "kind", "violation"),
    [
        (SharedFlaw.ONE_TOO_MANY, FaultKind.SLOW, Violation.OVERSHOOT),
        (SharedFlaw.NO_FENCE, FaultKind.STOPPED, Violation.OVERSHOOT),
        (SharedFlaw.NO_REFILL, FaultKind.FLUSHED_MEANWHILE, Violation.OVERSHOOT),
        (SharedFlaw.NO_REFILL, FaultKind.CUT_OFF_AT_RESTART, Violation.OVERSHOOT),
        (SharedFlaw.OPEN, FaultKind.ALL_CUT_OFF, Violation.OVERSHOOT),
        (SharedFlaw.NEVER_PRUNES, FaultKind.KILLED, Violation.NOT_HEALED),
        (SharedFlaw.STAYS_AWAY, FaultKind.RESET, Violation.NOT_HEALED),
        (SharedFlaw.FAILS_CALM, FaultKind.FLUSHED, Violation.NO_FAULT),
    ],
)
def test_each_flaw_of_sharing_is_seen(flaw: SharedFlaw, kind: FaultKind, violation: Violation) -> None:
    verdict = judge_fakes(flaw, kind)
    assert verdict.counts[violation] > 0, f"{verdict.sentence} {verdict.examples}"
    assert verdict.status == 1
    if kind is FaultKind.STOPPED:
        assert any(fault.overshoot for fault in verdict.results[0].faults if fault.kind == kind)


def test_a_fault_is_shown_second_by_second() -> None:
    verdict = judge_fakes(SharedFlaw.NONE, FaultKind.KILLED, gateways=3)
    killed = next(fault for fault in verdict.results[0].faults if fault.kind == FaultKind.KILLED)
    assert killed.lasted is None
    table = {second.at: second for second in killed.timeline}
    assert [*table][0:4] == [-3, -2, -1, 0]
    assert any("killed" in mark for mark in table[0].marks)
    assert any("lease over at 1.0 s" in mark for mark in table[1].marks)
    assert all(table[at].running[1] == 6 for at in (-3, -2, -1)), "the load fills every slot"
    assert max(second.affected for second in killed.timeline) > 0, "nothing ran through it when it was killed"
    assert table[max(table)].affected <= table[0].affected
    assert sum(second.admitted for second in killed.timeline) > 0
    assert sum(second.refusals.get(UNRESERVED_REASON, 0) for second in killed.timeline) > 0
    assert any(second.store is not None for second in killed.timeline)
    assert [recovery.name.partition(" started")[1] for recovery in killed.recoveries] == ["", " started"]
    assert killed.unanswered > 0, "nobody called it when it was killed"
    assert killed.refused_while_free > 0, "its slots were idle until its lease had ended"


def test_slots_that_are_promised_after_the_time_out_are_not_given_away_after_the_lease() -> None:
    kept = judge_fakes(SharedFlaw.NONE, FaultKind.KILLED, reclaim_after=TIMEOUT)
    assert kept.examples == []
    waited = next(fault.recoveries[0].seconds for fault in kept.results[0].faults if fault.kind == FaultKind.KILLED)
    assert waited is not None
    assert 9.0 < waited <= 9.0 + LEASE_SECONDS + 1.0, "9 s are the time-out"
    broken = judge_fakes(SharedFlaw.PRUNES_AT_LEASE, FaultKind.KILLED, reclaim_after=TIMEOUT)
    assert broken.counts[Violation.GIVEN_AWAY] > 0
    assert broken.counts[Violation.OVERSHOOT] > 0


def test_a_fault_that_never_heals_is_shown_with_its_promise() -> None:
    verdict = judge_fakes(SharedFlaw.NEVER_PRUNES, FaultKind.KILLED)
    output = io.StringIO()
    print_verdict(Console(file=output, width=120), verdict, list_tables(verdict))
    for text in (output.getvalue(), render(verdict, "prove")):
        assert "killed (-9)" in text
        assert "never" in text
        assert "2 s" in text, "the promise"


async def test_a_store_that_does_not_answer_is_said_to_be_of_no_use() -> None:
    sharing = Sharing(2, store="redis://127.0.0.1:1/0")
    with pytest.raises(Unusable, match="cannot be used"):
        await prove(ProvePlan([1], sharing=sharing), Progress(Console(file=io.StringIO()), 1))
