"""Represents one request at the backend: the response so far, and the end.

A call belongs to its connection, not to the task that waits for the call. If the task is cancelled or the client is
gone, the connection reads on to the end of the response. Only then does `on_end` run. So a slot is taken for exactly as
long as the backend works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from ..awaited import Awaited
from ..backend_errors import BackendError, BackendReset, ResponseTooLarge
from ..policy.payloads.payload import make_too_large_error

_NONE_SINGLED_OUT: dict[bytes, bytes] = {}


class ResponseSource(Protocol):
    """Reads the response to one call, and pauses where the client is slow."""

    def resume_if_drained(self) -> None:
        """Reads on if the client has taken enough of the response."""

    def read_to_end(self) -> None:
        """Reads the rest of the response, and drops it."""


class UpstreamCall(Awaited):
    """Collects the response to one request.

    limit: bytes of body that are kept; the rest is read and dropped
    window: bytes of a streamed response that may wait for a slow client before the backend is slowed down; None: the
        whole response is kept for `take_pieces`
    headers: the end-to-end headers, names in lower case
    singled_out: the headers that the forwarding stage reads
    content_length: the length that the backend announced
    seconds: duration at the backend
    """

    __slots__ = (
        "_on_end",
        "_started_at",
        "connection",
        "content_length",
        "error",
        "has_head",
        "headers",
        "is_abandoned",
        "is_head_request",
        "is_over_limit",
        "limit",
        "loop",
        "pieces",
        "received",
        "seconds",
        "singled_out",
        "status",
        "unread",
        "window",
    )

    def __init__(self, limit: int, on_end: Callable[[], None], window: int | None = None) -> None:
        self.limit = limit
        self.window = window
        self.is_head_request = False
        self.connection: ResponseSource | None = None
        self.loop: asyncio.AbstractEventLoop
        self.status = 0
        self.headers: list[tuple[bytes, bytes]]
        self.singled_out = _NONE_SINGLED_OUT
        self.content_length: bytes | None = None
        self.pieces: list[bytes] = []
        self.received = 0
        self.unread = 0
        self.has_head = False
        self.has_ended = False
        self.is_over_limit = False
        self.is_abandoned = False
        self.error: BackendError | None = None
        self.seconds: float | None = None
        self._started_at = 0.0
        self._on_end: Callable[[], None] | None = on_end
        self._waiter = None
        self._resume = None

    # Called by the connection.

    def begin(self, connection: ResponseSource, loop: asyncio.AbstractEventLoop) -> None:
        self.connection = connection
        self.loop = loop
        self._started_at = monotonic()

    def add(self, data: bytes) -> None:
        self.received += len(data)
        if self.received > self.limit:
            self.is_over_limit = True
        elif not self.is_abandoned:
            self.pieces.append(data)
            self.unread += len(data)

    def end(self, error: BackendError | None = None) -> None:
        """Ends the call: the backend has finished, or is taken to have."""
        if self.has_ended:
            return
        self.has_ended = True
        if self.connection is not None:
            self.seconds = monotonic() - self._started_at
        self.error = error
        self.connection = None
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end()
        self._wake_at_end()

    # Called by the request's task.

    def progress(self) -> asyncio.Future[None]:
        """Returns a future of the next progress; for a whole response, of its end."""
        self._waiter = self.loop.create_future()
        return self._waiter

    def take_pieces(self) -> list[bytes]:
        """Returns the body of an ended call as it came. Raises the error that ended the call."""
        if self.error is not None:
            raise self.error
        pieces, self.pieces = self.pieces, []
        self.unread = 0
        return pieces

    def replace_too_large(self) -> bytes:
        """Turns a response above its limit into Lambda's function error, a success with an error as its payload.
        Changes the headers and returns the payload. Raises `ResponseTooLarge` if the response is no success."""
        if self.status != 200:
            raise ResponseTooLarge(f"status {self.status}, {self.received} bytes, quota {self.limit}")
        replaced = (b"content-type", b"content-encoding", b"x-amz-function-error")
        kept = [header for header in self.headers if header[0] not in replaced]
        self.headers = [*kept, (b"content-type", b"application/json"), (b"x-amz-function-error", b"Unhandled")]
        self.singled_out = {**self.singled_out, b"x-amz-function-error": b"Unhandled"}
        return make_too_large_error(self.limit)

    async def head(self) -> None:
        """Waits for the status and the headers. Raises the error that came instead."""
        while not self.has_head and not self.has_ended:
            await self.progress()
        if not self.has_head:
            raise self.error or BackendReset

    async def read(self) -> bytes:
        """Returns the next bytes of a streamed body, empty at its end. Raises the error that cut the body."""
        while not self.pieces and not self.has_ended:
            await self.progress()
        if self.pieces:
            data = self._take_pieces()
            if self.connection is not None:
                self.connection.resume_if_drained()
            return data
        if self.error is not None:
            raise self.error
        return b""

    def abandon(self) -> int:
        """Drops the rest of the response, because no task waits for it. Returns the number of bytes that were never
        taken."""
        self.is_abandoned = True
        dropped = self.unread
        if dropped:
            self.pieces.clear()
            self.unread = 0
        if self.connection is not None:
            self.connection.read_to_end()
        else:
            self.end(BackendReset())  # nothing has been sent: no backend works
        return dropped

    def _take_pieces(self) -> bytes:
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.unread = 0
        return data

    def __repr__(self) -> str:
        state = "ended" if self.has_ended else "running"
        return f"<UpstreamCall {self.status} {self.received} bytes {state} {self.error or ''}>"
