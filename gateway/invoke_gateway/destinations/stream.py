"""Delivers to streams of a Redis or Valkey."""

from __future__ import annotations

import asyncio
import contextlib
from importlib.resources import files

from redis.exceptions import ResponseError

from ..policy.events.destination_url import StreamTarget
from ..queue.base import DeliveryFailed
from ..store.connection import ConnectionRules, StoreConnection
from ..store.errors import StoreUnavailable, StoreUnusable, first_line
from ..store.resp import Command
from .message import Message

REMEMBERED_SECONDS = 86_400  # within which a message is not appended again
_CONNECTIONS = 8  # to a server; further deliveries wait for one
_CLOSE_SECONDS = 1.0  # for TLS

_SCRIPT = (files(__package__) / "deliver_once.lua").read_text("utf-8")
_RULES = ConnectionRules((), lambda error: error, lambda facts: None)


class Streams:
    """Delivers to streams, with a few connections to each server. Time bounds belong to the caller."""

    def __init__(self) -> None:
        self._servers: dict[str, _StreamServer] = {}

    async def deliver(self, stream: StreamTarget, message: Message) -> None:
        """Appends an entry, once within a day. Raises `DeliveryFailed`."""
        entry = [part for field in make_fields(message).items() for part in field]
        mark = f"invoke-gateway:delivered:{stream.name}:{message.id}"
        server = self._servers.get(stream.connection)
        if server is None:
            server = self._servers[stream.connection] = _StreamServer(stream.connection)
        try:
            reply = await server.call(("EVAL", _SCRIPT, 2, stream.name, mark, REMEMBERED_SECONDS, *entry))
        except StoreUnavailable as error:
            raise DeliveryFailed(str(error)) from error
        except ValueError as error:
            raise DeliveryFailed(f"{error}; check the query of its URL") from error
        if isinstance(reply, ResponseError):
            cause = first_line(reply).rstrip(".")
            raise DeliveryFailed(f"{cause}; check the stream and the server's settings") from reply

    async def close(self) -> None:
        servers, self._servers = self._servers, {}
        await asyncio.gather(*(server.close() for server in servers.values()))


class _StreamServer:
    """Keeps connections to one server. The connection that was used last is used first."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: list[StoreConnection] = []
        self._turns = asyncio.Semaphore(_CONNECTIONS)

    async def call(self, command: Command) -> object:
        """Returns the reply. A connection that ends meanwhile is replaced once: the mark makes a second try harmless.

        Raises `StoreUnavailable`."""
        async with self._turns:
            connection = self._idle.pop() if self._idle else StoreConnection(self._url, _RULES, where="the stream")
            try:
                if connection.is_open:
                    with contextlib.suppress(StoreUnavailable):
                        return await _call(connection, command)
                await connection.connect()
                return await _call(connection, command)
            finally:
                self._idle.append(connection)

    async def close(self) -> None:
        """Closes all connections, once no call is under way."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(connection.close(_CLOSE_SECONDS) for connection in idle))


async def _call(connection: StoreConnection, command: Command) -> object:
    try:
        (reply,) = await connection.call([command])
    except StoreUnusable:
        raise
    except StoreUnavailable as error:
        raise StoreUnavailable(f"{str(error).rstrip('.')}; check that it runs") from error
    return reply


def make_fields(message: Message) -> dict[str, str | int | bytes]:
    """Returns the fields of an entry, in their order."""
    fields: dict[str, str | int | bytes] = {"kind": message.kind, "id": message.id, "function": message.event.arn}
    if message.attributes is None:
        return {**fields, "record": message.body}
    return {**fields, **message.attributes, "body": message.body}
