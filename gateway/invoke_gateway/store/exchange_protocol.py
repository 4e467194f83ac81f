"""Exchanges commands and replies on one connection, without a coroutine or a future where speed matters."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, cast

from redis.exceptions import ConnectionError, RedisError

from .resp import ReplyParser

OnEnd = Callable[[list[Any] | Exception], None]

ENDED = "Connection closed by server."


class ExchangeProtocol(asyncio.Protocol):
    """Sends one group of commands at a time.

    is_over: True once nothing more can be exchanged.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._transport: asyncio.Transport
        self._parser = ReplyParser()
        self._replies: list[Any] = []
        self._wanted = 0
        self._on_end: OnEnd | None = None
        self._end_error: Exception = ConnectionError(ENDED)
        self._is_lost = False
        self._closed: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, data: bytes, commands: int, on_end: OnEnd) -> None:
        """Sends encoded commands. `on_end` is called once: with all replies, or with the error that ended the
        connection. Any number of the commands may have been executed then."""
        assert self._on_end is None, "one exchange at a time"
        self._wanted = commands
        self._on_end = on_end
        if self.is_over:
            self._end(self._end_error)
            return
        try:
            self._transport.write(data)
        except (OSError, RuntimeError) as error:  # the last from uvloop, for a write after a reset
            self._end(ConnectionError(str(error)))

    async def exchange(self, data: bytes, commands: int) -> list[Any]:
        """Sends encoded commands and returns all replies. Raises the error that ended the connection. Cancelled, it
        ends the exchange: close the connection then."""
        ended: asyncio.Future[list[Any] | Exception] = asyncio.get_running_loop().create_future()

        def end(value: list[Any] | Exception) -> None:
            if not ended.done():  # cancelled, and its task has not run since
                ended.set_result(value)

        self.send(data, commands, end)
        try:
            value = await ended
        except BaseException:
            self.cancel()
            raise
        if isinstance(value, Exception):
            raise value
        return value

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
        self._is_lost = True
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        # A server that closes the connection may have sent the reason in place of the first reply.
        reason = next((reply for reply in self._replies[:1] if isinstance(reply, ConnectionError)), None)
        self._end(reason or exc or ConnectionError(ENDED))

    def close(self) -> None:
        """Closes the connection, without waiting for its end."""
        self._transport.close()

    async def wait_closed(self, patience_seconds: float) -> None:
        """Returns once the closed connection has ended, or after `patience_seconds`."""
        if not self._is_lost:
            self._closed = asyncio.get_running_loop().create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_seconds):
                    await self._closed

    def _end(self, error: Exception) -> None:
        if not self.is_over:
            self._end_error = error
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
