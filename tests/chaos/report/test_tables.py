"""Tests the tables of a verdict."""

from __future__ import annotations

import io
from collections import Counter

from rich.console import Console

from invoke_gateway.chaos.faults.fault import InjectedFault, Recovery
from invoke_gateway.chaos.faults.timeline import FAILED, Second
from invoke_gateway.chaos.judging.violations import OF_EVENTS, OF_SHARED, Violation
from invoke_gateway.chaos.quotas import RESERVED_REASON, UNRESERVED_REASON
from invoke_gateway.chaos.report.calls import list_tables
from invoke_gateway.chaos.report.console import print_verdict
from invoke_gateway.chaos.report.html import render
from invoke_gateway.chaos.report.verdict import CallsVerdict

from .results import broken, result


def test_the_tables_name_every_limit_and_every_kind_of_fault() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    verdict = CallsVerdict("x", [result(7, 21, broken())], ["a note"])
    print_verdict(console, verdict, list_tables(verdict))
    text = console.export_text()
    assert all(violation.value in text for violation in Violation if violation not in (*OF_SHARED, *OF_EVENTS))
    assert not any(violation.value in text for violation in (*OF_SHARED, *OF_EVENTS)), "no fault was injected"
    assert "<script>alert(1)</script>" in text
    assert "a note" in text
    assert "invoke-gateway prove --seed 7" in text


SECONDS = [
    Second(-1, 56, Counter({UNRESERVED_REASON: 216, RESERVED_REASON: 139}), (26, 28), 12, 28, None),
    Second(0, 28, Counter({FAILED: 3, UNRESERVED_REASON: 281}), (17, 31), 13, 27, 26, ["killed (-9) at 0.0 s"]),
]


def recovered(name: str, since: float, seconds: float | None, lag: float = 0.0) -> Recovery:
    recovery = Recovery(name, since, 4.0, [], [])
    recovery.recovered_at = None if seconds is None else since + seconds
    recovery.lag = lag
    return recovery


def killed(who: int, at: float, seconds: float, overshoot: int = 0) -> InjectedFault:
    fault = InjectedFault(f"gateway {who} killed (-9)", [], at, is_cut=True)
    fault.overshoot, fault.overshoot_with_lost, fault.refused_while_free = overshoot, 7, 11
    fault.failed, fault.unanswered = 2, 3
    fault.recoveries = [
        recovered(fault.name, at, seconds),
        recovered(f"gateway {who} started again", at + 1, 1.25),
    ]
    fault.timeline, fault.over = SECONDS, at + 5
    return fault


def test_a_recovery_that_was_late_on_an_overloaded_machine_is_not_judged() -> None:
    late = recovered("killed", 1.0, 4.5, lag=0.8)
    assert (late.within_deadline, late.judgement, late.as_json(0.0)["lag"]) == (False, "not judged", 0.8)
    assert recovered("killed", 1.0, 4.5).judgement == "no"
    assert recovered("killed", 1.0, 3.5).judgement == "yes"


def cut_off(at: float, seconds: float | None) -> InjectedFault:
    name = "gateway 1 cut off for longer than the lease"  # about as long as they come
    fault = InjectedFault(name, [], at, is_cut=True)
    fault.ended = at + 30.0
    fault.recoveries = [recovered(f"{name}: its return", at + 30, seconds)]
    return fault


def test_of_each_kind_of_fault_the_worst_is_shown_and_all_are_in_the_report() -> None:
    results = [result(seed, 20) for seed in (7, 8)]
    results[0].faults = [killed(1, 3.0, 2.5, overshoot=1), cut_off(9.0, 3.25)]
    results[1].faults = [killed(2, 5.0, 3.5), cut_off(8.0, None)]
    for one in results:
        one.peaks[0].highest_with_lost = 23
    results[1].violations.add(Violation.NOT_HEALED, "cut off: not healed")
    verdict = CallsVerdict("x", results, options=" --gateways 3 --redis spawn")
    told = io.StringIO()
    print_verdict(Console(file=told, width=130), verdict, list_tables(verdict))
    rows = [" ".join(line.split()) for line in told.getvalue().splitlines()]
    assert "gateway 1 killed (-9) 7 3.0 s for good 1 11 5 2.5 s 4 s yes" in rows
    assert "gateway 1 started again 1.2 s 4 s yes" in rows
    assert "gateway 1 cut off for longer than the lease 8 8.0 s 30.0 s 0 0 0 never 4 s no" in rows
    assert "gateway 1 killed (-9), seed 7, second by second" in rows
    assert "-1 56 216 139 0 0 0 26 to 28 12 28 -" in rows
    assert "0 28 281 0 3 0 0 17 to 31 13 27 26 killed (-9) at 0.0 s" in rows
    assert not any("3.2 s" in row or "3.5 s" in row for row in rows)
    assert "over- while ered dead-" in rows, "all columns fit"
    assert "000000000000 account 20 20 0 23" in rows
    assert "prove --seed 8 --gateways 3 --redis spawn" in told.getvalue()
    assert verdict.status == 1
    report = render(verdict, "prove")
    assert all(
        name in report for name in ("gateway 1 killed (-9)", "gateway 2 killed (-9)", "never", ">23", ">17 to 31<")
    )
    described = verdict.as_json()["seeds"][0]["faults"][0]
    assert [second["second"] for second in described.pop("around")] == [-1, 0]
    assert described == {
        "blow": "gateway 1 killed (-9)",
        "at": 3.0,
        "lasted": None,
        "over": 8.0,
        "overshoot": 1,
        "overshoot_with_calls_of_lost_gateways": 7,
        "refused_while_slots_were_free": 11,
        "failed_for_want_of_the_store": 2,
        "unanswered": 3,
        "healed": [
            {"what": "gateway 1 killed (-9)", "since": 3.0, "seconds": 2.5, "promise": 4.0, "kept": True},
            {"what": "gateway 1 started again", "since": 4.0, "seconds": 1.25, "promise": 4.0, "kept": True},
        ],
    }
