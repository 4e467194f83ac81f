"""How far a proof is: a live table where a person waits, a line per phase elsewhere."""

from __future__ import annotations

from time import monotonic
from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .history import Ledger
from .verdict import SeedResult

REFRESHES = 4  # per second


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
