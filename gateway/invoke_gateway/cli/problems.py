"""Prints what is wrong with the settings, for `serve` and `check`."""

import click

from invoke_gateway.policy.os_text import printable
from invoke_gateway.settings import SettingsError
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


def report_notes(notes: list[str]) -> None:
    """Prints notes, which prevent no start, to stderr."""
    for note in notes:
        click.echo(printable(f"note: {note}"), err=True)
