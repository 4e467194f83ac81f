"""Greets a server: authenticates, names the connection and selects the database, in one exchange."""

from __future__ import annotations

from collections.abc import Iterator

from redis.exceptions import AuthenticationError, RedisError, ResponseError

from .connection_options import ConnectionOptions
from .errors import StoreUnusable, first_line
from .exchange_protocol import ExchangeProtocol
from .resp import Command, encode_commands

LIBRARY = "invoke-gateway"  # shown by CLIENT LIST, so that operators can tell gateways from other clients


async def greet(protocol: ExchangeProtocol, options: ConnectionOptions) -> None:
    """Raises `AuthenticationError` for a wrong user or password, `StoreUnusable` for a database or a name that the
    server refuses, and other errors as the server has sent them."""
    commands = list(_list_commands(options))
    replies = await protocol.exchange(encode_commands(commands), len(commands))
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, RedisError):
            _check(command, reply, options)


def _list_commands(options: ConnectionOptions) -> Iterator[Command]:
    if options.username:
        yield ("AUTH", options.username, options.password)
    elif options.password:
        yield ("AUTH", options.password)
    if options.client_name:
        yield ("CLIENT", "SETNAME", options.client_name)
    yield ("CLIENT", "SETINFO", "LIB-NAME", LIBRARY)
    if options.database:
        yield ("SELECT", options.database)


def _check(command: Command, error: RedisError, options: ConnectionOptions) -> None:
    if command[:2] == ("CLIENT", "SETINFO") and isinstance(error, ResponseError):
        return  # Redis has it since 7.2, and a user may have no right to it: nothing depends on it
    # The code is ERR where the server refuses the value. Other codes, such as LOADING, have classes of their own.
    if error.status_code != "ERR":
        raise error
    text = first_line(error)
    if command[0] == "AUTH":
        for secret in (options.username, options.password):  # a server without AUTH repeats its arguments
            text = text.replace(f"'{secret}'", "'…'").replace(f"`{secret}`", "`…`")
        raise AuthenticationError(text)
    refused = f"database {options.database}" if command[0] == "SELECT" else f"client_name {options.client_name!r}"
    raise StoreUnusable(f"the server refuses the {refused} of its URL: {text}; correct it")
