"""The verdict as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .affected import RecoveryRow
from .quotas import RESERVED_REASON, UNRESERVED_REASON
from .timeline import FAILED, FAILED_BY_BACKEND, UNANSWERED, Second
from .verdict import Peak, Verdict
from .violations import Violation

MOST_EXAMPLES = 10
SHORT = {RESERVED_REASON: "function", UNRESERVED_REASON: "account"}
SEEN = ("over-\nshoot", "refused\nwhile\nfree", "failed")
IN_FLIGHT = ("truly in\nflight", "of it\nstruck", "by the\nstore", "by the\ngateways")


def print_verdict(console: Console, verdict: Verdict) -> None:
    console.print(limits_table(verdict.peaks, is_shared=verdict.is_shared))
    if verdict.is_shared:
        console.print(_faults_table(verdict))
        for seed, fault in verdict.worst_faults:
            if fault.timeline:
                console.print(f"  {fault.name}, seed {seed}, second by second", markup=False, highlight=False)
                console.print(_seconds_table(fault.timeline))
    console.print(violations_table(verdict.counts))
    for seed, _, text in verdict.examples[:MOST_EXAMPLES]:
        console.print(f"  seed {seed}: {text}", markup=False, highlight=False, soft_wrap=True)
    for record in verdict.notes:
        console.print(record, markup=False, soft_wrap=True)
    style = "bold green" if verdict.holds else "bold red"
    console.print(Text(verdict.sentence, style=style), soft_wrap=True)
    if not verdict.holds:
        seeds = [result.seed for result in verdict.results if result.violations]
        again = " ".join(f"--seed {seed}" for seed in seeds[:3])
        console.print(
            f"The same script again: invoke-gateway prove {again}{verdict.options}", markup=False, soft_wrap=True
        )


def limits_table(peaks: Sequence[Peak], *, is_shared: bool) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for heading in ("account", "limit"):
        table.add_column(heading, overflow="fold")
    with_lost = ("with calls of lost gateways",) if is_shared else ()
    for heading in ("ceiling", "highest true overlap", "overshoot", *with_lost):
        table.add_column(heading, justify="right")
    for peak in peaks:
        style = "bold red" if peak.overshoot else ""
        table.add_row(
            Text(peak.account),
            Text(peak.name),
            str(peak.ceiling),
            str(peak.highest),
            Text(str(peak.overshoot), style=style),
            *([str(peak.highest_with_lost)] if is_shared else []),
        )
    return table


def _faults_table(verdict: Verdict) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("blow", no_wrap=True)
    for heading in ("seed", "at", "lasted", *SEEN, "healed\nafter", "prom-\nised"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("kept", no_wrap=True)
    for seed, fault in verdict.worst_faults:
        overshoot = Text(str(fault.overshoot), style="bold red" if fault.overshoot else "")
        counts = [str(fault.refused_while_free), str(fault.failed + fault.unanswered)]
        cells: list[Text | str] = [Text(fault.name), str(seed), f"{fault.at:.1f} s", fault.duration, overshoot, *counts]
        for recovery in fault.recoveries:
            if recovery is not fault.recoveries[0]:
                cells = [Text(f"  {_shorten(recovery.name, fault.name)}"), *[""] * 6]
            table.add_row(*cells, *_describe_recovery(recovery))
        if not fault.recoveries:
            table.add_row(*cells)
    return table


def _shorten(name: str, fault: str) -> str:
    """What of a blow healed, without the blow's own name."""
    return name.removeprefix(f"{fault}: ")


def _describe_recovery(recovery: RecoveryRow) -> list[Text | str]:
    style = "" if recovery.within_deadline else "bold red"
    return [
        Text(recovery.took, style=style),
        f"{recovery.deadline:g} s",
        Text(recovery.judgement, style=style),
    ]


def _seconds_table(seconds: list[Second]) -> Table:
    """In flight are: by the backend's own count the least and the most, and how many of it through the struck gateway;
    then what the store and what the gateways say."""
    table = Table(box=SIMPLE_HEAD)
    reasons = sorted({reason for second in seconds for reason in second.refusals})
    headings = [f"429\n{SHORT.get(reason, reason)}" for reason in reasons]
    for heading in ("second", "ad-\nmitted", *headings, "5xx", "backend's\n5xx", "no\nanswer", *IN_FLIGHT):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("what")
    for second in seconds:
        refused = [str(second.answers[reason]) for reason in reasons]
        other = [str(second.answers[kind]) for kind in (FAILED, FAILED_BY_BACKEND, UNANSWERED)]
        counted = ["-" if count is None else str(count) for count in (second.store, second.gateways)]
        running = ["{} to {}".format(*second.running), str(second.affected)]
        cells = [str(second.at), str(second.admitted), *refused, *other, *running, *counted]
        table.add_row(*cells, Text(", ".join(second.marks)))
    return table


def violations_table(counts: Mapping[Violation, int]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("what must not happen", overflow="fold")
    table.add_column("seen", justify="right")
    for violation, count in counts.items():
        table.add_row(Text(violation.value), Text(str(count), style="bold red" if count else "green"))
    return table
