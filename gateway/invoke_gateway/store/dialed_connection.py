"""Makes connections of redis-py that lend their transport once they are open. Those by TCP are opened by a `Dialer`, so
that a server whose name has a dead address is reached by another one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any, cast

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection

from ..dialing import Dialer

DELAY_SECONDS = 0.05  # a store is near, and shared.store_timeout_seconds, 0.25 s, bounds all of it


class Dialers:
    """Keeps a dialer for each address that connections are made to; each remembers addresses that did not answer."""

    def __init__(self) -> None:
        self._dialers: dict[tuple[str, int], Dialer] = {}

    def of(self, host: str, port: int) -> Dialer:
        if (host, port) not in self._dialers:
            self._dialers[host, port] = Dialer(host, port, delay_seconds=DELAY_SECONDS)
        return self._dialers[host, port]


class LentConnection(AbstractConnection):
    """Adds the transport to a connection of redis-py, whose `_connect` is to be overridden and sets `_writer`."""

    def lend_transport(self) -> asyncio.Transport:
        """Returns the transport of an open connection. The connection still closes it."""
        assert self._writer is not None, "open"
        return cast("asyncio.Transport", self._writer.transport)


class _Dialed(LentConnection, Connection):
    """Mixed in before a connection of redis-py, which then is given an open socket instead of a name."""

    def __init__(self, *, dialers: Dialers, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._dialers = dialers
        self._opened: socket.socket | None = None

    async def _connect(self) -> None:
        async with asyncio.timeout(self.socket_connect_timeout):
            self._opened = await self._dialers.of(self.host, int(self.port)).open()
        try:
            await super()._connect()  # type: ignore[no-untyped-call]  # redis-py leaves it without types
        except BaseException:
            self._opened.close()
            raise
        finally:
            self._opened = None

    def _connection_arguments(self) -> Mapping[str, Any]:
        arguments = {
            name: value for name, value in super()._connection_arguments().items() if name not in ("host", "port")
        }
        named = {"server_hostname": self.host} if arguments.get("ssl") is not None else {}
        return {**arguments, **named, "sock": self._opened}


class DialedConnection(_Dialed):
    """Plain TCP."""


class DialedSSLConnection(_Dialed, SSLConnection):
    """TLS, with the certificate checked against the name."""


class UnixConnection(LentConnection, UnixDomainSocketConnection):
    """A Unix socket."""


def dialed(kind: type[AbstractConnection]) -> type[DialedConnection | DialedSSLConnection] | None:
    """Return the class in place of one of redis-py's; None where there is nothing to dial, such as a Unix socket."""
    if kind is SSLConnection:
        return DialedSSLConnection
    return DialedConnection if kind is Connection else None
