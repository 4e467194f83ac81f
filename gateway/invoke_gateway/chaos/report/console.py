"""Runs a proof from the command line, and shows its verdict."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
from rich.console import Console
from rich.text import Text

from ..quotas import Unusable
from ..target import Died
from .tables import VerdictTable, violations_table
from .verdict import FAILED, MISUSED, SeedsVerdict

UNFOLDED = 140  # columns of the tables in a pipe
MOST_EXAMPLES = 10
MOST_SEEDS = 3  # to run again

V = TypeVar("V", bound=SeedsVerdict[Any])


class Output(NamedTuple):
    """report: where the HTML goes; as_json: print JSON in place of tables."""

    report: Path | None
    as_json: bool


def run_and_show(
    seeds: Sequence[int],
    run: Callable[[Console], V],
    list_tables: Callable[[V], Sequence[VerdictTable]],
    render: Callable[[V, str], str],
    output: Output,
) -> int:
    """Runs a proof, whose progress goes to stderr, and shows its verdict. Returns the exit status."""
    errors = Console(stderr=True)
    names = [str(seed) for seed in seeds]
    shown = ", ".join(names) if len(names) <= 10 else f"{names[0]} to {names[-1]}"
    errors.print(f"seed{'s' if len(names) > 1 else ''} {shown}", markup=False, highlight=False)
    try:
        verdict = run(errors)
    except (Unusable, Died) as error:
        click.echo(f"invoke-gateway: {error}", err=True)
        return MISUSED if isinstance(error, Unusable) else FAILED
    except asyncio.CancelledError:
        click.echo("invoke-gateway: ended before there was a verdict", err=True)
        return FAILED
    if output.report is not None:
        command = " ".join(["invoke-gateway", *sys.argv[1:]])
        output.report.write_text(render(verdict, command), encoding="utf-8")
    if output.as_json:
        click.echo(json.dumps(verdict.as_json(), indent=2))
    else:
        console = Console()
        if not console.is_terminal:
            console.width = max(console.width, UNFOLDED)
        print_verdict(console, verdict, list_tables(verdict))
    return verdict.status


def print_verdict(console: Console, verdict: SeedsVerdict[Any], tables: Sequence[VerdictTable]) -> None:
    for table in (*tables, violations_table(verdict)):
        console.print(table.as_rich())
    for seed, _, text in verdict.examples[:MOST_EXAMPLES]:
        console.print(f"  seed {seed}: {text}", markup=False, highlight=False, soft_wrap=True)
    for note in verdict.notes:
        console.print(note, markup=False, soft_wrap=True)
    console.print(Text(verdict.sentence, style="bold green" if verdict.holds else "bold red"), soft_wrap=True)
    if not verdict.holds:
        seeds = [f"--seed {result.seed}" for result in verdict.results if result.violations][:MOST_SEEDS]
        again = f"The same script again: invoke-gateway prove {' '.join(seeds)}{verdict.options}"
        console.print(again, markup=False, soft_wrap=True)
