"""Tests the arithmetic of the verdict, and its exit status."""

from __future__ import annotations

import pytest

from invoke_gateway.chaos.judging.violations import OF_EVENTS, Violation, Violations
from invoke_gateway.chaos.report.html import render
from invoke_gateway.chaos.report.verdict import CallsVerdict

from .results import broken, result


def test_it_holds_only_when_no_limit_was_overshot_and_no_fault_seen() -> None:
    good = CallsVerdict("x", [result(1, 19), result(2, 20)])
    assert (good.holds, good.status, good.peaks[0].highest) == (True, 0, 20)
    for bad in (
        CallsVerdict("x", [result(1, 21)]),
        CallsVerdict("x", [result(1, 20, broken())]),
        CallsVerdict("x", []),
    ):
        assert (bad.holds, bad.status) == (False, 1)


@pytest.mark.parametrize("violation", [violation for violation in Violation if violation not in OF_EVENTS])
def test_every_kind_of_fault_fails_the_verdict(violation: Violation) -> None:
    violations = Violations()
    violations.add(violation, "one")
    verdict = CallsVerdict("x", [result(1, 20), result(2, 20, violations)])
    assert not verdict.holds
    assert verdict.status == (2 if violation is Violation.NOT_JUDGED else 1)


def test_what_could_not_be_judged_is_neither_a_pass_nor_a_failure_and_a_failure_beside_it_is_one() -> None:
    overloaded = Violations()
    overloaded.add(Violation.NOT_JUDGED, "not judged: the machine was overloaded (lag 0.8 s): late", 2)
    verdict = CallsVerdict("x", [result(1, 20, overloaded)], lag=(0.8123, 0.01))
    assert (verdict.holds, verdict.status) == (False, 2)
    assert verdict.sentence == (
        "It could not be judged: 1 seed, 100 calls; 2 checks without a result, and nothing else was wrong."
    )
    assert "<h1>It could not be judged</h1>" in render(verdict, "prove")
    assert verdict.as_json()["lag"] == {"event_loop_seconds": 0.812, "thread_seconds": 0.01}
    assert verdict.as_json()["judged"] is False
    assert CallsVerdict("x", [result(1, 21, overloaded)]).status == 1, "an overshoot is one on any machine"
    overloaded.add(Violation.MISSING, "a slot")
    assert CallsVerdict("x", [result(1, 20, overloaded)]).status == 1


def test_a_fault_keeps_its_count_and_only_a_few_examples() -> None:
    violations = Violations()
    for number in range(100):
        violations.add(Violation.TWICE, str(number))
    verdict = CallsVerdict("x", [result(1, 20, violations)])
    assert verdict.counts[Violation.TWICE] == 100
    assert len(verdict.examples) == 5
    assert verdict.sentence == "It does not hold: 1 seed, 100 calls; 100 calls that reached the backend twice."
