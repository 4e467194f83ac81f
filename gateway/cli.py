"""The command line: serve, check, schema, limits, holders, hold, release, fault and prove."""

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
from pydantic_core import PydanticCustomError
from rich.console import Console
from rich.table import Table

from gateway import __version__, flags, holders_command
from gateway.asking import LimitsUnavailable, fetch_limits
from gateway.fault_command import make_and_show, read_wanted, refuse_both, show_or_end
from gateway.faulting import FaultFailed
from gateway.holders_command import HoldersFailed
from gateway.holding import HoldFailed, describe_hold, release_hold, take_hold, wait_for_end
from gateway.live_table import render, show_live
from gateway.settings import Account, Address, Settings, SettingsError, json_schema, load
from gateway.settings.problems import MOST_SHOWN
from gateway.settings.values import read_address

BAD_SETTINGS = 2  # exit status, the same as click's for a wrong command line
UNREACHABLE = 1  # exit status, also where the gateway says no
UNFOLDED = 140  # columns in which no row of the limits is folded, for those who read them from a pipe
MOST_ACCOUNTS = 50  # rows of `check`'s table
OPERATIONS = "127.0.0.1:9002"  # where a gateway listens that was told nothing else

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
            from gateway.proving.command import prove

            return prove
        return super().get_command(ctx, cmd_name)


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
    overrides, problems = flags.collect(flags.all_flags(), given, reserve, os.environ)
    try:
        settings = load(config, overrides, problems)
    except SettingsError as error:
        ctx.exit(report(error))
    from gateway.server import run  # here, so that the other commands need not load the server

    ctx.exit(run(settings, reload=functools.partial(load, config, overrides), config=config))


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

    Prints all mistakes at once, each with its key and its cure, and exits with 2; or what each account gets.
    """
    try:
        settings = load(file)
    except SettingsError as error:
        ctx.exit(report(error))
    click.echo(f"{file}: ok")
    Console().print(accounts_table(settings))


@main.command()
def schema() -> None:
    """Print the JSON Schema of the file."""
    click.echo(json_schema(), nl=False)


def parse_operations(ctx: click.Context, parameter: click.Parameter, value: str) -> Address:
    try:
        return read_address(value)
    except PydanticCustomError as error:
        raise click.BadParameter(error.message(), param_hint="--operations") from None


asks_gateway = click.option(
    "--operations",
    metavar="HOST:PORT",
    default=OPERATIONS,
    show_default=True,
    envvar=f"{flags.PREFIX}OPERATIONS",
    callback=parse_operations,
    help="Operations listener of the gateway to ask.",
)


@main.command()
@asks_gateway
@click.option("--once", is_flag=True, help="Print the table once instead of refreshing it every second.")
@click.option("--json", "as_json", is_flag=True, help="Print the gateway's answer as JSON, once.")
@click.pass_context
def limits(ctx: click.Context, operations: Address, once: bool, as_json: bool) -> None:
    """Watch what a running gateway counts.

    Of each account: all, the unreserved pool, then its functions; in flight, ceiling, the age of the oldest
    call, and throttles by reason.
    """
    console = Console()
    try:
        if as_json:
            click.echo(json.dumps(fetch_limits(operations), indent=2))
        elif once or not console.is_terminal:
            console.width = max(console.width, UNFOLDED)
            console.print(render(fetch_limits(operations)))
        else:
            show_live(console, operations)
    except LimitsUnavailable as error:
        give_up(ctx, error)


@main.command()
@click.argument("function", required=False)
@click.option("--slots", type=click.IntRange(1, 1_000_000), default=1, show_default=True, help="How many to hold.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, 3600, min_open=True),
    default=30,
    show_default=True,
    help="How long; then the gateway ends the hold by itself.",
)
@click.option("--account", metavar="ID", help="Account whose slots are held; the default one without it.")
@click.option("--detach", is_flag=True, help="Print the hold's id and return at once.")
@asks_gateway
@click.pass_context
def hold(
    ctx: click.Context,
    function: str | None,
    slots: int,
    seconds: float,
    account: str | None,
    detach: bool,
    operations: Address,
) -> None:
    """Hold slots of FUNCTION, so that calls are throttled for certain.

    Without FUNCTION, slots of the account's unreserved pool. All of them are taken, or none; Ctrl-C gives them back.
    """
    wanted = {"function": function, "slots": slots, "seconds": seconds, **({"account": account} if account else {})}
    try:
        taken = take_hold(str(operations), wanted)
        if detach:
            click.echo(taken["id"])
            return
        try:
            address = "" if str(operations) == OPERATIONS else f" --operations {operations}"
            click.echo(describe_hold(taken, wanted, f"invoke-gateway release {taken['id']}{address}"))
            wait_for_end(seconds, is_terminal=sys.stdout.isatty())
        finally:
            release_hold(str(operations), taken["id"])  # it may have ended by itself a moment ago
    except HoldFailed as error:
        give_up(ctx, error)


@main.command()
@click.argument("function", required=False)
@click.option("--account", metavar="ID", help="Account whose slots are meant; all accounts without it.")
@click.option("--most", type=click.IntRange(1, 1000), default=100, show_default=True, help="Rows to show.")
@click.option("--json", "as_json", is_flag=True, help="Print the gateway's answer as JSON.")
@asks_gateway
@click.pass_context
def holders(
    ctx: click.Context, function: str | None, account: str | None, most: int, as_json: bool, operations: Address
) -> None:
    """Show who holds the slots of FUNCTION, or all slots.

    Of each call the gateway, its worker, the request id, how long it has its slot, and the caller's access key id; the
    oldest first. Where gateways share counters, the calls of all of them.
    """
    try:
        document = holders_command.fetch_holders(str(operations), function=function, account=account, most=most)
        holders_command.show_holders(document, as_json=as_json)
    except HoldersFailed as error:
        give_up(ctx, error)


@main.command()
@click.argument("hold", required=False)
@click.option("--gateway", metavar="ID", help="Give back what this gateway, which has died, still holds.")
@click.option("--account", metavar="ID", help="With --gateway: of this account only.")
@click.option("--force", is_flag=True, help="With --gateway: also if it lives; it then counts its calls again.")
@asks_gateway
@click.pass_context
def release(
    ctx: click.Context, hold: str | None, gateway: str | None, account: str | None, force: bool, operations: Address
) -> None:
    """End the hold with the id HOLD before its time is over; or give back the slots of a dead gateway.

    \b
      invoke-gateway release 1
      invoke-gateway release --gateway g-7f3a2b1c       with all its workers
      invoke-gateway release --gateway g-7f3a2b1c.2     one worker alone

    What a dead gateway holds comes back by itself when its lease has ended, and with `heal_after: timeout` the
    backend's time-out later. Give it back at once where you know that its calls are over. Any gateway on the same
    store can be asked to; `invoke-gateway holders` shows the ids.
    """
    holders_command.check_release(hold, gateway, has_more=account is not None or force)
    try:
        if hold is None:
            released = holders_command.release_gateway(str(operations), gateway or "", account, force=force)
            click.echo("\n".join(holders_command.describe_released(released)))
        elif release_hold(str(operations), hold):
            click.echo(f"released {hold}")
        else:
            raise HoldFailed(
                f"there is no hold {hold}: it has ended, or never was. http://{operations}/holds lists all."
            )
    except (HoldFailed, HoldersFailed) as error:
        give_up(ctx, error)


@main.command()
@click.argument("function", required=False)
@click.argument("steps", nargs=-1)
@click.option("--file", type=click.Path(path_type=Path), help="YAML or JSON file of a script, or of its steps alone.")
@click.option("--seed", type=int, help="Decides where a probability hits; 0 without it.")
@click.option("--loop", is_flag=True, default=None, help="Begin with the first step again after the last.")
@click.option("--account", metavar="ID", help="Account whose function it is; the default one without it.")
@click.option("--list", "as_list", is_flag=True, help="Show all scripts and how far they are.")
@click.option("--json", "as_json", is_flag=True, help="Print the gateway's answer as JSON.")
@click.option("--end", metavar="ID", help="End the script with this id; `all` ends all.")
@asks_gateway
@click.pass_context
def fault(
    ctx: click.Context,
    function: str | None,
    steps: tuple[str, ...],
    file: Path | None,
    seed: int | None,
    loop: bool | None,
    account: str | None,
    as_list: bool,
    as_json: bool,
    end: str | None,
    operations: Address,
) -> None:
    """Make the next calls of FUNCTION fail, late or cut, one step after the other.

    FUNCTION '*' is every function of the account that has no script of its own. A script replaces the one before it.
    The gateway must allow it (serve --faults).

    \b
      invoke-gateway fault checkout "pass 2" "error EC2ThrottledException repeat 3" "latency 2" "cut 40960"
      invoke-gateway fault checkout "error TooManyRequestsException CallerRateLimitExceeded probability 0.5" --seed 7

    \b
    Steps:
      pass CALLS              so many calls pass
      error NAME [REASON]     the call fails with this exception of Invoke
      latency SECONDS         the call is late and keeps its slot; goes with error or cut
      cut BYTES               the response is cut after so many bytes of its body
      ... repeat CALLS        so many calls in a row, instead of one
      ... probability CHANCE  each only with this chance; the others pass
    """
    given = {"seed": seed, "loop": loop, "account": account}
    try:
        if as_list or end is not None:
            refuse_both(as_list and end is not None, function, file, *given.values())
            show_or_end(str(operations), end, as_json=as_json)
        else:
            address = "" if str(operations) == OPERATIONS else f" --operations {operations}"
            wanted = read_wanted(steps, file, function=function, **given)
            make_and_show(str(operations), wanted, address, as_json=as_json)
    except FaultFailed as error:
        give_up(ctx, error)


def give_up(ctx: click.Context, error: Exception) -> NoReturn:
    """Say in one line that the gateway did not do it."""
    click.echo(f"invoke-gateway: {error}", err=True)
    ctx.exit(UNREACHABLE)


def report(error: SettingsError) -> int:
    """Print all mistakes to stderr; the exit status."""
    count = len(error.problems)
    click.echo(f"invoke-gateway: {count} mistake{'s' if count > 1 else ''} in the settings", err=True)
    for problem in error.problems[:MOST_SHOWN]:
        where = f"{problem.key}  ({problem.source})" if problem.key else problem.source
        click.echo(f"\n  {where}\n      {problem.message}", err=True)
        if problem.cure:
            click.echo(f"      -> {problem.cure}", err=True)
    if count > MOST_SHOWN:
        click.echo(f"\n  ... and {count - MOST_SHOWN} more", err=True)
    return BAD_SETTINGS


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
