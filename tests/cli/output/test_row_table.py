"""Tables of the commands at 80 columns: no word is broken, and long texts stand below their row."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console, RenderableType

from invoke_gateway.cli import fault, in_flight, limits
from invoke_gateway.cli.output import event_tables
from invoke_gateway.cli.output.row_table import Column, RowTable
from tests.cli.test_limits import LIMITS

ID = "2a5f6b3e-5f0c-4c1e-9d3b-0b6b8a3f7c11"
REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"
ONE, OTHER = "000000000000", "111111111111"
QUEUED = [
    {"account": ONE, "function": "sleep-checkout", "waiting": 120, "held": 3, "oldest_seconds": 4000.2},
    {"account": OTHER, "function": "fail", "waiting": 1, "next_due_seconds": 3.2},
]
EVENT = {"request_id": ID, "function": "sleep-checkout", "state": "undelivered", "age_seconds": 4000.2, "runs": 3}
OUTCOME = {"condition": "RetriesExhausted", "trouble": "no answer within 5 s; check that it runs"}
ENDED = {"account": ONE, "function": "sleep-checkout", "end": "failed", "attempts": 3, "ended_seconds_ago": 4000.0}
CALL = {"gateway": "g-7f3a2b1c", "worker": "2", "function": "checkout", "request_id": ID, "age_seconds": 812.4}
SCRIPT = {"id": 1, "account": ONE, "function": "checkout", "calls": 3, "injected": 2, "seed": 0, "position": 1}
STEPS = [{"error": "TooManyRequestsException", "reason": REASON, "repeat": 2}]
SHARED = {"gateway": "g-7f3a2b1c", "gateways": 3, "sums_age_seconds": 0.01}

TABLES: dict[str, tuple[RenderableType, set[str]]] = {
    "limits": (limits.render(LIMITS), {ONE, "unreserved", f"{REASON} 3", "ConcurrentInvocationLimitExceeded 4"}),
    "shared limits": (limits.render({**LIMITS, "shared": SHARED}), {ONE, "unreserved", f"{REASON} 3", "8 shared"}),
    "queue": (event_tables.queue_table(QUEUED), {"sleep-checkout", f"account: {ONE}", "oldest: 1 h 06 min"}),
    "queue list": (
        event_tables.events_table([{**EVENT, "outcome": OUTCOME}]),
        {ID, "undelivered", "sleep-checkout", "no answer within 5 s; check that it runs"},
    ),
    "queue history": (
        event_tables.history_table([{**ENDED, "request_id": ID, "error": "Unhandled: Boom"}, {"account": OTHER}]),
        {ID, "Unhandled: Boom", "failed after 3 attempts", "1 h 06 min ago"},
    ),
    "in-flight": (
        in_flight.holders_table([{**CALL, "caller": "AKIAIOSFODNN7EXAMPLE"}, {**CALL, "account": OTHER}]),
        {ID, "g-7f3a2b1c", "812.4 s", "caller: AKIAIOSFODNN7EXAMPLE"},
    ),
    "fault": (fault.scripts_table([{**SCRIPT, "steps": STEPS}]), {ONE, "checkout", REASON}),
}


def show(table: RenderableType, width: int) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_80_columns_breaks_no_word(name: str) -> None:
    table, texts = TABLES[name]
    lines = show(table, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert {text for text in texts if not any(text in line for line in lines)} == set()


@pytest.mark.parametrize("name", TABLES)
def test_a_wide_terminal_has_all_columns_beside_one_another(name: str) -> None:
    table, texts = TABLES[name]
    wide, words = show(table, 200), {text.rpartition(": ")[2] for text in texts}
    assert {text for text in words if text not in wide} == set()
    assert len(wide.splitlines()) < len(show(table, 80).splitlines())


def make(**more: Any) -> RowTable:
    table = RowTable(Column("name", folds=True), Column("calls", "right"), Column("why", below="named"), **more)
    table.add_row("a" * 30, "7", "because of the limit")
    table.add_section()
    table.add_row("b")
    table.add_section()
    return table


def test_only_the_column_that_folds_is_folded_and_what_is_below_follows_its_row() -> None:
    lines = [line.rstrip() for line in show(make(title="draining"), 30).splitlines()]
    assert lines == [
        "draining",
        "",
        f"{'name':<23}  calls",
        "─" * 30,
        f"{'a' * 23}      7",
        "a" * 7,
        "      why: because of the",
        "      limit",
        "",
        "b",
        "",
    ]


def test_names_of_wide_letters_keep_the_columns_straight() -> None:
    table = RowTable(Column("name", folds=True), Column("calls", "right"), Column("why", below="plain"))
    table.add_row("試験", "7", "x" * 40)
    table.add_row("ab", "8")
    lines = [line for line in show(table, 40).splitlines() if line.endswith(("7", "8"))]
    assert lines == ["試験      7", "ab        8"]


def test_a_name_is_not_read_as_markup() -> None:
    table = RowTable(Column("name", folds=True), Column("why", below="plain"))
    table.add_row("[red]x[/red]", "[bold]y[/bold]")
    for width in (12, 100):
        assert "[red]x[/red]" in show(table, width)
