"""Tests the verdict on events, and its tables."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from invoke_gateway.chaos.events.checker import EventTally
from invoke_gateway.chaos.events.plan import EventsPlan
from invoke_gateway.chaos.events.tables import list_event_tables, render_events
from invoke_gateway.chaos.events.verdict import EventsResult, EventsVerdict
from invoke_gateway.chaos.judging.violations import Violation, Violations
from invoke_gateway.chaos.report.console import print_verdict


def make_verdict(*violations: Violation) -> EventsVerdict:
    seen = Violations()
    for violation in violations:
        seen.add(violation, f"<{violation.value}>")
    plan = EventsPlan([7, 8], 100)
    good = EventTally(accepted=100, as_planned=90, again=10, slowest_recovery=2.0)
    bad = EventTally(accepted=100, as_planned=95, again=5, slowest_recovery=1.0)
    results = [EventsResult(7, 1.0, [], Violations(), good, []), EventsResult(8, 2.0, [], seen, bad, [])]
    return EventsVerdict(plan.target, results, [], plan.options, (0.1, 0.2))


@pytest.mark.parametrize("violation", list(Violation))
def test_every_fault_fails_the_verdict_but_what_could_not_be_judged(violation: Violation) -> None:
    verdict = make_verdict(violation)
    assert verdict.status == (2 if violation is Violation.NOT_JUDGED else 1)
    assert not verdict.as_json()["holds"]
    assert verdict.as_json()["violations"][violation.name.lower()] == 1


def test_the_table_has_a_row_for_each_seed_and_their_sum_and_how_to_run_a_bad_one_again() -> None:
    output = io.StringIO()
    verdict = make_verdict(Violation.LOST)
    print_verdict(Console(file=output, width=140), verdict, list_event_tables(verdict))
    rows = [line.split() for line in output.getvalue().splitlines() if line.strip()]
    assert ["7", "1.0", "0", "100", "0", "90", "10", "0", "0", "0", "2.0", "s"] in rows
    assert ["all", "3.0", "0", "200", "0", "185", "15", "0", "0", "0", "2.0", "s"] in rows
    assert "The same script again: invoke-gateway prove --seed 8 --events 100 --fault-count 5" in output.getvalue()
    assert "&lt;events answered 202, and lost&gt;" in render_events(make_verdict(Violation.LOST), "prove")
