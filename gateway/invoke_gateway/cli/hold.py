"""Holds slots of a function: `invoke-gateway hold`."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from invoke_gateway.admin_client import HoldFailed
from invoke_gateway.cli.options import admin_option, give_up, name_admin, open_client
from invoke_gateway.settings import Address
from invoke_gateway.signals import signals

TICK = 1.0  # seconds between two counts of what is left


@click.command()
@click.argument("function", required=False)
@click.option("--slots", type=click.IntRange(1, 1_000_000), default=1, show_default=True, help="Slots to hold.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, 3600, min_open=True),
    default=30,
    show_default=True,
    help="Seconds after which the gateway ends the hold.",
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

    Without FUNCTION, holds slots of the account's unreserved pool. All of them are taken, or none. Ctrl-C, SIGTERM
    and SIGHUP release them.
    """
    wanted = {"function": function, "slots": slots, "seconds": seconds, **({"account": account} if account else {})}
    client = open_client(admin)
    try:
        taken = None
        try:
            with signals.deferred():  # else the id of a hold that was just taken would be lost
                taken = client.take_hold(wanted)
            if detach:
                click.echo(taken["id"])
                taken = None
                return
            click.echo(describe_hold(taken, wanted, f"invoke-gateway release {taken['id']}{name_admin(admin)}"))
            wait_for_end(seconds, is_terminal=sys.stdout.isatty())
        finally:
            if taken is not None:
                client.release_hold(taken["id"])  # False if it has just ended
    except HoldFailed as error:
        give_up(ctx, error)


def describe_hold(hold: dict[str, Any], wanted: dict[str, Any], release: str) -> str:
    """Returns one line: the slots that are held, and the command that ends the hold."""
    asked = wanted.get("account")
    account = f" in account {hold['account']}" if asked else ""
    if asked and asked != hold["account"]:
        account += f" (which {asked} shares)"
    return (
        f"holding {hold['slots']} of {hold['function'] or 'the unreserved pool'}{account} for {wanted['seconds']:g} s; "
        f"id {hold['id']}; Ctrl-C or `{release}` ends it"
    )


def wait_for_end(seconds: float, *, is_terminal: bool) -> None:
    """Waits until the hold's time is over, or until Ctrl-C; a terminal shows the seconds that are left."""
    end = time.monotonic() + seconds
    try:
        while (left := end - time.monotonic()) > 0:
            if is_terminal:
                click.echo(f"\r{left:4.0f} s left ", nl=False)
            time.sleep(min(left, TICK))
    except KeyboardInterrupt:
        return
    finally:
        if is_terminal:
            click.echo(f"\r{' ' * 14}\r", nl=False)
