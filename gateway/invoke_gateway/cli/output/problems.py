"""Prints what is wrong with the settings, for `serve` and `check`."""

from collections.abc import Iterable
from typing import Any

import click

from invoke_gateway.policy.os_text import printable
from invoke_gateway.settings import Problem, SettingsError
from invoke_gateway.settings.problems import MOST_SHOWN

BAD_SETTINGS = 2  # exit status, the same as click's for a wrong command line


def report(error: SettingsError) -> int:
    """Prints all mistakes to stderr and returns the exit status."""
    count = len(error.problems)
    click.echo(f"invoke-gateway: {count} mistake{'s' if count > 1 else ''} in the settings", err=True)
    for problem in error.problems[:MOST_SHOWN]:
        where = f"{problem.key}  ({problem.where})" if problem.key else problem.where
        click.echo(printable(f"\n  {where}\n      {problem.message}"), err=True)
        if problem.cure:
            click.echo(printable(f"      -> {problem.cure}"), err=True)
    if count > MOST_SHOWN:
        click.echo(f"\n  ... and {count - MOST_SHOWN} more", err=True)
    return BAD_SETTINGS


def describe(problems: Iterable[Problem], notes: Iterable[str], file: str | None) -> list[dict[str, Any]]:
    """Returns all mistakes and notes as JSON; docs/reference/check.md lists the keys.

    file: the settings file
    """
    found = [
        {
            "severity": "error",
            "key": problem.key or None,
            "source": problem.source,
            "file": problem.source if problem.source == file else None,
            "line": problem.line,
            "column": problem.column,
            "problem": problem.message,
            "cure": problem.cure or None,
        }
        for problem in problems
    ]
    empty = dict.fromkeys(("key", "source", "file", "line", "column"))
    return found + [{"severity": "note", **empty, "problem": note, "cure": None} for note in notes]


def report_notes(notes: list[str]) -> None:
    """Prints notes, which prevent no start, to stderr."""
    for note in notes:
        click.echo(printable(f"note: {note}"), err=True)
