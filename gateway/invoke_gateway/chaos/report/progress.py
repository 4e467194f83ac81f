"""Shows the progress of a proof: a live table on a terminal, a line for each phase elsewhere."""

from __future__ import annotations

from time import monotonic
from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..judging.history import CallHistory
from .verdict import CallsResult

REFRESHES = 4  # per second


class Progress:
    """Progress on `console`, which is best stderr: stdout is for the verdict."""

    def __init__(self, console: Console, seeds: int) -> None:
        self._console = console
        self._seeds = seeds
        self._done: list[CallsResult] = []
        self._phase = ""
        self._history: CallHistory | None = None
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

    def begin(self, seed: int, round: int, phase: str, history: CallHistory) -> None:
        self._phase = f"seed {seed}, round {round}, {phase}"
        self._history = history

    def end(self) -> None:
        if self._live is None and self._history is not None:
            seconds = monotonic() - self._began
            self._console.print(
                f"{seconds:6.1f} s  {self._phase}: {describe(self._history)}", markup=False, soft_wrap=True
            )

    def log(self, text: str) -> None:
        """Prints an event within the phase."""
        seconds = monotonic() - self._began
        self._console.print(f"{seconds:6.1f} s  {self._phase}: {text}", markup=False, soft_wrap=True)

    def end_seed(self, result: CallsResult) -> None:
        self._done.append(result)
        if self._live is not None:
            wrong = sum(result.violations.counts.values())
            self._console.print(
                f"seed {result.seed}: {result.calls} calls in {result.seconds:.1f} s, "
                + (f"[bold red]{wrong} wrong" if wrong else "[green]nothing wrong")
            )

    def _render(self) -> Group | Text:
        history = self._history
        if history is None:
            return Text("starting")
        head = Text(f"{self._phase} ({len(self._done)} of {self._seeds} seeds done)", style="bold")
        table = Table("account", "limit", "running", "highest", "ceiling", box=SIMPLE_HEAD)
        for track in list(history.tracks.values()):
            style = "bold red" if track.overshoot else ""
            table.add_row(
                track.account,
                track.name,
                str(track.running),
                Text(str(track.highest), style=style),
                str(track.ceiling),
            )
        return Group(head, table, Text(describe(history)))


def describe(history: CallHistory) -> str:
    """Returns one line: calls, answers by status, highest overlaps against ceilings, violations."""
    answers = ", ".join(f"{count} x {kind}" for kind, count in sorted(history.answers.items()))
    peaks = " ".join(f"{track.highest}/{track.ceiling}" for track in history.tracks.values())
    return f"{len(history.sent)} calls ({answers}); at once {peaks}; {sum(history.violations.counts.values())} wrong"
