"""A connection to the Redis or Valkey that keeps the events. redis-py connects, authenticates and parses; its client is
left out, because it takes more time for a command than a whole batch of events does."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    InvalidResponse,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from ...store.connection import Dialers, dialed
from ..base import CannotOpen, StoreFault
from .script import ALL

Command = tuple[str | bytes | int, ...]

_OLDEST = (6, 2)
_SCHEMES = ("redis", "rediss", "unix")
_REFUSED = (AuthenticationError, AuthenticationWrongNumberOfArgsError, NoPermissionError, InvalidResponse)


class StoreAway(Exception):
    """The store did not answer, or not as it must."""


class StreamUrl:
    """Where the store is. `arguments` are a connection's; `where` for people, without the password; `replicas` must
    have each new event within `replicas_ms`. Raises `CannotOpen`."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        parts = urlsplit(url)
        self.where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        if parts.scheme not in _SCHEMES:
            raise CannotOpen(
                f"a queue of events cannot be kept at {self.where}: write redis://, rediss:// or unix://, with one "
                "server's address (sentinels and clusters are not followed)"
            )
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        try:
            self.replicas = int(query.pop("wait_replicas", "0"))
            self.replicas_ms = int(query.pop("wait_ms", str(int(timeout_seconds * 500))))
            bare = url.partition("?")[0]
            self.arguments: dict[str, Any] = dict(parse_url(f"{bare}?{urlencode(query)}" if query else bare))
        except ValueError as error:
            raise CannotOpen(f"the URL of the queue's store, {self.where}, is not understood: {error}") from error
        if self.replicas and not 0 < self.replicas_ms < timeout_seconds * 1000:
            raise CannotOpen(f"wait_ms must be between 0 and the time-out of the store, {timeout_seconds * 1000:g} ms")


class Link:
    """One connection. `run` names the server process it leads to; `warning` says what is wrong with its settings.
    Bounds on time are the caller's: cancelling a method closes the connection."""

    def __init__(self, url: StreamUrl) -> None:
        arguments = dict(url.arguments)
        self._class: type[AbstractConnection] = arguments.pop("connection_class", Connection)
        if (dialed_class := dialed(self._class)) is not None:
            self._class = dialed_class
            arguments["dialers"] = Dialers()
        # Ours, whatever the URL's query says: the bounds, and replies as bytes.
        ours = {"protocol": 2, "decode_responses": False, "socket_timeout": None, "socket_connect_timeout": None}
        self._arguments = {**arguments, **ours}
        self._connection: AbstractConnection | None = None
        self._where = url.where
        self.run = ""
        self.warning: str | None = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    async def open(self) -> None:
        """Connect to a primary and bring the scripts. Raises `StoreAway`, and `CannotOpen` where waiting does not
        help."""
        try:
            self._connection = self._class(**self._arguments)
        except (TypeError, ValueError) as error:
            raise CannotOpen(f"the query of the URL of the queue's store is not understood: {error}") from error
        try:
            await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it without types
            facts, *loaded = await self.call([("INFO",), *(("SCRIPT", "LOAD", script.source) for script in ALL)])
            for reply in (facts, *loaded):
                if isinstance(reply, ResponseError):
                    raise reply
            self._read_facts(facts)
        except _REFUSED as error:
            await self.close()
            raise CannotOpen(
                f"the queue's store at {self._where} does not take us: {first_line(error)}; check user name, password, "
                "its ACL, and that it is a Redis or Valkey"
            ) from error
        except (RedisError, OSError, UnicodeError) as error:
            await self.close()
            raise StoreAway(f"{first_line(error)}; check that it runs") from error
        except BaseException:
            await self.close()
            raise

    async def call(self, commands: Iterable[Command]) -> list[Any]:
        """Send all commands at once and return their replies; one may be a `ResponseError`. Raises `StoreAway`, and
        then the connection is closed: which of the commands were carried out is not known."""
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
                except ResponseError as error:
                    replies.append(error)
        except (RedisError, OSError, RuntimeError) as error:  # the last from uvloop, for a write after a reset
            await self.close()
            if isinstance(error, _REFUSED):
                raise
            raise StoreAway(first_line(error)) from error
        except BaseException:
            await self.close()
            raise
        return replies

    async def close(self, patience_seconds: float = 0) -> None:
        """With patience it returns once the connection has ended, which with TLS takes a farewell from both sides."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_seconds or None):
                    await connection.disconnect(nowait=not patience_seconds)

    def _read_facts(self, info: bytes) -> None:
        facts = dict(line.split(":", 1) for line in info.decode(errors="replace").splitlines() if ":" in line)
        if facts.get("role", "master") != "master":
            raise CannotOpen(
                f"the queue's store at {self._where} is a replica of {facts.get('master_host')}:"
                f"{facts.get('master_port')}, which may not be written: give the address of the primary"
            )
        if facts.get("cluster_enabled", "0").strip() != "0":
            raise CannotOpen(
                f"the queue's store at {self._where} is a node of a cluster, which is not followed: give one server"
            )
        self.run = facts.get("run_id", "")
        version = facts.get("redis_version", "")
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        policy = facts.get("maxmemory_policy", "noeviction")
        self.warning = None
        if numbers and numbers < _OLDEST:
            raise CannotOpen(
                f"the queue's store at {self._where} is version {version}; it takes 6.2 or newer: update it"
            )
        if policy != "noeviction":
            self.warning = f"its maxmemory-policy is {policy}, which may drop events: set it to noeviction"
        elif facts.get("aof_enabled", "0") == "0":
            self.warning = "it does not write what it is told to a file, and forgets the events when it ends: set "
            self.warning += "appendonly yes (docs/async.md)"

    def __repr__(self) -> str:
        return f"<Link {'to ' + self.run[:8] if self.is_open else 'closed'}>"


# A code of the protocol begins an error, or stands within it where a script ran into it. Where redis-py has a class for
# it, the code is gone and the class is left.
_CODE = re.compile(r"\b[A-Z]{3,}\b")
_REFUSALS: tuple[tuple[frozenset[str], tuple[type[RedisError], ...], Literal["full", "away"], str], ...] = (
    (
        frozenset({"OOM"}),
        (OutOfMemoryError,),
        "full",
        "the queue's store has used all of its maxmemory: raise maxmemory, or let events be worked off",
    ),
    (
        frozenset({"MISCONF"}),
        (),
        "full",
        "the queue's store cannot write its files: look at its disk and its log",
    ),
    (
        frozenset({"READONLY"}),
        (ReadOnlyError,),
        "away",
        "the queue's store has become a replica, which may not be written: give the primary's address",
    ),
    (frozenset({"LOADING"}), (BusyLoadingError,), "away", "the queue's store still reads its files"),
    (
        frozenset({"MOVED", "CLUSTERDOWN", "CROSSSLOT"}),
        (MovedError, ClusterDownError, ClusterCrossSlotError),
        "away",
        "the queue's store is a node of a cluster that has not these keys: {line}",
    ),
    (frozenset({"NOSCRIPT"}), (NoScriptError,), "away", "the queue's store has forgotten its scripts"),
)


def first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def read_refusal(error: ResponseError) -> StoreFault:
    """Return a store's error as ours, with the remedy."""
    said = frozenset(_CODE.findall(str(error)))
    for codes, classes, kind, text in _REFUSALS:
        if isinstance(error, classes) or said & codes:
            return StoreFault(kind, text.format(line=first_line(error)))
    return StoreFault("failed", f"the queue's store says: {first_line(error)}")
