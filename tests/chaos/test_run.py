"""The proof as a whole: it passes what holds, and sees each thing that does not."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from invoke_gateway.chaos import target
from invoke_gateway.chaos.judging.history import CallHistory
from invoke_gateway.chaos.judging.violations import Violation
from invoke_gateway.chaos.plan import ProvePlan
from invoke_gateway.chaos.quotas import AccountQuota, Unusable
from invoke_gateway.chaos.report.progress import Progress
from invoke_gateway.chaos.report.verdict import CallsVerdict
from invoke_gateway.chaos.run import prove
from invoke_gateway.chaos.target import GatewayProcess, Silent
from invoke_gateway.chaos.traffic import final_check
from invoke_gateway.chaos.wire import HostPort
from tests.support.gateways import UNRATED, serving
from tests.support.processes import free_port, listens, wait_until

from .fake_gateway import FakeGateway, Flaw

CLIENTS = 80
AT_ONCE = 3  # judgings on one event loop
MOST_SEEDS = 8
LOOPBACK = "127.0.0.1"
SMALL = [AccountQuota("000000000000", 6, {"checkout": 2}), AccountQuota("111122223333", 3, {"closed": 0})]


def silent() -> Progress:
    return Progress(Console(file=io.StringIO()), 1)


async def judge_fake(flaw: Flaw, *, timeout_seconds: float | None = None, seed: int = 1) -> CallsVerdict:
    backend = HostPort(LOOPBACK, free_port())
    async with FakeGateway(backend, flaw, timeout_seconds or 10) as fake:
        endpoint = HostPort(LOOPBACK, fake.port)
        plan = ProvePlan([seed], 0, CLIENTS, endpoint, endpoint, backend, timeout_seconds)
        return await prove(plan, silent())


async def test_a_gateway_started_for_it_holds_against_clients_and_backends_that_do_everything_wrong() -> None:
    verdict = await prove(ProvePlan([1], clients=CLIENTS, timeout_seconds=2.0, accounts=SMALL), silent())
    assert verdict.examples == []
    assert verdict.holds
    assert [(peak.name, peak.highest) for peak in verdict.peaks] == [
        ("account", 6),
        ("unreserved", 4),
        ("checkout", 2),
        ("account", 3),
        ("unreserved", 3),
        ("closed", 0),
    ]
    (result,) = verdict.results
    assert min(result.answers[kind] for kind in ("200", "429", "500", "left")) > 5, f"too tame: {result.answers}"
    assert [name for name, _ in result.phases] == [
        "at the limit",
        "burst",
        "hostile",
        "limit changes",
        "final check",
    ]


async def test_a_running_gateway_can_be_judged_when_it_forwards_to_the_backend_of_the_proof(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = HostPort(LOOPBACK, free_port())
    limits = {"default": {"concurrent_executions": 4, **UNRATED}}
    monkeypatch.setenv("ADMIN_TOKEN", "3f2a0c")
    token = {"admin_token": "env:ADMIN_TOKEN", "admin_reads": "token"}
    async with serving(f"http://{backend}", accounts=limits, **token) as gateway:
        admin = HostPort(LOOPBACK, gateway.admin.port)
        plan = ProvePlan([1], 0, CLIENTS, HostPort(LOOPBACK, gateway.listen.port), admin, backend)
        with pytest.raises(Silent, match="needs the admin token: give --admin-token"):
            await prove(plan, silent())
        verdict = await prove(replace(plan, token="3f2a0c"), silent())
    assert verdict.examples == []
    assert verdict.holds
    assert "No backend hung" in verdict.notes[0]


async def test_each_broken_rule_of_another_gateway_is_seen_and_nothing_where_none_is_broken() -> None:
    flaws = {
        Flaw.ONE_TOO_MANY: {Violation.OVERSHOOT},
        Flaw.FREES_ON_HANG_UP: {Violation.OVERSHOOT},
        Flaw.ONE_TOO_FEW: {Violation.WAS_FREE, Violation.MISSING},
        Flaw.LOSES_SLOTS: {Violation.MISSING},
        Flaw.SWAPS_REASONS: {Violation.REASON},
        Flaw.SENDS_TWICE: {Violation.TWICE},
        Flaw.RUNS_REFUSED: {Violation.REFUSED_AND_RUN},
        Flaw.MIXES_ANSWERS: {Violation.WRONG_CLIENT},
        Flaw.SWALLOWS: {Violation.UNANSWERED},
        Flaw.FAILS: {Violation.NO_FAULT},
    }
    few = asyncio.Semaphore(AT_ONCE)

    async def judge_until_seen(flaw: Flaw, violations: set[Violation]) -> tuple[CallsVerdict, set[Violation]]:
        """A flaw shows only where calls overlap, and on a busy machine they may not: another seed then."""
        async with few:
            for seed in range(1, 1 + MOST_SEEDS):
                verdict = await judge_fake(flaw, seed=seed)
                seen = {violation for violation, count in verdict.counts.items() if count}
                if violations <= seen:
                    break
            return verdict, seen

    wanted = {Flaw.NONE: set[Violation](), **flaws}
    (honest, none), *verdicts = await asyncio.gather(*(judge_until_seen(*each) for each in wanted.items()))
    assert honest.examples == []
    assert not none
    assert honest.holds
    for (flaw, violations), (verdict, seen) in zip(flaws.items(), verdicts, strict=True):
        assert violations <= seen, f"{flaw}: {seen}"
        assert verdict.status == 1
        assert "does not hold" in verdict.sentence


async def test_slots_that_limits_shows_after_the_traffic_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(final_check, "PATIENCE", 0.2)
    verdict = await judge_fake(Flaw.KEEPS_SLOTS, timeout_seconds=1.0)
    assert verdict.counts[Violation.MISSING] > 0
    assert any("in flight after the traffic" in text for _, _, text in verdict.examples)


async def test_a_rate_of_the_gateway_is_told_apart_from_its_slots() -> None:
    with pytest.raises(Unusable, match="requests_per_second to off"):
        await judge_fake(Flaw.RATES)


async def test_a_gateway_that_forwards_elsewhere_is_not_judged() -> None:
    elsewhere, here = (HostPort(LOOPBACK, free_port()) for _ in range(2))
    async with FakeGateway(elsewhere, Flaw.NONE) as fake:
        endpoint = HostPort(LOOPBACK, fake.port)
        with pytest.raises(Unusable, match=f"--backend http://{here}"):
            await prove(ProvePlan([1], 0, CLIENTS, endpoint, endpoint, here), silent())


async def test_a_gateway_that_dies_fails_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    processes: list[GatewayProcess] = []

    class Recorded(GatewayProcess):
        def __init__(self, settings: dict[str, object], folder: Path) -> None:
            super().__init__(settings, folder)
            processes.append(self)

    class Killing(Progress):
        def begin(self, seed: int, round: int, phase: str, history: CallHistory) -> None:
            if phase == "hostile":
                processes[0]._process.kill()

    monkeypatch.setattr(target, "GatewayProcess", Recorded)
    plan = ProvePlan([1, 2], clients=10, timeout_seconds=1.0, accounts=[AccountQuota("000000000000", 2)])
    verdict = await prove(plan, Killing(Console(file=io.StringIO()), 1))
    assert verdict.status == 1
    assert any(
        "has ended with status -9" in text for _, violation, text in verdict.examples if violation is Violation.DIED
    )
    assert verdict.notes == ["The gateway ended by itself: 1 seed was not run."]


@pytest.mark.parametrize(
    ("by", "status"), [(signal.SIGTERM, 1), (signal.SIGHUP, 1), (signal.SIGQUIT, 1), (signal.SIGINT, 130)]
)
def test_ended_early_it_leaves_no_gateway_behind(by: signal.Signals, status: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "invoke_gateway", "prove"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}) as ran:
        listening = re.compile(r"admin on http://127.0.0.1:(\d+)")

        def find_ports() -> list[str]:
            return [port for log in tmp_path.glob("*/log") for port in listening.findall(log.read_text())]

        wait_until(find_ports, "the gateway listens", timeout=60)
        (port,) = find_ports()
        ran.send_signal(by)
        _, stderr = ran.communicate(timeout=60)
    assert ran.returncode == status
    assert b"Traceback" not in stderr
    assert not listens(int(port))
    assert list(tmp_path.iterdir()) == []


async def test_the_command_tells_its_seed_and_verdict_and_writes_a_report(tmp_path: Path) -> None:
    report = tmp_path / "out.html"
    backend = HostPort(LOOPBACK, free_port())
    async with FakeGateway(backend, Flaw.ONE_TOO_MANY) as fake:
        where = f"--gateway http://127.0.0.1:{fake.port} --admin 127.0.0.1:{fake.port} --backend-listen {backend}"
        options = f"-m invoke_gateway prove --seed 3 --clients 50 --json --report {report} {where}"
        ran = await asyncio.create_subprocess_exec(
            sys.executable, *options.split(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        stdout, stderr = await ran.communicate()
    assert ran.returncode == 1, stderr
    verdict = json.loads(stdout)
    assert not verdict["holds"]
    assert verdict["violations"]["overshoot"] > 0
    assert [row["overshoot"] for row in verdict["limits"]] == [2, 1, 1]
    assert b"seed 3" in stderr
    assert "It does not hold" in report.read_text()
