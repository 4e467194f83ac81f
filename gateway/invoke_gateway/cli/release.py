"""Ends a hold: `invoke-gateway release`."""

from __future__ import annotations

import click

from invoke_gateway.admin_client import HoldFailed
from invoke_gateway.cli.options import admin_option, give_up, open_client
from invoke_gateway.settings import Address


@click.command()
@click.argument("hold")
@admin_option
@click.pass_context
def release(ctx: click.Context, hold: str, admin: Address) -> None:
    """End the hold with the id HOLD before its time is over."""
    try:
        if not open_client(admin).release_hold(hold):
            raise HoldFailed(
                f"there is no hold {hold}: it has ended, or never existed. http://{admin}/holds lists all."
            )
    except HoldFailed as error:
        give_up(ctx, error)
    click.echo(f"released {hold}")
