"""The commands that ask a running gateway: limits, hold, release and fault."""

import json
import sys
from pathlib import Path

import click
from rich.console import Console

from invoke_gateway.asking import LimitsUnavailable, fetch_limits
from invoke_gateway.cli.fault import make_and_show, read_wanted, refuse_both, show_or_end
from invoke_gateway.cli.limits_table import render, show_live
from invoke_gateway.cli.options import admin_option, give_up, name_admin
from invoke_gateway.faulting import FaultFailed
from invoke_gateway.holding import HoldFailed, describe_hold, release_hold, take_hold, wait_for_end
from invoke_gateway.settings import Address
from invoke_gateway.signals import signals

UNFOLDED = 140  # columns in which no row of the limits is folded, for those who read them from a pipe


@click.command()
@admin_option
@click.option("--once", is_flag=True, help="Print the table once instead of refreshing it every second.")
@click.option("--json", "as_json", is_flag=True, help="Print the gateway's answer as JSON, once.")
@click.pass_context
def limits(ctx: click.Context, admin: Address, once: bool, as_json: bool) -> None:
    """Watch what a running gateway counts.

    Of each account: all, the unreserved pool, then its functions; in flight, ceiling, the age of the oldest
    call, and throttles by reason.
    """
    console = Console()
    try:
        if as_json:
            click.echo(json.dumps(fetch_limits(admin), indent=2))
        elif once or not console.is_terminal:
            console.width = max(console.width, UNFOLDED)
            console.print(render(fetch_limits(admin)))
        else:
            show_live(console, admin)
    except LimitsUnavailable as error:
        give_up(ctx, error)


@click.command()
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
@admin_option
@click.pass_context
def hold(
    ctx: click.Context,
    function: str | None,
    slots: int,
    seconds: float,
    account: str | None,
    detach: bool,
    admin: Address,
) -> None:
    """Hold slots of FUNCTION, so that calls are throttled for certain.

    Without FUNCTION, slots of the account's unreserved pool. All of them are taken, or none. Ctrl-C, SIGTERM
    and SIGHUP give them back.
    """
    wanted = {"function": function, "slots": slots, "seconds": seconds, **({"account": account} if account else {})}
    try:
        taken = None
        try:
            with signals.deferred():  # else the id of what was taken meanwhile would be lost
                taken = take_hold(str(admin), wanted)
            if detach:
                click.echo(taken["id"])
                taken = None
                return
            click.echo(describe_hold(taken, wanted, f"invoke-gateway release {taken['id']}{name_admin(admin)}"))
            wait_for_end(seconds, is_terminal=sys.stdout.isatty())
        finally:
            if taken is not None:
                release_hold(str(admin), taken["id"])  # it may have ended by itself a moment ago
    except HoldFailed as error:
        give_up(ctx, error)


@click.command()
@click.argument("hold")
@admin_option
@click.pass_context
def release(ctx: click.Context, hold: str, admin: Address) -> None:
    """End the hold with the id HOLD before its time is over."""
    try:
        if not release_hold(str(admin), hold):
            raise HoldFailed(f"there is no hold {hold}: it has ended, or never was. http://{admin}/holds lists all.")
    except HoldFailed as error:
        give_up(ctx, error)
    click.echo(f"released {hold}")


@click.command()
@click.argument("function", required=False)
@click.argument("steps", nargs=-1)
@click.option("--file", type=click.Path(path_type=Path), help="YAML or JSON file of a script, or of its steps alone.")
@click.option("--seed", type=int, help="Decides where a probability hits; 0 without it.")
@click.option("--loop", is_flag=True, default=None, help="Begin with the first step again after the last.")
@click.option("--account", metavar="ID", help="Account whose function it is; the default one without it.")
@click.option("--list", "as_list", is_flag=True, help="Show all scripts and how far they are.")
@click.option("--json", "as_json", is_flag=True, help="Print the gateway's answer as JSON.")
@click.option("--end", metavar="ID", help="End the script with this id; `all` ends all.")
@admin_option
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
    admin: Address,
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
            show_or_end(str(admin), end, as_json=as_json)
        else:
            wanted = read_wanted(steps, file, function=function, **given)
            make_and_show(str(admin), wanted, name_admin(admin), as_json=as_json)
    except FaultFailed as error:
        give_up(ctx, error)


ASKING = (limits, hold, release, fault)
