"""Connects to one Redis or Valkey, by TCP, TLS or a Unix socket, and exchanges batches of commands with it.

redis-py reads the URL (connection_options.py) and has the classes of errors. Its client takes more than 100 µs of CPU
for each command, its parser alone six times as many instructions as ours (resp.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    ConnectionError,
    InvalidResponse,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from ..policy.store_url import Host
from .connection_options import ConnectionOptions, make_options, split_url
from .denial import PROTECTED_MODE, find_denial, is_denial
from .errors import StoreUnavailable, StoreUnusable, first_line
from .exchange_protocol import ENDED, ExchangeProtocol, OnEnd
from .opener import Opener
from .resp import Command, encode_commands
from .script import Script
from .server_facts import ServerFacts, read_info

_REFUSED = (AuthenticationError, AuthenticationWrongNumberOfArgsError, NoPermissionError, InvalidResponse)


class ConnectionRules(NamedTuple):
    """States what the counters, or the event store, expect of their connections.

    scripts: loaded each time that a connection is opened.
    read_error: returns the reply that stands for a server's error, or raises the error: the connection is closed then.
    check_server: returns a warning about the server or None; raises `StoreUnavailable` for a server of no use.
    """

    scripts: tuple[Script, ...]
    read_error: Callable[[ResponseError], object]
    check_server: Callable[[ServerFacts], str | None]


class StoreConnection:
    """Holds one connection. Time bounds belong to the caller: cancelling a method closes the connection.

    url: of one server, as redis-py reads it.
    where: the server's address for people, without credentials.
    find_server: returns the server's address each time that the connection is opened, instead of the URL's.
    `run_id` identifies the server process at the other end.
    """

    def __init__(
        self, url: str, rules: ConnectionRules, *, where: str, find_server: Callable[[], Awaitable[Host]] | None = None
    ) -> None:
        self._kind, self._arguments = split_url(url)
        self._opener = Opener()
        self._rules = rules
        self._find_server = find_server
        self._found_at: Host | None = None
        self._protocol: ExchangeProtocol | None = None
        self.where = where
        self.run_id = ""
        self.warning: str | None = None

    @property
    def is_open(self) -> bool:
        return self._protocol is not None and not self._protocol.is_over

    async def open(self) -> None:
        """Connects to a primary and loads the scripts. Raises `StoreUnavailable`."""
        await self.connect()
        load = [("SCRIPT", "LOAD", script.source) for script in self._rules.scripts]
        info, *_ = await self._exchange([("INFO",), *load], _raise_error)
        try:
            self._check_server(read_info(info))
        except StoreUnavailable:
            self._drop()
            raise

    async def connect(self) -> None:
        """Connects without a check of the server. Raises `StoreUnavailable`."""
        await self.close()  # where the server has ended the last one
        arguments = self._arguments
        if self._find_server is not None:
            host, port = self._found_at = await self._find_server()
            arguments = {**arguments, "host": host, "port": port}
        try:
            options = make_options(self._kind, arguments)
        except ValueError as error:
            raise StoreUnusable(f"the query of its URL is not understood: {error}; correct it") from error
        try:
            self._protocol = await self._opener.open(options)
            return
        except (RedisError, OSError) as error:
            if isinstance(error, _REFUSED):
                raise _describe_refused(error) from error
            failure = error
        if (denial := await self._find_denial(options, failure)) is not None:
            raise StoreUnusable(denial) from failure
        raise StoreUnavailable(f"{first_line(failure).removesuffix('.')}; check that it runs") from failure

    async def _find_denial(self, options: ConnectionOptions, error: Exception) -> str | None:
        """Returns why the server refuses every connection of this machine, or None where it sends no such reason.

        Without TLS only: a server with TLS sends the reason before the handshake ends, which cannot be read.
        """
        if is_denial(error):
            return PROTECTED_MODE
        if options.path or options.make_tls is not None:
            return None
        return await find_denial(self._opener.dialer_of(options.host, options.port))

    async def has_moved(self) -> bool:
        """Returns True where the server is found at another address now. A failed search returns False."""
        if self._find_server is None:
            return False
        try:
            return await self._find_server() != self._found_at
        except StoreUnavailable:
            return False

    async def call(self, commands: Iterable[Command]) -> list[Any]:
        """Sends all commands in one write and returns their replies. Raises `StoreUnavailable`: the connection is
        closed then, and any number of the commands may have been executed."""
        return await self._exchange(commands, self._rules.read_error)

    async def exchange(self, data: bytes, commands: int) -> list[Any]:
        """Does the same for commands that are encoded."""
        return await self._exchange_encoded(data, commands, self._rules.read_error)

    def send(self, data: bytes, commands: int, on_end: OnEnd) -> None:
        """Sends encoded commands without waiting. `on_end` is called once, with what `read_replies` reads."""
        if self._protocol is None:
            on_end(ConnectionError(ENDED))
        else:
            self._protocol.send(data, commands, on_end)

    def read_replies(self, ended: list[Any] | Exception) -> list[Any]:
        """Returns the replies of an exchange. Raises `StoreUnavailable`: close the connection then."""
        return self._read(ended, self._rules.read_error)

    def cancel(self) -> None:
        """Ends the exchange that is under way without a call of its `on_end`. Close the connection then."""
        if self._protocol is not None:
            self._protocol.cancel()

    async def _exchange(self, commands: Iterable[Command], read_error: Callable[[ResponseError], object]) -> list[Any]:
        commands = list(commands)
        return await self._exchange_encoded(encode_commands(commands), len(commands), read_error)

    async def _exchange_encoded(
        self, data: bytes, commands: int, read_error: Callable[[ResponseError], object]
    ) -> list[Any]:
        if self._protocol is None:
            raise StoreUnavailable("not connected")
        if not commands:
            return []
        try:
            try:
                ended: list[Any] | Exception = await self._protocol.exchange(data, commands)
            except (RedisError, OSError) as error:
                ended = error
            return self._read(ended, read_error)
        except BaseException:
            self._drop()
            raise

    def _read(self, ended: list[Any] | Exception, read_error: Callable[[ResponseError], object]) -> list[Any]:
        try:
            if isinstance(ended, Exception):
                raise ended
            for index, reply in enumerate(ended):
                if isinstance(reply, ResponseError):
                    ended[index] = read_error(reply)
                elif isinstance(reply, RedisError):  # of the connection: the server is loading its files
                    raise reply
        except (RedisError, OSError) as error:
            if isinstance(error, _REFUSED):
                raise _describe_refused(error) from error
            raise StoreUnavailable(first_line(error)) from error
        return ended

    async def close(self, patience_seconds: float = 0) -> None:
        """Closes the connection. With patience it returns once the connection has ended: TLS needs a message from both
        sides, and an event loop that ends before that leaves a socket open."""
        protocol = self._drop()
        if protocol is not None and patience_seconds:
            await protocol.wait_closed(patience_seconds)

    def _drop(self) -> ExchangeProtocol | None:
        """Closes the connection, if there is one, without waiting for its end."""
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.close()
        return protocol

    def _check_server(self, facts: ServerFacts) -> None:
        if facts.primary is not None:
            # Sentinels may point at the old primary for a moment; an address in the settings stays what it is.
            kind = StoreUnusable if self._find_server is None else StoreUnavailable
            raise kind(
                f"it is a replica of {facts.primary}, which may not be written; give the address of the primary, or of "
                "sentinels, which follow it (redis+sentinel://)"
            )
        self.run_id = facts.run_id
        self.warning = self._rules.check_server(facts)

    def __repr__(self) -> str:
        return f"<StoreConnection {'to ' + self.run_id if self.is_open else 'closed'}>"


def _raise_error(error: ResponseError) -> object:
    raise error


def _describe_refused(error: Exception) -> StoreUnusable:
    return StoreUnusable(f"{first_line(error)}; check user name, password and ACL, and that it is a Redis or Valkey")
