"""Several gateways on one store: those that share exactly pass, and each flaw of sharing is seen."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Awaitable

import pytest
from rich.console import Console

from gateway.proving import damage, siege
from gateway.proving.blows import Kind
from gateway.proving.damage import TIMEOUT
from gateway.proving.faults import Fault
from gateway.proving.fleet import Sharing
from gateway.proving.progress import Progress, print_verdict
from gateway.proving.quotas import Account, Unusable
from gateway.proving.report import render
from gateway.proving.run import Plan, prove
from gateway.proving.verdict import Verdict

from .fake_sharing import SharedFlaw

SMALL = [Account("000000000000", 6, {"checkout": 2})]
LEASE_SECONDS = 1.0
GRACE_SECONDS = 3.0  # many processes start at once here
AT_ONCE = 6  # of the judgings: each starts a store and its gateways


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
        serve=(sys.executable, "-m", "tests.proving.fake_sharing", flaw),
    )
    return await prove(plan, Progress(Console(file=io.StringIO()), 1))


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
        judge_fakes(SharedFlaw.PRUNES_AT_LEASE, Kind.KILLED, heal_after=TIMEOUT),
        *(judge_fakes(flaw, kind) for flaw, kind in flaws),
    ]
    kept, honest, broken, *verdicts = await asyncio.gather(*map(in_turn, judgings))
    assert honest.examples == []
    assert honest.holds
    assert [(peak.name, peak.highest) for peak in honest.peaks] == [("account", 6), ("unreserved", 4), ("checkout", 2)]
    (result,) = honest.results
    assert sorted(healed.name.partition(" ")[2].lstrip("0123456789 ") for healed in result.healed) == [
        "alone",
        "killed (-9)",
        "replies of the store lost",
        "started anew",
    ]
    assert all(healed.is_kept for healed in result.healed)
    for (what, fault), verdict in zip(flaws.items(), verdicts, strict=True):
        assert verdict.counts[fault] > 0, f"{what}: {verdict.sentence} {verdict.examples}"
        assert verdict.status == 1
    assert kept.examples == []
    killed = next(healed for healed in kept.results[0].healed if "killed" in healed.name)
    assert killed.seconds is not None
    assert killed.seconds > 7.0 > LEASE_SECONDS + GRACE_SECONDS, "7 s are the time-out"
    assert broken.counts[Fault.OVERSHOOT] > 0, "what is promised after the time-out must not happen after the lease"
    told = io.StringIO()
    print_verdict(Console(file=told, width=120), verdicts[4])
    for text in (told.getvalue(), render(verdicts[4], "prove")):
        assert "killed (-9)" in text
        assert "never" in text
        assert "4 s" in text, "the promise"


async def test_a_store_that_does_not_answer_is_said_to_be_of_no_use() -> None:
    sharing = Sharing(2, store="redis://127.0.0.1:1/0")
    with pytest.raises(Unusable, match="cannot be used"):
        await prove(Plan([1], sharing=sharing), Progress(Console(file=io.StringIO()), 1))
