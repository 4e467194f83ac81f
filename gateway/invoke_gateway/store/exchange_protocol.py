"""Exchanges commands and replies on a connection that redis-py has opened, without a coroutine or a future.

redis-py opens the connection, with TLS and a password where the URL has them. From then on the bytes are ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from redis.exceptions import ConnectionError, RedisError

from .resp import ReplyParser

OnEnd = Callable[[list[Any] | Exception], None]

ENDED = "Connection closed by server."


class ExchangeProtocol(asyncio.Protocol):
    """Sends one group of commands at a time.

    before: the protocol that opened the connection; it is called at the end of the connection.
    is_over: True once nothing more can be exchanged.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.is_over = transport.is_closing()
        self._transport = transport
        self._before = cast("asyncio.Protocol", transport.get_protocol())
        self._parser = ReplyParser()
        self._replies: list[Any] = []
        self._wanted = 0
        self._on_end: OnEnd | None = None
        transport.set_protocol(self)

    def send(self, data: bytes, commands: int, on_end: OnEnd) -> None:
        """Sends encoded commands. `on_end` is called once: with all replies, or with the error that ended the
        connection. Any number of the commands may have been executed then."""
        assert self._on_end is None, "one exchange at a time"
        self._wanted = commands
        self._on_end = on_end
        if self.is_over:
            self._end(ConnectionError(ENDED))
            return
        try:
            self._transport.write(data)
        except (OSError, RuntimeError) as error:  # the last from uvloop, for a write after a reset
            self._end(error)

    def cancel(self) -> None:
        """Ends the exchange without a call of `on_end`. The connection is of no use then: close it."""
        self._on_end = None
        self.is_over = True

    def data_received(self, data: bytes) -> None:
        try:
            replies = self._parser.feed(data)
        except RedisError as error:
            self._end(error)
            return
        if not replies:
            return
        if self._replies:
            self._replies += replies
            replies = self._replies
        if len(replies) < self._wanted:
            self._replies = replies
            return
        on_end = self._on_end
        if on_end is None or len(replies) > self._wanted:
            self._end(_find_error(replies))
            return
        self._on_end = None
        self._wanted = 0
        self._replies = []
        on_end(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        self._before.connection_lost(exc)
        self._end(exc or ConnectionError(ENDED))

    def pause_writing(self) -> None:
        self._before.pause_writing()

    def resume_writing(self) -> None:
        self._before.resume_writing()

    def _end(self, error: Exception) -> None:
        self.is_over = True
        on_end, self._on_end = self._on_end, None
        if not self._transport.is_closing():
            self._transport.close()
        if on_end is not None:
            on_end(error)

    def __repr__(self) -> str:
        state = "over" if self.is_over else "exchanging" if self._on_end is not None else "idle"
        return f"<ExchangeProtocol {state}>"


def _find_error(replies: list[Any]) -> Exception:
    """Returns the error that the server has sent without a request, as for a connection too many."""
    error = next((reply for reply in replies if isinstance(reply, RedisError)), None)
    return error or ConnectionError("the server sent a reply without a request")
