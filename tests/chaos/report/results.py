"""Builds results of seeds for tests of the report."""

from __future__ import annotations

from collections import Counter

from invoke_gateway.chaos.calls import CallEnding
from invoke_gateway.chaos.judging.concurrency_track import Peak
from invoke_gateway.chaos.judging.violations import Violation, Violations
from invoke_gateway.chaos.report.verdict import CallsResult


def result(seed: int, highest: int, violations: Violations | None = None) -> CallsResult:
    return CallsResult(
        seed,
        10.0,
        [Peak("000000000000", "account", 20, highest)],
        violations or Violations(),
        100,
        Counter({"200": 90, "429": 10}),
        Counter({CallEnding.ANSWERS: 90}),
        [("burst", 0.0)],
        [[(1.0, highest), (2.0, 0)]],
    )


def broken() -> Violations:
    violations = Violations()
    violations.add(Violation.REASON, "<script>alert(1)</script>", 3)
    return violations
