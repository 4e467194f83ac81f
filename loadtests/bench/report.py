"""Makes tables from one description: printed with rich, and written as Markdown and JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from loadtests.bench import machine
from loadtests.bench.in_flight import Outcome
from loadtests.bench.million import AT_MOST, Comparison
from loadtests.bench.profiling import Profile

RESULTS = Path(__file__).parent.parent / "results"
# All other columns hold figures, and stand to the right.
TEXT_COLUMNS = frozenset({"", "proxy", "version", "function", "configured functions", "file", "note"})


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def show(self, console: Console) -> None:
        shown = RichTable(title=self.title, title_justify="left")
        for column in self.columns:
            shown.add_column(column, justify="left" if column in TEXT_COLUMNS else "right")
        for row in self.rows:
            shown.add_row(*row)
        console.print(shown)

    def markdown(self) -> str:
        marks = ["---" if column in TEXT_COLUMNS else "--:" for column in self.columns]
        lines = [self.columns, marks, *self.rows]
        return f"## {self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


@dataclass(frozen=True)
class Report:
    """Holds the result of one benchmark. `figures` are for machines; tables and lines are the same for people."""

    name: str
    command: str
    figures: Mapping[str, Any]
    tables: Sequence[Table]
    lines: Sequence[str] = ()

    def show(self, console: Console) -> None:
        for table in self.tables:
            table.show(console)
        for line in self.lines:
            console.print(line, highlight=False)

    def write(self, console: Console) -> None:
        """Writes NAME.json and NAME.md under `loadtests/results/`."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        facts = machine.description()
        document = {"command": self.command, "machine": facts, **self.figures}
        (RESULTS / f"{self.name}.json").write_text(json.dumps(document, indent=2) + "\n")
        parts = [
            f"# `{self.command}`\n",
            "\n".join(f"- {name}: {value}" for name, value in facts.items()) + "\n",
        ]
        parts += [table.markdown() for table in self.tables]
        parts += ["\n".join(f"- {line}" for line in self.lines) + "\n"] if self.lines else []
        (RESULTS / f"{self.name}.md").write_text("\n".join(parts))
        console.print(f"written: loadtests/results/{self.name}.json and .md", highlight=False)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) + "\n"


def profiles(found: Sequence[Profile], command: str) -> Report:
    """Makes the report of `profile`: a table per path."""
    return Report(
        "profile",
        command,
        figures={"paths": [_profile_figures(one) for one in found]},
        tables=[_profile_table(one) for one in found],
        lines=[_packages_line(one) for one in found],
    )


def _profile_figures(one: Profile) -> dict[str, Any]:
    functions = [
        {"function": function.name, "file": function.file, "share": share} for function, share in one.functions.items()
    ]
    return asdict(one) | {"functions": functions}


def _profile_table(one: Profile) -> Table:
    return Table(
        f"Top functions, {one.path}, by {one.profiler} ({one.microseconds:.0f} µs a request while watched)",
        ("function", "own µs", "own %", "file"),
        [
            (function.name, f"{share * one.microseconds:.1f}", f"{100 * share:.1f}", function.file)
            for function, share in one.functions.items()
        ],
    )


def _packages_line(one: Profile) -> str:
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in one.packages.items())
    return f"{one.path}, by package (`asyncio` is the event loop itself): {shares}"


def in_flight(outcome: Outcome, command: str) -> Report:
    """Makes the report of `in-flight`."""
    rows = [
        ("calls in flight at once", f"{outcome.calls}"),
        ("of them, clients that hung up", f"{outcome.hung_up}"),
        ("hard limit on open files", f"{outcome.descriptor_limit}"),
        ("gateway's memory before", mebibytes(outcome.resident_before)),
        ("gateway's memory at the peak", mebibytes(outcome.resident_at_peak)),
        ("bytes per call in flight", f"{outcome.bytes_per_call:.0f}"),
        ("seconds until all were in the backend", f"{outcome.opening_seconds:.1f}"),
        ("seconds until all were answered", f"{outcome.answering_seconds:.1f}"),
    ]
    return Report(
        "in-flight",
        command,
        figures=asdict(outcome) | {"bytes_per_call": outcome.bytes_per_call},
        tables=[Table("One gateway process, 1 KiB invokes", ("", "seen"), rows)],
        lines=[f"{'yes' if is_true else 'NO'}: {sentence}" for sentence, is_true in outcome.checks],
    )


def million(found: Comparison, command: str) -> Report:
    """Makes the report of `million`."""
    scales = (found.one, found.many)
    rows = [
        ("seconds to the first /healthz", *(f"{scale.start_seconds:.2f}" for scale in scales)),
        ("memory after the start", *(mebibytes(scale.resident_bytes) for scale in scales)),
        ("highest memory while starting", *(mebibytes(scale.peak_bytes) for scale in scales)),
        ("memory after the load", *(mebibytes(scale.loaded_bytes) for scale in scales)),
        ("bytes per function", "", f"{found.bytes_per_function:.0f}"),
        ("CPU µs per invoke, a million names at random, median", *(f"{scale.microseconds:.1f}" for scale in scales)),
        ("min..max", *(spread_of([sample.microseconds for sample in scale.samples]) for scale in scales)),
        ("CPU µs per invoke, one name, median", *(f"{scale.lone_microseconds:.1f}" for scale in scales)),
    ]
    columns = ("configured functions", *(f"{scale.functions:,}" for scale in scales))
    word = "met" if found.is_good else "MISSED"
    return Report(
        "million",
        command,
        figures=asdict(found) | {"ratio": found.ratio, "bytes_per_function": found.bytes_per_function},
        tables=[Table("One function beside many, called at random", columns, rows)],
        lines=[
            f"CPU per request {found.ratio:.2f} × that of one, at most {AT_MOST:.2f} wanted: {word}",
            f"of it, with the same calls to both: {found.configured_ratio:.2f} ×",
        ],
    )


def spread_of(values: Sequence[float]) -> str:
    """Returns the least and the greatest of them."""
    return f"{min(values):.1f}..{max(values):.1f}"


def mebibytes(size: float) -> str:
    return f"{size / 1024**2:.1f} MiB"
