"""The proof of events as a whole: it passes a queue that keeps the rules, and sees each that breaks one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from invoke_gateway.chaos.events import run as running
from invoke_gateway.chaos.events.event import EventFaultKind
from invoke_gateway.chaos.events.plan import EventsPlan
from invoke_gateway.chaos.events.run import prove_events
from invoke_gateway.chaos.events.tables import render_events
from invoke_gateway.chaos.events.verdict import EventsVerdict
from invoke_gateway.chaos.judging.violations import Violation
from tests.chaos.fake_queue import Flaw

# The others do not, and in so short a run a kill would explain what they do.
NEED_A_KILL = (Flaw.ANSWERS_FIRST, Flaw.FINISHES_FIRST, Flaw.FORGETS)


MOST_SEEDS = 5  # whether a kill falls into the moment that matters is a matter of chance


async def judge_fake(flaw: Flaw, *, events: int = 200, fault_count: int = 2, seed: int = 1) -> EventsVerdict:
    serve = (sys.executable, "-m", "tests.chaos.fake_queue", flaw)
    return await prove_events(EventsPlan([seed], events, fault_count, serve=serve), lambda _: None)


async def test_a_queue_that_keeps_the_rules_holds_though_it_is_killed() -> None:
    verdict = await judge_fake(Flaw.NONE, events=500, fault_count=3)
    assert verdict.examples == []
    assert verdict.status == 0
    tally = verdict.tally
    assert tally.accepted == 500
    assert tally.as_planned + tally.again == 500
    assert tally.again, "no kill hit anything: too tame"
    assert [fault.kind for fault in verdict.results[0].faults].count(EventFaultKind.KILLED) == 3
    assert "none was lost" in render_events(verdict, "prove")


@pytest.mark.parametrize(
    ("flaw", "violation"),
    [
        (Flaw.ANSWERS_FIRST, Violation.LOST),
        (Flaw.FINISHES_FIRST, Violation.LOST),
        (Flaw.FORGETS, Violation.LOST),
        (Flaw.RUNS_TWICE, Violation.AGAIN),
        (Flaw.ONE_TOO_MANY, Violation.OVERSHOOT),
        (Flaw.NO_LETTER, Violation.UNTOLD),
        (Flaw.LETTER_TWICE, Violation.TOLD_AGAIN),
        (Flaw.GIVES_UP, Violation.ATTEMPTS),
        (Flaw.HURRIES, Violation.TOO_SOON),
        (Flaw.STAYS, Violation.NOT_ENDED),
    ],
)
async def test_each_broken_rule_of_a_queue_is_seen(
    flaw: Flaw, violation: Violation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "STALLED_SECONDS", 2.0)
    monkeypatch.setattr("invoke_gateway.chaos.events.cluster.END_SECONDS", 1.0)
    for seed in range(1, 1 + MOST_SEEDS if flaw in NEED_A_KILL else 2):
        verdict = await judge_fake(flaw, fault_count=2 if flaw in NEED_A_KILL else 0, seed=seed)
        if verdict.counts[violation]:
            break
    assert verdict.counts[violation] > 0, verdict.counts
    assert verdict.status == 1
    assert "does not hold" in verdict.sentence


def run_prove(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "invoke_gateway", "prove", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--events", "10", "--minutes", "1"], "--events takes no --minutes"),
        (["--events", "10", "--gateway", "http://127.0.0.1:1"], "--events takes no --gateway"),
        (["--fault-count", "1"], "--fault-count needs --events"),
        (["--events", "10", "--gateways", "3"], "--redis"),
    ],
)
def test_options_that_do_not_go_together_are_misuse(options: list[str], said: str) -> None:
    ran = run_prove(*options)
    assert ran.returncode == 2
    assert said in ran.stderr
