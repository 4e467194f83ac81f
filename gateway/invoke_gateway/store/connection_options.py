"""Reads the options of a connection from a URL. redis-py has their names, types and defaults, and opens no connection.

Only public names of redis-py are used: `parse_url`, the classes of connections, and the attributes of their objects.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.exceptions import RedisError

# Options that redis-py accepts as an object, or as a function. A URL has only texts.
_OBJECTS = ("credential_provider", "redis_connect_func")

SocketOption = tuple[int, int, int | bytes]


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """Holds what a URL says about a connection.

    host, port: of a server by TCP.
    path: of a Unix socket; empty where the server is reached by TCP.
    make_tls: reads the files of TLS; None without TLS.
    socket_options: of a socket of TCP.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    client_name: str = ""
    make_tls: Callable[[], ssl.SSLContext] | None = field(default=None, repr=False)
    socket_options: tuple[SocketOption, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


def split_url(url: str) -> tuple[Any, dict[str, Any]]:
    """Returns the class of redis-py's connections for a URL, and its arguments. Raises `ValueError`."""
    arguments: dict[str, Any] = dict(parse_url(url))
    return arguments.pop("connection_class", Connection), arguments


def make_options(kind: Any, arguments: dict[str, Any]) -> ConnectionOptions:
    """Returns the options. Raises `ValueError` where redis-py does not accept the name or the value of an argument.

    kind: a class of redis-py. Its object is only read. It checks the arguments and has the defaults of all others.
    """
    try:
        for name in _OBJECTS:
            if name in arguments:
                raise ValueError(f"{name} cannot be given in a URL")
        read = kind(**{"driver_info": None, **arguments})  # else each reads redis-py's version from its metadata: 1 ms
        common: dict[str, Any] = {
            "username": read.username or "",
            "password": read.password or "",
            "database": int(read.db),
            "client_name": read.client_name or "",
        }
        if isinstance(read, UnixDomainSocketConnection):
            return ConnectionOptions(path=read.path, **common)
        return ConnectionOptions(
            host=read.host,
            port=int(read.port),
            make_tls=read.ssl_context.get if isinstance(read, SSLConnection) else None,
            socket_options=_list_socket_options(read),
            **common,
        )
    except (
        TypeError,
        ValueError,
        AttributeError,
        RedisError,
    ) as error:  # the third from a text for an object
        raise ValueError(str(error)) from error


def read_options(url: str) -> ConnectionOptions:
    """Returns the options of a URL. Raises `ValueError`."""
    return make_options(*split_url(url))


def _list_socket_options(read: Any) -> tuple[SocketOption, ...]:
    options: list[SocketOption] = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    if read.socket_keepalive:
        options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
        options += [(socket.IPPROTO_TCP, name, value) for name, value in read.socket_keepalive_options.items()]
    return tuple(options)
