"""The command line: serve, check, schema, limits, in-flight, hold, release, fault, queue and prove."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from invoke_gateway import __version__
from invoke_gateway.cli.in_flight import in_flight
from invoke_gateway.cli.queue import queue
from invoke_gateway.cli.remote import ASKING
from invoke_gateway.cli.renamed import explain_command, explain_flag
from invoke_gateway.policy.os_text import printable
from invoke_gateway.settings import Account, Settings, SettingsError, flags, json_schema, load
from invoke_gateway.settings.problems import MOST_SHOWN

BAD_SETTINGS = 2  # exit status, the same as click's for a wrong command line
MOST_ACCOUNTS = 50  # rows of `check`'s table

EXAMPLE = """\b
Try it with nothing else at hand:
  invoke-gateway serve --backend demo --concurrent-executions 10 --reserve sleep=2
  aws lambda invoke --endpoint-url http://127.0.0.1:9001 --function-name echo out.json
\b
In front of a backend that speaks AWS Lambda's Invoke API:
  invoke-gateway serve --backend http://127.0.0.1:4566 --concurrent-executions 10
"""


class Commands(click.Group):
    """The commands; `prove`, which is much code that nobody else needs, is loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "prove"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "prove":
            from invoke_gateway.chaos.command import prove

            return prove
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if (renamed := explain_command(args[0])) is not None:
            ctx.fail(renamed)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            raise explain_flag(error) from None


@click.group(
    cls=Commands, epilog=EXAMPLE, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="invoke-gateway")
def main() -> None:
    """AWS Lambda's concurrency, rate and payload quotas in front of any Invoke backend."""


class Serve(click.Command):
    """`serve` with its many options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections = {flag.parameter: flag.section for flag in flags.all_flags()} | {"reserve": "Limits"}
        titles = ["Settings file", *(title for title, _ in flags.SECTIONS), flags.LAST_SECTION, "Other"]
        rows: dict[str, list[tuple[str, str]]] = {title: [] for title in titles}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                default = "Settings file" if parameter.name == "config" else "Other"
                rows[sections.get(parameter.name or "", default)].append(record)
        for title, records in rows.items():
            with formatter.section(title):
                formatter.write_dl(records, col_max=36)


@click.pass_context
def serve(ctx: click.Context, /, config: Path | None, reserve: tuple[str, ...], **given: Any) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    Every key of the settings file is also a flag, and an environment variable: INVOKE_GATEWAY_ and the flag's
    name in capitals with underscores (INVOKE_GATEWAY_BACKEND, INVOKE_GATEWAY_READ_TIMEOUT_SECONDS,
    INVOKE_GATEWAY_RESERVE="checkout=2,report=0"). Flags go over environment over file.
    """
    from invoke_gateway.server.startup_checks import (
        find_mistakes,  # here, so that the other commands need not load the server
    )

    overrides, problems = flags.collect(flags.all_flags(), given, reserve, os.environ)
    try:
        settings = load(config, overrides, problems, find_more=find_mistakes)
    except SettingsError as error:
        ctx.exit(report(error))
    from invoke_gateway.server.run import run

    reload = functools.partial(load, config, overrides, find_more=find_mistakes)
    run = functools.partial(run, settings, reload=reload, config=config)
    if settings.workers == 1:
        ctx.exit(run())
    from invoke_gateway.workers.supervisor import running_workers

    ctx.exit(run(serve=running_workers))


def _serve_command() -> click.Command:
    config = click.Option(
        ["--config"],
        type=click.Path(path_type=Path),
        envvar=flags.CONFIG_VARIABLE,
        metavar="FILE",
        help="YAML file of settings; JSON when its name ends in .json.",
    )
    reserve = click.Option(
        ["--reserve"],
        multiple=True,
        metavar="NAME=N",
        help="Slots kept for a function of the default account, which are also its ceiling; may be repeated.",
    )
    options: list[click.Parameter] = [config, reserve, *(flag.option() for flag in flags.all_flags())]
    return Serve("serve", callback=serve, params=options, help=serve.__doc__)


main.add_command(_serve_command())


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_context
def check(ctx: click.Context, file: Path) -> None:
    """Check a settings file.

    Prints all mistakes at once, each with its key and its cure, and exits with 2; or what each account gets. Mistakes
    are also what `serve` would refuse on this machine: missing extras, taken ports, files that cannot be read or
    written. Ports and events of a running gateway with these settings are a note only, so that a reload can be checked.
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


@main.command()
def schema() -> None:
    """Print the JSON Schema of the file."""
    click.echo(json_schema(), nl=False)


for command in (*ASKING, in_flight, queue):
    main.add_command(command)


def report(error: SettingsError) -> int:
    """Print all mistakes to stderr; the exit status."""
    count = len(error.problems)
    click.echo(f"invoke-gateway: {count} mistake{'s' if count > 1 else ''} in the settings", err=True)
    for problem in error.problems[:MOST_SHOWN]:
        where = f"{problem.key}  ({problem.source})" if problem.key else problem.source
        click.echo(printable(f"\n  {where}\n      {problem.message}"), err=True)
        if problem.cure:
            click.echo(printable(f"      -> {problem.cure}"), err=True)
    if count > MOST_SHOWN:
        click.echo(f"\n  ... and {count - MOST_SHOWN} more", err=True)
    return BAD_SETTINGS


def report_notes(notes: list[str]) -> None:
    """Print to stderr what keeps nothing from starting."""
    for note in notes:
        click.echo(printable(f"note: {note}"), err=True)


def accounts_table(settings: Settings) -> Table:
    """One row per account, in slots."""
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
