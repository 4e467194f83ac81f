"""Several gateways on one store, in virtual time: those that share exactly pass, and each flaw of sharing is seen.

`test_siege_soak.py` is the same with processes and in real time, where a busy machine leaves some of it unjudged.
"""

from __future__ import annotations

import asyncio
import io
from random import Random

import pytest
from rich.console import Console

from invoke_gateway.chaos import workload as siege
from invoke_gateway.chaos.cluster import Sharing
from invoke_gateway.chaos.fault_kinds import Kind
from invoke_gateway.chaos.fault_log import TIMEOUT, Damage
from invoke_gateway.chaos.history import Ledger
from invoke_gateway.chaos.plan import Plan
from invoke_gateway.chaos.progress import Progress
from invoke_gateway.chaos.quotas import UNRESERVED_REASON, Account, Unusable
from invoke_gateway.chaos.report import render
from invoke_gateway.chaos.run import prove
from invoke_gateway.chaos.tables import print_verdict
from invoke_gateway.chaos.verdict import Verdict, sum_up
from invoke_gateway.chaos.violations import Fault
from invoke_gateway.chaos.workload import Siege
from tests.support.virtual_time import run_in_virtual_time

from .fake_sharing import SharedFlaw
from .virtual_fleet import VirtualFleet, invoke

SMALL = [Account("000000000000", 6, {"checkout": 2})]
LEASE_SECONDS = 1.0


@pytest.fixture(autouse=True)
def _without_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siege, "invoke", invoke)


def judge_fakes(flaw: SharedFlaw, *kinds: Kind, gateways: int = 2, heal_after: str = "lease", seed: int = 2) -> Verdict:
    return run_in_virtual_time(_judge(flaw, kinds, Sharing(gateways, "", LEASE_SECONDS, heal_after), seed))


async def _judge(flaw: SharedFlaw, kinds: tuple[Kind, ...], sharing: Sharing, seed: int) -> Verdict:
    clock = asyncio.get_running_loop().time
    damage = Damage(SMALL, LEASE_SECONDS, sharing.timeout_seconds, sharing.heal_after)
    ledger = Ledger(SMALL, sharing.function_seconds, sharing.timeout_seconds, clock, damage)
    fleet = VirtualFleet(sharing, flaw, ledger, Random(seed))
    await fleet.start()
    began = clock()
    phases: list[tuple[str, float]] = []
    besieging = Siege(
        fleet.target(ledger),
        fleet,
        SMALL,
        damage,
        f"{seed}.1",
        kinds=kinds,
        cut_seconds=0.0,
        around=kinds,
        begin=lambda name: phases.append((name, clock() - began)),
        tell=lambda text: None,
    )
    await besieging.run()
    fleet.stop()
    return Verdict("fake gateways", [sum_up(seed, ledger, began, phases)], options=sharing.options)


KINDS = [kind for kind in Kind if kind is not Kind.WORKER_KILLED]


@pytest.mark.parametrize("kind", KINDS)
def test_gateways_that_share_exactly_pass(kind: Kind) -> None:
    check_that_it_holds(kind, seed=2)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3, 23))
@pytest.mark.parametrize("kind", KINDS)
def test_gateways_that_share_exactly_pass_with_other_seeds(kind: Kind, seed: int) -> None:
    check_that_it_holds(kind, seed)


def check_that_it_holds(kind: Kind, seed: int) -> None:
    verdict = judge_fakes(SharedFlaw.NONE, kind, gateways=3, seed=seed)
    assert verdict.examples == []
    assert verdict.status == 0
    assert [(peak.name, peak.highest) for peak in verdict.peaks] == [("account", 6), ("unreserved", 4), ("checkout", 2)]
    blows = verdict.results[0].blows
    assert blows[0].name == "load alone"
    assert kind in [blow.kind for blow in blows]
    assert all(healed.is_kept for blow in blows for healed in blow.healed)
    assert None not in [blow.over for blow in blows[1:]], "from then on nothing is explained by a blow any more"


@pytest.mark.parametrize(
    ("flaw", "kind", "fault"),
    [
        (SharedFlaw.ONE_TOO_MANY, Kind.SLOW, Fault.OVERSHOOT),
        (SharedFlaw.NO_FENCE, Kind.STOPPED, Fault.OVERSHOOT),
        (SharedFlaw.NO_REFILL, Kind.FLUSHED_MEANWHILE, Fault.OVERSHOOT),
        (SharedFlaw.NO_REFILL, Kind.CUT_OFF_AT_RESTART, Fault.OVERSHOOT),
        (SharedFlaw.OPEN, Kind.ALL_CUT_OFF, Fault.OVERSHOOT),
        (SharedFlaw.NEVER_PRUNES, Kind.KILLED, Fault.NOT_HEALED),
        (SharedFlaw.STAYS_AWAY, Kind.RESET, Fault.NOT_HEALED),
        (SharedFlaw.FAILS_CALM, Kind.FLUSHED, Fault.NO_FAULT),
    ],
)
def test_each_flaw_of_sharing_is_seen(flaw: SharedFlaw, kind: Kind, fault: Fault) -> None:
    verdict = judge_fakes(flaw, kind)
    assert verdict.counts[fault] > 0, f"{verdict.sentence} {verdict.examples}"
    assert verdict.status == 1
    if kind is Kind.STOPPED:
        assert any(blow.overshoot for blow in verdict.results[0].blows if blow.kind == kind)


def test_a_blow_is_shown_second_by_second() -> None:
    verdict = judge_fakes(SharedFlaw.NONE, Kind.KILLED, gateways=3)
    killed = next(blow for blow in verdict.results[0].blows if blow.kind == Kind.KILLED)
    assert killed.lasted is None
    table = {second.at: second for second in killed.around}
    assert [*table][0:4] == [-3, -2, -1, 0]
    assert any("killed" in mark for mark in table[0].marks)
    assert any("lease over at 1.0 s" in mark for mark in table[1].marks)
    assert all(table[at].running[1] == 6 for at in (-3, -2, -1)), "the load fills every slot"
    assert max(second.struck for second in killed.around) > 0, "nothing ran through it when it was killed"
    assert table[max(table)].struck <= table[0].struck
    assert sum(second.admitted for second in killed.around) > 0
    assert sum(second.refusals.get(UNRESERVED_REASON, 0) for second in killed.around) > 0
    assert any(second.store is not None for second in killed.around)
    assert [healed.name.partition(" started")[1] for healed in killed.healed] == ["", " started"]
    assert killed.unanswered > 0, "nobody called it when it was killed"
    assert killed.refused_while_free > 0, "its slots were idle until its lease had ended"


def test_slots_that_are_promised_after_the_time_out_are_not_given_away_after_the_lease() -> None:
    kept = judge_fakes(SharedFlaw.NONE, Kind.KILLED, heal_after=TIMEOUT)
    assert kept.examples == []
    waited = next(blow.healed[0].seconds for blow in kept.results[0].blows if blow.kind == Kind.KILLED)
    assert waited is not None
    assert 9.0 < waited <= 9.0 + LEASE_SECONDS + 1.0, "9 s are the time-out"
    broken = judge_fakes(SharedFlaw.PRUNES_AT_LEASE, Kind.KILLED, heal_after=TIMEOUT)
    assert broken.counts[Fault.GIVEN_AWAY] > 0
    assert broken.counts[Fault.OVERSHOOT] > 0


def test_a_blow_that_never_heals_is_shown_with_its_promise() -> None:
    verdict = judge_fakes(SharedFlaw.NEVER_PRUNES, Kind.KILLED)
    told = io.StringIO()
    print_verdict(Console(file=told, width=120), verdict)
    for text in (told.getvalue(), render(verdict, "prove")):
        assert "killed (-9)" in text
        assert "never" in text
        assert "2 s" in text, "the promise"


async def test_a_store_that_does_not_answer_is_said_to_be_of_no_use() -> None:
    sharing = Sharing(2, store="redis://127.0.0.1:1/0")
    with pytest.raises(Unusable, match="cannot be used"):
        await prove(Plan([1], sharing=sharing), Progress(Console(file=io.StringIO()), 1))
