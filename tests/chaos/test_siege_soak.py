"""Several gateways on one store, as processes in real time: exact sharing passes, and each flaw of sharing is seen.

`test_siege.py` has the same in virtual time, for every run of the tests.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Awaitable

import pytest
from rich.console import Console

from invoke_gateway.chaos import fault_log as damage
from invoke_gateway.chaos import workload as siege
from invoke_gateway.chaos.cluster import Sharing
from invoke_gateway.chaos.fault_kinds import Kind
from invoke_gateway.chaos.fault_log import TIMEOUT
from invoke_gateway.chaos.plan import Plan
from invoke_gateway.chaos.progress import Progress
from invoke_gateway.chaos.quotas import UNRESERVED_REASON, Account
from invoke_gateway.chaos.report import render
from invoke_gateway.chaos.run import prove
from invoke_gateway.chaos.tables import print_verdict
from invoke_gateway.chaos.verdict import Verdict
from invoke_gateway.chaos.violations import Fault

from .fake_sharing import SharedFlaw

SMALL = [Account("000000000000", 6, {"checkout": 2})]
LEASE_SECONDS = 1.0
GRACE_SECONDS = 3.0  # many processes start at once here
AT_ONCE = 3  # of the judgings: each starts a store and its gateways


async def judge_fakes(
    flaw: SharedFlaw, *kinds: Kind, gateways: int = 2, heal_after: str = "lease", phases: tuple[str, ...] = ("siege",)
) -> Verdict:
    plan = Plan(
        [2],
        clients=30,
        accounts=SMALL,
        sharing=Sharing(gateways, lease_seconds=LEASE_SECONDS, heal_after=heal_after),
        kinds=kinds,
        phases=phases,
        serve=(sys.executable, "-m", "tests.chaos.fake_sharing", flaw),
    )
    return await prove(plan, Progress(Console(file=io.StringIO()), 1))


@pytest.mark.soak
async def test_gateways_that_share_exactly_pass_and_each_flaw_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siege, "PATIENCE", 0.0)
    monkeypatch.setattr(damage, "GRACE_SECONDS", GRACE_SECONDS)
    flaws = {
        (SharedFlaw.ONE_TOO_MANY, Kind.SLOW): Fault.OVERSHOOT,
        (SharedFlaw.NO_FENCE, Kind.STOPPED): Fault.OVERSHOOT,
        (SharedFlaw.NO_REFILL, Kind.FLUSHED_MEANWHILE): Fault.OVERSHOOT,
        (SharedFlaw.OPEN, Kind.ALL_CUT_OFF): Fault.OVERSHOOT,
        (SharedFlaw.NEVER_PRUNES, Kind.KILLED): Fault.NOT_HEALED,
        (SharedFlaw.STAYS_AWAY, Kind.RESET): Fault.NOT_HEALED,
        (SharedFlaw.FAILS_CALM, Kind.FLUSHED): Fault.NO_FAULT,
    }
    few = asyncio.Semaphore(AT_ONCE)

    async def in_turn(judging: Awaitable[Verdict]) -> Verdict:
        async with few:
            return await judging

    judgings = [
        judge_fakes(SharedFlaw.NONE, Kind.KILLED, heal_after=TIMEOUT),
        judge_fakes(SharedFlaw.NONE, Kind.KILLED, Kind.REPLIES_LOST, gateways=3, phases=("siege", "quiet")),
        judge_fakes(SharedFlaw.NONE, Kind.TWO_KILLED, gateways=3),
        judge_fakes(SharedFlaw.NONE, Kind.CUT_OFF_AT_RESTART),
        judge_fakes(SharedFlaw.NO_REFILL, Kind.CUT_OFF_AT_RESTART),
        judge_fakes(SharedFlaw.PRUNES_AT_LEASE, Kind.KILLED, heal_after=TIMEOUT),
        *(judge_fakes(flaw, kind) for flaw, kind in flaws),
    ]
    kept, honest, two, cut, unfilled, broken, *verdicts = await asyncio.gather(*map(in_turn, judgings))
    if honest.status == 2:  # the machine was starved, and what was late is not judged
        honest = await judge_fakes(
            SharedFlaw.NONE, Kind.KILLED, Kind.REPLIES_LOST, gateways=3, phases=("siege", "quiet")
        )
    assert honest.examples == []
    assert honest.holds
    assert [(peak.name, peak.highest) for peak in honest.peaks] == [("account", 6), ("unreserved", 4), ("checkout", 2)]
    (result,) = honest.results
    assert result.blows[0].name == "load alone"
    assert sorted(blow.kind for blow in result.blows[1:]) == [Kind.KILLED, Kind.REPLIES_LOST]
    assert all(healed.is_kept for blow in result.blows for healed in blow.healed)
    killed = next(blow for blow in result.blows if blow.kind == Kind.KILLED)
    assert killed.lasted is None
    table = {second.at: second for second in killed.around}
    assert [*table][0:4] == [-3, -2, -1, 0]
    assert any("killed" in mark for mark in table[0].marks)
    assert any("lease over" in mark for at in (0, 1) for mark in table[at].marks)
    assert all(table[at].running[1] == 6 for at in (-3, -2, -1)), "the load fills every slot"
    assert max(second.struck for second in killed.around) > 0, "nothing ran through it when it was killed"
    assert table[max(table)].struck <= table[0].struck
    assert sum(second.admitted for second in killed.around) > 0
    assert sum(second.refusals.get(UNRESERVED_REASON, 0) for second in killed.around) > 0
    assert any(second.store is not None for second in killed.around)
    assert [healed.name.partition(" started")[1] for healed in killed.healed] == ["", " started"]
    assert killed.unanswered > 0, "nobody called it when it was killed"
    assert killed.refused_while_free > 0, "its slots were idle until its lease had ended"
    for verdict, names in (
        (two, [Kind.TWO_KILLED]),
        (cut, [Kind.CUT_OFF_AT_RESTART, "store restarted empty meanwhile"]),
    ):
        assert verdict.examples == []
        assert [blow.kind for blow in verdict.results[0].blows] == ["load alone", *names]
        assert all(blow.healed for blow in verdict.results[0].blows)
        over = [blow.over for blow in verdict.results[0].blows[1:]]
        assert None not in over, "from then on nothing is explained by a blow any more"
    assert unfilled.counts[Fault.OVERSHOOT] > 0
    for place, ((flaw, kind), fault) in enumerate(flaws.items()):
        if not verdicts[place].counts[fault]:  # the blow fell when little ran: on a busy machine it does, now and then
            verdicts[place] = await judge_fakes(flaw, kind)
    for (what, fault), verdict in zip(flaws.items(), verdicts, strict=True):
        assert verdict.counts[fault] > 0, f"{what}: {verdict.sentence} {verdict.examples}"
        assert verdict.status == 1
    assert any(blow.overshoot for blow in verdicts[1].results[0].blows if blow.kind == Kind.STOPPED)
    assert kept.examples == []
    waited = next(blow.healed[0].seconds for blow in kept.results[0].blows if blow.kind == Kind.KILLED)
    assert waited is not None
    assert waited > 9.0 > LEASE_SECONDS + GRACE_SECONDS, "9 s are the time-out"
    assert broken.counts[Fault.GIVEN_AWAY] > 0
    assert broken.counts[Fault.OVERSHOOT] > 0, "what is promised after the time-out must not happen after the lease"
    told = io.StringIO()
    print_verdict(Console(file=told, width=120), verdicts[4])
    for text in (told.getvalue(), render(verdicts[4], "prove")):
        assert "killed (-9)" in text
        assert "never" in text
        assert "4 s" in text, "the promise"
