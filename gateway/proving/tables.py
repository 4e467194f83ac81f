"""The verdict as tables on a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .struck import Healed
from .verdict import Verdict

MOST_EXAMPLES = 10


def print_verdict(console: Console, verdict: Verdict) -> None:
    console.print(_limits_table(verdict))
    if verdict.is_shared:
        console.print(_blows_table(verdict))
    console.print(_faults_table(verdict))
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


def _limits_table(verdict: Verdict) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for heading in ("account", "limit"):
        table.add_column(heading, overflow="fold")
    with_lost = ("with calls of lost gateways",) if verdict.is_shared else ()
    for heading in ("ceiling", "highest true overlap", "overshoot", *with_lost):
        table.add_column(heading, justify="right")
    for peak in verdict.peaks:
        style = "bold red" if peak.overshoot else ""
        table.add_row(
            Text(peak.account),
            Text(peak.name),
            str(peak.ceiling),
            str(peak.highest),
            Text(str(peak.overshoot), style=style),
            *([str(peak.highest_with_lost)] if verdict.is_shared else []),
        )
    return table


def _blows_table(verdict: Verdict) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("blow", no_wrap=True)
    for heading in (
        "seed",
        "at",
        "lasted",
        "over-\nshoot",
        "refused\nthough free",
        "failed",
        "healed\nafter",
        "promised",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("kept")
    for seed, blow in verdict.worst_blows:
        overshoot = Text(str(blow.overshoot), style="bold red" if blow.overshoot else "")
        counts = [str(blow.refused_while_free), str(blow.failed + blow.unanswered)]
        cells: list[Text | str] = [Text(blow.name), str(seed), f"{blow.at:.1f} s", blow.duration, overshoot, *counts]
        for healed in blow.healed:
            if healed is not blow.healed[0]:
                cells = [Text(f"  {_shorten(healed.name, blow.name)}"), *[""] * 6]
            table.add_row(*cells, *_describe_healing(healed))
    return table


def _shorten(name: str, blow: str) -> str:
    """What of a blow healed, without the blow's own name."""
    return name.removeprefix(f"{blow}: ")


def _describe_healing(healed: Healed) -> list[Text | str]:
    style = "" if healed.is_kept else "bold red"
    return [
        Text(healed.took, style=style),
        f"{healed.promise:g} s",
        Text("yes" if healed.is_kept else "no", style=style),
    ]


def _faults_table(verdict: Verdict) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("what must not happen", overflow="fold")
    table.add_column("seen", justify="right")
    for fault, count in verdict.counts.items():
        table.add_row(Text(fault.value), Text(str(count), style="bold red" if count else "green"))
    return table
