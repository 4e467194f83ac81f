"""Defines the options and exits that the commands for a running gateway share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click
from click.core import ParameterSource

from invoke_gateway.admin_client import AdminClient
from invoke_gateway.secret_source import FORMS, SecretUnavailable, is_secret_source, read_token
from invoke_gateway.settings import PREFIX, Address

UNREACHABLE = 1  # exit status: no gateway replied, or the gateway refused
ADMIN = "127.0.0.1:9002"  # default of the setting `admin`
TOKEN_VARIABLE = f"{PREFIX}ADMIN_TOKEN"  # also that of the setting `admin_token`
_TOKEN, _TOKEN_FLAG = f"{__name__}.token", f"{__name__}.token_flag"
_Command = TypeVar("_Command", bound=Callable[..., Any])
START_SECONDS = 2.0  # for which a command waits for a gateway that is just starting


def parse_admin(ctx: click.Context, parameter: click.Parameter, value: str) -> Address:
    """Parses the value of --admin. Raises `BadParameter`."""
    from pydantic_core import PydanticCustomError

    from invoke_gateway.settings.models.address import read_address

    try:
        return read_address(value)
    except PydanticCustomError as error:
        raise click.BadParameter(error.message(), param_hint="--admin") from None


def keep_token(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Keeps the admin token for `open_client`. In the environment variable the token itself may stand."""
    if not value:
        return
    is_variable = ctx.get_parameter_source(str(parameter.name)) is ParameterSource.ENVIRONMENT
    source = f"env:{TOKEN_VARIABLE}" if is_variable and not is_secret_source(value) else value
    try:
        ctx.meta[_TOKEN] = read_token(source)
    except SecretUnavailable as error:
        raise click.BadParameter(str(error), param_hint=TOKEN_VARIABLE if is_variable else "--admin-token") from None
    if not is_variable:
        ctx.meta[_TOKEN_FLAG] = f" --admin-token {value}"


token_option = click.option(
    "--admin-token",
    metavar="PLACE",
    envvar=TOKEN_VARIABLE,
    expose_value=False,
    callback=keep_token,
    help=f"Place of the admin token: {FORMS}.",
)
_address_option = click.option(
    "--admin",
    metavar="HOST:PORT",
    default=ADMIN,
    show_default=True,
    envvar=f"{PREFIX}ADMIN",
    callback=parse_admin,
    help="Admin listener of the gateway.",
)


def admin_option(command: _Command) -> _Command:
    """Adds the options that name a running gateway: its admin listener, and its admin token."""
    return _address_option(token_option(command))


json_option = click.option("--json", "as_json", is_flag=True, help="Print the gateway's answer as JSON.")


def open_client(admin: object) -> AdminClient:
    """Returns the client of a gateway, which waits for a gateway that is just starting. It sends the admin token that
    the command was given."""
    return AdminClient(admin, START_SECONDS, click.get_current_context().meta.get(_TOKEN))


def name_admin(admin: object) -> str:
    """Returns the flags that a command printed for the user needs to reach the same gateway; empty for the default."""
    token: str = click.get_current_context().meta.get(_TOKEN_FLAG, "")
    return ("" if str(admin) == ADMIN else f" --admin {admin}") + token


def give_up(ctx: click.Context, error: Exception) -> NoReturn:
    """Prints the error in one line and exit."""
    click.echo(f"invoke-gateway: {error}", err=True)
    ctx.exit(UNREACHABLE)
