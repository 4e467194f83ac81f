"""Reads the whole body of an invocation, within its quota, and refuses what is not JSON.

The body is read before a slot is taken, so that a slow upload uses up no concurrency.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..asgi import EXCHANGE, App, Message, Receive, Scope, Send
from ..buffers import Buffers
from ..exchange import Exchange
from ..policy.payloads.json_text import find_json_error
from ..policy.payloads.payload import PayloadQuotas
from ..refusals import Refusal

# A check of 6 MiB takes 5 ms, or 300 ms for a hostile text: a thread does it, so that other requests are served.
_LONG_BODY = 1_048_576


class ReadPayload:
    """Reads bodies within `buffers`, which bound the memory of all requests together."""

    def __init__(self, app: App, *, quotas: Callable[[], PayloadQuotas], buffers: Buffers) -> None:
        self.app = app
        self._quotas = quotas
        self._buffers = buffers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[EXCHANGE]
        invocation = exchange.invocation
        if invocation is None:  # passed through, streaming
            await self.app(scope, receive, send)
            return
        try:
            declared = exchange.content_length or 0
            if not self._grow_to(exchange, declared):
                return
            exchange.has_continued = True  # the first receive() lets a client that waits for it go on
            message = await receive()
            if declared and message["type"] == "http.request" and not message.get("more_body", False):
                exchange.body_is_read = True  # all of it at once, as nearly always
                body = message["body"]
            else:
                body = await self._read(exchange, receive, message, declared)
                if body is None:
                    return
            if body:
                is_long = len(body) > _LONG_BODY
                error = await asyncio.to_thread(find_json_error, body) if is_long else find_json_error(body)
                if error is not None:
                    exchange.refuse(Refusal.INVALID_JSON, text=error)
                    return
            exchange.body = body
            await self.app(scope, receive, send)
        finally:
            if exchange.buffered:  # the forwarding stage has not released it
                self._release_buffer(exchange)

    async def _read(self, exchange: Exchange, receive: Receive, message: Message, declared: int) -> bytes | None:
        """Returns the whole body, from its first message on. None: the exchange has the reason."""
        assert exchange.invocation is not None
        quota = self._quotas().of(exchange.invocation)
        pieces: list[bytes] = []
        size = 0
        while True:
            if message["type"] != "http.request":
                exchange.client_is_gone = True
                return None
            piece: bytes = message.get("body", b"")
            more_body = message.get("more_body", False)
            exchange.body_is_read = not more_body
            size += len(piece)
            if size > quota.limit:
                self._release_buffer(exchange)
                exchange.refuse(quota.refusal, size=size, limit=quota.limit)
                return None
            if size > declared and not self._grow_to(exchange, size):
                self._release_buffer(exchange)
                return None
            if not more_body:
                return b"".join([*pieces, piece]) if pieces else piece
            pieces.append(piece)
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
