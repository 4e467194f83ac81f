"""Presents one request and its response as ASGI: `receive` and `send` of the application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from http import HTTPStatus

from ..asgi import DONE, LOST, READ_INTO, WITHOUT_BODY, Message, Received, Scope
from .client_connection import ClientConnection

log = logging.getLogger("invoke_gateway")

# So much of a body may wait for the application before the client is made to wait.
_HIGH_WATER_BYTES = 65_536

# A body up to this size is sent in one piece with its head: one system call instead of two.
_JOINED_BYTES = 65_536

# A chunk up to this size is copied between its size and its end, which costs less than a list for the kernel.
_FRAMED_BYTES = 32_768

_join_header = b": ".join

_ONE_START = "a response has only one start"


def _make_status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


STATUS_LINES = {status: _make_status_line(status) for status in range(100, 600)}


class Cycle:
    """Serves one request. There is one reader: two calls of `receive` must not wait at the same time.

    keep_alive: the connection may serve another request after this one
    """

    __slots__ = (
        "_chunked",
        "_has_continued",
        "_has_news",
        "_head",
        "_is_head_request",
        "_is_unframed",
        "_left",
        "_pieces",
        "_protocol",
        "_waiter",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
        "unread",
    )

    def __init__(self, protocol: ClientConnection, scope: Scope, *, keep_alive: bool) -> None:
        self._protocol = protocol
        self.scope = scope
        self._is_head_request = scope["method"] == "HEAD"
        self.keep_alive = keep_alive
        self.more_body = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self.unread = 0
        self._pieces: list[bytes | memoryview] = []
        self._has_news = False
        self._has_continued = False
        self._waiter: asyncio.Future[None] | None = None
        self._head: bytes | None = None  # of the response, until there is something to send with it
        self._left = 0  # bytes of the response's Content-Length
        self._chunked = False
        self._is_unframed = False  # the response ends with the connection

    # Called by the connection.

    def add_filled(self, view: memoryview) -> None:
        """Takes the view that the application has given for the rest of the body, filled."""
        self._pieces.append(view)

    def add_body(self, data: bytes) -> None:
        self._pieces.append(data)
        self.unread += len(data)
        if self.unread > _HIGH_WATER_BYTES:
            self._protocol.flow.pause_reading()
        self._has_news = True
        if self._waiter is not None:
            self._wake()

    def end_body(self) -> None:
        self.more_body = False
        self._has_news = True
        if self._waiter is not None:
            self._wake()

    def disconnect(self) -> None:
        """Ends the request: nothing more is sent, and nothing more is received."""
        if not self.response_complete:
            self.disconnected = True
            self.scope[LOST] = True
            self._wake()

    def _wake(self) -> None:
        self._has_news = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # ASGI

    def receive(self) -> Awaitable[Message]:
        if not self._has_news and not self.disconnected and not self.response_complete:
            return self._receive_later()
        self._has_news = False
        if self.disconnected or self.response_complete:
            return Received(None, more_body=False)
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.unread = 0
        return Received(body, more_body=self.more_body)

    async def _receive_later(self) -> Message:
        if not self._has_news and not self.disconnected and not self.response_complete:
            self._send_continue()
            view = self.scope.pop(READ_INTO, None)
            if view is not None:
                self._protocol.read_into(self, view)
            self._protocol.flow.resume_reading()
            self._waiter = self._protocol.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return await self.receive()

    def _send_continue(self) -> None:
        """Sends a 100, because the application wants the body and the client may wait for it."""
        if self._has_continued or self.response_started or self._protocol.transport.is_closing():
            return
        self._has_continued = True
        if any(name == b"expect" and value.lower() == b"100-continue" for name, value in self.scope["headers"]):
            self._protocol.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def respond(
        self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, closes: bool = False
    ) -> Awaitable[None]:
        """Sends a whole response, as `asgi.respond` describes it. The bytes are those of the two messages."""
        if self.disconnected:
            return DONE
        protocol = self._protocol
        if protocol.flow.write_paused:
            return self._respond_after_drain(status, headers, body, closes)
        if self.response_started:
            raise RuntimeError(_ONE_START)
        self.response_started = True
        lines = [*map(_join_header, headers)]
        if status not in WITHOUT_BODY:
            lines.append(b"content-length: %d" % len(body))
        if closes:
            self.keep_alive = False
        if not self.keep_alive:
            lines.append(b"connection: close")
        head = STATUS_LINES[status] + protocol.default_headers() + b"\r\n".join(lines) + b"\r\n\r\n"
        self.response_complete = True
        self._write(head, b"" if self._is_head_request else body)
        self._end()
        return DONE

    async def _respond_after_drain(
        self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, closes: bool
    ) -> None:
        await self._protocol.flow.drain()
        await self.respond(status, headers, body, closes)

    def __call__(self, message: Message) -> Awaitable[None]:
        """Sends a message: a `Cycle` is the `send` of its request."""
        if self.disconnected:
            return DONE
        if self._protocol.flow.write_paused:
            return self._send_after_drain(message)
        if message["type"] == "http.response.body":
            self._send_body(message.get("body", b""), message.get("more_body", False))
        else:
            self._start(message["status"], message.get("headers", ()))
        return DONE

    async def _send_after_drain(self, message: Message) -> None:
        await self._protocol.flow.drain()
        await self(message)

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Keeps the head until there is a body to send with it. Header names are lower-case."""
        if self.response_started:
            raise RuntimeError(_ONE_START)
        self.response_started = True
        by_name = dict(headers)  # those few that the connection acts upon are found without a loop
        lines = [*map(_join_header, headers)]
        connection = by_name.get(b"connection")
        if connection is not None and b"close" in connection.lower():
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close")
        length = by_name.get(b"content-length")
        if self._is_head_request:
            self._left = 0
        elif length is not None:
            self._left = int(length)
        elif status not in WITHOUT_BODY:
            if self.scope["http_version"] == "1.0":  # which has no codings, and never keeps a connection here
                self._is_unframed = True
            else:
                self._chunked = True
                lines.append(b"transfer-encoding: chunked")
        self._head = STATUS_LINES[status] + self._protocol.default_headers() + b"\r\n".join(lines) + b"\r\n\r\n"

    def _send_body(self, body: bytes, more_body: bool) -> None:
        if not self.response_started or self.response_complete:
            raise RuntimeError("a body comes between the start and the end of a response")
        if self._is_head_request:
            body = b""
        elif self._chunked:
            if len(body) > _FRAMED_BYTES:
                self._write_chunk(body)
                body = b""
            elif body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if not more_body:
                body += b"0\r\n\r\n"
        elif not self._is_unframed:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more_body):
                raise RuntimeError("a body must be as long as its Content-Length says")
        self.response_complete = not more_body
        head, self._head = self._head, None
        self._write(head, body)
        if not more_body:
            self._end()

    def _end(self) -> None:
        """Goes on to what follows a complete response."""
        if self._waiter is not None:
            self._wake()
        if not self.keep_alive:
            self._protocol.close()
        self._protocol.end_response()

    def _write_chunk(self, body: bytes) -> None:
        """Writes a large chunk without a copy of it, behind the head if that is still to be sent."""
        head, self._head = self._head, None
        self._protocol.write_together(b"%b%x\r\n" % (head or b"", len(body)), body, b"\r\n")

    def cut(self) -> None:
        """Closes the connection before the response is complete, so that the client can see the cut."""
        if self._is_unframed and self._head is None:
            self._protocol.reset()  # an orderly end would be the end of the body
        else:
            self._protocol.close()

    def _write(self, head: bytes | None, body: bytes) -> None:
        protocol = self._protocol
        if head is not None and self.response_complete and len(body) <= _JOINED_BYTES:
            protocol.write_batcher.write(protocol.transport, head + body)
            return
        if head is not None:
            protocol.write_together(head, body)
        elif body:
            protocol.write(body)
