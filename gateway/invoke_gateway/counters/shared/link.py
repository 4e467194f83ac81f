"""A connection to the store: Redis or Valkey, by TCP, TLS or a Unix socket. redis-py connects, authenticates and
parses; its client is left out, because it takes more than 100 µs for a command where a batch is to cost that once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import AskError, AuthenticationError, ClusterDownError, MovedError, RedisError, TryAgainError

from ...policy.store_url import Host, split_store_url
from ...store.connection import Dialers, dialed
from .script import ALL

_OLDEST = (6, 2)

Command = tuple[str | bytes | int, ...]


class StoreAway(Exception):
    """The store did not answer, or not as it must."""


class Elsewhere:
    """The reply of a node of a cluster which does not count this account now; `host` does, where that was said. The
    command was not carried out."""

    def __init__(self, error: AskError | TryAgainError | ClusterDownError) -> None:
        # A node that does not know the other's name says none.
        self.host: Host | None = (error.host, error.port) if isinstance(error, MovedError) and error.host else None
        if isinstance(error, MovedError):
            self.why = f"its slot is at {error.host}:{error.port}"
        elif isinstance(error, AskError | TryAgainError):
            self.why = "its slot is being moved to another node"
        else:
            self.why = f"the cluster is down: {_first_line(error)}"

    def __repr__(self) -> str:
        return f"<Elsewhere {self.why}>"


class Link:
    """One connection. `run` names the server process it leads to; a server that restarted or took over has another.
    `where` is its address for people. `find` tells, each time, where the server is now, and may raise `StoreAway`;
    without it, it is where the URL says. Only of a cluster's node (`is_node`) are replies `Elsewhere`. Bounds on time
    are the caller's: cancelling a method closes the connection."""

    def __init__(
        self, url: str, *, find: Callable[[], Awaitable[Host]] | None = None, is_node: bool = False, where: str = ""
    ) -> None:
        arguments: dict[str, Any] = dict(parse_url(url))
        self._class: type[AbstractConnection] = arguments.pop("connection_class", Connection)
        if (dialed_class := dialed(self._class)) is not None:
            self._class = dialed_class
            arguments["dialers"] = Dialers()
        # Ours, whatever the URL's query says: the bounds, and replies as bytes.
        ours = {"protocol": 2, "decode_responses": False, "socket_timeout": None, "socket_connect_timeout": None}
        self._arguments = {**arguments, **ours}
        self._find = find
        self._is_node = is_node
        self._found_at: Host | None = None
        self._connection: AbstractConnection | None = None
        self.where = where or split_store_url(url).where
        self.run = ""
        self.warning: str | None = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    async def open(self) -> None:
        """Connect to a primary and bring the scripts. Raises `StoreAway`."""
        await self.connect()
        facts, *_ = await self.call([("INFO",), *(("SCRIPT", "LOAD", script.source) for script in ALL)])
        try:
            self._read_facts(facts)
        except StoreAway:
            await self.close()
            raise

    async def connect(self) -> None:
        """Connect, and no more. Raises `StoreAway`."""
        arguments = self._arguments
        if self._find is not None:
            host, port = self._found_at = await self._find()
            arguments = {**arguments, "host": host, "port": port}
        try:
            connection = self._connection = self._class(**arguments)
        except (TypeError, ValueError) as error:
            raise StoreAway(f"the query of its URL is not understood: {error}") from error
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it without types
        except (RedisError, OSError) as error:
            await self.close()
            hint = "check user name and password" if isinstance(error, AuthenticationError) else "check that it runs"
            raise StoreAway(f"{_first_line(error)}; {hint}") from error
        except BaseException:
            await self.close()
            raise

    async def has_moved(self) -> bool:
        """Whether the server is found at another address now. False where nobody can say."""
        if self._find is None:
            return False
        try:
            return await self._find() != self._found_at
        except StoreAway:
            return False

    async def call(self, commands: Iterable[Command]) -> list[Any]:
        """Send all commands at once and return their replies. Raises `StoreAway`, and then the connection is closed:
        which of the commands were carried out is not known."""
        connection = self._connection
        if connection is None:
            raise StoreAway("not connected")
        commands = list(commands)
        replies: list[Any] = []
        try:
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            for _ in commands:
                try:
                    replies.append(await connection.read_response())
                except (AskError, TryAgainError, ClusterDownError) as error:
                    if not self._is_node:
                        raise StoreAway("it is a node of a cluster; write redis+cluster:// for that") from error
                    replies.append(Elsewhere(error))
        except (RedisError, OSError, RuntimeError) as error:  # the last from uvloop, for a write after a reset
            await self.close()
            raise StoreAway(_first_line(error)) from error
        except BaseException:
            await self.close()
            raise
        return replies

    async def close(self, patience_seconds: float = 0) -> None:
        """With patience it returns once the connection has ended, which with TLS takes a farewell from both sides: an
        event loop that ends before that leaves a socket behind."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_seconds or None):
                    await connection.disconnect(nowait=not patience_seconds)

    def _read_facts(self, info: bytes) -> None:
        facts = dict(line.split(":", 1) for line in info.decode(errors="replace").splitlines() if ":" in line)
        if facts.get("role", "master") != "master":
            raise StoreAway(
                f"it is a replica of {facts.get('master_host')}:{facts.get('master_port')}, which may not be written; "
                "give the address of the primary, or of sentinels, which follow it (redis+sentinel://)"
            )
        self.run = facts.get("run_id", "")[:16]
        version = facts.get("redis_version", "")
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        policy = facts.get("maxmemory_policy", "noeviction")
        self.warning = None
        if numbers and numbers < _OLDEST:
            self.warning = f"it is version {version}, and what is older than Redis 6.2 was never tried: update it"
        elif policy != "noeviction" and facts.get("maxmemory", "0") != "0":
            self.warning = f"its maxmemory-policy is {policy}, which may forget running calls: set it to noeviction"

    def __repr__(self) -> str:
        return f"<Link {'to ' + self.run if self.is_open else 'closed'}>"


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
