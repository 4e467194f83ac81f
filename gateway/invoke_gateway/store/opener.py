"""Opens connections to a server: by TCP through a `Dialer`, with TLS, or by a Unix socket. Then sends the greeting."""

from __future__ import annotations

import asyncio
import ssl

from redis.exceptions import ConnectionError

from ..dialing import Dialer
from .connection_options import ConnectionOptions
from .errors import StoreUnavailable, first_line
from .exchange_protocol import ExchangeProtocol
from .greeting import greet

DELAY_SECONDS = 0.05  # a store is near, and shared.store_timeout_seconds, 0.25 s, bounds all of it


class Opener:
    """Keeps a dialer for each address that connections are made to; each remembers addresses that did not answer."""

    def __init__(self) -> None:
        self._dialers: dict[tuple[str, int], Dialer] = {}

    def dialer_of(self, host: str, port: int) -> Dialer:
        if (host, port) not in self._dialers:
            self._dialers[host, port] = Dialer(host, port, delay_seconds=DELAY_SECONDS)
        return self._dialers[host, port]

    async def open(self, options: ConnectionOptions) -> ExchangeProtocol:
        """Returns a connection that has been authenticated. Cancelled, it leaves no socket behind.

        Raises `StoreUnavailable` for options that cannot be used, else an error of redis-py.
        """
        protocol = await self._connect(options)
        try:
            await greet(protocol, options)
        except BaseException:
            protocol.close()
            raise
        return protocol

    async def _connect(self, options: ConnectionOptions) -> ExchangeProtocol:
        tls = _make_tls(options)
        try:
            if options.path:
                loop = asyncio.get_running_loop()
                _, protocol = await loop.create_unix_connection(ExchangeProtocol, options.path)
                return protocol
            transport, protocol = await self.dialer_of(options.host, options.port).connect(ExchangeProtocol, tls=tls)
        except (OSError, UnicodeError) as error:
            raise ConnectionError(f"cannot connect to {options}: {_describe(error)}") from error
        try:
            opened = transport.get_extra_info("socket")
            for option in options.socket_options:
                opened.setsockopt(*option)
        except OSError as error:  # it has been reset, or the system has no such option
            transport.close()
            raise ConnectionError(f"cannot prepare the socket to {options}: {_describe(error)}") from error
        return protocol


def _make_tls(options: ConnectionOptions) -> ssl.SSLContext | None:
    if options.make_tls is None:
        return None
    try:
        return options.make_tls()
    except (OSError, ValueError, TypeError) as error:
        raise StoreUnavailable(
            f"the TLS parameters of its URL cannot be used: {_describe(error)}; check their values and files"
        ) from error


def _describe(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or first_line(error)
