"""Checks settings: `invoke-gateway check`."""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from invoke_gateway.cli.output.problems import BAD_SETTINGS, describe, report, report_notes
from invoke_gateway.policy.os_text import printable
from invoke_gateway.settings import Account, Problem, Settings, SettingsError, SettingsText, flags, load

MOST_ACCOUNTS = 50  # rows of the table
STANDARD_INPUT = "-"
_BEGINS_AS_JSON = re.compile(rb'\s*\{\s*["}]')


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
@click.option(
    "--env",
    is_flag=True,
    help="Check also the variables INVOKE_GATEWAY_…, over the file as serve reads them. FILE is then optional.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Format of the report.",
)
@click.pass_context
def check(ctx: click.Context, file: Path | None, env: bool, form: str) -> None:
    """Check a settings file; - is standard input.

    Prints all mistakes at once, each with its key, its place and its cure. Without a mistake it prints the
    limits of each account. Missing extras, taken ports, and files that cannot be read or written are mistakes, too.
    Ports and events of a running gateway with these settings are only a note, so that a reload can be checked.

    \b
    Exit status:
      0  no mistake
      2  mistakes in the settings, a file that cannot be read, or a wrong command line
    """
    from invoke_gateway.server.startup_checks import StartupChecks

    overrides, problems = flags.collect(flags.all_flags(), {}, (), os.environ) if env else ({}, list[Problem]())
    if file is None and not env:
        ctx.fail("Missing argument 'FILE'. Give a file, - for standard input, or --env.")
    if file is None and (named := os.environ.get(flags.CONFIG_VARIABLE)):
        file = Path(named)
    startup = StartupChecks()
    config = read_standard_input() if str(file) == STANDARD_INPUT else file
    name = config.name if isinstance(config, SettingsText) else str(file) if file is not None else None
    try:
        settings, found = load(config, overrides, problems, find_more=startup.find_all), tuple[Problem, ...]()
        startup.note_embedded_store(settings)
    except SettingsError as error:
        settings, found = None, error.problems
    if form == "json":
        document = {"ok": settings is not None, "file": name, "mistakes": len(found)}
        listed = describe(found, startup.notes, name)
        accounts = list_accounts(settings) if settings is not None else []
        click.echo(json.dumps({**document, "problems": listed, "accounts": accounts}, indent=2))
    elif settings is None:
        report(SettingsError(found))
        report_notes(startup.notes)
    else:
        click.echo(f"{printable(name or 'environment')}: ok")
        report_notes(startup.notes)
        Console().print(accounts_table(settings))
    if settings is None:
        ctx.exit(BAD_SETTINGS)


def read_standard_input() -> SettingsText:
    """Returns the settings on standard input: JSON if they begin with a brace and a quoted name, else YAML."""
    data = sys.stdin.buffer.read()
    return SettingsText("<stdin>", data, is_json=_BEGINS_AS_JSON.match(data) is not None)


def list_accounts(settings: Settings) -> list[dict[str, Any]]:
    """Returns the limits of each account, in slots."""
    return [
        {"account": name, **{key.replace(" ", "_"): number(account) for key, number in COLUMNS.items()}}
        for name, account in settings.accounts.items()
    ]


def accounts_table(settings: Settings) -> Table:
    """Returns a table with one row per account, in slots."""
    table = Table("account", *COLUMNS, caption_justify="left")
    for name, account in list(settings.accounts.items())[:MOST_ACCOUNTS]:
        table.add_row(name, *(str(number(account)) for number in COLUMNS.values()))
    if len(settings.accounts) > MOST_ACCOUNTS:
        table.caption = f"and {len(settings.accounts) - MOST_ACCOUNTS} more accounts"
    return table


COLUMNS: dict[str, Callable[[Account], int]] = {
    "concurrent executions": lambda account: account.concurrent_executions,
    "functions": lambda account: len(account.functions),
    "reserved": lambda account: account.reserved,
    "unreserved": lambda account: account.unreserved,
    "floor": lambda account: account.floor,
}
