"""A connection to the store: Redis or Valkey, by TCP, TLS or a Unix socket. redis-py connects, authenticates and
parses; its client is left out, because it takes more than 100 µs for a command where a batch is to cost that once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import AuthenticationError, RedisError

from .script import ALL

_OLDEST = (6, 2)

Command = tuple[str | bytes | int, ...]


class StoreAway(Exception):
    """The store did not answer, or not as it must."""


def describe_url(url: str) -> str:
    """The store's address without user name and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Link:
    """One connection. `run` names the server process it leads to; a server that restarted or took over has another.
    `where` is its address for people. Bounds on time are the caller's: cancelling a method closes the connection."""

    def __init__(self, url: str) -> None:
        arguments: dict[str, Any] = dict(parse_url(url))
        self._class: type[AbstractConnection] = arguments.pop("connection_class", Connection)
        # Ours, whatever the URL's query says: the bounds, and replies as bytes.
        ours = {"protocol": 2, "decode_responses": False, "socket_timeout": None, "socket_connect_timeout": None}
        self._arguments = {**arguments, **ours}
        self._connection: AbstractConnection | None = None
        self.where = describe_url(url)
        self.run = ""
        self.warning: str | None = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    async def open(self) -> None:
        """Connect and bring the scripts. Raises `StoreAway`."""
        try:
            connection = self._connection = self._class(**self._arguments)
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
        facts, *_ = await self.call([("INFO",), *(("SCRIPT", "LOAD", script.source) for script in ALL)])
        self._read_facts(facts)

    async def call(self, commands: Iterable[Command]) -> list[Any]:
        """Send all commands at once and return their replies. Raises `StoreAway`, and then the connection is closed:
        which of the commands were carried out is not known."""
        connection = self._connection
        if connection is None:
            raise StoreAway("not connected")
        commands = list(commands)
        try:
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            return [await connection.read_response() for _ in commands]
        except (RedisError, OSError, RuntimeError) as error:  # the last from uvloop, for a write after a reset
            await self.close()
            raise StoreAway(_first_line(error)) from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    def _read_facts(self, info: bytes) -> None:
        facts = dict(line.split(":", 1) for line in info.decode(errors="replace").splitlines() if ":" in line)
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
