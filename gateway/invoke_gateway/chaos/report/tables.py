"""Defines the tables of a verdict once, for a terminal and for HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ..faults.fault import InjectedFault
from ..faults.timeline import FAILED, FAILED_BY_BACKEND, UNANSWERED, Second
from ..quotas import RESERVED_REASON, UNRESERVED_REASON
from .verdict import SeedsVerdict

SHORT = {RESERVED_REASON: "function", UNRESERVED_REASON: "account"}


class Row(NamedTuple):
    """Cells that are `None` have nothing to show."""

    cells: Sequence[object]
    is_bad: bool = False


class VerdictTable(NamedTuple):
    """A heading that begins with `*` is of numbers. `title`: a heading above the table."""

    headings: Sequence[str]
    rows: Sequence[Row]
    title: str = ""

    def as_rich(self) -> Table:
        table = Table(box=SIMPLE_HEAD, title=self.title or None, title_justify="left")
        for heading in self.headings:
            is_number = heading.startswith("*")
            # A number is never cut; a long name may be folded.
            table.add_column(
                heading.lstrip("*"),
                justify="right" if is_number else "left",
                no_wrap=is_number or heading in ("fault", "kept"),
                overflow="fold",
            )
        for row in self.rows:
            cells = [Text("-" if cell is None else str(cell)) for cell in row.cells]
            table.add_row(*cells, style="bold red" if row.is_bad else None)
        return table

    def as_html(self) -> str:
        names = [heading.replace("-\n", "").replace("\n", " ") for heading in self.headings]
        head = "".join(f"<th{_align(name)}>{escape(name.lstrip('*'))}" for name in names)
        rows = (
            f"<tr{' class=bad' if row.is_bad else ''}>"
            + "".join(
                f"<td{_align(name)}>{'' if cell is None else escape(str(cell))}"
                for name, cell in zip(names, row.cells, strict=True)
            )
            for row in self.rows
        )
        title = f"<h3>{escape(self.title)}</h3>" if self.title else ""
        return f"{title}<div class=scroll><table><tr>{head}{''.join(rows)}</table></div>"


def _align(name: str) -> str:
    return " class=n" if name.startswith("*") else ""


def limits_table(verdict: SeedsVerdict[Any]) -> VerdictTable:
    headings = ["account", "limit", "*ceiling", "*highest true overlap", "*overshoot"]
    rows = []
    for peak in verdict.peaks:
        cells = [peak.account, peak.name, peak.ceiling, peak.highest, peak.overshoot]
        rows.append(Row(cells + [peak.highest_with_lost] * verdict.is_shared, bool(peak.overshoot)))
    return VerdictTable(headings + ["*with calls of lost gateways"] * verdict.is_shared, rows)


def violations_table(verdict: SeedsVerdict[Any]) -> VerdictTable:
    rows = [Row((violation.value, count), bool(count)) for violation, count in verdict.counts.items()]
    return VerdictTable(("what must not happen", "*seen"), rows)


def faults_table(faults: Iterable[tuple[int, InjectedFault]]) -> VerdictTable:
    """Returns a row for each recovery of each fault. `faults`: each with its seed."""
    numbers = ("*seed", "*at", "*lasted", "*over-\nshoot", "*refused\nwhile\nfree", "*failed")
    rows = []
    for seed, fault in faults:
        failed = fault.failed + fault.unanswered
        seen = (seed, f"{fault.at:.1f} s", fault.duration, fault.overshoot, fault.refused_while_free, failed)
        for number, recovery in enumerate(fault.recoveries):
            name = f"  {recovery.name.removeprefix(f'{fault.name}: ')}" if number else fault.name
            recovered = (recovery.took, f"{recovery.deadline:g} s", recovery.judgement)
            is_bad = bool(fault.overshoot) or not recovery.within_deadline
            rows.append(Row([name, *([""] * len(seen) if number else seen), *recovered], is_bad))
        if not fault.recoveries:
            rows.append(Row([fault.name, *seen, "", "", ""], bool(fault.overshoot)))
    return VerdictTable(("fault", *numbers, "*recov-\nered\nafter", "*dead-\nline", "kept"), rows)


def timeline_table(seconds: Sequence[Second], title: str) -> VerdictTable:
    """Returns a row for each second. In flight are: the least and the most by the backend's count, the part through
    affected gateways, the store's count, the gateways' own."""
    reasons = sorted({reason for second in seconds for reason in second.refusals})
    headings = [f"*429\n{SHORT.get(reason, reason)}" for reason in reasons]
    in_flight = ("*truly in\nflight", "*of it\naf-\nfected", "*by the\nstore", "*by the\ngateways")
    rows = []
    for second in seconds:
        answers = [second.answers[kind] for kind in (*reasons, FAILED, FAILED_BY_BACKEND, UNANSWERED)]
        running = ("{} to {}".format(*second.running), second.affected)
        marks = ", ".join(second.marks)
        rows.append(Row([second.at, second.admitted, *answers, *running, second.store, second.gateways, marks]))
    columns = ("*second", "*ad-\nmitted", *headings, "*5xx", "*backend's\n5xx", "*no\nanswer", *in_flight, "what")
    return VerdictTable(columns, rows, title)


def examples_table(verdict: SeedsVerdict[Any]) -> VerdictTable:
    rows = [Row((seed, violation.value, text)) for seed, violation, text in verdict.examples]
    return VerdictTable(("*seed", "what", "which"), rows)
