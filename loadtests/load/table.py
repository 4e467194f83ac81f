"""Makes the table at the end: the admitted and the refused calls of each scenario, and the verdict on its limits."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtests.load.judging import ADMITTED, REFUSED
from loadtests.load.outcome import Line, Outcome

_ENDING = "LimitExceeded"
# Failures of one scenario that are printed; the rest is in Locust's report.
_MOST_FAILURES = 8


def show(outcomes: Sequence[Outcome], console: Console) -> None:
    console.print(build_table(outcomes))
    for outcome in outcomes:
        for note in outcome.notes:
            console.print(f"{outcome.scenario}: {note}", highlight=False, markup=False)
        for text, count in list(outcome.failures.items())[:_MOST_FAILURES]:
            console.print(f"[red]{outcome.scenario}: {count} × {escape(text)}[/red]", highlight=False)
        if (more := len(outcome.failures) - _MOST_FAILURES) > 0:
            console.print(f"[red]{outcome.scenario}: and {more} other kinds[/red]", highlight=False)


def build_table(outcomes: Sequence[Outcome]) -> Table:
    caption = "Times are p50 / p99 in ms; reasons without their ending LimitExceeded; in flight from /limits, at most."
    table = Table(caption=caption, caption_justify="left", show_lines=True)
    table.add_column("scenario", no_wrap=True)
    table.add_column("admitted", justify="right", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("refused by reason", no_wrap=True)
    table.add_column("calls", justify="right", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("in flight / ceiling", no_wrap=True)
    for name in ("over-\nshoot", "leaked", "unex-\npected"):
        table.add_column(name, justify="right", no_wrap=True)
    for outcome in outcomes:
        table.add_row(*_cells(outcome), style="" if outcome.is_good else "red")
    return table


def describe_verdict(outcome: Outcome) -> str:
    """Describes the verdict in a line: the use of the fullest limit, and the failures."""
    fullest = _find_fullest(outcome)
    highest = f"highest {_highest(outcome, fullest)} of {outcome.ceilings[fullest]}" if fullest else "limits unknown"
    leaked = "not checked" if outcome.leaked is None else outcome.leaked
    unexpected = sum(outcome.failures.values())
    return f"{highest}, overshoot {outcome.overshoot}, leaked {leaked}, unexpected {unexpected}"


def _find_fullest(outcome: Outcome) -> str | None:
    """Finds the limit that was exceeded most, or else the fullest; of equals, the largest."""

    def fullness(name: str) -> tuple[int, float, int]:
        highest, ceiling = _highest(outcome, name), outcome.ceilings[name]
        return max(0, highest - ceiling), highest / ceiling if ceiling else 0.0, ceiling

    return max(outcome.ceilings, key=fullness, default=None)


def _highest(outcome: Outcome, name: str) -> int:
    return max(outcome.highest.get(name, 0), outcome.truly_highest.get(name, 0))


def _cells(outcome: Outcome) -> tuple[str, ...]:
    admitted = [line for line in outcome.lines if line.kind == ADMITTED]
    refused = [line for line in outcome.lines if line.kind == REFUSED]
    limits = "\n".join(_describe_limit(outcome, name) for name in outcome.ceilings)
    return (
        outcome.scenario,
        _column([f"{line.what}: {line.count:,}" for line in admitted]),
        _column([_times(line) for line in admitted]),
        _column([line.what.removesuffix(_ENDING) for line in refused]),
        _column([f"{line.count:,}" for line in refused]),
        _column([_times(line) for line in refused]),
        limits or "unknown",
        str(outcome.overshoot),
        "?" if outcome.leaked is None else str(outcome.leaked),
        str(sum(outcome.failures.values())),
    )


def _describe_limit(outcome: Outcome, name: str) -> str:
    told, truly = outcome.highest.get(name, 0), outcome.truly_highest.get(name, 0)
    text = f"{name} {told}/{outcome.ceilings[name]}"
    return f"{text} (backend: {truly})" if truly > max(told, outcome.ceilings[name]) else text


def _times(line: Line) -> str:
    return f"{line.p50:.0f} / {line.p99:.0f}"


def _column(texts: list[str]) -> str:
    return "\n".join(texts) or "–"
