"""Defines the options and exits that the commands for a running gateway share."""

from __future__ import annotations

from typing import NoReturn

import click

from invoke_gateway.admin_client import AdminClient
from invoke_gateway.settings import Address, flags

UNREACHABLE = 1  # exit status: no gateway replied, or the gateway refused
ADMIN = "127.0.0.1:9002"  # default of the setting `admin`
START_SECONDS = 2.0  # for which a command waits for a gateway that is just starting


def parse_admin(ctx: click.Context, parameter: click.Parameter, value: str) -> Address:
    """Parses the value of --admin. Raises `BadParameter`."""
    from pydantic_core import PydanticCustomError

    from invoke_gateway.settings.models.address import read_address

    try:
        return read_address(value)
    except PydanticCustomError as error:
        raise click.BadParameter(error.message(), param_hint="--admin") from None


admin_option = click.option(
    "--admin",
    metavar="HOST:PORT",
    default=ADMIN,
    show_default=True,
    envvar=f"{flags.PREFIX}ADMIN",
    callback=parse_admin,
    help="Admin listener of the gateway.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the gateway's answer as JSON.")


def open_client(admin: object) -> AdminClient:
    """Returns the client of a gateway, which waits for a gateway that is just starting."""
    return AdminClient(admin, START_SECONDS)


def name_admin(admin: object) -> str:
    """Returns the flag that a command printed for the user needs to reach the same gateway; empty for the default."""
    return "" if str(admin) == ADMIN else f" --admin {admin}"


def give_up(ctx: click.Context, error: Exception) -> NoReturn:
    """Prints the error in one line and exit."""
    click.echo(f"invoke-gateway: {error}", err=True)
    ctx.exit(UNREACHABLE)
