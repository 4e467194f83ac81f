"""Checks a settings file: `invoke-gateway check`."""

from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from invoke_gateway.cli.problems import report, report_notes
from invoke_gateway.policy.os_text import printable
from invoke_gateway.settings import Account, Settings, SettingsError, load

MOST_ACCOUNTS = 50  # rows of the table


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_context
def check(ctx: click.Context, file: Path) -> None:
    """Check a settings file.

    Prints all mistakes at once, each with its key and its cure, and exits with 2. Without a mistake it prints the
    limits of each account. Missing extras, taken ports, and files that cannot be read or written are mistakes, too.
    Ports and events of a running gateway with these settings are only a note, so that a reload can be checked.
    """
    from invoke_gateway.server.startup_checks import StartupChecks

    startup = StartupChecks()
    try:
        settings = load(file, find_more=startup.find_all)
    except SettingsError as error:
        status = report(error)
        report_notes(startup.notes)
        ctx.exit(status)
    click.echo(f"{printable(str(file))}: ok")
    report_notes(startup.notes)
    Console().print(accounts_table(settings))


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
