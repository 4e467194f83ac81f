"""The HTTP/1.1 side that clients see: uvicorn's own protocol class, with bounds.

uvicorn has no limit on the size of a head and no time-out for one that never ends. Both are added here without a
timer per request: one sweep over the open connections looks which of them have been waiting for their client, and
for how long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from .asgi import Receive, Scope, Send
from .exchange import new_request_id
from .refusals import Refusal, render

# A body must bring this much within each read time-out, so that dribbling does not count as progress.
_PROGRESS_BYTES = 65_536

# Connections above the ceiling are told so; this many of them at a time, then they are only cut.
_TOLD = 256


class ListenerLimits(NamedTuple):
    max_connections: int = 16_384
    max_header_bytes: int = 65_536
    max_headers: int = 128
    read_timeout_seconds: float = 60


class _Unacceptable(Exception):
    """Raised inside a parser callback, which ends the parsing."""

    def __init__(self, refusal: Refusal, **values: object) -> None:
        self.refusal = refusal
        self.values = values


class InvokeProtocol(HttpToolsProtocol):
    """One client connection."""

    def __init__(self, *args: Any, limits: ListenerLimits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        # Bytes since the head or the body last got on; a head, or trailers, of any size would only make this grow.
        self._quiet_bytes = 0
        self._body_bytes = 0
        self.stalled_at: float | None = None
        self.stalled_in: Hashable = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        excess = len(self.connections) - self._limits.max_connections
        if excess > 0:
            self.app = cast("Any", _Overflow(self._limits.max_connections))
            if excess > _TOLD:
                transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        self._quiet_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.reject(Refusal.MALFORMED, text="Upgrade and CONNECT are not supported")
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _Unacceptable):
                self.reject(cause.refusal, **cause.values)
            else:
                self.reject(Refusal.MALFORMED, text=str(error) or type(error).__name__)
        else:
            if self._quiet_bytes > self._limits.max_header_bytes:
                self.reject(Refusal.HEAD_TOO_LARGE, limit=f"{self._limits.max_header_bytes} bytes")

    def _should_upgrade(self) -> bool:
        return True  # a request that asks for an upgrade is rejected whole: its body would be lost otherwise

    def on_headers_complete(self) -> None:
        limits = self._limits
        if len(self.headers) > limits.max_headers:
            raise _Unacceptable(Refusal.HEAD_TOO_LARGE, limit=f"{limits.max_headers} headers")
        if self._quiet_bytes > limits.max_header_bytes:  # rarely: most heads arrive in one small piece
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > limits.max_header_bytes:
                raise _Unacceptable(Refusal.HEAD_TOO_LARGE, limit=f"{limits.max_header_bytes} bytes")
        self._quiet_bytes = 0
        self._body_bytes = 0
        super().on_headers_complete()
        # Trailers must not join the headers that have been acted upon.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        self._quiet_bytes = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._quiet_bytes = 0
        super().on_message_complete()

    def reject(self, refusal: Refusal, **values: object) -> None:
        """Answer what cannot become a request, and close. A response that is under way is let finish first."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._write_refusal(refusal, **values)
        elif cycle.more_body or cycle.response_started:
            if not cycle.response_started:
                self._write_refusal(refusal, **values)
            self.transport.close()
        else:  # the bytes after a whole request are bad; that request still gets its response
            cycle.keep_alive = False
            self.pipeline.clear()
            self.flow.pause_reading()

    def _write_refusal(self, refusal: Refusal, **values: object) -> None:
        rendered = render(refusal, **values)
        headers = [
            *self.server_state.default_headers,
            *rendered.headers,
            (b"x-amzn-requestid", new_request_id().encode()),
            (b"connection", b"close"),
        ]
        lines = [STATUS_LINE[rendered.status]]
        for name, value in headers:
            lines += (name, b": ", value, b"\r\n")
        self.transport.write(b"".join([*lines, b"\r\n", rendered.body]))
        self.transport.close()

    # For the sweep.

    def waits_for_client(self) -> Hashable:
        """What this connection waits for its client to do; changes with each step that the client makes."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return None if self.timeout_keep_alive_task is not None else ("head", id(cycle))
        if self.flow.write_paused:
            return ("take", id(cycle), self.transport.get_write_buffer_size())
        if cycle.more_body and not self.flow.read_paused:
            return ("body", id(cycle), self._body_bytes // _PROGRESS_BYTES)
        return None

    def cut(self, seconds: float) -> None:
        """The client has stalled for `seconds`: say so where it can still hear it, and close."""
        if self.transport.is_closing() or self.flow.write_paused:
            self.transport.abort()
        elif self.cycle is None and not self._quiet_bytes:
            self.transport.close()  # it has never sent a byte
        else:
            self.reject(Refusal.READ_TIMEOUT, seconds=seconds)


def sweep(connections: Iterable[InvokeProtocol], now: float, limit_seconds: float) -> None:
    """Cut every connection that has waited for its client longer than `limit_seconds` without a step."""
    for connection in list(connections):
        waiting = connection.waits_for_client()
        if waiting is None:
            connection.stalled_at = None
        elif connection.stalled_at is None or waiting != connection.stalled_in:
            connection.stalled_at = now
        elif now - connection.stalled_at > limit_seconds:
            connection.cut(limit_seconds)
        connection.stalled_in = waiting


async def keep_sweeping(connections: set[InvokeProtocol], limit_seconds: float) -> None:
    """Sweep for as long as the server runs, about eight times per time-out."""
    loop = asyncio.get_running_loop()
    pause = min(max(limit_seconds / 8, 0.05), 5)
    while True:
        await asyncio.sleep(pause)
        sweep(connections, loop.time(), limit_seconds)


class _Overflow:
    """Answers on connections above the ceiling."""

    def __init__(self, max_connections: int) -> None:
        self._limit = max_connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Closing over unread bytes would reset the connection, and the client would never see why.
        message = await receive()
        dropped = 0
        while message.get("more_body", False) and dropped < _PROGRESS_BYTES:
            dropped += len(message["body"])
            message = await receive()
        rendered = render(Refusal.TOO_MANY_CONNECTIONS, limit=self._limit)
        headers = [
            *rendered.headers,
            (b"x-amzn-requestid", new_request_id().encode()),
            (b"retry-after", b"1"),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": rendered.status, "headers": headers})
        await send({"type": "http.response.body", "body": rendered.body})
