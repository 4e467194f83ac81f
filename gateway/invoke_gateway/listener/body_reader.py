"""Reads the rest of one request body into a buffer of the application.

The bytes of a body of known length mean nothing to a parser. So they go from the socket into the application's buffer,
without the copies that a read, the parser and a join would make of them.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class BodyOwner(Protocol):
    """Serves the connection before and after the body: `InvokeProtocol`."""

    def record_read(self, size: int) -> None:
        """Records the progress of the body."""

    def end_read(self, view: memoryview) -> None:
        """Goes on, because `view` is filled."""

    def connection_lost(self, exc: Exception | None) -> None: ...

    def eof_received(self) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


class BodyReader(asyncio.BufferedProtocol):
    """Fills `view`, and hands everything but the bytes to `owner`."""

    __slots__ = ("_filled", "_owner", "_view")

    def __init__(self, owner: BodyOwner, view: memoryview) -> None:
        self._owner = owner
        self._view = view
        self._filled = 0

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        self._owner.record_read(nbytes)
        if self._filled == len(self._view):
            self._owner.end_read(self._view)

    def eof_received(self) -> None:
        self._owner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        self._owner.resume_writing()

    def __repr__(self) -> str:
        return f"<BodyReader {self._filled}/{len(self._view)}>"
