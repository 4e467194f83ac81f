"""Keeps the transport of one client connection: its addresses, its flow, writing and closing."""

from __future__ import annotations

import asyncio
import socket
import struct
from functools import lru_cache
from typing import Any, cast

from uvicorn.protocols.utils import is_ssl

from .client_connection import ClientConnection
from .connection_setup import ConnectionSetup
from .flow_control import FlowControl

_RESET = struct.pack("ii", 1, 0)


class TransportProtocol(ClientConnection):
    """Writes to a client, and closes. What is read is for the classes that inherit from this one."""

    __slots__ = (
        "_client",
        "_connections",
        "_date",
        "_dated_headers",
        "_is_lost",
        "_keep_alive_seconds",
        "_limits",
        "_scheme",
        "_server",
        "server_state",
    )

    def __init__(self, setup: ConnectionSetup) -> None:
        self.loop = setup.loop
        self.server_state = setup.server_state
        self.write_batcher = setup.write_batcher
        self._connections = cast("set[TransportProtocol]", setup.server_state.connections)
        # The real type, where uvicorn names another one: a compiled module would check for that.
        self._keep_alive_seconds: float = cast("Any", setup.config).timeout_keep_alive
        self._limits = setup.limits
        self._server: tuple[str, int | None] | None = None
        self._client: tuple[str, int] | None = None
        self._scheme = "http"
        self._is_lost = False
        # The list that uvicorn renews each second, and the same as bytes.
        self._dated_headers: object = None
        self._date = b""

    def default_headers(self) -> bytes:
        """Returns the headers of every response as bytes: the Date, which changes each second."""
        headers = self.server_state.default_headers
        if headers is not self._dated_headers:
            self._dated_headers = headers
            self._date = b"".join(b"%b: %b\r\n" % header for header in headers)
        return self._date

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.flow = FlowControl(self.transport, self.loop)
        self._connections.add(self)
        self._server = _read_server(transport.get_extra_info("sockname"))
        self._client = _read_client(transport.get_extra_info("peername"))
        self._scheme = "https" if is_ssl(self.transport) else "http"

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._is_lost = True
        self.flow.resume_writing()
        self.transport.close()

    def eof_received(self) -> None:
        """Takes a client that has closed its side to be gone: the transport closes itself."""

    def pause_writing(self) -> None:
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        self.flow.resume_writing()

    # Writing and closing.

    def write(self, data: bytes) -> None:
        """Writes immediately, behind the content of the batcher."""
        self.write_batcher.flush()
        self.transport.write(data)

    def write_together(self, *pieces: bytes) -> None:
        """Writes the pieces immediately, without making one of them."""
        self.write_batcher.flush()
        self.transport.writelines(pieces)

    def close(self) -> None:
        """Closes once everything is written."""
        self.write_batcher.flush()
        self.transport.close()

    def reset(self) -> None:
        """Cuts the connection, so that the client sees no orderly end."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()


# Addresses as a scope has them. uvicorn would have the transport make an object of its socket, which keeps them again.


@lru_cache(64)
def _read_server(address: Any) -> tuple[str, int | None] | None:
    """Returns the address of a listening socket: one object for all its connections."""
    if isinstance(address, tuple):
        return address[0], address[1]
    return (address, None) if isinstance(address, str) else None


def _read_client(address: Any) -> tuple[str, int] | None:
    """Returns the address of a client; None for a Unix socket's."""
    return (_share_host(address[0]), address[1]) if isinstance(address, tuple) else None


@lru_cache(1024)
def _share_host(host: str) -> str:
    """Returns one object for all connections of a host."""
    return host
