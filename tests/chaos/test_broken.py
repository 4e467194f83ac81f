"""The breaks that `python -m tests.chaos.broken` makes on purpose still fit the code that they break."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from invoke_gateway.chaos.judging.violations import Violation

from . import broken
from .broken import BREAKS, FAILED, PACKAGE, Edit, Outcome, copy_broken


@pytest.mark.parametrize("name", BREAKS)
def test_each_break_still_applies_and_changes_only_what_prove_does_not_run(name: str, tmp_path: Path) -> None:
    edits = BREAKS[name].edits
    copy_broken(edits, tmp_path)
    changed = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*")
        if path.suffix in (".py", ".lua")
        and path.read_text() != (tmp_path / "invoke_gateway" / path.relative_to(PACKAGE)).read_text()
    ]
    assert sorted(changed) == sorted({edit.path for edit in edits})
    assert not any(path.startswith("chaos/") for path in changed)
    for path in changed:
        if path.endswith(".py"):
            ast.parse((tmp_path / "invoke_gateway" / path).read_text())


def test_a_break_that_no_longer_fits_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 0 times 'no such line'"):
        copy_broken([Edit(broken.TAKE, "no such line", "")], tmp_path)


@pytest.mark.parametrize(
    ("status", "seen", "caught"),
    [
        (FAILED, {Violation.OVERSHOOT: 1}, True),
        (FAILED, {Violation.NO_FAULT: 1}, False),
        (FAILED, {}, False),
        (2, {Violation.NOT_JUDGED: 1}, False),
        (0, {}, False),
    ],
)
def test_a_break_is_seen_only_by_exit_status_1_for_the_expected_reason(
    status: int, seen: dict[Violation, int], caught: bool
) -> None:
    first = next(iter(BREAKS.values()))
    assert Outcome(status, seen, 0.0, "").is_caught(first) is caught
