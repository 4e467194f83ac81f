"""Reads the whole body of an invocation, within its quota, and refuses what is not JSON.

The body is read before a slot is taken, so that a slow upload uses up no concurrency.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..asgi import DONE, EXCHANGE, READ_INTO, App, Message, Receive, Received, Scope, Send
from ..buffers import Buffers
from ..exchange import Exchange
from ..policy.payloads.json_text import find_json_error, is_plain_json
from ..policy.payloads.payload import PayloadQuotas
from ..refusals import Refusal

# The reason why a text of 6 MiB is not JSON takes up to 300 ms to find: a thread does it, so that other requests are
# served meanwhile. The check of a plain text is one call, in which no other thread could run.
_LONG_BODY = 1_048_576

# The rest of a body from this size on is read into one buffer, without copies.
_LARGE_REST = 131_072


class ReadPayload:
    """Reads bodies within `buffers`, which bound the memory of all requests together."""

    def __init__(self, app: App, *, quotas: Callable[[], PayloadQuotas], buffers: Buffers) -> None:
        self.app = app
        self._quotas = quotas
        self._buffers = buffers

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        if exchange.invocation is None:  # passed through, streaming
            return self.app(scope, receive, send)
        declared = exchange.content_length or 0
        if not self._grow_to(exchange, declared):
            return DONE
        exchange.has_continued = True  # the first receive() lets a client that waits for it go on
        first = receive()
        if type(first) is Received and not first.more_body and declared <= _LONG_BODY:
            body = first.body
            if type(body) is bytes and len(body) <= declared:
                exchange.body_is_read = True  # all of it at once, as nearly always
                return self._go_on(body, _find_error(body), exchange, scope, receive, send)
        return self._read(first, declared, exchange, scope, receive, send)

    async def _read(
        self,
        first: Awaitable[Message],
        declared: int,
        exchange: Exchange,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        try:
            body = await self._read_whole(exchange, scope, receive, await first, declared)
            if body is not None:
                error = await _find_error_of_long(body) if len(body) > _LONG_BODY else _find_error(bytes(body))
                await self._go_on(body, error, exchange, scope, receive, send)
        finally:
            if exchange.buffered:  # the forwarding stage has not released it
                self._release_buffer(exchange)

    def _go_on(
        self,
        body: bytes | bytearray,
        error: str | None,
        exchange: Exchange,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> Awaitable[None]:
        """Calls the next stage with the whole body, or refuses what is not JSON."""
        rest: Awaitable[None] = DONE
        try:
            if error is None:
                exchange.body = body
                rest = self.app(scope, receive, send)
            else:
                exchange.refuse(Refusal.INVALID_JSON, text=error)
        finally:
            if rest is DONE and exchange.buffered:
                self._release_buffer(exchange)
        return self._release_after(rest, exchange) if exchange.buffered else rest

    async def _release_after(self, rest: Awaitable[None], exchange: Exchange) -> None:
        try:
            await rest
        finally:
            if exchange.buffered:  # the forwarding stage has not released it
                self._release_buffer(exchange)

    async def _read_whole(
        self, exchange: Exchange, scope: Scope, receive: Receive, message: Message, declared: int
    ) -> bytes | bytearray | None:
        """Returns the whole body, from its first message on. None: the exchange has the reason."""
        assert exchange.invocation is not None
        quota = self._quotas().of(exchange.invocation)
        body = _BodyParts()
        while True:
            if message["type"] != "http.request":
                exchange.client_is_gone = True
                return None
            more_body = message.get("more_body", False)
            exchange.body_is_read = not more_body
            size = body.add(message.get("body", b""))
            if size > quota.limit:
                self._release_buffer(exchange)
                exchange.refuse(quota.refusal, size=size, limit=quota.limit)
                return None
            if size > declared and not self._grow_to(exchange, size):
                self._release_buffer(exchange)
                return None
            if not more_body:
                return body.take()
            if _LARGE_REST <= declared - size <= quota.limit:
                scope[READ_INTO] = body.make_room(declared)
            message = await receive()

    def _grow_to(self, exchange: Exchange, size: int) -> bool:
        """Reserves `size` bytes of the buffers for the body, or refuses the request."""
        more = size - exchange.buffered
        if not self._buffers.try_reserve(more):
            exchange.refuse(Refusal.BUFFERS_FULL, in_use=self._buffers.in_use, limit=self._buffers.ceiling)
            return False
        exchange.buffered = size
        return True

    def _release_buffer(self, exchange: Exchange) -> None:
        """Releases the part of the buffers that the forwarding stage has not released."""
        size, exchange.buffered = exchange.buffered, 0
        if size:
            self._buffers.release(size)


class _BodyParts:
    """Puts the pieces of a body together: by a join, or in a buffer as large as the body."""

    def __init__(self) -> None:
        self._size = 0
        self._pieces: list[bytes | memoryview] = []
        self._buffer: bytearray | None = None
        self._rest: memoryview | None = None

    def add(self, piece: bytes | memoryview) -> int:
        """Adds the next piece, and returns the size of all. A piece that is the given room itself is there already."""
        if self._buffer is None:
            self._pieces.append(piece)
        elif piece is not self._rest:
            self._buffer[self._size : self._size + len(piece)] = piece
        self._size += len(piece)
        return self._size

    def make_room(self, size: int) -> memoryview:
        """Returns the room for the rest of a body of `size` bytes."""
        if self._buffer is None:
            self._buffer = bytearray(size)
            at = 0
            for piece in self._pieces:
                self._buffer[at : at + len(piece)] = piece
                at += len(piece)
            self._pieces.clear()
        self._rest = memoryview(self._buffer)[self._size :]
        return self._rest

    def take(self) -> bytes | bytearray:
        """Returns the whole body."""
        if self._buffer is not None:
            return self._buffer
        return b"".join(self._pieces)


def _find_error(body: bytes) -> str | None:
    """Returns why a body is not JSON; None where it is, or where there is none."""
    return find_json_error(body) if body else None


async def _find_error_of_long(body: bytes | bytearray) -> str | None:
    return None if is_plain_json(body) else await asyncio.to_thread(find_json_error, bytes(body))
