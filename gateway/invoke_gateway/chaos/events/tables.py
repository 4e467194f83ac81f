"""The verdict on events as tables: on a terminal, and as one HTML file."""

from __future__ import annotations

from html import escape
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..report import STYLE, html_table
from ..tables import MOST_EXAMPLES, limits_table, violations_table
from ..verdict import PASSED
from .checker import EventTally
from .verdict import EventsVerdict

HEADINGS = (
    "seed",
    "seconds",
    "blows",
    "accepted",
    "un-\nknown",
    "run as the\nrules say",
    "run again\nafter a blow",
    "dead-\nlettered",
    "lost",
    "unex-\nplained",
    "slowest\nrecovery",
)


def print_events_verdict(console: Console, verdict: EventsVerdict) -> None:
    table = Table(box=SIMPLE_HEAD)
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    rows = _rows(verdict)
    for cells, tally in rows:
        if len(rows) > 1 and cells is rows[-1][0]:
            table.add_section()
        table.add_row(*cells, style="bold red" if tally.lost or tally.unexplained else None)
    console.print(table)
    console.print(limits_table(verdict.peaks, is_shared=True))
    console.print(violations_table(verdict.counts))
    for seed, _, text in verdict.examples[:MOST_EXAMPLES]:
        console.print(f"  seed {seed}: {text}", markup=False, highlight=False, soft_wrap=True)
    for note in verdict.notes:
        console.print(note, markup=False, soft_wrap=True)
    is_good = verdict.status == PASSED
    console.print(Text(verdict.sentence, style="bold green" if is_good else "bold red"), soft_wrap=True)
    if not is_good:
        seeds = " ".join(f"--seed {result.seed}" for result in verdict.results if result.violations)
        again = f"The same script again: invoke-gateway prove {seeds}{verdict.plan.options}"
        console.print(again, markup=False, soft_wrap=True)


def write_events_report(path: Path, verdict: EventsVerdict, command: str) -> None:
    """Write the report. Raises OSError. `command` made it."""
    path.write_text(render(verdict, command), encoding="utf-8")


def render(verdict: EventsVerdict, command: str) -> str:
    is_good = verdict.status == PASSED
    notes = "".join(f"<p>{escape(note)}</p>" for note in verdict.notes)
    seeds = [
        f"<tr{' class=bad' if tally.lost or tally.unexplained else ''}>"
        + "".join(f"<td class=n>{escape(cell)}" for cell in cells)
        for cells, tally in _rows(verdict)
    ]
    limits = [
        f"<tr{' class=bad' if peak.overshoot else ''}><td>{escape(peak.account)}<td>{escape(peak.name)}"
        f"<td class=n>{peak.ceiling}<td class=n>{peak.highest}<td class=n>{peak.highest_with_lost}"
        for peak in verdict.peaks
    ]
    violations = [
        f"<tr{' class=bad' if count else ''}><td>{escape(violation.value)}<td class=n>{count}"
        for violation, count in verdict.counts.items()
    ]
    examples = [
        f"<tr><td class=n>{seed}<td>{escape(violation.value)}<td><code>{escape(text)}</code>"
        for seed, violation, text in verdict.examples
    ]
    faults = [
        f"<tr><td class=n>{result.seed}<td>{escape(f'{fault.gateway.name} {fault.kind}')}"
        for result in verdict.results
        for fault in result.faults
    ]
    headings = tuple("*" + heading.replace("-\n", "").replace("\n", " ") for heading in HEADINGS)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{verdict.headline} · invoke-gateway prove --events</title>",
        f"<style>{STYLE}</style></head><body>",
        f'<div class="verdict{"" if is_good else " bad"}"><h1>{verdict.headline}</h1>',
        f"<p>{escape(verdict.sentence)}</p>{notes}",
        f"<p class=dim>Judged: {escape(verdict.target)}, by <code>{escape(command)}</code></p></div>",
        "<h2>Events</h2>",
        html_table(headings, seeds),
        "<h2>Limits</h2>",
        html_table(("account", "limit", "*ceiling", "*highest true overlap", "*with calls of lost gateways"), limits),
        "<h2>What must not happen</h2>",
        html_table(("", "*seen"), violations),
        "<h2>Examples</h2>" + html_table(("*seed", "what", "which"), examples) if examples else "",
        "<h2>Blows</h2>",
        html_table(("*seed", "what was done"), faults),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _rows(verdict: EventsVerdict) -> list[tuple[list[str], EventTally]]:
    """The cells of each seed, and of their sum where there are several."""
    rows = [
        (_cells(str(result.seed), result.seconds, len(result.faults), result.tally), result.tally)
        for result in verdict.results
    ]
    if len(rows) > 1:
        seconds = sum(result.seconds for result in verdict.results)
        faults = sum(len(result.faults) for result in verdict.results)
        rows.append((_cells("all", seconds, faults, verdict.tally), verdict.tally))
    return rows


def _cells(seed: str, seconds: float, faults: int, tally: EventTally) -> list[str]:
    numbers = (tally.accepted, tally.unknown, tally.as_planned, tally.again, tally.dead_lettered)
    wrong = (tally.lost, tally.unexplained)
    return [seed, f"{seconds:.1f}", str(faults), *map(str, (*numbers, *wrong)), f"{tally.slowest_recovery:.1f} s"]
