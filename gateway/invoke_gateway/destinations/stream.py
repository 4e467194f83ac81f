"""Delivers to streams of a Redis or Valkey."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ConnectionError, RedisError, TimeoutError

from ..policy.events.destination_url import StreamTarget
from ..queue.base import DeliveryFailed
from ..store.denial import find_denial
from ..store.dialed_connection import DialedConnection, Dialers, dialed
from .message import Message

REMEMBERED_SECONDS = 86_400  # within which a message is not appended again
_CONNECTIONS = 8  # to a server; further deliveries wait for one

_SCRIPT = (files(__package__) / "deliver_once.lua").read_text("utf-8")


class Streams:
    """Delivers to streams, with one client for each server."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        self._clients: dict[str, Any] = {}

    async def deliver(self, stream: StreamTarget, message: Message) -> None:
        """Appends an entry, once within a day. Raises `DeliveryFailed`."""
        entry = [part for field in make_fields(message).items() for part in field]
        mark = f"invoke-gateway:delivered:{stream.name}:{message.id}"
        try:
            client = self._clients.get(stream.connection)
            if client is None:
                client = self._clients[stream.connection] = self._make_client(stream.connection)
            await client.eval(_SCRIPT, 2, stream.name, mark, REMEMBERED_SECONDS, *entry)
        except (RedisError, OSError, RuntimeError, TypeError, ValueError) as error:  # the third is uvloop's
            if (denial := await self._find_denial(stream.connection, error)) is not None:
                raise DeliveryFailed(denial) from error
            said = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            raise DeliveryFailed(f"{said}; {_cure(error)}") from error

    async def close(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()

    async def _find_denial(self, url: str, error: Exception) -> str | None:
        """Returns why a server without TLS refuses every connection of this machine, where a connection was lost."""
        client = self._clients.get(url)
        if client is None or not isinstance(error, ConnectionError) or isinstance(error, AuthenticationError):
            return None
        pool = client.connection_pool
        if pool.connection_class is not DialedConnection:
            return None
        server = pool.connection_kwargs
        return await find_denial(server["dialers"].of(server.get("host", "localhost"), int(server.get("port", 6379))))

    def _make_client(self, url: str) -> Any:
        # One more attempt, for a connection that the server has closed: the mark makes it harmless.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=self._timeout,
            protocol=2,
            socket_timeout=self._timeout,
            socket_connect_timeout=self._timeout,
            retry=Retry(NoBackoff(), 1),
        )
        if (dialed_class := dialed(pool.connection_class)) is not None:
            pool.connection_class = dialed_class
            pool.connection_kwargs["dialers"] = Dialers()
        return Redis.from_pool(pool)


def make_fields(message: Message) -> dict[str, str | int | bytes]:
    """Returns the fields of an entry, in their order."""
    fields: dict[str, str | int | bytes] = {"kind": message.kind, "id": message.id, "function": message.event.arn}
    if message.attributes is None:
        return {**fields, "record": message.body}
    return {**fields, **message.attributes, "body": message.body}


def _cure(error: Exception) -> str:
    match error:
        case AuthenticationError():
            return "check user name and password"
        case ConnectionError() | TimeoutError() | OSError() | RuntimeError():
            return "check that it runs"
        case TypeError() | ValueError():
            return "check the query of its URL"
    return "check the stream and the server's settings"
