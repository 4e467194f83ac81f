"""Each cause of a problem has sentences: what is wrong, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from invoke_gateway.admin.problems import ADVICE, describe_problems

METRICS = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text()
BEYOND_THE_METRIC = {"draining", "not_ready", "backend_down", "workers", "events_undelivered"}


def test_every_cause_of_the_metric_has_its_sentences() -> None:
    (row,) = [line for line in METRICS.splitlines() if line.startswith("| `invoke_gateway_degraded`")]
    causes = set(re.findall(r"(\w+): ", row.partition("by cause.")[2]))
    assert causes == set(ADVICE) - BEYOND_THE_METRIC
    assert "store_unavailable" in causes


@pytest.mark.parametrize("cause", ADVICE)
def test_the_sentences_end_and_have_an_action(cause: str) -> None:
    advice = ADVICE[cause]
    assert advice.problem.endswith(".")
    assert advice.action.endswith(".")
    assert advice.problem != advice.action
    assert max(len(sentence.split()) for sentence in re.split(r"[.;] ", f"{advice.problem} {advice.action}")) <= 25


def test_problems_stand_in_the_order_of_the_table_each_once_with_what_is_known() -> None:
    problems = describe_problems(
        ["restart_needed", "backend_down", "restart_needed", "new"], {"backend_down": "refused"}
    )
    assert [problem["cause"] for problem in problems] == ["backend_down", "restart_needed", "new"]
    assert [problem["detail"] for problem in problems] == ["refused", None, None]
    assert problems[2]["problem"] == "The gateway is degraded."
    assert describe_problems([], {}) == []
