"""One request's way through the backend: what has come back so far, and how it ended.

A call belongs to its connection, not to the task that waits for it. The task may be cancelled or its client gone: the
connection goes on reading to the end of the response, and only then does `on_end` run. That is what keeps a slot
taken for exactly as long as the backend works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from types import MappingProxyType
from typing import Protocol

from ..backend_errors import BackendError, BackendReset

_NONE_SINGLED_OUT: Mapping[bytes, bytes] = MappingProxyType({})


class ResponseSource(Protocol):
    """Reads the response to one call, and pauses where the client is slow."""

    def resume_if_drained(self) -> None:
        """Read on if the client has taken enough of the response."""

    def read_to_end(self) -> None:
        """Read the rest of the response, and drop it."""


class UpstreamCall:
    """`limit`: most bytes of body that are kept; what comes after them is read and dropped. `window`: for a streamed
    response, how many bytes may wait for a slow client before the backend is slowed down; `None` keeps the whole
    response for `take_whole`.

    `headers` are the end-to-end headers, names in lower case; `singled_out` those of them that somebody asks for;
    `content_length` what the backend said of the body. `seconds` is how long the backend took.
    """

    __slots__ = (
        "_on_end",
        "_started_at",
        "_waiter",
        "connection",
        "content_length",
        "error",
        "has_ended",
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
        self._waiter: asyncio.Future[None] | None = None

    # What the connection tells.

    def begin(self, connection: ResponseSource) -> None:
        self.connection = connection
        self._started_at = monotonic()

    def add(self, data: bytes) -> None:
        self.received += len(data)
        if self.received > self.limit:
            self.is_over_limit = True
        elif not self.is_abandoned:
            self.pieces.append(data)
            self.unread += len(data)

    def end(self, error: BackendError | None = None) -> None:
        """The backend has finished with this call, or is taken to have."""
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
        if self._waiter is not None:
            self.wake()

    def wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # What the request's task does.

    def progress(self) -> asyncio.Future[None]:
        """Something to await until the call has got on: for a whole response, until it has ended."""
        self._waiter = self.loop.create_future()
        return self._waiter

    def take_whole(self) -> bytes:
        """The body of a call that has ended. Raises the fault that ended it."""
        if self.error is not None:
            raise self.error
        return self._take_pieces()

    async def head(self) -> None:
        """Wait for the status and the headers. Raises the fault that came instead."""
        while not self.has_head and not self.has_ended:
            await self.progress()
        if not self.has_head:
            raise self.error or BackendReset

    async def read(self) -> bytes:
        """The next bytes of a streamed body, empty at its end. Raises the fault that cut it."""
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
        """Nobody waits any more: what still comes is read and dropped. Returns how many bytes were never taken."""
        self.is_abandoned = True
        dropped = self.unread
        if dropped:
            self.pieces.clear()
            self.unread = 0
        if self.connection is not None:
            self.connection.read_to_end()
        return dropped

    def _take_pieces(self) -> bytes:
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.unread = 0
        return data

    def __repr__(self) -> str:
        state = "ended" if self.has_ended else "running"
        return f"<Call {self.status} {self.received} bytes {state} {self.error or ''}>"
