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
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from .asgi import Receive, Scope, Send
from .exchange import new_request_id
from .refusals import Refusal, render

# A body must bring this much within each read time-out, so that dribbling does not count as progress.
_PROGRESS_BYTES = 65_536

_VERSIONS = frozenset({"1.1", "1.0"})

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
        # The request that is being served; `cycle` is the newest one, which may be waiting behind it.
        self._running: RequestResponseCycle | None = None
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

    def connection_lost(self, exc: Exception | None) -> None:
        self.pipeline.clear()
        super().connection_lost(exc)
        _disconnect(self._running)

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
        if self.parser.get_http_version() not in _VERSIONS:
            raise _Unacceptable(Refusal.MALFORMED, text="its version is neither 1.1 nor 1.0")
        if len(self.headers) > limits.max_headers:
            raise _Unacceptable(Refusal.HEAD_TOO_LARGE, limit=f"{limits.max_headers} headers")
        if self._quiet_bytes > limits.max_header_bytes:  # rarely: most heads arrive in one small piece
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > limits.max_header_bytes:
                raise _Unacceptable(Refusal.HEAD_TOO_LARGE, limit=f"{limits.max_header_bytes} bytes")
        self._quiet_bytes = 0
        self._body_bytes = 0
        try:
            super().on_headers_complete()
        except (httptools.HttpParserError, AttributeError, ValueError) as error:
            raise _Unacceptable(Refusal.MALFORMED, text="its target is not a path") from error
        if not self.pipeline:
            self._running = self.cycle
        # Trailers must not join the headers that have been acted upon.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        self._quiet_bytes = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._quiet_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.pipeline:
            self._running = self.pipeline[-1][0]
        super().on_response_complete()

    def reject(self, refusal: Refusal, **values: object) -> None:
        """Answer what cannot become a request, and close. A request before it that is whole gets its response first."""
        if self.transport.is_closing():
            return
        running = self._running
        if running is None or running.response_complete:
            self._write_refusal(refusal, **values)
        elif running is self.cycle and running.more_body:
            if running.response_started:
                self.transport.close()
            else:
                self._write_refusal(refusal, **values)
            _disconnect(running)
        else:
            running.keep_alive = False
            self.cycle = running
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
        elif not self._quiet_bytes and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()  # no request has begun: an answer would be taken for that to the next one
        else:
            self.reject(Refusal.READ_TIMEOUT, seconds=seconds)


def _disconnect(cycle: RequestResponseCycle | None) -> None:
    """What is still sent in answer goes nowhere, and what is still awaited does not come."""
    if cycle is not None and not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()


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
            (b"x-amz-retry-after", b"1000"),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": rendered.status, "headers": headers})
        await send({"type": "http.response.body", "body": rendered.body})
