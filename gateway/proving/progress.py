"""How far a proof is: a live table where a person waits, a line per phase elsewhere; then the verdict as tables."""

from __future__ import annotations

from time import monotonic
from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .ledger import Ledger
from .verdict import SeedResult, Verdict

REFRESHES = 4  # per second
MOST_EXAMPLES = 10


class Progress:
    """Written to `console`, which is best stderr: stdout is for the verdict."""

    def __init__(self, console: Console, seeds: int) -> None:
        self._console = console
        self._seeds = seeds
        self._done: list[SeedResult] = []
        self._phase = ""
        self._ledger: Ledger | None = None
        self._began = monotonic()
        self._live = (
            Live(get_renderable=self._render, console=console, refresh_per_second=REFRESHES, transient=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, seed: int, round: int, phase: str, ledger: Ledger) -> None:
        self._phase = f"seed {seed}, round {round}, {phase}"
        self._ledger = ledger

    def end(self) -> None:
        if self._live is None and self._ledger is not None:
            seconds = monotonic() - self._began
            self._console.print(
                f"{seconds:6.1f} s  {self._phase}: {describe(self._ledger)}", markup=False, soft_wrap=True
            )

    def tell(self, text: str) -> None:
        """Something happened within the phase."""
        seconds = monotonic() - self._began
        self._console.print(f"{seconds:6.1f} s  {self._phase}: {text}", markup=False, soft_wrap=True)

    def end_seed(self, result: SeedResult) -> None:
        self._done.append(result)
        if self._live is not None:
            wrong = sum(result.faults.counts.values())
            self._console.print(
                f"seed {result.seed}: {result.calls} calls in {result.seconds:.1f} s, "
                + (f"[bold red]{wrong} wrong" if wrong else "[green]nothing wrong")
            )

    def _render(self) -> Group | Text:
        ledger = self._ledger
        if ledger is None:
            return Text("starting")
        head = Text(f"{self._phase} ({len(self._done)} of {self._seeds} seeds done)", style="bold")
        table = Table("account", "limit", "running", "highest", "ceiling", box=SIMPLE_HEAD)
        for level in list(ledger.levels.values()):
            style = "bold red" if level.overshoot else ""
            table.add_row(
                level.account,
                level.name,
                str(level.running),
                Text(str(level.highest), style=style),
                str(level.ceiling),
            )
        return Group(head, table, Text(describe(ledger)))


def describe(ledger: Ledger) -> str:
    """One line: calls so far, answers by status, highest overlaps against ceilings, faults."""
    answers = ", ".join(f"{count} x {kind}" for kind, count in sorted(ledger.answers.items()))
    peaks = " ".join(f"{level.highest}/{level.ceiling}" for level in ledger.levels.values())
    return f"{len(ledger.calls)} calls ({answers}); at once {peaks}; {sum(ledger.faults.counts.values())} wrong"


def print_verdict(console: Console, verdict: Verdict) -> None:
    console.print(_limits_table(verdict))
    if verdict.is_shared:
        console.print(_healing_table(verdict))
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


def _healing_table(verdict: Verdict) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("blow", overflow="fold")
    for heading in ("seed", "at second", "whole ceiling again after", "promised"):
        table.add_column(heading, justify="right")
    for seed, healing in verdict.slowest_healings:
        table.add_row(
            Text(healing.name),
            str(seed),
            f"{healing.at:.1f}",
            Text(healing.took, style="" if healing.is_kept else "bold red"),
            f"{healing.promise:g} s",
        )
    return table


def _faults_table(verdict: Verdict) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("what must not happen", overflow="fold")
    table.add_column("seen", justify="right")
    for fault, count in verdict.counts.items():
        table.add_row(Text(fault.value), Text(str(count), style="bold red" if count else "green"))
    return table
