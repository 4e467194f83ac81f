"""The proof of events as a whole: it passes a queue that keeps the rules, and sees each that breaks one."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from random import Random

import pytest
from rich.console import Console

from gateway.proving.events import run as running
from gateway.proving.events.blows import choose_moment, plan_blows
from gateway.proving.events.clients import Pace
from gateway.proving.events.history import BlowKind
from gateway.proving.events.judge import Tally
from gateway.proving.events.plan import EventsPlan
from gateway.proving.events.run import prove_events
from gateway.proving.events.script import write_intents
from gateway.proving.events.tables import print_events_verdict, render
from gateway.proving.events.verdict import EventsResult, EventsVerdict
from gateway.proving.faults import Fault, Faults

from .fake_queue import Flaw

# The others do not, and in so short a run a kill would explain what they do.
NEED_A_KILL = (Flaw.ANSWERS_FIRST, Flaw.FINISHES_FIRST, Flaw.FORGETS)


MOST_SEEDS = 5  # whether a kill falls into the moment that matters is a matter of chance


async def judge_fake(flaw: Flaw, *, events: int = 200, kills: int = 2, seed: int = 1) -> EventsVerdict:
    serve = (sys.executable, "-m", "tests.proving.fake_queue", flaw)
    return await prove_events(EventsPlan([seed], events, kills, serve=serve), lambda _: None)


async def test_a_queue_that_keeps_the_rules_holds_though_it_is_killed() -> None:
    verdict = await judge_fake(Flaw.NONE, events=500, kills=3)
    assert verdict.examples == []
    assert verdict.status == 0
    tally = verdict.tally
    assert tally.accepted == 500
    assert tally.as_planned + tally.again == 500
    assert tally.again, "no kill struck anything: too tame"
    assert [blow.kind for blow in verdict.results[0].blows].count(BlowKind.KILLED) == 3
    assert "none was lost" in render(verdict, "prove")


@pytest.mark.parametrize(
    ("flaw", "fault"),
    [
        (Flaw.ANSWERS_FIRST, Fault.LOST),
        (Flaw.FINISHES_FIRST, Fault.LOST),
        (Flaw.FORGETS, Fault.LOST),
        (Flaw.RUNS_TWICE, Fault.AGAIN),
        (Flaw.ONE_TOO_MANY, Fault.OVERSHOOT),
        (Flaw.NO_LETTER, Fault.UNTOLD),
        (Flaw.LETTER_TWICE, Fault.TOLD_AGAIN),
        (Flaw.GIVES_UP, Fault.ATTEMPTS),
        (Flaw.HURRIES, Fault.TOO_SOON),
        (Flaw.STAYS, Fault.NOT_ENDED),
    ],
)
async def test_each_broken_rule_of_a_queue_is_seen(flaw: Flaw, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "STALLED_SECONDS", 2.0)
    monkeypatch.setattr("gateway.proving.events.gateways.END_SECONDS", 1.0)
    for seed in range(1, 1 + MOST_SEEDS if flaw in NEED_A_KILL else 2):
        verdict = await judge_fake(flaw, kills=2 if flaw in NEED_A_KILL else 0, seed=seed)
        if verdict.counts[fault]:
            break
    assert verdict.counts[fault] > 0, verdict.counts
    assert verdict.status == 1
    assert "does not hold" in verdict.sentence


def test_a_seed_says_which_events_there_are_and_when_what_falls() -> None:
    def script(seed: int) -> object:
        dice = Random(seed)
        return list(write_intents(dice, 50)), plan_blows(dice, 5, 1, 3.0)

    assert script(1) == script(1)
    assert script(1) != script(2)


def test_several_gateways_are_killed_stopped_and_told_to_end() -> None:
    steps = plan_blows(Random(1), 5, 3, 3.0)
    assert {step.kind for step in steps} == set(BlowKind)
    seconds = {step.kind: step.seconds for step in steps}
    assert seconds[BlowKind.STOPPED] > 3.0
    assert 0 < seconds[BlowKind.STOPPED_SHORTLY] < 1.5


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_every_blow_falls_while_something_is_left_to_do(part: float) -> None:
    now = 0
    for left in range(6, 0, -1):
        moment = choose_moment(part, now, 20_000, left)
        assert now <= moment < 20_000
        now = moment


async def test_while_a_gateway_is_stopped_only_a_share_of_the_events_is_handed_over() -> None:
    pace = Pace(100)
    for _ in range(20):
        await pace.take_turn()
    pace.spare(3)
    for _ in range(20):
        await pace.take_turn()
    waiting = asyncio.ensure_future(pace.take_turn())
    await asyncio.sleep(0)
    assert not waiting.done()
    pace.hurry()
    await waiting


def run_prove(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "prove", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--events", "10", "--minutes", "1"], "--events takes no --minutes"),
        (["--events", "10", "--gateway", "http://127.0.0.1:1"], "--events takes no --gateway"),
        (["--kills", "1"], "--kills is about --events"),
        (["--events", "10", "--gateways", "3"], "--redis"),
    ],
)
def test_options_that_do_not_go_together_are_misuse(options: list[str], said: str) -> None:
    ran = run_prove(*options)
    assert ran.returncode == 2
    assert said in ran.stderr


def make_verdict(*faults: Fault) -> EventsVerdict:
    seen = Faults()
    for fault in faults:
        seen.add(fault, f"<{fault.value}>")
    plan = EventsPlan([7, 8], 100)
    results = [
        EventsResult(7, 1.0, Tally(accepted=100, as_planned=90, again=10, slowest_recovery=2.0), [], Faults(), []),
        EventsResult(8, 2.0, Tally(accepted=100, as_planned=95, again=5, slowest_recovery=1.0), [], seen, []),
    ]
    return EventsVerdict(plan, results, (0.1, 0.2))


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_fails_the_verdict_but_what_could_not_be_judged(fault: Fault) -> None:
    verdict = make_verdict(fault)
    assert verdict.status == (2 if fault is Fault.NOT_JUDGED else 1)
    assert not verdict.as_json()["holds"]
    assert verdict.as_json()["faults"][fault.name.lower()] == 1


def test_the_table_has_a_row_for_each_seed_and_their_sum_and_how_to_run_a_bad_one_again() -> None:
    output = io.StringIO()
    print_events_verdict(Console(file=output, width=140), make_verdict(Fault.LOST))
    rows = [line.split() for line in output.getvalue().splitlines() if line.strip()]
    assert ["7", "1.0", "0", "100", "0", "90", "10", "0", "0", "0", "2.0", "s"] in rows
    assert ["all", "3.0", "0", "200", "0", "185", "15", "0", "0", "0", "2.0", "s"] in rows
    assert "The same script again: invoke-gateway prove --seed 8 --events 100 --kills 5" in output.getvalue()
    assert "&lt;events answered 202, and lost&gt;" in render(make_verdict(Fault.LOST), "prove")
