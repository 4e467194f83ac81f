"""Lists the tables of a verdict on events."""

from __future__ import annotations

from ..report.html import render_page
from ..report.tables import Row, VerdictTable, limits_table
from .checker import EventTally
from .verdict import EventsVerdict

HEADINGS = (
    "*seed",
    "*seconds",
    "*faults",
    "*accepted",
    "*un-\nknown",
    "*run as the\nrules say",
    "*run again\nafter a fault",
    "*dead-\nlettered",
    "*lost",
    "*unex-\nplained",
    "*slowest\nrecovery",
)


def list_event_tables(verdict: EventsVerdict) -> list[VerdictTable]:
    return [_events_table(verdict), limits_table(verdict)]


def render_events(verdict: EventsVerdict, command: str) -> str:
    faults = [Row((result.seed, fault)) for result in verdict.results for fault in result.faults]
    return render_page(
        verdict,
        command,
        before=["<h2>Events</h2>", _events_table(verdict).as_html()],
        after=["<h2>Faults</h2>", VerdictTable(("*seed", "what was done"), faults).as_html()],
    )


def _events_table(verdict: EventsVerdict) -> VerdictTable:
    """Returns a row for each seed, and for their sum where there are several."""
    rows = [_row(result.seed, result.seconds, len(result.faults), result.tally) for result in verdict.results]
    if len(rows) > 1:
        seconds = sum(result.seconds for result in verdict.results)
        rows.append(_row("all", seconds, sum(len(result.faults) for result in verdict.results), verdict.tally))
    return VerdictTable(HEADINGS, rows)


def _row(seed: object, seconds: float, faults: int, tally: EventTally) -> Row:
    numbers = (tally.accepted, tally.unknown, tally.as_planned, tally.again, tally.dead_lettered)
    cells = (seed, f"{seconds:.1f}", faults, *numbers, tally.lost, tally.unexplained)
    return Row((*cells, f"{tally.slowest_recovery:.1f} s"), bool(tally.lost or tally.unexplained))
