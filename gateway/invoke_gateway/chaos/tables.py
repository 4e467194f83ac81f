"""The verdict as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .affected import Healed
from .quotas import RESERVED_REASON, UNRESERVED_REASON
from .timeline import FAILED, FAILED_BY_BACKEND, UNANSWERED, Second
from .verdict import Peak, Verdict
from .violations import Fault

MOST_EXAMPLES = 10
SHORT = {RESERVED_REASON: "function", UNRESERVED_REASON: "account"}
SEEN = ("over-\nshoot", "refused\nwhile\nfree", "failed")
IN_FLIGHT = ("truly in\nflight", "of it\nstruck", "by the\nstore", "by the\ngateways")


def print_verdict(console: Console, verdict: Verdict) -> None:
    console.print(limits_table(verdict.peaks, is_shared=verdict.is_shared))
    if verdict.is_shared:
        console.print(_blows_table(verdict))
        for seed, blow in verdict.worst_blows:
            if blow.around:
                console.print(f"  {blow.name}, seed {seed}, second by second", markup=False, highlight=False)
                console.print(_seconds_table(blow.around))
    console.print(faults_table(verdict.counts))
    for seed, _, text in verdict.examples[:MOST_EXAMPLES]:
        console.print(f"  seed {seed}: {text}", markup=False, highlight=False, soft_wrap=True)
    for note in verdict.notes:
        console.print(note, markup=False, soft_wrap=True)
    style = "bold green" if verdict.holds else "bold red"
    console.print(Text(verdict.sentence, style=style), soft_wrap=True)
    if not verdict.holds:
        seeds = [result.seed for result in verdict.results if result.faults]
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


def _blows_table(verdict: Verdict) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("blow", no_wrap=True)
    for heading in ("seed", "at", "lasted", *SEEN, "healed\nafter", "prom-\nised"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("kept", no_wrap=True)
    for seed, blow in verdict.worst_blows:
        overshoot = Text(str(blow.overshoot), style="bold red" if blow.overshoot else "")
        counts = [str(blow.refused_while_free), str(blow.failed + blow.unanswered)]
        cells: list[Text | str] = [Text(blow.name), str(seed), f"{blow.at:.1f} s", blow.duration, overshoot, *counts]
        for healed in blow.healed:
            if healed is not blow.healed[0]:
                cells = [Text(f"  {_shorten(healed.name, blow.name)}"), *[""] * 6]
            table.add_row(*cells, *_describe_healing(healed))
        if not blow.healed:
            table.add_row(*cells)
    return table


def _shorten(name: str, blow: str) -> str:
    """What of a blow healed, without the blow's own name."""
    return name.removeprefix(f"{blow}: ")


def _describe_healing(healed: Healed) -> list[Text | str]:
    style = "" if healed.is_kept else "bold red"
    return [
        Text(healed.took, style=style),
        f"{healed.promise:g} s",
        Text(healed.judgement, style=style),
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
        running = ["{} to {}".format(*second.running), str(second.struck)]
        cells = [str(second.at), str(second.admitted), *refused, *other, *running, *counted]
        table.add_row(*cells, Text(", ".join(second.marks)))
    return table


def faults_table(counts: Mapping[Fault, int]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("what must not happen", overflow="fold")
    table.add_column("seen", justify="right")
    for fault, count in counts.items():
        table.add_row(Text(fault.value), Text(str(count), style="bold red" if count else "green"))
    return table
